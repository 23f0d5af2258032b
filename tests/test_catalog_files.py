"""Real supplier files, read and mapped: the counts that their source states or that follow from it."""

from collections import Counter
from dataclasses import dataclass, field

from imports.mapping import Mapper, RowProblem, compile_mapping
from pim.tabular import Detected, open_table
from tests.shared_data import shared_data


@dataclass
class Read:
    """A file, read whole. accepted: EAN of each accepted row. first: the values of the first one."""

    detected: Detected
    mapper: Mapper
    rows: int = 0
    refused: int = 0
    accepted: Counter[str] = field(default_factory=Counter)
    problems: list[RowProblem] = field(default_factory=list)
    first: dict[str, object] = field(default_factory=dict)

    def count(self, level: str, name: str, message: str) -> int:
        return sum(p.level == level and p.field == name and message in p.message for p in self.problems)


def read(name: str, mapping: dict[str, str] | None = None) -> Read:
    with open_table(shared_data("data", "catalog", name)) as table:
        mapper = compile_mapping(table.columns, mapping=mapping)
        found = Read(table.detected, mapper)
        for number, cells in table:
            found.rows += 1
            mapped = mapper(number, cells)
            found.problems.extend(mapped.problems)
            if mapped.values is None:
                found.refused += 1
                continue
            found.accepted[mapped.ean] += 1
            if not found.first:
                found.first = {"ean": mapped.ean, **dict(zip(mapper.fields, mapped.values, strict=True))}
    return found


WRONG = "EAN check digit is wrong"


def test_open_food_facts_utf16() -> None:
    found = read("off_fr_utf16le_semicolon.csv")
    assert (found.detected.encoding, found.detected.delimiter) == ("utf-16-le", ";")
    assert found.rows == 6774
    # 18 codes have 6, 12, 14 or 15 digits; those of 12 are UPCs
    assert found.refused == 14
    assert sum(found.accepted.values()) == 6760
    assert len([ean for ean in found.accepted if len(ean) == 8]) <= 372
    by_length = Counter(len((problem.value or "").strip()) for problem in found.problems if WRONG in problem.message)
    assert by_length[8] + by_length[13] == 90
    assert found.mapper.mapped == {"code": "ean", "product_name": "name", "brands": "brand_name"}


def test_french_medicines_latin1_without_header() -> None:
    found = read("bdpm_cip13_latin1_noheader.tsv", {"column_7": "ean", "column_3": "name", "column_10": "price"})
    assert (found.detected.delimiter, found.detected.header) == ("\t", False)
    assert (found.rows, found.refused, found.problems) == (10042, 0, [])
    assert len(found.accepted) == 10042


def test_prices_whose_thousands_mark_is_a_comma() -> None:
    with open_table(shared_data("data", "catalog", "bdpm_cip13_latin1_noheader.tsv")) as table:
        mapper = compile_mapping(table.columns, mapping={"column_7": "ean", "column_10": "price"})
        price = mapper.fields.index("price")
        above = [
            (cells[9], mapped.values[price])
            for number, cells in table
            if cells[9].count(",") == 2 and (mapped := mapper(number, cells)).values is not None
        ]
    assert len(above) == 72
    assert all(value == text.replace(",", "", 1).replace(",", ".") for text, value in above)


def test_a_supplier_workbook_of_407_columns() -> None:
    found = read("supplier_guenzburger_2424rows_407cols.xlsx")
    assert found.rows == sum(found.accepted.values()) == 2424
    assert len(found.problems) == found.count("warning", "ean", WRONG) == 7
    assert [problem.value for problem in found.problems if len(problem.value or "") == 12] == ["403140519694"]
    assert found.first["ean"] == "4031405196902"
    assert found.first["brand_name"] == "Günzburger Steigtechnik GmbH"


def test_bmecat_12_with_an_internal_subset() -> None:
    found = read("bmecat12_kstools_doctype_internal_subset.xml")
    assert (found.rows, found.problems, found.detected.record_path) == (1, [], "BMECAT/T_NEW_CATALOG/ARTICLE")
    description = str(found.first.pop("description"))
    assert description.startswith('<ul><li class="liste">ideale Zusammenstellung für')
    assert found.first == {
        "ean": "4042146228586",
        "reference": "100.1180",
        "name": "RDKS / TPMS Werkzeug-Satz für Reifendruck-Kontrollsysteme, 13-tlg.",
        "brand_name": "KS Tools",
        "upc": found.first["upc"],
    }


def test_bmecat_2005_with_namespaces_and_languages() -> None:
    for name, ean in [("1351590000", "4050118158540"), ("8965490000", "4032248785100")]:
        found = read(f"bmecat2005_weidmueller_{name}.xml")
        assert (found.rows, found.problems, found.detected.record_path) == (1, [], "BMECAT/T_NEW_CATALOG/PRODUCT")
        assert (found.first["ean"], found.first["reference"]) == (ean, name)
        assert found.mapper.mapped["PRODUCT_DETAILS/DESCRIPTION_SHORT[eng]"] == "name"
    german = read(
        "bmecat2005_weidmueller_1351590000.xml",
        {"PRODUCT_DETAILS/EAN": "ean", "PRODUCT_DETAILS/DESCRIPTION_SHORT[deu]": "name"},
    )
    assert german.first["name"] == "Überspannungsableiter (Energietechnik/Stromversorgung)"


def test_google_shopping_rss() -> None:
    found = read("importpc_google_shopping_rss.xml")
    assert (found.rows, found.detected.record_path) == (1255, "rss/channel/item")
    assert sum(found.accepted.values()) == 1243
    assert found.refused == found.count("error", "ean", "EAN is missing") == len(found.problems) == 12
    assert sorted(count for count in found.accepted.values() if count > 1) == [2, 2, 2, 2, 2, 2, 4]
    assert found.first["price"] == "599.00"
    assert found.first["category"] == "Elektronika > Počítače > Příslušenství > Nabíječky"


def test_codes_that_a_spreadsheet_mangled() -> None:
    found = read("goodbooks10k_mangled_isbn13.csv", {"isbn13": "ean", "title": "name"})
    assert found.rows == 10000
    assert found.count("error", "ean", "a spreadsheet has rounded this code to scientific notation") == 9410
    assert found.count("error", "ean", "EAN is missing") == 585
    assert found.count("warning", "ean", "leading zeros restored") == sum(found.accepted.values()) == 4
    assert found.refused == 9996


def test_icecat_products() -> None:
    for language in ("fr", "en"):
        found = read(f"icecat_product_8806088281285_{language}.xml", {"EANCode/@EAN": "ean", "@Title": "name"})
        assert (found.rows, found.detected.record_path) == (1, "ICECAT-interface/Product")
        assert found.first["ean"] == "8806088281285"
    assert read("icecat_product_8806088281285_fr.xml").mapper.mapped["EANCode/@EAN"] == "ean"


def test_files_without_any_ean() -> None:
    for name, rows, columns in [
        ("open_icecat_smartphones.ndjson", 10, 192),
        ("magento2_configurable_products.csv", 1994, 70),
    ]:
        with open_table(shared_data("data", "catalog", name)) as table:
            assert (sum(1 for _ in table), len(table.columns)) == (rows, columns)


def test_shop_exports_whose_products_have_no_code() -> None:
    for name, rows in [("shopify_products_packt.csv", 21), ("prestashop14_products_import.csv", 2)]:
        found = read(name)
        assert (found.rows, found.refused, found.count("error", "ean", "EAN is missing")) == (rows, rows, rows)
