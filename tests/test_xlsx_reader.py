"""Reading XLSX: exact texts of all kinds of cells, sheets, numbering, resuming, and what is refused."""

import io
import json
import math
import random
import struct
import tracemalloc
import zipfile
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from xml.sax.saxutils import escape

import openpyxl
import pytest

from imports.mapping import RowProblem, compile_mapping
from pim.tabular import Detected, FlawedRow, TableError, open_table
from tests.shared_data import shared_data

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"

Rows = list[tuple[int, list[str]]]


def workbook(
    *sheets: str | tuple[str, str, str],
    texts: Sequence[str] = (),
    formats: Sequence[int | str] = (),
    book: str = "",
    extra: dict[str, str | bytes] | None = None,
) -> bytes:
    """A workbook. sheets: the rows of each as XML, or (name, state, rows). texts: the shared items as XML.

    formats: the number format of each cell style, built-in numbers or codes. book: XML before the list of sheets.
    """
    named = [
        sheet if isinstance(sheet, tuple) else (f"Sheet{i}", "visible", sheet) for i, sheet in enumerate(sheets, 1)
    ]
    listed = "".join(
        f'<sheet name="{name}" sheetId="{i}" state="{state}" r:id="s{i}"/>'
        for i, (name, state, _) in enumerate(named, 1)
    )
    related = "".join(
        f'<Relationship Id="s{i}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(1, len(named) + 1)
    )
    own = "".join(
        f'<numFmt numFmtId="{200 + i}" formatCode="{escape(code, {chr(34): "&quot;"})}"/>'
        for i, code in enumerate(formats)
        if isinstance(code, str)
    )
    styles = "".join(f'<xf numFmtId="{code if isinstance(code, int) else 200 + i}"/>' for i, code in enumerate(formats))
    parts: dict[str, str | bytes] = {
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r" Type="{RELATIONS}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">{book}<sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}">{related}'
        f'<Relationship Id="t" Type="{RELATIONS}/sharedStrings" Target="/xl/sharedStrings.xml"/>'
        f'<Relationship Id="f" Type="{RELATIONS}/styles" Target="styles.xml"/></Relationships>',
        "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">{"".join(f"<si>{text}</si>" for text in texts)}</sst>',
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><numFmts>{own}</numFmts><cellXfs>{styles}</cellXfs></styleSheet>',
        **{
            f"xl/worksheets/sheet{i}.xml": f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
            for i, (_, _, rows) in enumerate(named, 1)
        },
        **(extra or {}),
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


def inline(text: str) -> str:
    return f'<c t="inlineStr"><is><t>{escape(text)}</t></is></c>'


def read(data: bytes, **options: object) -> tuple[list[str], Rows]:
    with open_table(io.BytesIO(data), **options) as table:  # type: ignore[arg-type]
        return table.columns, list(table)


def cell(xml: str, **options: object) -> str | None:
    """What one cell is read as, under a header; None when it is the only one of a blank row."""
    book = workbook(f"<row>{inline('x')}{inline('y')}</row><row>{xml}{inline('end')}</row>", **options)  # type: ignore[arg-type]
    ((_, cells),) = read(book)[1]
    return cells[0]


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("3760000000055", "3760000000055"),
        ("3.760000000055E+12", "3760000000055"),
        ("3.7600000000550000E12", "3760000000055"),
        ("3760000000055.0", "3760000000055.0"),
        ("12345678901234", "12345678901234"),
        ("123456789012345678", "123456789012345678"),
        ("1.2345678901234501E+17", "123456789012345000"),
        ("0", "0"),
        ("-5", "-5"),
        ("11.99", "11.99"),
        ("19.989999999999998", "19.99"),
        ("0.30000000000000004", "0.3"),
        ("1E-3", "0.001"),
        ("1.5E+3", "1500"),
        ("-1.0000000000000002E-2", "-0.01"),
        ("1E+300", "1E+300"),
        ("NaN", "NaN"),
    ],
)
def test_numbers_keep_their_digits(stored: str, text: str) -> None:
    assert cell(f"<c><v>{stored}</v></c>") == text


@pytest.mark.parametrize(
    ("format", "stored", "text"),
    [
        (14, "42370", "2016-01-01"),
        (14, "1", "1900-01-01"),
        (14, "59", "1900-02-28"),
        (14, "61", "1900-03-01"),
        (14, "2958465", "9999-12-31"),
        (14, "2958466", "2958466"),
        (14, "-1", "-1"),
        (14, "1E+99999999", "1E+99999999"),
        (14, "NaN", "NaN"),
        ("0" * 100_000, "5", "5"),
        (22, "42370.5", "2016-01-01T12:00:00"),
        (22, "42370.999999999996", "2016-01-02"),
        (20, "0.75", "18:00:00"),
        (21, "0.50000578703703706", "12:00:00.500"),
        (46, "1.5", "36:00:00"),
        ("dd/mm/yyyy", "42370", "2016-01-01"),
        ("[$-40C]d mmmm yyyy;@", "42370", "2016-01-01"),
        ("mmm", "42370", "2016-01-01"),
        ("h:mm AM/PM", "0.25", "06:00:00"),
        ("[hh]:mm", "2", "48:00:00"),
        ("[Red]0.00", "42370", "42370"),
        ('0 "days"', "42370", "42370"),
        ("0\\d", "42370", "42370"),
        ("General", "42370", "42370"),
        ("#,##0.00\\ [$€-40C]", "42370.5", "42370.5"),
        ("0.00E+00", "42370", "42370"),
        ("0000000000000", "76783609419", "0076783609419"),
        ("00000", "1234567", "1234567"),
        ("0", "7", "7"),
        ("0000", "1.5", "1.5"),
    ],
)
def test_numbers_mean_what_their_format_says(format: int | str, stored: str, text: str) -> None:
    assert cell(f'<c s="1"><v>{stored}</v></c>', formats=[0, format]) == text


def test_days_are_counted_from_1904_where_the_workbook_says_so() -> None:
    assert cell('<c s="0"><v>40908</v></c>', formats=[14], book='<workbookPr date1904="1"/>') == "2016-01-01"


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ('<c t="s"><v>0</v></c>', "Café"),
        ('<c t="s"><v>1</v></c>', "gras et maigre"),
        ('<c t="s"><v>2</v></c>', "東京"),
        ('<c t="s"><v>3</v></c>', "a\rb_x0000_ _x000D_"),
        ('<c t="inlineStr"><is><r><t>in</t></r><r><t>line</t></r></is></c>', "inline"),
        ('<c t="inlineStr"><is><t><![CDATA[</row> & <b>]]></t></is></c>', "</row> & <b>"),
        ('<c t="str"><f>A1&amp;"x"</f><v>result</v></c>', "result"),
        ('<c t="str"><f>""</f><v></v></c>', ""),
        ("<c><f>1+1</f><v>2</v></c>", "2"),
        ('<c t="b"><v>1</v></c>', "true"),
        ('<c t="b"><v>0</v></c>', "false"),
        ('<c t="d"><v>2021-01-01T10:10:10</v></c>', "2021-01-01T10:10:10"),
        ('<c s="7"/>', ""),
        ("<c><v/></c>", ""),
        ("<c> <!-- note --> <v>5</v> </c>", "5"),
    ],
)
def test_texts_formulas_booleans(xml: str, text: str) -> None:
    texts = [
        "<t>Café</t>",
        '<r><rPr><b/></rPr><t>gras</t></r><r><t xml:space="preserve"> et maigre</t></r>',
        '<t>東京</t><rPh sb="0" eb="2"><t>トウキョウ</t></rPh>',
        "<t>a_x000D_b_x0000_ _x005F_x000D_</t>",
    ]
    assert cell(xml, texts=texts) == text


def test_cells_that_cannot_be_read_refuse_their_row_where_they_are_needed() -> None:
    head = "".join(map(inline, ("EAN", "Titre", "Prix", "Autre")))
    good = f"<c><v>3760000000055</v></c>{inline('Lampe')}<c><v>5</v></c>"
    data = workbook(
        f"<row>{head}</row>"
        f'<row>{good}<c t="e"><v>#N/A</v></c></row>'
        f'<row><c><v>3760000000062</v></c><c t="e"><v>#REF!</v></c><c><f>B1*2</f></c></row>'
        f'<row><c><v>3760000000079</v></c><c t="s"><v>12</v></c></row>'
    )
    columns, rows = read(data)
    mapper = compile_mapping(columns)
    assert [isinstance(cells, FlawedRow) for _, cells in rows] == [True, True, True]
    kept, refused, lost = (mapper(number, cells) for number, cells in rows)
    assert (kept.ean, kept.problems) == ("3760000000055", [])
    assert kept.values is not None
    assert refused.values is None
    assert refused.problems == [
        RowProblem(3, "name", "#REF!", "holds the spreadsheet error #REF!; correct the cell or its formula", "error"),
        RowProblem(
            3,
            "price",
            "",
            "holds a formula without a stored result; open the file in a spreadsheet program and save it again",
            "error",
        ),
    ]
    assert lost.problems == [
        RowProblem(4, "name", "12", "refers to a text that the workbook does not hold", "error"),
    ]


def test_rows_and_cells_without_references_and_with_gaps() -> None:
    data = workbook(
        f'<row r="3"><c r="B3" t="inlineStr"><is><t>ean</t></is></c>{inline("name")}</row><row/>'
        f'<row r="7"><c r="C7"><v>2</v></c><c r="B7"><v>1</v></c></row><row><c r="B8" s="1"/></row>'
        f"<row>{inline(' ')}{inline('3')}</row>",
        extra={},
    )
    assert read(data) == (["column_1", "ean", "name"], [(7, ["", "1", "2"]), (9, [" ", "3", ""])])


@pytest.mark.parametrize("number", ["x", "0", "-3", "²", "9" * 5000, "1"])
def test_impossible_row_numbers_are_counted_on(number: str) -> None:
    data = workbook(f'<row r="5">{inline("a")}</row><row r="{number}">{inline("1")}</row><row>{inline("2")}</row>')
    assert read(data)[1] == [(6, ["1"]), (7, ["2"])]


def test_a_wrong_dimension_means_nothing() -> None:
    sheet = (
        f'<worksheet xmlns="{MAIN}"><dimension ref="A1:A1"/><sheetData><row>{inline("a")}{inline("b")}</row>'
        f"<row>{inline('1')}{inline('2')}{inline('')}</row></sheetData><drawing/>"
        "<controls><row><c><v>9</v></c></row></controls></worksheet>"
    )
    assert read(workbook("", extra={"xl/worksheets/sheet1.xml": sheet})) == (["a", "b"], [(2, ["1", "2"])])


def test_a_surplus_cell_leaves_the_row_too_long() -> None:
    data = workbook(f"<row>{inline('a')}</row><row>{inline('1')}{inline('2')}</row>")
    assert read(data)[1] == [(2, ["1", "2"])]


def test_prefixed_names_and_other_parts_of_the_standard() -> None:
    sheet = (
        '<x:worksheet xmlns:x="http://purl.oclc.org/ooxml/spreadsheetml/main"><x:sheetData>'
        '<x:row><x:c t="inlineStr"><x:is><x:t>a</x:t></x:is></x:c></x:row>'
        "<x:row><x:c><x:v>5</x:v></x:c></x:row></x:sheetData></x:worksheet>"
    )
    assert read(workbook("", extra={"xl/worksheets/sheet1.xml": sheet})) == (["a"], [(2, ["5"])])


ONE = f"<row>{inline('ean')}</row><row>{inline('1')}</row>"
TWO = f"<row>{inline('ean')}</row><row>{inline('2')}</row>"
BLANK = f"<row><c s='1'/></row><row>{inline(' ')}</row>"


@pytest.mark.parametrize(
    ("sheets", "wanted", "name", "value"),
    [
        ([("A", "visible", ONE), ("B", "visible", TWO)], None, "A", "1"),
        ([("A", "visible", ONE), ("B", "visible", TWO)], "B", "B", "2"),
        ([("A", "visible", ONE), ("Tarif 2026", "visible", TWO)], "tarif 2026 ", "Tarif 2026", "2"),
        ([("A", "visible", BLANK), ("B", "visible", TWO)], None, "B", "2"),
        ([("A", "hidden", ONE), ("B", "visible", TWO)], None, "B", "2"),
        ([("A", "veryHidden", ONE), ("B", "visible", "")], None, "A", "1"),
        ([("A", "hidden", ONE), ("B", "visible", TWO)], "A", "A", "1"),
    ],
)
def test_the_sheet_is_the_named_one_or_the_first_that_shows_something(
    sheets: list[tuple[str, str, str]], wanted: str | None, name: str, value: str
) -> None:
    with open_table(io.BytesIO(workbook(*sheets)), sheet=wanted) as table:
        assert list(table) == [(2, [value])]
        assert table.detected == Detected("utf-8", "", True, 1.0, format="xlsx", sheet=name)
        assert table.detected.describe() == f"XLSX, sheet '{name}', with header row"


def test_an_unknown_sheet_lists_those_there_are() -> None:
    data = workbook(("Tarif", "visible", ONE), ("Stock", "hidden", TWO))
    with pytest.raises(TableError, match=r"The workbook has no sheet 'Prix'\. Sheets: Tarif, Stock"):
        read(data, sheet="Prix")


def test_header_is_detected_and_can_be_given() -> None:
    rows = f"<row>{inline('3760000000055')}{inline('x')}</row><row>{inline('3760000000062')}{inline('y')}</row>"
    data = workbook(rows)
    assert read(data)[0] == ["column_1", "column_2"]
    assert [number for number, _ in read(data)[1]] == [1, 2]
    assert read(data, header=True) == (["3760000000055", "x"], [(2, ["3760000000062", "y"])])
    assert read(workbook(ONE), header=False) == (["column_1"], [(1, ["ean"]), (2, ["1"])])


def test_many_texts_go_to_disk_and_come_back() -> None:
    count = 120_000
    texts = [f"<t>Désignation {i} {'é' * (i % 50)}</t>" for i in range(count)]
    wanted = [0, 1, 70_000, 99_999, count - 1]
    rows = "".join(f'<row><c t="s"><v>{i}</v></c></row>' for i in wanted)
    data = workbook(f"<row>{inline('name')}</row>{rows}", texts=texts)
    tracemalloc.start()
    try:
        _, found = read(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [cells for _, cells in found] == [[f"Désignation {i} {'é' * (i % 50)}"] for i in wanted]
    assert peak < 25_000_000


@pytest.mark.parametrize("prefix", ["", "x:"])
def test_reading_resumes_after_any_row(prefix: str) -> None:
    pick = random.Random(prefix)
    texts = ["", "é", "</row>", "<!-- </row> -->", "a" * 3000, "x"]

    def row(number: int) -> str:
        text = pick.choice(texts)
        kind = f"<![CDATA[{text}]]>" if number % 3 == 0 and text else escape(text)
        return (
            f'<{prefix}row r="{number}"><{prefix}c><{prefix}v>{number}</{prefix}v></{prefix}c>'
            f'<{prefix}c t="inlineStr"><{prefix}is><{prefix}t>{kind}</{prefix}t></{prefix}is></{prefix}c>'
            f"</{prefix}row>{'<!-- </row> -->' if number % 5 == 0 else ''}"
        )

    declared = f'xmlns{":x" if prefix else ""}="{MAIN}"'
    rows = "".join(row(number) for number in range(1, 1501) if number % 7)
    sheet = f"<{prefix}worksheet {declared}><{prefix}sheetData>{rows}</{prefix}sheetData></{prefix}worksheet>"
    data = workbook("", extra={"xl/worksheets/sheet1.xml": sheet})
    table = open_table(io.BytesIO(data), header=False)
    whole, tokens = [], []
    for found in table:
        whole.append(found)
        tokens.append(json.dumps(table.position))
    assert len(whole) == 1500 - 1500 // 7
    assert len({json.loads(token)["place"]["offset"] for token in tokens}) > 5  # it does jump
    for at in (0, 1, *pick.sample(range(len(whole)), 25), len(whole) - 2, len(whole) - 1):
        resumed = open_table(io.BytesIO(data), resume=json.loads(tokens[at]))
        assert list(resumed) == whole[at + 1 :]
        assert (resumed.columns, resumed.detected) == (table.columns, table.detected)
    middle = open_table(io.BytesIO(data), resume=json.loads(tokens[400]))
    again = [json.dumps(middle.position) for _ in middle]
    assert list(open_table(io.BytesIO(data), resume=json.loads(again[500]))) == whole[902:]


def bomb() -> bytes:
    return workbook(ONE, extra={"xl/worksheets/sheet1.xml": b"<row/>" * 3_000_000})


def giant() -> bytes:
    """A workbook whose directory says that a part unpacks to 310 MB."""
    data = workbook(ONE, extra={"xl/media/image1.png": b"0123456789" * 7})
    return data.replace(struct.pack("<I", 70), struct.pack("<I", 310 * 1024**2))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty"),
        (b"hello", r"This is not an Excel workbook \(\.xlsx\)"),
        (workbook(ONE)[:-60], r"The ZIP archive \(or Excel workbook\) is damaged or incomplete"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            r"This is an old Excel workbook \(\.xls\); save it as \.xlsx",
        ),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le"),
            "The workbook is protected by a password",
        ),
        (workbook(), "The workbook has no worksheet"),
        (workbook("", BLANK), "Every sheet of the workbook is empty"),
        (workbook(f"<row>{inline('ean')}</row>"), "Sheet 'Sheet1' has a header but no rows"),
        (
            workbook(ONE, extra={"_rels/.rels": f'<Relationships xmlns="{PACKAGE}"/>'}),
            "the list of its sheets is missing",
        ),
        (
            workbook(
                ONE,
                extra={
                    "_rels/.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Type="{RELATIONS}/officeDocument" '
                    'Target="xl/workbook.bin"/></Relationships>',
                    "xl/workbook.bin": b"\0",
                },
            ),
            r"This is a binary Excel workbook \(\.xlsb\); save it as \.xlsx",
        ),
        (
            workbook(ONE, extra={"xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}"><sheetData><row>'}),
            "The file is not well-formed XML: ",
        ),
        (
            workbook(
                ONE,
                extra={
                    "xl/sharedStrings.xml": '<!DOCTYPE s [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
                    f'<sst xmlns="{MAIN}"><si><t>&b;</t></si></sst>'
                },
            ),
            "The file refers to the entity &b;",
        ),
        (workbook('<row><c r="ZZZ1"><v>1</v></c></row>'), "Row 1: 'ZZZ' is no column of a spreadsheet"),
        (workbook('<row><c r="é1"><v>1</v></c></row>'), "Row 1: 'é' is no column of a spreadsheet"),
        (bomb(), r"The workbook unpacks to \d+ times its size, more than 100 times is refused"),
        (giant(), r"The workbook unpacks to 310 MB, at most 300 MB are read"),
        (
            workbook(ONE, extra={f"xl/media/{i}": b"" for i in range(5000)}),
            "The archive holds more than 5,000 files",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "file",
)
def test_what_is_no_readable_workbook_is_refused_at_once(data: bytes, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TableError, match=message):
            read(data, format="xlsx")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_external_parts_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text(f'<worksheet xmlns="{MAIN}"><sheetData>{ONE}</sheetData></worksheet>')
    related = (
        f'<Relationships xmlns="{PACKAGE}"><Relationship Id="s1" Type="{RELATIONS}/worksheet" '
        f'Target="file://{secret}" TargetMode="External"/></Relationships>'
    )
    with pytest.raises(TableError, match="The workbook has no worksheet"):
        read(workbook(ONE, extra={"xl/_rels/workbook.xml.rels": related}))


def test_a_damaged_sheet_gives_its_rows_and_then_an_error() -> None:
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{ONE}<row>&nbsp;</row></sheetData></worksheet>'
    table = open_table(io.BytesIO(workbook("", extra={"xl/worksheets/sheet1.xml": sheet})))
    rows = iter(table)
    assert next(rows) == (2, ["1"])
    with pytest.raises(TableError, match="The file refers to the entity &nbsp;"):
        next(rows)


def test_a_supplier_workbook_is_read_as_another_library_reads_it() -> None:
    path = shared_data("data", "catalog", "supplier_guenzburger_2424rows_407cols.xlsx")
    theirs = openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets[0]
    with open_table(path) as table:
        rows = list(table)
    assert (len(table.columns), len(rows), table.detected.sheet) == (407, 2424, "Daten aus bmecat")
    different = 0
    for (number, cells), values in zip(rows, theirs.iter_rows(min_row=2, values_only=True), strict=True):
        for text, value in zip(cells, values, strict=True):
            different += not _same(text, value)
        assert different == 0, (number, cells)


def _same(text: str, value: object) -> bool:
    match value:
        case None:
            return text == ""
        case bool():
            return text == str(value).lower()
        case int() | float():
            return math.isclose(Decimal(text), value, rel_tol=1e-14)
        case datetime():
            return text == value.isoformat().removesuffix("T00:00:00")
        case date():
            return text == value.isoformat()
    return text == value
