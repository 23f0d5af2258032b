"""The demonstration data: the same for a seed, valid, and exactly as its summary says."""

import csv
import io
from collections import Counter
from pathlib import Path

import pytest

from catalog.identifiers import CodeError, LookupClass, check_digit_fits, isbn10, lookup_class, normalise
from code2asin.demo.generate import (
    CATALOGUE_FILE,
    DEFECTS,
    FEED_FILE,
    FEED_MAPPING,
    TRAPS,
    Defect,
    Demo,
    Kind,
    feed_csv,
    generate,
    write_demo,
)
from code2asin.stand_in.catalogue import Catalogue, catalogue_to_json, load_catalogue

IMAGES = "http://127.0.0.1:8100"
REFUSED = {Defect.MISSING_NAME, Defect.MANGLED_CODE, Defect.UNREADABLE_PRICE, Defect.SHORT_CODE}


@pytest.fixture(scope="module")
def demo() -> Demo:
    return generate(image_base_url=IMAGES)


def test_a_seed_gives_the_same_files_and_another_seed_others(demo: Demo) -> None:
    again, other = generate(image_base_url=IMAGES), generate(seed=7, image_base_url=IMAGES)
    assert feed_csv(again.rows) == feed_csv(demo.rows) != feed_csv(other.rows)
    assert catalogue_to_json(again.items) == catalogue_to_json(demo.items) != catalogue_to_json(other.items)
    assert again.summary == demo.summary


def test_the_counts_are_as_announced(demo: Demo) -> None:
    assert len(demo.rows) == demo.summary.rows == 1506
    assert Counter(row.defect for row in demo.summary.defects) == Counter(DEFECTS)
    # every product but those of the 14 refused rows
    assert len(demo.summary.kinds) == 1486
    counts = demo.summary.counts
    assert counts[Kind.UNIQUE] == 1298
    assert counts[Kind.MISSING] == 90
    assert counts[Kind.BAD_CHECK_DIGIT] == 8
    assert [counts[kind] for kind in TRAPS] == [12, 12, 11, 11, 11, 11, 11, 11]


def test_the_summary_names_every_defective_row_and_no_other(demo: Demo) -> None:
    defective = {row.row: row for row in demo.summary.defects}
    columns = {field: column for column, field in FEED_MAPPING.items()}
    seen: set[str] = set()
    for number, row in enumerate(demo.rows, start=2):
        defect = defective.get(number)
        if defect is not None:
            assert row[columns[defect.field]] == defect.value
        if defect is None or defect.defect not in REFUSED:
            ean = normalise(row["EAN"])
            assert ean.check_digit_ok == (defect is None or defect.defect is not Defect.WRONG_CHECK_DIGIT)
            assert (ean.ean in seen) == (defect is not None and defect.defect is Defect.REPEATED_EAN)
            assert row["Titre"]
            assert float(row["Prix de vente"]) > float(row["Prix HT"]) > 0
            assert float(row["Poids (kg)"]) > 0
            assert ean.ean in demo.summary.kinds
            seen.add(ean.ean)
    assert seen == demo.summary.kinds.keys()


@pytest.mark.parametrize("defect", [Defect.MANGLED_CODE, Defect.SHORT_CODE])
def test_damaged_codes_cannot_be_repaired(demo: Demo, defect: Defect) -> None:
    for row in demo.summary.defects:
        if row.defect is defect:
            with pytest.raises(CodeError):
                normalise(row.value)


def test_codes_may_be_looked_up(demo: Demo) -> None:
    for ean, kind in demo.summary.kinds.items():
        expected = LookupClass.BAD_CHECK_DIGIT if kind is Kind.BAD_CHECK_DIGIT else LookupClass.VALID
        assert lookup_class(ean) is expected


def test_amazon_knows_what_each_kind_says(demo: Demo) -> None:
    catalogue = Catalogue(demo.items)
    brands = {normalise(row["EAN"]).ean: row["Marque"] for row in demo.rows if len(row["EAN"]) in (12, 13)}
    for ean, kind in demo.summary.kinds.items():
        items = catalogue.by_gtins([ean])
        classes = [item.classification for item in items]
        same_brand = all(item.brand == brands[ean] for item in items)
        listed = [ean in item.gtins for item in items]
        match kind:
            case Kind.UNIQUE:
                assert (classes, listed, same_brand) == (["BASE_PRODUCT"], [True], True)
                assert items[0].pack in (1, None)
            case Kind.SPELLING:
                assert (classes, listed, same_brand) == (["BASE_PRODUCT"], [False], True)
                assert len(items[0].gtins) == 1
            case Kind.MISSING | Kind.BAD_CHECK_DIGIT:
                assert items == []
            case Kind.DUPLICATE:
                assert (classes, listed, same_brand) == (["BASE_PRODUCT"] * 2, [True, True], True)
                assert items[0].pack == items[1].pack != 6
            case Kind.PACK_AND_SINGLE:
                assert sorted(item.pack or 1 for item in items) == [1, 6]
            case Kind.PACK_ONLY:
                assert [item.pack for item in items] == [6]
            case Kind.BUNDLE:
                assert classes == ["PRODUCT_BUNDLE"]
            case Kind.PARENT_ONLY:
                assert classes == ["VARIATION_PARENT"]
            case Kind.BRAND_CONFLICT:
                assert (classes, listed, same_brand) == (["BASE_PRODUCT"], [True], False)
            case Kind.UNLISTED:
                assert (classes, items[0].gtins, same_brand) == (["BASE_PRODUCT"], (), True)


def test_a_wrong_check_digit_hides_a_product_amazon_has(demo: Demo) -> None:
    catalogue = Catalogue(demo.items)
    for ean, kind in demo.summary.kinds.items():
        if kind is Kind.BAD_CHECK_DIGIT:
            right = [ean[:-1] + str(digit) for digit in range(10) if check_digit_fits(ean[:-1] + str(digit))]
            assert len(catalogue.by_gtins(right)) == 1


def test_books_are_sold_under_their_isbn(demo: Demo) -> None:
    books = [item for item in demo.items if item.product_type == "ABIS_BOOK"]
    assert len(books) > 100
    for book in books:
        assert book.gtins == (book.gtins[0], isbn10(book.gtins[0]))
        assert book.asin == book.gtins[1]
    assert all(item.asin.startswith("B0") for item in demo.items if item.product_type != "ABIS_BOOK")


def test_files_are_read_back(tmp_path: Path) -> None:
    summary = write_demo(tmp_path / "demo", image_base_url=IMAGES, seed=3, products=300)
    demo = generate(seed=3, products=300, image_base_url=IMAGES)
    assert summary == demo.summary
    text = (tmp_path / "demo" / FEED_FILE).read_text(encoding="utf-8")
    reader = csv.DictReader(io.StringIO(text))
    assert list(reader) == demo.rows
    assert reader.fieldnames == list(FEED_MAPPING)
    assert ";" not in text
    assert demo.rows[0]["URL image"].startswith(f"{IMAGES}/supplier-images/")
    assert list(load_catalogue(tmp_path / "demo" / CATALOGUE_FILE).items) == demo.items
