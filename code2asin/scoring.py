"""How sure a match is: an explained score per candidate, one decision per code. Pure functions, no database.

The identifier decides. Brand, pack size, kind of item and quality of the code can only take away: each is a veto
that caps the score and sends the match to review, whatever the threshold. A title moves a score a little and
never justifies an automatic match. Weights and rules are explained in docs/matching.md.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, prod
from typing import Literal

from rapidfuzz import fuzz
from rapidfuzz.utils import default_process

from catalog.identifiers import LookupClass, gtin14, isbn10, lookup_class
from code2asin.providers.base import Item


class Evidence(StrEnum):
    """Why an item is a candidate for a code."""

    LISTED = "listed"  # its identifiers contain the code
    RETURNED = "returned"  # returned for this code alone, but it does not list it
    KEYWORD = "keyword"  # found by a text search


MatchType = Literal["exact", "partial", "fuzzy"]
Status = Literal["matched", "ambiguous", "unmatched"]

BASE_SCORE = {Evidence.LISTED: 0.92, Evidence.RETURNED: 0.70, Evidence.KEYWORD: 0.40}
BRAND_EQUAL, BRAND_CONFLICT = 0.04, -0.20
PART_NUMBER_EQUAL = 0.05
TITLE_BANDS = ((80.0, 0.04), (50.0, 0.0), (35.0, -0.05), (0.0, -0.15))  # similarity from, change
KEYWORD_TITLE_WEIGHT = 0.35  # at similarity 100; nothing at 60, negative below

MAX_SCORE = 0.99  # certainty (1.0) is left to a person
CAP_KEYWORD = 0.80
CAP_BRAND_CONFLICT = 0.75
CAP_ISBN_CONFLICT = 0.75
CAP_CASE_CODE = 0.75
CAP_BUNDLE = 0.60
CAP_CONDITION = 0.60
CAP_BAD_CHECK_DIGIT = 0.60
CAP_PACK = 0.50
CAP_PARENT = 0.40
CAP_TIE = 0.80

TIE_MARGIN = 0.10
UNMATCHED_BELOW = 0.30


@dataclass(frozen=True, slots=True, kw_only=True)
class OurProduct:
    """What we know of the product behind a code. pack: units when the catalogue says so, else read from the title."""

    code: str  # 8, 12, 13 or 14 digits
    title: str | None = None
    brand: str | None = None
    part_number: str | None = None
    pack: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A candidate with its score (0 to 0.99), the figures it rests on and one sentence per figure.

    vetoes: names of the rules that forbid an automatic match. confirmed: the ASIN itself is the code (ISBN-10).
    """

    item: Item
    evidence: Evidence
    score: float
    features: Mapping[str, str | float | int | bool | None]
    reasons: tuple[str, ...]
    vetoes: tuple[str, ...] = ()
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The outcome for one code. candidates: all of them, best first, with the scores that were decided on.

    best: the proposal, None when unmatched. confidence: its score, 0 when unmatched.
    """

    status: Status
    match_type: MatchType | None
    best: Scored | None
    confidence: float
    candidates: tuple[Scored, ...]
    reason: str


# --- titles, brands, part numbers -------------------------------------------------------------------------------

_CONTAINER = (
    r"(?:lots?|packs?|paquets?|packets?|packages?|bo[iî]tes?|box(?:es)?|cases?|cartons?|caisses?|sets?|bundles?|coffrets?"
    r"|sachets?|packung(?:en)?|karton)"
)
_OF = r"\s+(?:de|of|von|mit|aus|à)\s+"
# A pack of 500 sheets is one product: these nouns count its content.
_CONTENT = r"(?!\s*(?:feuilles|feuillets|pages|sheets|blatt|seiten)\b)"
_MEASURE = r"(?:kg|g|gr|mg|ml|cl|dl|l|litres?|liters?|oz|lbs?)"  # lengths are dimensions, never packs
_TIMES = r"\s*[x×*]\s*"

_CONTAINER_OF = re.compile(
    rf"\b{_CONTAINER}{_OF}(\d{{1,4}})\b(?![.,]\d)(?!\s*{_MEASURE}\b){_CONTENT}(?:\s+{_CONTAINER}{_OF}(\d{{1,4}})\b)?",
    re.I,
)
_N_PACK = re.compile(
    rf"\b(\d{{1,4}})(?:\s*-?\s*|er[\s-]*)(?:packs?|pk|packung|sets?|karton)\b(?!{_OF}\d)", re.I
)  # "6-pack", "6er-Pack"
_WORD_PACK = re.compile(r"\b(?:twin|double|duo|doppel)[\s-]*pack(?:ung)?\b", re.I)
_TIMES_MEASURE = re.compile(rf"(?<![\d.,x×*])((?:\b\d{{1,4}}{_TIMES})+)\d+(?:[.,]\d+)?\s*{_MEASURE}\b", re.I)
_MEASURE_TIMES = re.compile(rf"\b\d+(?:[.,]\d+)?\s*{_MEASURE}{_TIMES}(\d{{1,4}})\b(?!\s*[x×*.,]?\d)", re.I)
_BRACKETED = re.compile(r"[(\[]\s*[x×]\s*(\d{1,4})\s*[)\]]", re.I)  # "(133x)" is the speed of a memory card
_TRAILING = re.compile(r"\s[x×]\s?(\d{1,4})\s*$")  # lower case: "Honor X6" is a model
_LEADING = re.compile(r"^\s*(\d{1,4})\s?[x×]\s+(?=[^\W\d])(?!zoom|opti|magni|vergr|gross)", re.I)


def pack_size(title: str) -> int | None:
    """The number of units a French, English or German title announces, None when it announces none.

    "Lot de 6 x 400g", "6er-Pack" and "(x6)" are 6; "lot de 2 packs de 6" is 12. Different figures multiply, equal
    ones repeat each other. Lengths ("2 x 5 m"), content ("paquet de 500 feuilles") and names ("Honor X6") are no
    packs.
    """
    sizes: set[int] = set()
    for match in _CONTAINER_OF.finditer(title):
        sizes.add(int(match[1]) * int(match[2] or 1))
    for pattern in (_N_PACK, _MEASURE_TIMES, _BRACKETED, _TRAILING, _LEADING):
        sizes.update(int(match[1]) for match in pattern.finditer(title))
    for match in _TIMES_MEASURE.finditer(title):
        sizes.add(prod(int(factor) for factor in re.findall(r"\d+", match[1])))
    if _WORD_PACK.search(title):
        sizes.add(2)
    sizes.discard(0)
    return prod(sizes) if sizes else None


_LEGAL_FORMS = frozenset(
    "sa sas sasu sarl eurl sl slu srl spa sro gmbh mbh ag kg kgaa ohg ug se ltd limited plc llc llp inc incorporated"
    " corp corporation co company cie bv nv ab as aps oy oyj pty".split()
)
_AND = frozenset(("et", "and", "und", "y", "e", "&"))
_NO_BRAND = frozenset(("generic", "generique", "generisch", "unbranded", "no name", "sans marque", "ohne marke", "n a"))


def normalise_brand(brand: str | None) -> tuple[str, ...]:
    """The words of a brand without case, accents, signs, legal forms and "and" in any spelling; () for no brand."""
    text = unicodedata.normalize("NFKD", (brand or "").casefold().replace("&", " & "))
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = re.sub(r"(?<=\b\w)\.(?=\w\b)", "", text)  # S.A.S. -> SAS
    words = re.findall(r"[^\W_]+|&", re.sub(r"[®™©'’]", "", text))
    if " ".join(words) in _NO_BRAND:
        return ()
    kept = tuple(word for word in words if word not in _LEGAL_FORMS and word not in _AND)
    return kept or tuple(words)  # a brand that is nothing but such words keeps them


BrandRelation = Literal["equal", "close", "conflict", "unknown"]


def compare_brands(ours: str | None, item: Item) -> BrandRelation:
    """Compare our brand with the item's brand, or its manufacturer where that explains the difference.

    close: one name contains the other ("Bosch", "Bosch Professional"), differs by a typing error, or is the
    manufacturer's: neither an argument for the match nor against it.
    """
    mine, theirs, maker = (normalise_brand(name) for name in (ours, item.brand, item.manufacturer))
    if not mine or not (theirs or maker):
        return "unknown"
    if "".join(mine) == "".join(theirs or maker):
        return "equal"
    for other in (theirs, maker):
        if other and (set(mine) <= set(other) or set(other) <= set(mine)):
            return "close"
        if other and len("".join(mine)) >= 5 and fuzz.ratio("".join(mine), "".join(other)) >= 88:
            return "close"
    return "conflict" if theirs else "unknown"


def normalise_part_number(text: str | None) -> str:
    """Letters and digits only, upper case; "" when too short (under 4) to tell products apart."""
    plain = re.sub(r"[\W_]+", "", text or "").upper()
    return plain if len(plain) >= 4 else ""


_SECOND_HAND = re.compile(
    r"\b(?:renewed|refurbished|pre-?owned|reconditionn[ée]e?s?|d'occasion|generalüberholt|gebraucht)\b", re.I
)


# --- the score of one candidate ---------------------------------------------------------------------------------


class _Tally:
    """Sums changes, remembers caps, and writes the sentence for each."""

    def __init__(self) -> None:
        self.total = 0.0
        self.cap = MAX_SCORE
        self.reasons: list[str] = []
        self.vetoes: list[str] = []

    def add(self, change: float, why: str) -> None:
        self.total += change
        self.reasons.append(f"{why}: {change:+.2f}" if change else f"{why}: no change")

    def veto(self, name: str, cap: float, why: str, *, change: float = 0.0) -> None:
        self.total += change
        self.cap = min(self.cap, cap)
        self.vetoes.append(name)
        self.reasons.append(f"{why}: {f'{change:+.2f} and ' if change else ''}capped at {cap:.2f}")

    @property
    def score(self) -> float:
        return round(max(0.0, min(self.total, self.cap)), 4)


def score(product: OurProduct, item: Item, *, evidence: Evidence) -> Scored:
    """Score one candidate for one product.

    Raises ValueError when evidence is LISTED but the item does not list the product's code.
    """
    code = gtin14(product.code)
    if evidence is Evidence.LISTED and code not in item.identifiers:
        raise ValueError(f"{item.asin} does not list {product.code}: the evidence cannot be 'listed'")
    code_class = lookup_class(product.code)
    tally = _Tally()
    confirmed = _score_code(tally, product, item, evidence, code_class)
    similarity = _score_title(tally, product, item, evidence)
    brand = compare_brands(product.brand, item)
    part_number = _part_number_equal(product, item)
    _score_brand(tally, product, item, brand, part_number=part_number)
    if part_number:
        tally.add(PART_NUMBER_EQUAL, f"part number {product.part_number} is the same")
    ours, theirs = packs(product, item)
    if ours != theirs:
        tally.veto("pack", CAP_PACK, f"pack size {theirs} against {ours}")
    _veto_kind(tally, product, item)
    return Scored(
        item=item,
        evidence=evidence,
        score=tally.score,
        features={
            "evidence": evidence.value,
            "code_class": code_class.value,
            "isbn_confirmed": confirmed,
            "title_similarity": similarity,
            "brand": brand,
            "part_number_equal": part_number,
            "pack_ours": ours,
            "pack_theirs": theirs,
            "item_class": item.item_class,
        },
        reasons=tuple(tally.reasons),
        vetoes=tuple(tally.vetoes),
        confirmed=confirmed,
    )


def packs(product: OurProduct, item: Item) -> tuple[int, int]:
    """Units in our product and in the item, 1 where nothing says otherwise; of Amazon's figure and title the larger."""
    ours = product.pack or pack_size(product.title or "") or 1
    return ours, max(item.pack or 1, pack_size(item.title or "") or 1)


def _score_code(tally: _Tally, product: OurProduct, item: Item, evidence: Evidence, code_class: LookupClass) -> bool:
    """Evidence and quality of the code; True when the ASIN is the book's ISBN-10 (then it is as good as listed)."""
    isbn = isbn10(gtin14(product.code)[1:]) if code_class is LookupClass.VALID else None
    confirmed = isbn is not None and isbn == item.asin
    match evidence:
        case Evidence.LISTED:
            tally.add(BASE_SCORE[evidence], f"EAN {product.code} is listed by Amazon for this item")
        case _ if confirmed:
            tally.add(BASE_SCORE[Evidence.LISTED], f"the ASIN is the ISBN-10 of {product.code}")
        case Evidence.RETURNED:
            tally.add(BASE_SCORE[evidence], f"returned for {product.code}, which the item does not list")
        case Evidence.KEYWORD:
            tally.add(BASE_SCORE[evidence], "found by a text search only")
            tally.cap = CAP_KEYWORD
    if isbn and not confirmed and item.asin[:1].isdigit():
        tally.veto("isbn", CAP_ISBN_CONFLICT, f"the ASIN is another book's ISBN-10 ({item.asin} against {isbn})")
    if code_class is LookupClass.BAD_CHECK_DIGIT:
        tally.veto("check_digit", CAP_BAD_CHECK_DIGIT, f"the check digit of {product.code} is wrong")
    elif code_class is LookupClass.CASE:
        tally.veto("case", CAP_CASE_CODE, f"{product.code} is the code of a case, not of the unit that is sold")
    return confirmed


def _score_title(tally: _Tally, product: OurProduct, item: Item, evidence: Evidence) -> float | None:
    """Title similarity, 0 to 100; None when one side has no title."""
    if not product.title or not item.title:
        return None
    similarity = round(fuzz.token_set_ratio(product.title, item.title, processor=default_process), 1)
    change = next(change for least, change in TITLE_BANDS if similarity >= least)
    if evidence is Evidence.KEYWORD:
        change += KEYWORD_TITLE_WEIGHT * (similarity - 60) / 40
    tally.add(change, f"title similarity {similarity:.0f} of 100")
    return similarity


def _score_brand(tally: _Tally, product: OurProduct, item: Item, brand: BrandRelation, *, part_number: bool) -> None:
    match brand:
        case "equal":
            tally.add(BRAND_EQUAL, f"brand {product.brand} is the same")
        case "close":
            tally.add(0.0, f"brand {item.brand or item.manufacturer} is close to {product.brand}")
        case "conflict":
            why = f"brand {item.brand} against {product.brand}"
            tally.veto("brand", CAP_BRAND_CONFLICT, why, change=BRAND_CONFLICT)
        case "unknown" if part_number:
            tally.add(BRAND_EQUAL, "brand unknown, but the part number stands for it")
        case "unknown":
            pass


def _part_number_equal(product: OurProduct, item: Item) -> bool:
    ours = normalise_part_number(product.part_number)
    return bool(ours) and ours in (normalise_part_number(item.part_number), normalise_part_number(item.model_number))


def _veto_kind(tally: _Tally, product: OurProduct, item: Item) -> None:
    if item.item_class == "VARIATION_PARENT":
        tally.veto("parent", CAP_PARENT, "the item is the parent of variations and cannot be bought itself")
    elif item.item_class == "PRODUCT_BUNDLE":
        tally.veto("bundle", CAP_BUNDLE, "the item is a bundle of products")
    second_hand = _SECOND_HAND.search(item.title or "")
    if second_hand and not _SECOND_HAND.search(product.title or ""):
        tally.veto("condition", CAP_CONDITION, f'the item is not new ("{second_hand[0]}")')


# --- the decision for one code ----------------------------------------------------------------------------------


def decide(candidates: Iterable[Scored], *, threshold: float, auto_match: bool) -> Decision:
    """Choose among the candidates of one code; their order does not matter.

    matched: one candidate lists the code, has no veto, reaches the threshold (>=) and has no rival. Rivals are
    candidates less than 0.10 below the best, and any other candidate that lists the code without a veto; then all
    are capped at 0.80 and a person decides. auto_match False leaves every decision to a person.
    """
    ranked = sorted(candidates, key=_review_order)
    if not ranked or ranked[0].score < UNMATCHED_BELOW:
        reason = f"no candidate reaches {UNMATCHED_BELOW:.2f}" if ranked else "no candidate"
        return Decision(
            status="unmatched", match_type=None, best=None, confidence=0.0, candidates=tuple(ranked), reason=reason
        )
    rivals = sum(_is_rival(ranked[0], other) for other in ranked[1:])
    tie = f"{rivals + 1} candidates are equally good: capped at {CAP_TIE:.2f}" if rivals else ""
    if tie:
        ranked = sorted((_tied(candidate, tie) for candidate in ranked), key=_review_order)
    best = ranked[0]
    status: Status = "ambiguous"
    if tie:
        reason = tie
    elif not _is_proven(best):
        reason = "the item does not list the code: a person must confirm"
    elif best.vetoes:
        reason = f"a person must confirm: {', '.join(best.vetoes)}"
    elif best.score < threshold:
        reason = f"score {best.score:.2f} is below the threshold {threshold:.2f}"
    elif not auto_match:
        reason = "automatic matching is off for this job"
    else:
        status, reason = "matched", f"score {best.score:.2f} reaches the threshold {threshold:.2f}"
    return Decision(
        status=status,
        match_type=match_type(best),
        best=best,
        confidence=best.score,
        candidates=tuple(ranked),
        reason=reason,
    )


def match_type(candidate: Scored) -> MatchType:
    """exact: the identifier proves it; partial: Amazon's search or a case code suggests it; fuzzy: a text search."""
    if "case" in candidate.vetoes:
        return "partial"
    if _is_proven(candidate):
        return "exact"
    return "fuzzy" if candidate.evidence is Evidence.KEYWORD else "partial"


def _is_proven(candidate: Scored) -> bool:
    return candidate.evidence is Evidence.LISTED or candidate.confirmed


def _is_clean(candidate: Scored) -> bool:
    return _is_proven(candidate) and not candidate.vetoes


def _is_rival(best: Scored, other: Scored) -> bool:
    if best.confirmed and not best.vetoes and not other.confirmed:
        return False  # the ISBN-10 itself beats a second item that merely lists the book's code
    close = round(best.score - other.score, 4) < TIE_MARGIN
    return close or (_is_clean(best) and _is_clean(other))


def _tied(candidate: Scored, tie: str) -> Scored:
    if candidate.score <= CAP_TIE:
        return candidate
    return replace(candidate, score=CAP_TIE, reasons=(*candidate.reasons, tie))


def _review_order(candidate: Scored) -> tuple[float, bool, bool, float, bool, str, str]:
    """Best first; among equal scores: same pack, base product, best sales rank, has pictures; the ASIN settles it."""
    item, features = candidate.item, candidate.features
    return (
        -candidate.score,
        features.get("pack_ours") != features.get("pack_theirs"),
        item.item_class != "BASE_PRODUCT",
        item.sales_rank if item.sales_rank is not None else inf,
        not (item.image or item.images),
        item.asin,
        candidate.evidence.value,
    )
