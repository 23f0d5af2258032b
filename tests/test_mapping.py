"""From columns to fields and from cells to values: headers, numbers, codes, words, and what each refusal says."""

import csv
import io
from collections import Counter

import pytest

from catalog.fields import DEACTIVATE, KEEP
from imports.columns import MAPPABLE, map_columns
from imports.mapping import Mapped, Mapper, MappingError, RowProblem, compile_mapping
from pim.tabular import open_table
from pim.tabular.formulas import escape_formula
from tests.shared_data import shared_data

EAN = "3760000000055"


def one(field: str, cell: str, *, header: str | None = None, **options: object) -> object:
    """The value of one cell, or the message that refuses it."""
    header = header or field
    mapper = compile_mapping(["ean", header], mapping={"ean": "ean", header: field}, **options)  # type: ignore[arg-type]
    mapped = mapper(2, [EAN, cell])
    if mapped.values is None:
        (problem,) = mapped.problems
        assert (problem.row, problem.field, problem.value, problem.level) == (2, field, cell[:200], "error")
        return f"! {problem.message}"
    return mapped.values[mapper.fields.index("status" if field == "is_active" else field)]


def automatic(*columns: str) -> dict[str, str]:
    return compile_mapping(columns).mapped


def test_headers_are_recognised_in_french_and_english() -> None:
    for column, field in [
        ("Désignation", "name"),
        ("TITRE", "name"),
        ("Libellé produit", "name"),
        ("productName", "name"),
        ("Product_Name *", "name"),
        ("Marque", "brand_name"),
        ("Brands", "brand_name"),
        ("Prix de vente TTC", "price"),
        ("Prix d’achat HT", "cost_price"),
        ("poids (kg)", "weight"),
        ("Poids net en g", "weight"),
        ("width_mm", "width"),
        ("Largeur", "width"),
        ("Hauteur (cm)", "height"),
        ("Profondeur", "depth"),
        ("Actif", "is_active"),
        ("Statut", "status"),
        ("Référence", "reference"),
        ("SKU", "reference"),
        ("ASIN", "asin"),
        ("Unité de mesure", "unit_of_measure"),
        ("Catégorie", "category"),
        ("Description courte", "short_description"),
        ("Image URL", "image_url"),
    ]:
        assert automatic("EAN", column) == {"EAN": "ean", column: field}


@pytest.mark.parametrize("header", sorted(set(MAPPABLE) - {"ean", "upc", "gtin", "barcode"}))
def test_every_field_is_recognised_by_its_own_name(header: str) -> None:
    assert automatic("ean", header) == {"ean": "ean", header: header}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["EAN13", "GTIN", "UPC", "Barcode"], {"EAN13": "ean", "GTIN": "gtin", "UPC": "upc", "Barcode": "barcode"}),
        (["GTIN", "UPC"], {"GTIN": "ean", "UPC": "upc"}),
        (["Code-barres", "Code"], {"Code-barres": "ean"}),
        (["upc"], {"upc": "ean"}),
        (["code"], {"code": "ean"}),
        (["EAN", "code"], {"EAN": "ean"}),
    ],
)
def test_one_code_column_is_the_ean_and_several_keep_their_own_fields(
    columns: list[str], expected: dict[str, str]
) -> None:
    assert automatic(*columns) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["Prix HT"], {"Prix HT": "price"}),
        (["Prix HT", "Prix TTC"], {"Prix HT": "cost_price", "Prix TTC": "price"}),
        (["Prix HT", "Prix d'achat"], {"Prix HT": "price", "Prix d'achat": "cost_price"}),
        (["Prix HT", "Price", "Cost"], {"Price": "price", "Cost": "cost_price"}),
    ],
)
def test_a_price_without_tax_is_the_price_unless_another_column_is(
    columns: list[str], expected: dict[str, str]
) -> None:
    assert automatic("EAN", *columns) == {"EAN": "ean"} | expected


def test_the_better_name_wins_and_the_rest_is_listed() -> None:
    mapper = compile_mapping(["EAN", "Titre", "Nom", "Stock", "nom (2)"])
    assert mapper.mapped == {"EAN": "ean", "Nom": "name"}
    assert mapper.ignored == ["Titre", "Stock", "nom (2)"]


def test_a_given_mapping_is_complete() -> None:
    mapper = compile_mapping(["EAN", "Titre", "Prix HT", "Poids"], mapping={"EAN": "ean", "titre": "name"})
    assert mapper.mapped == {"EAN": "ean", "Titre": "name"}
    assert mapper.ignored == ["Prix HT", "Poids"]


def test_the_ean_is_found_when_the_mapping_does_not_name_it() -> None:
    assert compile_mapping(["EAN", "x"], mapping={"x": "title"}).mapped == {"EAN": "ean", "x": "name"}
    with pytest.raises(MappingError, match="No column holds the EAN"):
        compile_mapping(["EAN", "x"], mapping={"EAN": "name"})


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"Prix": "price"}, "The file has no column 'Prix'. Columns found: EAN, Titre, Nom"),
        ({"Titre": "titel"}, "Unknown field 'titel' for column 'Titre'. Fields: ean, name, barcode,"),
        ({"Titre": "name", "Nom": "title"}, "Columns 'Titre' and 'Nom' are both mapped to 'name'; choose one"),
    ],
)
def test_mappings_that_cannot_be_are_refused(mapping: dict[str, str], message: str) -> None:
    with pytest.raises(MappingError) as error:
        compile_mapping(["EAN", "Titre", "Nom"], mapping=mapping)
    assert str(error.value).startswith(message)


def test_without_an_ean_the_columns_are_listed() -> None:
    with pytest.raises(MappingError, match=r"^No column holds the EAN\. Columns found: Titre, Stock\. Name the column"):
        compile_mapping(["Titre", "Stock"])


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", "12.00"),
        ("12.5", "12.50"),
        ("1213.50", "1213.50"),
        ("0", "0.00"),
        ("007.5", "7.50"),
        (",5", "0.50"),
        ("12,99", "12.99"),
        ("1.213,5", "1213.50"),
        ("1,234.56", "1234.56"),
        ("2 849,83", "2849.83"),
        ("2\u202f849,83", "2849.83"),
        ("2\u00a0849,83 €", "2849.83"),
        ("1'234.50", "1234.50"),
        ("2,849,83", "2849.83"),
        ("123.456,7", "123456.70"),
        ("11.99€", "11.99"),
        ("EUR 12", "12.00"),
        ("$ 3.50", "3.50"),
        ("12 EUR", "12.00"),
        ("+3", "3.00"),
        ("12.5000", "12.50"),
        ("0.500", "0.50"),
        ("999999.99", "999999.99"),
        ("  7  ", "7.00"),
        ("", KEEP),
        ("   ", KEEP),
    ],
)
def test_prices_are_read(cell: str, value: object) -> None:
    assert one("price", cell) == value


NUMBER = "! is not a number"
RANGE = "! must be between 0 and 999999.99"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("abc", NUMBER),
        ("12abc", NUMBER),
        ("€", NUMBER),
        ("65%", NUMBER),
        ("12.", NUMBER),
        ("1,23.45", NUMBER),
        ("12 34", NUMBER),
        ("1.2.3", NUMBER),
        ("--5", NUMBER),
        ("١٢", NUMBER),
        ("9" * 40, NUMBER),
        ("NaN", NUMBER),
        ("1e3", "! scientific notation is not accepted; write the number out"),
        ("-5", f"{RANGE} (read as -5)"),
        ("-0.01", f"{RANGE} (read as -0.01)"),
        ("1000000", f"{RANGE} (read as 1000000)"),
        ("2,849,835", f"{RANGE} (read as 2849835)"),
        ("12.3456", "! has more than 2 decimals (read as 12.3456)"),
        (
            "1.213",
            "! ambiguous: 1.213 with decimals or 1213 with a thousands mark? "
            "Write it without thousands marks and with two decimals",
        ),
        (
            "1,210",
            "! ambiguous: 1.210 with decimals or 1210 with a thousands mark? "
            "Write it without thousands marks and with two decimals",
        ),
    ],
)
def test_prices_that_cannot_be_read_are_errors(cell: str, message: str) -> None:
    assert one("price", cell) == message


def test_a_known_decimal_mark_settles_what_is_ambiguous() -> None:
    assert one("price", "1.210", decimal_mark=".") == "1.21"
    assert one("price", "1.210", decimal_mark=",") == "1210.00"
    assert one("price", "1,210", decimal_mark=".") == "1210.00"
    assert one("price", "12.50", decimal_mark=",") == "! '.' is not the decimal mark of this file, ',' is"
    assert one("price", "1.213,5", decimal_mark=".") == NUMBER


@pytest.mark.parametrize(
    ("field", "header", "cell", "value"),
    [
        ("weight", "weight", "1.250", "1.250"),
        ("weight", "weight", "1,25", "1.250"),
        ("weight", "weight", "99999.99", "99999.990"),
        ("weight", "weight", "99999.995", "! must be between 0 and 99999.99 (read as 99999.995)"),
        ("weight", "Poids (g)", "1250", "1.250"),
        ("weight", "Poids (g)", "1,250", "! ambiguous: 1.250 with decimals or 1250 with a thousands mark? "
         "Write it without thousands marks and with two decimals"),
        ("weight", "Poids en g", "0,5", "! has more than 3 decimals (read as 0.0005)"),
        ("weight", "weight", "250 g", "0.250"),
        ("weight", "Poids (g)", "1 kg", "1.000"),
        ("weight", "weight", "2 lb", "! unknown unit 'lb'; use kg"),
        ("width", "width_mm", "125", "12.50"),
        ("width", "width", "1.5 m", "150.00"),
        ("depth", "Profondeur (m)", "1,2", "120.00"),
    ],
)  # fmt: skip
def test_measures_are_converted_by_the_unit_in_header_or_cell(field: str, header: str, cell: str, value: str) -> None:
    assert one(field, cell, header=header) == value


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [
        ("is_active", "vrai", "active"),
        ("is_active", "OUI", "active"),
        ("is_active", "1", "active"),
        ("is_active", "Inactif", DEACTIVATE),
        ("is_active", "false", DEACTIVATE),
        ("is_active", "", KEEP),
        ("is_active", "peut-être", "! must be true or false"),
        ("status", "Actif", "active"),
        ("status", "inactive", "inactive"),
        ("status", "Archivé", "archived"),
        ("status", "deleted", "! must be active, inactive or archived"),
        ("asin", "b07xyz1234", "B07XYZ1234"),
        ("asin", "B07XYZ123", "! an ASIN has 10 letters A-Z and digits"),
        ("upc", '="012345678905"', "012345678905"),
        ("upc", "12345678905", "! expected 12 digits"),
        ("gtin", "0376 0000 0000 55", "03760000000055"),
        ("gtin", "3760000000055.0", "3760000000055"),
        ("gtin", "3.76E+12", "! expected 8 to 14 digits: a spreadsheet has rounded this code to scientific notation "
         "and digits are lost; format the column as text and export the file again"),
        ("url_slug", "lampe-de-bureau", "lampe-de-bureau"),
        ("url_slug", "lampe de bureau", "! a slug has only letters a-z, digits, hyphens and underscores"),
        ("image_url", "https://cdn.example/a.jpg?x=1", "https://cdn.example/a.jpg?x=1"),
        ("image_url", "ftp://cdn.example/a.jpg", "! an address must begin with http:// or https:// and have no spaces"),
        ("name", "  Crème brûlée \n", "Crème brûlée"),
        ("name", "'=1+1", "=1+1"),
        ("name", "'quoted'", "'quoted'"),
        ("name", "x" * 256, "! 256 characters, at most 255 are allowed"),
        ("name", "a\0b", "! holds a NUL character; remove it"),
        ("reference", "é" * 101, "! 101 characters, at most 100 are allowed"),
        ("description", "y" * 200_001, "! 200001 characters, at most 200000 are allowed"),
    ],
)  # fmt: skip
def test_words_codes_and_texts(field: str, cell: str, value: object) -> None:
    if "\0" in cell:
        mapped = compile_mapping(["ean", field])(2, [EAN, cell])
        assert mapped.problems == [RowProblem(2, field, "a\ufffdb", str(value)[2:], "error")]
    else:
        assert one(field, cell) == value


def test_a_lone_surrogate_is_refused_and_shown_harmlessly() -> None:
    mapped = compile_mapping(["ean", "name"])(2, [EAN, "a\ud800b"])
    assert mapped.problems == [
        RowProblem(2, "name", "a?b", "holds half a character (a lone surrogate); remove it", "error")
    ]


def test_a_long_value_is_shortened_in_the_problem() -> None:
    (problem,) = compile_mapping(["ean", "name"])(2, [EAN, "x" * 300]).problems
    assert problem.value == "x" * 200


def test_empty_cells_keep_or_clear() -> None:
    columns = ["ean", "name", "price", "status", "brand_name", "is_active"]
    keep, clear = compile_mapping(columns), compile_mapping(columns, empty="clear")
    assert keep.fields == clear.fields == ("name", "price", "brand_name", "upc", "status")
    assert keep(2, [EAN, "", " ", "", "", ""]).values == [KEEP, KEEP, KEEP, KEEP, KEEP]
    assert clear(2, [EAN, "", " ", "", "", ""]).values == [KEEP, None, None, KEEP, KEEP]


@pytest.mark.parametrize(
    ("status", "active", "value"),
    [
        ("", "oui", "active"),
        ("archived", "", "archived"),
        ("archived", "non", "archived"),
        ("inactive", "0", "inactive"),
        ("active", "1", "active"),
        ("0", "0", DEACTIVATE),
        ("active", "0", None),
        ("archived", "1", None),
    ],
)
def test_status_and_activity_must_agree(status: str, active: str, value: str | None) -> None:
    mapped = compile_mapping(["ean", "status", "is_active"])(2, [EAN, status, active])
    if value is None:
        message = "contradicts the cell that says whether the product is active"
        assert mapped == Mapped("", None, [RowProblem(2, "status", status, message, "error")])
    else:
        assert mapped == Mapped(EAN, [KEEP, value], ())


def test_a_refused_row_lists_every_problem() -> None:
    mapper = compile_mapping(["EAN", "Nom", "Prix", "Poids", "Actif"])
    assert mapper(42, ["123ABC7890", "x" * 300, "abc", "1", "?"]) == Mapped(
        "",
        None,
        [
            RowProblem(42, "ean", "123ABC7890", "EAN format invalid (expected 13 digits)", "error"),
            RowProblem(42, "name", "x" * 200, "300 characters, at most 255 are allowed", "error"),
            RowProblem(42, "price", "abc", "is not a number", "error"),
            RowProblem(42, "is_active", "?", "must be true or false", "error"),
        ],
    )


def ean(cell: str, check: str = "warn") -> tuple[str | None, object, list[tuple[str, str]]]:
    """(EAN or None when refused, UPC, problems) of a cell."""
    mapped = compile_mapping(["ean"], ean_check=check)(2, [cell])  # type: ignore[arg-type]
    problems = [(problem.level, problem.message) for problem in mapped.problems]
    if mapped.values is None:
        return None, None, problems
    return mapped.ean, mapped.values[0], problems


def test_eans_are_normalised() -> None:
    assert ean(EAN) == (EAN, KEEP, [])
    assert ean("96385074") == ("96385074", KEEP, [])
    assert ean(" 3 760000 000055 ") == (EAN, KEEP, [])
    assert ean(f'="{EAN}"') == (EAN, KEEP, [])
    assert ean(f"'{EAN}") == (EAN, KEEP, [])
    assert ean(f"0{EAN}") == (EAN, KEEP, [])
    assert ean("036000291452") == ("0036000291452", "036000291452", [])
    assert ean("36000291452") == (
        "0036000291452",
        "036000291452",
        [("warning", "leading zeros restored (36000291452 read as 0036000291452)")],
    )
    assert ean("") == (None, None, [("error", "EAN is missing")])
    assert ean("123") == (None, None, [("error", "EAN format invalid (expected 13 digits), got 3")])


def test_a_upc_of_its_own_is_not_replaced() -> None:
    mapper = compile_mapping(["ean", "upc"])
    assert mapper(2, ["036000291452", "012345678905"]).values == ["012345678905"]
    assert mapper(3, ["036000291452", ""]).values == ["036000291452"]


def test_check_digits_are_ignored_reported_or_refused() -> None:
    wrong = "EAN check digit is wrong (expected 5, found 6)"
    assert ean("3760000000056", "off") == ("3760000000056", KEEP, [])
    assert ean("3760000000056", "warn") == ("3760000000056", KEEP, [("warning", wrong)])
    assert ean("3760000000056", "reject") == (None, None, [("error", wrong)])
    assert ean("36000291452", "off")[2] == [("warning", "leading zeros restored (36000291452 read as 0036000291452)")]


def test_rows_that_do_not_fit_the_columns_are_refused() -> None:
    mapper = compile_mapping(["ean", "name"])
    surplus = "row has 3 cells, header has 2; put cells that contain the delimiter in quotes"
    rows = list(open_table(io.BytesIO(f'ean,name\n{EAN},a,b\n{EAN},"a"b\n{EAN}\n'.encode())))
    assert [mapper(*row) for row in rows] == [
        Mapped("", None, (RowProblem(2, "row", f"{EAN} | a | b", surplus, "error"),)),
        Mapped("", None, (RowProblem(3, "row", None, "a quote inside a quoted cell is not written twice", "error"),)),
        Mapped(EAN, [KEEP, KEEP], ()),
    ]


REFUSED = {
    5: ("001151", ", got 6"),
    8: ("001664", ", got 6"),
    98: ("140510", ", got 6"),
    102: ("18437016774004", ": a 14-digit code that starts with 1 is a case (trade unit)"),
    232: ("2020187", ", got 7"),
    1907: ("32503922323825", ": a 14-digit code that starts with 3 is a case (trade unit)"),
    2317: ("32566222246086", ": a 14-digit code that starts with 3 is a case (trade unit)"),
    4500: ("356470052127401", ", got 15"),
    4504: ("356470053065802", ", got 15"),
    4612: ("356470084950701", ", got 15"),
    4673: ("356470711616901", ", got 15"),
    4685: ("356470917229301", ", got 15"),
    5562: ("50001594180003", ": a 14-digit code that starts with 5 is a case (trade unit)"),
    5603: ("50104773012246", ": a 14-digit code that starts with 5 is a case (trade unit)"),
}


@pytest.mark.parametrize("form", ["as published", "utf-8 with commas"])
def test_a_real_french_catalogue(form: str) -> None:
    path = shared_data("data", "catalog", "off_fr_utf16le_semicolon.csv")
    data = path.read_bytes()
    if form != "as published":
        text = io.StringIO(newline="")
        csv.writer(text).writerows(csv.reader(io.StringIO(data.decode("utf-16"), newline=""), delimiter=";"))
        data = text.getvalue().encode()
    table = open_table(io.BytesIO(data))
    mapper = compile_mapping(table.columns)
    assert mapper.mapped == {"code": "ean", "product_name": "name", "brands": "brand_name"}
    assert mapper.fields == ("name", "brand_name", "upc")
    assert len(mapper.ignored) == 13
    rows = [(number, mapper(number, cells)) for number, cells in table]
    refused = {number: row.problems for number, row in rows if row.values is None}
    assert len(rows) - len(refused) == 6760
    assert list(refused) == list(REFUSED)
    for number, problems in refused.items():
        value, reason = REFUSED[number]
        (problem,) = problems
        assert (problem.row, problem.field, problem.value, problem.level) == (number, "ean", value, "error")
        assert problem.message.startswith(f"EAN format invalid (expected 13 digits){reason}")
    warnings = [problem for _, row in rows if row.values is not None for problem in row.problems]
    assert (len(warnings), {p.message[:24] for p in warnings}) == (93, {"EAN check digit is wrong"})
    assert [(n, r.ean, r.values[2]) for n, r in rows if r.values and r.values[2] is not KEEP] == [
        (384, "0229820780931", "229820780931"),
        (491, "0281890101245", "281890101245"),
        (895, "0311900330047", "311900330047"),
    ]


def test_a_real_price_list_with_commas_for_decimals_and_thousands() -> None:
    with open_table(shared_data("data", "catalog", "bdpm_cip13_latin1_noheader.tsv")) as table:
        mapper = compile_mapping(table.columns, mapping={"column_7": "ean", "column_3": "name", "column_10": "price"})
        prices: Counter[str] = Counter()
        for number, cells in table:
            mapped = mapper(number, cells)
            assert mapped.values is not None
            if cells[9].count(",") == 2:
                head, middle, tail = cells[9].split(",")
                assert mapped.values[1] == f"{head}{middle}.{tail}"
                prices["two commas"] += 1
            else:
                assert mapped.values[1] == (cells[9].replace(",", ".") or KEEP)
                prices["one comma" if cells[9] else "none"] += 1
    assert prices == {"two commas": 72, "one comma": 6346, "none": 3624}


def test_mangled_isbns_are_refused_with_the_cause() -> None:
    with open_table(shared_data("data", "catalog", "goodbooks10k_mangled_isbn13.csv")) as table:
        mapper: Mapper = compile_mapping(table.columns)
        found = Counter(p.message.split(" (read")[0][:60] for row in table for p in mapper(*row).problems)
    assert found["EAN format invalid (expected 13 digits): a spreadsheet has r"] == 9410
    assert found["EAN is missing"] == 585


def test_columns_of_a_measure_carry_their_factor() -> None:
    sources = map_columns(["ean", "Poids (g)", "Largeur"], None)
    assert {field: (source.index, str(source.factor)) for field, source in sources.items()} == {
        "ean": (0, "1"),
        "weight": (1, "0.001"),
        "width": (2, "1"),
    }


def test_constants_hold_for_every_row_and_defaults_for_empty_cells() -> None:
    mapper = compile_mapping(
        ["ean", "Titre", "Marque", "Prix"],
        constants={"brand": "Maison", "status": "inactif"},
        defaults={"price": "9,90", "category": "Divers", "weight": "250 g"},
    )
    assert mapper.mapped == {"ean": "ean", "Titre": "name", "Prix": "price"}
    assert mapper.ignored == ["Marque"]
    rows = [mapper(2, [EAN, "Lampe", "Autre", ""]), mapper(3, [EAN, "Table", "", "5"])]
    assert [dict(zip(mapper.fields, row.values or (), strict=True)) for row in rows] == [
        {
            "name": name,
            "price": price,
            "category": "Divers",
            "weight": "0.250",
            "brand_name": "Maison",
            "upc": KEEP,
            "status": "inactive",
        }
        for name, price in (("Lampe", "9.90"), ("Table", "5.00"))
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constants": {"ean": EAN}}, "No constant can be given for 'ean'. Fields: name, "),
        ({"defaults": {"colour": "red"}}, "No default can be given for 'colour'"),
        ({"constants": {"price": "abc"}}, "The constant 'abc' for 'price' is not a number"),
    ],
)
def test_constants_and_defaults_that_cannot_be_are_refused(options: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        compile_mapping(["ean"], **options)  # type: ignore[arg-type]


def test_codes_are_found_within_other_fields_and_texts_in_french_first() -> None:
    assert automatic("ARTICLE_DETAILS/EAN", "id") == {"ARTICLE_DETAILS/EAN": "ean"}
    assert automatic("product.gtin", "brand.name", "vendor.title") == {
        "product.gtin": "ean",
        "brand.name": "brand_name",
    }
    assert automatic("EANCode/@EAN", "ean") == {"ean": "ean"}
    assert automatic("ean", "title[en]", "title[fr]", "title[de]") == {"ean": "ean", "title[fr]": "name"}
    assert automatic("ean", "Poids [lb]", "title[en]") == {"ean": "ean", "title[en]": "name"}


@pytest.mark.parametrize("cell", ["599 CZK", "zł 599", "599,00 Kč", "PLN 599.00", "¥599"])
def test_prices_in_other_currencies(cell: str) -> None:
    assert one("price", cell) == "599.00"


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [
        ("price", "+5", "5.00"),
        ("price", "-1", "! must be between 0 and 999999.99 (read as -1)"),
        ("weight", "+250 g", "0.250"),
        ("upc", '="012345678905"', "012345678905"),
        ("reference", "=A1", "=A1"),
        ("reference", "'=A1", "'=A1"),
    ],
)
def test_cells_survive_an_export_and_an_import(field: str, cell: str, value: str) -> None:
    exported = escape_formula(cell)
    assert exported != cell
    assert one(field, exported) == value


def test_codes_survive_an_export_and_an_import() -> None:
    assert compile_mapping(["ean"])(2, [escape_formula(f'="{EAN}"')]).ean == EAN
