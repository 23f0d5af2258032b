"""How a match is decided: the reference cases, traps, and properties that hold for every input."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.identifiers import gtin14
from code2asin.providers.base import Item
from code2asin.scoring import (
    Decision,
    Evidence,
    OurProduct,
    Scored,
    compare_brands,
    decide,
    normalise_brand,
    normalise_part_number,
    pack_size,
    score,
)

EAN = "3017620422003"
BAD_EAN = "3017620422004"
CASE = "13017620422000"
ISBN_EAN, ISBN10 = "9780439023481", "0439023483"
LISTED, RETURNED, KEYWORD = Evidence.LISTED, Evidence.RETURNED, Evidence.KEYWORD

OURS = OurProduct(code=EAN, title="Nutella pâte à tartiner aux noisettes 400g", brand="Nutella")


def make_item(asin: str = "B000NUTELL", **fields: Any) -> Item:
    given_fields = {
        "title": "Nutella - Pâte à Tartiner aux Noisettes et au Cacao - Pot de 400g",
        "brand": "NUTELLA",
        "identifiers": (gtin14(EAN),),
        "pack": 1,
        "item_class": "BASE_PRODUCT",
    }
    return Item(asin=asin, **(given_fields | fields))


SIX_PACK = make_item("B00SIXPACK", title="Nutella Pâte à tartiner aux noisettes - Lot de 6 x 400g", pack=6)


def outcome(*candidates: Scored, threshold: float = 0.85, auto_match: bool = True) -> Decision:
    return decide(candidates, threshold=threshold, auto_match=auto_match)


def summary(decision: Decision) -> tuple[str, str | None, str | None, float]:
    best = decision.best.item.asin if decision.best else None
    return decision.status, decision.match_type, best, decision.confidence


# --- the reference cases ---


def test_verified_and_alone_is_matched() -> None:
    assert summary(outcome(score(OURS, make_item(), evidence=LISTED))) == ("matched", "exact", "B000NUTELL", 0.99)


def test_verified_without_title_and_brand_is_matched_on_the_identifier() -> None:
    decision = outcome(score(OurProduct(code=EAN), make_item(), evidence=LISTED))
    assert summary(decision) == ("matched", "exact", "B000NUTELL", 0.92)


def test_single_and_six_pack_sharing_a_code_match_the_single() -> None:
    decision = outcome(score(OURS, SIX_PACK, evidence=LISTED), score(OURS, make_item(), evidence=LISTED))
    assert summary(decision) == ("matched", "exact", "B000NUTELL", 0.99)
    assert [(c.item.asin, c.score) for c in decision.candidates] == [("B000NUTELL", 0.99), ("B00SIXPACK", 0.5)]


def test_only_the_six_pack_carries_the_code() -> None:
    decision = outcome(score(OURS, SIX_PACK, evidence=LISTED))
    assert summary(decision) == ("ambiguous", "exact", "B00SIXPACK", 0.5)
    assert "pack size 6 against 1: capped at 0.50" in decision.candidates[0].reasons


def test_only_the_single_carries_the_code_of_our_six_pack() -> None:
    ours = replace(OURS, title="Nutella pâte à tartiner aux noisettes - Lot de 6 x 400g")
    decision = outcome(score(ours, make_item(), evidence=LISTED))
    assert summary(decision) == ("ambiguous", "exact", "B000NUTELL", 0.5)
    assert "pack size 1 against 6: capped at 0.50" in decision.candidates[0].reasons


def test_brand_conflict_is_reviewed() -> None:
    case = make_item(title="iPhone 15 Hülle, schwarz", brand="Spigen")
    decision = outcome(score(OURS, case, evidence=LISTED))
    assert summary(decision) == ("ambiguous", "exact", "B000NUTELL", 0.57)


def test_parent_of_variations_is_reviewed() -> None:
    decision = outcome(score(OURS, make_item(item_class="VARIATION_PARENT"), evidence=LISTED))
    assert summary(decision) == ("ambiguous", "exact", "B000NUTELL", 0.4)


def test_bad_check_digit_is_reviewed() -> None:
    ours = OurProduct(code=BAD_EAN, title=OURS.title, brand=OURS.brand)
    decision = outcome(score(ours, make_item(identifiers=(gtin14(BAD_EAN),)), evidence=LISTED))
    assert summary(decision) == ("ambiguous", "exact", "B000NUTELL", 0.6)


def test_two_true_duplicates_are_reviewed_and_both_kept() -> None:
    decision = outcome(score(OURS, make_item(), evidence=LISTED), score(OURS, make_item("B000NUTEL2"), evidence=LISTED))
    assert summary(decision) == ("ambiguous", "exact", "B000NUTEL2", 0.8)
    assert [c.score for c in decision.candidates] == [0.8, 0.8]
    assert decision.candidates[1].reasons[-1] == "2 candidates are equally good: capped at 0.80"


def test_title_in_another_language_is_matched() -> None:
    ours = OurProduct(code=EAN, title="Câble d'alimentation secteur noir 2 m", brand="Belkin")
    theirs = make_item(title="Netzkabel für Drucker schwarz 2 m", brand="Belkin")
    scored = score(ours, theirs, evidence=LISTED)
    assert 35 <= float(scored.features["title_similarity"] or 0) < 50
    assert summary(outcome(scored)) == ("matched", "exact", "B000NUTELL", 0.91)


def test_returned_but_not_listed_is_reviewed() -> None:
    decision = outcome(score(OURS, make_item(identifiers=()), evidence=RETURNED))
    assert summary(decision) == ("ambiguous", "partial", "B000NUTELL", 0.78)


def test_text_search_with_a_good_title_is_reviewed() -> None:
    decision = outcome(score(OURS, make_item(title=OURS.title, identifiers=()), evidence=KEYWORD))
    assert summary(decision) == ("ambiguous", "fuzzy", "B000NUTELL", 0.8)


def test_nothing_good_is_unmatched_and_keeps_its_candidates() -> None:
    theirs = make_item(title="Housse de couette 240 x 220 cm", brand="Ikea", identifiers=())
    decision = outcome(score(OURS, theirs, evidence=KEYWORD))
    assert summary(decision) == ("unmatched", None, None, 0.0)
    assert [c.item.asin for c in decision.candidates] == ["B000NUTELL"]


def test_no_candidate_is_unmatched() -> None:
    assert summary(outcome()) == ("unmatched", None, None, 0.0)


# --- what the threshold and the switch may and may not do ---


def test_the_threshold_itself_is_enough() -> None:
    scored = score(OurProduct(code=EAN), make_item(), evidence=LISTED)
    assert outcome(scored, threshold=0.92).status == "matched"
    below = outcome(scored, threshold=0.93)
    assert (below.status, below.reason) == ("ambiguous", "score 0.92 is below the threshold 0.93")


def test_without_auto_match_a_good_match_waits_with_its_score() -> None:
    decision = outcome(score(OURS, make_item(), evidence=LISTED), auto_match=False)
    assert summary(decision) == ("ambiguous", "exact", "B000NUTELL", 0.99)


@pytest.mark.parametrize(
    ("product", "item", "evidence", "veto"),
    [
        (OURS, SIX_PACK, LISTED, "pack"),
        (OURS, make_item(brand="Spigen"), LISTED, "brand"),
        (OURS, make_item(item_class="VARIATION_PARENT"), LISTED, "parent"),
        (OURS, make_item(item_class="PRODUCT_BUNDLE"), LISTED, "bundle"),
        (OURS, make_item(title="Nutella 400g (Reconditionné)"), LISTED, "condition"),
        (OurProduct(code=BAD_EAN), make_item(identifiers=(gtin14(BAD_EAN),)), LISTED, "check_digit"),
        (OurProduct(code=CASE), make_item(identifiers=(CASE,)), LISTED, "case"),
        (OurProduct(code=ISBN_EAN), make_item("0060935464", identifiers=(gtin14(ISBN_EAN),)), LISTED, "isbn"),
        (OURS, make_item(identifiers=()), RETURNED, None),
        (OURS, make_item(identifiers=()), KEYWORD, None),
    ],
)
def test_no_threshold_is_low_enough_to_override_a_veto_or_missing_proof(
    product: OurProduct, item: Item, evidence: Evidence, veto: str | None
) -> None:
    scored = score(product, item, evidence=evidence)
    assert scored.vetoes == ((veto,) if veto else ())
    assert outcome(scored, threshold=0.0).status == "ambiguous"


def test_a_tie_is_never_decided_by_a_low_threshold() -> None:
    pair = (score(OURS, make_item("B1"), evidence=LISTED), score(OURS, make_item("B2"), evidence=LISTED))
    assert outcome(*pair, threshold=0.5).status == "ambiguous"


def test_a_title_does_not_choose_between_two_items_that_both_list_the_code() -> None:
    good = score(OURS, make_item("B1"), evidence=LISTED)
    bad = score(OURS, make_item("B2", title="Housse de couette grise", brand=None), evidence=LISTED)
    assert good.score - bad.score > 0.10
    assert summary(outcome(good, bad)) == ("ambiguous", "exact", "B1", 0.8)


def test_a_close_unlisted_item_makes_a_match_ambiguous() -> None:
    listed = score(OurProduct(code=EAN, brand="Nutella"), make_item(title=None, brand=None), evidence=LISTED)
    unlisted = score(
        OurProduct(code=EAN, brand="Nutella", title="Nutella 400g", part_number="NUT-400"),
        make_item("B2", identifiers=(), part_number="nut400"),
        evidence=RETURNED,
    )
    assert (listed.score, unlisted.score) == (0.92, 0.83)
    assert outcome(listed, unlisted).status == "ambiguous"


def test_evidence_is_not_taken_on_trust() -> None:
    with pytest.raises(ValueError, match="B000NUTELL does not list 3017620422003"):
        score(OURS, make_item(identifiers=("04006381333931",)), evidence=LISTED)


# --- books: an ASIN that is the ISBN-10 of the code ---


def test_an_isbn10_asin_proves_an_unlisted_book() -> None:
    scored = score(OurProduct(code=ISBN_EAN), make_item(ISBN10, identifiers=()), evidence=RETURNED)
    assert summary(outcome(scored)) == ("matched", "exact", ISBN10, 0.92)


def test_the_isbn10_asin_wins_over_a_second_item_that_lists_the_book() -> None:
    ours = OurProduct(code=ISBN_EAN)
    book = score(ours, make_item(ISBN10, identifiers=(gtin14(ISBN_EAN),)), evidence=LISTED)
    resale = score(ours, make_item("B00RESALE1", identifiers=(gtin14(ISBN_EAN),)), evidence=LISTED)
    assert summary(outcome(resale, book)) == ("matched", "exact", ISBN10, 0.92)


# --- review order ---


def test_tied_candidates_are_ordered_for_review() -> None:
    items = [
        make_item("B0", item_class="OTHER", sales_rank=1, image="x"),
        make_item("B1", sales_rank=90, image="x"),
        make_item("B2", sales_rank=10),
        make_item("B3", sales_rank=10, image="x"),
        make_item("B4"),
    ]
    decision = outcome(*(score(OURS, item, evidence=LISTED) for item in items))
    assert [c.item.asin for c in decision.candidates] == ["B3", "B2", "B1", "B4", "B0"]


def test_reasons_name_their_figures() -> None:
    ours = OurProduct(code=EAN, title="Nutella 400g", brand="Nutella", part_number="NUT-400")
    scored = score(ours, make_item(model_number="NUT 400"), evidence=LISTED)
    assert scored.reasons == (
        "EAN 3017620422003 is listed by Amazon for this item: +0.92",
        "title similarity 100 of 100: +0.04",
        "brand Nutella is the same: +0.04",
        "part number NUT-400 is the same: +0.05",
    )
    assert scored.score == 0.99


def test_a_part_number_stands_for_an_unknown_brand() -> None:
    ours = OurProduct(code=EAN, part_number="PSLX-350H")
    scored = score(ours, make_item(brand=None, identifiers=(), part_number="PSLX350H"), evidence=RETURNED)
    assert scored.score == 0.79
    assert "brand unknown, but the part number stands for it: +0.04" in scored.reasons


# --- pack sizes ---


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Lot de 6 x 400g", 6),
        ("Nutella 400g (Lot de 6)", 6),
        ("lot de 6", 6),
        ("Pack of 6", 6),
        ("Coca-Cola 33cl, 24 Pack", 24),
        ("6-pack socks", 6),
        ("6er-Pack Nutella", 6),
        ("6er Pack", 6),
        ("Nutella, 3er Set", 3),
        ("Packung mit 4", 4),
        ("paquet de 12 biscuits", 12),
        ("Boîte de 100 vis", 100),
        ("6 x 400g", 6),
        ("6x33cl", 6),
        ("6 × 1,5 L Wasser", 6),
        ("Nutella 400g x6", 6),
        ("NUTELLA 400G X6", 6),
        ("Coca 33cl x 24 canettes", 24),
        ("Nutella (x6)", 6),
        ("Nutella [X6]", 6),
        ("Nutella x6", 6),
        ("6x Nutella", 6),
        ("Doppelpack Nutella", 2),
        ("Twin Pack", 2),
        ("2 x 6 x 33cl", 12),
        ("lot de 2 packs de 6", 12),
        ("Lot de 2 (6 x 33cl)", 12),
        ("Lot de 6 (6 x 400g)", 6),
        # no packs
        ("Nutella 400g", None),
        ("Câble HDMI 2 x 5 m", None),
        ("Tapis 200 x 300 cm", None),
        ("Carton 20 x 30 x 40 cm", None),
        ("Honor X6", None),
        ("Transcend 4GB CompactFlash Card (133x)", None),
        ("Honor X6 Smartphone 128 Go", None),
        ("iPhone X 64 Go", None),
        ("RAM DDR4 2x8GB", None),
        ("paquet de 500 feuilles A4", None),
        ("Lot de 2,5 kg", None),
        ("pack de 400 g", None),
        ("Puzzle 1000 pièces", None),
        ("10x Zoom Fernglas", None),
        ("Lot de 0", None),
        ("", None),
    ],
)
def test_pack_size(title: str, expected: int | None) -> None:
    assert pack_size(title) == expected


def test_the_catalogue_figure_wins_over_our_title_and_the_larger_of_amazons_two_counts() -> None:
    ours = OurProduct(code=EAN, title="Nutella x6", pack=1)
    assert score(ours, make_item(title="Nutella", pack=1), evidence=LISTED).vetoes == ()
    assert score(ours, make_item(title="Nutella (x6)", pack=1), evidence=LISTED).vetoes == ("pack",)
    assert score(ours, make_item(title="Nutella", pack=6), evidence=LISTED).vetoes == ("pack",)


# --- brands and part numbers ---


@pytest.mark.parametrize(
    ("ours", "brand", "manufacturer", "expected"),
    [
        ("L'Oréal Paris", "L’OREAL PARIS", None, "equal"),
        ("Müller GmbH & Co. KG", "MULLER", None, "equal"),
        ("Procter & Gamble", "Procter and Gamble", None, "equal"),
        ("Moulinex S.A.S.", "Moulinex", None, "equal"),
        ("Amazon Basics", "AmazonBasics", None, "equal"),
        ("Bosch", "Bosch Professional", None, "close"),
        ("Playmobile", "Playmobil", None, "close"),
        ("Ferrero", "Nutella", "Ferrero France", "close"),
        ("Ferrero", None, "Ferrero", "equal"),
        ("Samsung", "Spigen", None, "conflict"),
        ("Samsung", "Spigen", "Spigen Inc", "conflict"),
        ("Samsung", None, "Foxconn", "unknown"),
        ("Samsung", "Générique", None, "unknown"),
        ("Samsung", None, None, "unknown"),
        (None, "Samsung", None, "unknown"),
        ("", "Samsung", None, "unknown"),
        ("LG", "HP", None, "conflict"),
    ],
)
def test_compare_brands(ours: str | None, brand: str | None, manufacturer: str | None, expected: str) -> None:
    assert compare_brands(ours, make_item(brand=brand, manufacturer=manufacturer)) == expected


def test_a_brand_made_of_legal_forms_keeps_its_words() -> None:
    assert normalise_brand("SE Co") == ("se", "co")


def test_short_part_numbers_prove_nothing() -> None:
    assert (normalise_part_number("A-12"), normalise_part_number("a-123/b")) == ("", "A123B")


# --- properties ---

texts = st.one_of(
    st.none(),
    st.text(max_size=40),
    st.sampled_from(["Nutella 400g", "Lot de 6 x 400g", "Honor X6", "Spigen", "Ferrero SAS", "2 x 5 m"]),
)
products = st.builds(
    OurProduct,
    code=st.sampled_from([EAN, BAD_EAN, CASE, ISBN_EAN, "20000004", "96385074"]),
    title=texts,
    brand=texts,
    part_number=texts,
    pack=st.one_of(st.none(), st.integers(1, 12)),
)
items = st.builds(
    Item,
    asin=st.sampled_from(["B000000001", "B000000002", ISBN10, "0060935464"]),
    title=texts,
    brand=texts,
    manufacturer=texts,
    part_number=texts,
    model_number=texts,
    pack=st.one_of(st.none(), st.integers(1, 12)),
    item_class=st.sampled_from([None, "BASE_PRODUCT", "OTHER", "PRODUCT_BUNDLE", "VARIATION_PARENT"]),
    sales_rank=st.one_of(st.none(), st.integers(1, 10**6)),
    image=st.sampled_from([None, "https://images.example/1.jpg"]),
)


def scored_as(product: OurProduct, item: Item, evidence: Evidence) -> Scored:
    if evidence is LISTED:
        item = with_fields(item, identifiers=(gtin14(product.code),))
    return score(product, item, evidence=evidence)


def with_fields(item: Item, **fields: Any) -> Item:
    return replace(item, **fields)


@given(products, items, st.sampled_from(Evidence))
def test_every_score_lies_between_0_and_1_and_is_explained(product: OurProduct, item: Item, how: Evidence) -> None:
    scored = scored_as(product, item, how)
    assert 0 <= scored.score <= 0.99
    assert scored.reasons


@given(products, items, st.sampled_from(Evidence))
def test_a_veto_never_raises_the_score(product: OurProduct, item: Item, how: Evidence) -> None:
    before = scored_as(product, with_fields(item, item_class=None), how).score
    for item_class in ("VARIATION_PARENT", "PRODUCT_BUNDLE"):
        assert scored_as(product, with_fields(item, item_class=item_class), how).score <= before
    theirs = max(pack_size(item.title or "") or 1, item.pack or 1)
    assert scored_as(product, with_fields(item, item_class=None, pack=theirs + 13), how).score <= before


@given(products, items, st.sampled_from([RETURNED, KEYWORD]))
def test_without_an_identifier_nothing_reaches_the_default_threshold(
    product: OurProduct, item: Item, how: Evidence
) -> None:
    scored = score(product, item, evidence=how)
    if not scored.confirmed:
        assert scored.score < 0.85
        assert outcome(scored, threshold=0.0).status != "matched"


@given(items, st.sampled_from(Evidence), texts, texts)
def test_a_bad_check_digit_never_matches(item: Item, how: Evidence, title: str | None, brand: str | None) -> None:
    product = OurProduct(code=BAD_EAN, title=title, brand=brand, part_number=item.part_number)
    assert outcome(scored_as(product, item, how), threshold=0.0).status != "matched"


@given(products, st.lists(st.tuples(items, st.sampled_from(Evidence)), max_size=4, unique_by=lambda pair: pair[0].asin))
def test_the_order_of_candidates_does_not_matter(product: OurProduct, candidates: list[tuple[Item, Evidence]]) -> None:
    scored = [scored_as(product, item, how) for item, how in candidates]
    decisions = [outcome(*order) for order in itertools.permutations(scored)]
    assert all(decision == decisions[0] for decision in decisions)
    assert decisions[0].status in ("matched", "ambiguous", "unmatched")


@given(st.text(max_size=200))
def test_any_title_can_be_read(title: str) -> None:
    size = pack_size(title)
    assert size is None or size >= 1
