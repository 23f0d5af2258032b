"""Reading CSV files: detection, numbering, ragged and broken rows, limits, and resuming at any row."""

import csv
import io
import json
import random
import tracemalloc
from pathlib import Path

import pytest

from pim.tabular import Detected, TableError, UnreadableRow, open_table
from tests.shared_data import shared_data

SIMPLE = "ean,name\n3760000000055,Café\n3760000000062,Thé\n"


def read(data: bytes, **options: object) -> tuple[list[str], list[tuple[int, list[str]]]]:
    table = open_table(io.BytesIO(data), **options)  # type: ignore[arg-type]
    return table.columns, list(table)


@pytest.mark.parametrize(
    ("encoding", "detected", "confidence"),
    [
        ("utf-8", "utf-8", 1.0),
        ("utf-8-sig", "utf-8", 1.0),
        ("utf-16", "utf-16-le", 1.0),
        ("utf-16-le", "utf-16-le", 0.9),
        ("utf-16-be", "utf-16-be", 0.9),
        ("utf-32", "utf-32-le", 1.0),
        ("cp1252", "cp1252", 0.9),
        ("mac_roman", "mac_roman", 0.9),
        ("cp850", "cp850", 0.9),
    ],
)
def test_encoding_is_detected(encoding: str, detected: str, confidence: float) -> None:
    data = SIMPLE.replace("Thé", "Thé à la crème brûlée").encode(encoding)
    table = open_table(io.BytesIO(data))
    assert table.detected == Detected(detected, ",", True, confidence)
    assert table.columns == ["ean", "name"]
    assert list(table) == [(2, ["3760000000055", "Café"]), (3, ["3760000000062", "Thé à la crème brûlée"])]


def test_first_accent_far_into_the_file_decides_the_encoding() -> None:
    plain = "ean,name\n" + "3760000000055,plain\n" * 100_000
    _, rows = read((plain + "3760000000062,Thé\n").encode("cp1252"))
    assert rows[-1] == (100_002, ["3760000000062", "Thé"])


def test_a_damaged_character_does_not_turn_utf8_into_mojibake() -> None:
    data = ("ean,name\n" + "".join(f"{i},Crème brûlée\n" for i in range(20))).encode() + b"99,Caf\xe9\n"
    table = open_table(io.BytesIO(data))
    rows = list(table)
    assert table.detected.encoding == "utf-8"
    assert rows[0] == (2, ["0", "Crème brûlée"])
    assert isinstance(rows[-1][1], UnreadableRow)
    assert rows[-1][1].reason == (
        f"byte 0xE9 at offset {data.index(0xE9)} cannot be read as utf-8; if the file has another encoding, "
        "name it (for example encoding=cp1252), otherwise repair the text"
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_the_one_that_gives_constant_columns(delimiter: str) -> None:
    rows = [["ean", "url", "price"], ["1", "http://a.example/b;c,d|e", "1,5"], ["2", "12:30; 13:40, 14:50 | x", "2,5"]]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    table = open_table(io.BytesIO(text.getvalue().encode()))
    assert (table.detected.delimiter, table.detected.confidence) == (delimiter, 1.0)
    assert list(table) == [(2, rows[1]), (3, rows[2])]


def test_commas_in_texts_are_no_delimiter() -> None:
    table = open_table(io.BytesIO(b"id;a, b, c\n1;x, y, z, t\n2;u, v, w, x, y\n"))
    assert (table.detected.delimiter, table.columns) == (";", ["id", "a, b, c"])


def test_delimiter_of_a_shop_export_whose_rows_are_longer_than_the_header() -> None:
    with open_table(shared_data("data", "catalog", "prestashop14_products_import.csv")) as table:
        rows = list(table)
    assert (table.detected.delimiter, table.detected.confidence, len(table.columns)) == (";", 1.0, 39)
    assert [cells[2] for _, cells in rows] == ["iPod Nano", "iPod shuffle"]


def test_what_the_caller_says_overrules_detection() -> None:
    data = "3760000000055;Café,noir\n".encode("cp1252")
    table = open_table(io.BytesIO(data), encoding="cp850", delimiter=",", header=True)
    assert table.columns == ["3760000000055;CafÚ", "noir"]


def test_excel_separator_line_names_the_delimiter() -> None:
    table = open_table(io.BytesIO("sep=|\r\nean|name\r\n1|a,b\r\n".encode("utf-16")))
    assert table.columns == ["ean", "name"]
    assert list(table) == [(2, ["1", "a,b"])]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    data = end.join(["ean,name", '1,"a\nb"', "", "2,c"]).encode()
    assert read(data) == (["ean", "name"], [(2, ["1", "a\nb"]), (4, ["2", "c"])])


def test_carriage_returns_end_lines_even_when_the_header_holds_a_line_feed() -> None:
    assert read(b'"ean\ncode",name\r1,"a\nb"\r2,c\r') == (["ean code", "name"], [(2, ["1", "a\nb"]), (3, ["2", "c"])])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_halves_of_utf16_characters_are_not_line_ends(encoding: str) -> None:
    cell = "\u0a05\u0100" * 400  # in either byte order the bytes of a line feed, half a character off
    text = "".join(f"{i},{cell}\n" for i in range(400))
    broken = f"0,{cell}".encode(encoding) + "\udc00".encode(encoding, "surrogatepass") + f"{cell}\n".encode(encoding)
    data = "ean,name\n".encode(encoding) + text.encode(encoding) + broken + text.encode(encoding)
    _, rows = read(data, encoding=encoding)
    assert [isinstance(cells, UnreadableRow) for _, cells in rows] == [False] * 400 + [True] + [False] * 400
    assert [cells for _, cells in rows[401:]] == [[str(i), cell] for i in range(400)]


def test_rows_are_numbered_as_a_spreadsheet_does() -> None:
    data = b"\n\xef\xbb\xbf"[1:] + b'ean,name\n1,"two\nlines"\n\n , \n;\n,,\n2,b\n'
    columns, rows = read(data, delimiter=",")
    assert columns == ["ean", "name"]
    assert rows == [(2, ["1", "two\nlines"]), (5, [";", ""]), (7, ["2", "b"])]


def test_without_header_the_first_row_is_data() -> None:
    columns, rows = read(b"3760000000055;Lampe\n3760000000062;Table\n")
    assert columns == ["column_1", "column_2"]
    assert rows == [(1, ["3760000000055", "Lampe"]), (2, ["3760000000062", "Table"])]


def test_header_names_are_stripped_unique_and_never_empty() -> None:
    columns, _ = read(b"\xef\xbb\xbf EAN , name,,name,long  name\n1,2,3,4,5\n")
    assert columns == ["EAN", "name", "column_3", "name (2)", "long name"]


def test_ragged_rows_lose_nothing() -> None:
    _, rows = read(b"a,b,c\n1\n1,2,3,,\n1,2,3,4\n,2,\n", delimiter=",")
    assert rows == [(2, ["1", "", ""]), (3, ["1", "2", "3"]), (4, ["1", "2", "3", "4"]), (5, ["", "2", ""])]


def test_a_row_with_a_stray_quote_is_marked_and_the_next_one_read() -> None:
    _, rows = read(b'a,b\n1,"TV 32" LED"\n2,5" screen\n"3,x\n4",5"6"\n7,"8"x\n9,10\n')
    reasons = {number: cells.reason for number, cells in rows if isinstance(cells, UnreadableRow)}
    assert reasons == {
        2: "a quote inside a quoted cell is not written twice",
        5: "a quote inside a quoted cell is not written twice",
    }
    assert [row for row in rows if not isinstance(row[1], UnreadableRow)] == [
        (3, ["2", '5" screen']),
        (4, ["3,x\n4", '5"6"']),
        (6, ["9", "10"]),
    ]


def test_undecodable_bytes_and_nul_refuse_their_row_only() -> None:
    data = b'ean,name\n1,good\n2,caf\xe9\n3,n\0l\n4,"two\nli\xe9nes"\n5,fine\n'
    _, rows = read(data, encoding="utf-8")
    assert [(number, list(cells)) for number, cells in rows] == [
        (2, ["1", "good"]),
        (3, []),
        (4, []),
        (5, []),
        (6, ["5", "fine"]),
    ]
    reasons = [cells.reason for _, cells in rows if isinstance(cells, UnreadableRow)]
    assert [reason.split(" cannot")[0] for reason in reasons] == [
        "byte 0xE9 at offset 21",
        "a NUL character at byte 26; remove it and send the file again",
        "byte 0xE9 at offset 38",
    ]


def test_a_wrong_encoding_ends_the_reading() -> None:
    data = b"ean,name\n" + b"1,caf\xe9\n" * 200
    table = open_table(io.BytesIO(data), encoding="utf-8")
    with pytest.raises(
        TableError, match=r"Row 102: byte 0xE9 at offset 714 cannot be read as utf-8.*encoding=cp1252"
    ) as error:
        list(table)
    assert error.value.row == 102


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "The file is empty"),
        (b"\n\n \n", "The file has no rows"),
        (b"ean,name\n", "The file has a header but no rows"),
        (b"ean,name\n\n,,\n", "The file has a header but no rows"),
        (b'ean,name\n1,"open\n2,x\n', "Row 2: a cell opens with a quote that is never closed"),
        (b'ean,"name\n1,x\n', "Row 1: a cell opens with a quote that is never closed"),
        (b"PK\x03\x04\x14\x00", r"The ZIP archive \(or Excel workbook\) is damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel workbook"),
        (b"\x1f\x8b\x08\x00", "The packed file is damaged or incomplete"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\x00\x01\x02\x03" * 50, "binary data"),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read(data)


@pytest.mark.parametrize("encoding", ["utf-9", "shift_jis", "utf-7", "hex", "cp037"])
def test_encodings_without_countable_bytes_are_refused(encoding: str) -> None:
    with pytest.raises(TableError, match=f"Encoding '{encoding}' is not supported; use utf-8"):
        read(SIMPLE.encode(), encoding=encoding)


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "feed.pdf"
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(TableError, match="format pdf are not read; use csv, xlsx, json, xml"):
        open_table(path)
    with open_table(path, format="csv") as table:
        assert list(table) == [(2, ["1", "2"])]


@pytest.mark.parametrize(
    "endless",
    [b"1," + b"x" * 12_000_000, b'1,"a\n' + b"3760000000055,name\n" * 600_000, b'1,"a\n' + b'","\n' * 3_000_000],
    ids=["line", "quote", "record"],
)
def test_endless_rows_end_in_an_error_and_not_in_memory(endless: bytes) -> None:
    file = io.BytesIO(b"ean,name\n" + endless)
    tracemalloc.start()
    try:
        with pytest.raises(TableError, match="Row 2") as error:
            list(open_table(file))
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()
    assert error.value.row == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_reading_resumes_after_any_row(encoding: str, end: str) -> None:
    pick = random.Random(end + encoding)
    cells = ["", "é", "€ 5", "a\nb", 'dit "pro"', " x", "Crème, brûlée;", "œ" * 600]
    rows = [["1", "b", "c"]] + [[str(i), pick.choice(cells), pick.choice(cells)] for i in range(2000)]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=";", lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    data = text.getvalue().encode(encoding)
    options = {"encoding": encoding, "header": True}
    whole = read(data, **options)[1]
    assert [cells for _, cells in whole] == rows[1:]

    table = open_table(io.BytesIO(data), **options)  # type: ignore[arg-type]
    tokens = [json.dumps(table.position) for _ in table]
    for at in (0, 1, 2, *pick.sample(range(2000), 20), 1998, 1999):
        file = Watched(data)
        resumed = open_table(file, resume=json.loads(tokens[at]))
        assert list(resumed) == whole[at + 1 :]
        assert resumed.columns == table.columns
        assert resumed.detected == table.detected
        assert file.lowest >= json.loads(tokens[at])["offset"]
    assert json.loads(tokens[-1])["offset"] == len(data)


class Watched(io.BytesIO):
    """Knows the lowest byte that was read, the first ones, which tell what kind of file it is, apart."""

    lowest = 1 << 60

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size > 4:
            self.lowest = min(self.lowest, self.tell())
        return super().read(size)


def test_resuming_after_damaged_rows() -> None:
    data = b'ean,name\n1,caf\xe9\n2,b\n3,"x"y\n4,d\n'
    table = open_table(io.BytesIO(data), encoding="utf-8")
    tokens = [table.position for _ in table]
    after = [[number for number, _ in open_table(io.BytesIO(data), resume=token)] for token in tokens]
    assert after == [[3, 4, 5], [4, 5], [5], []]


def test_a_path_is_closed_and_a_given_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(SIMPLE.encode())
    with path.open("rb") as file:
        with open_table(file) as table:
            assert len(list(table)) == 2
        assert not file.closed
    path.write_bytes(SIMPLE.encode() * 20_000)
    with open_table(path) as table:
        pass
    with pytest.raises(ValueError, match="closed file"):
        list(table)


def test_cells_of_a_description_size_are_read() -> None:
    html = "<p>é</p>" * 25_000
    assert read(f'ean,description\n1,"{html}"\n'.encode())[1] == [(2, ["1", html])]


def test_every_file_of_the_torture_chamber_is_read_or_refused_with_a_reason() -> None:
    outcomes: dict[str, int | str] = {}
    for path in sorted(shared_data("data", "torture", "csv").rglob("*.[ct]sv")):
        try:
            with open_table(path) as table:
                outcomes[path.name] = sum(1 for _ in table)
        except TableError as error:
            outcomes[path.name] = str(error).split(" (")[0]
    refused = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, str)}
    assert len(outcomes) == 61
    unclosed = "a cell opens with a quote that is never closed"
    assert refused == {
        "all-empty.csv": "The file has no rows",
        "bad-header-no-header.csv": "The file is empty",
        "bad-header-wrong-header.csv": "The file has a header but no rows",
        "bad-missing-quote.csv": f"Row 2: {unclosed}",
        "empty-one-column.csv": "The file has a header but no rows",
        "header-no-rows.csv": "The file has a header but no rows",
        "malformed.tsv": f"Row 9: {unclosed}",
    }


def test_files_with_expected_contents_are_read_exactly() -> None:
    compared = 0
    for path in sorted(shared_data("data", "torture", "csv", "csv-test-data", "json").glob("*.json")):
        expected = json.loads(path.read_text())
        named = isinstance(expected[0], dict) if expected else True
        rows = [row for row in expected if any(row.values() if named else row)]  # blank rows are not yielded
        if len(rows) <= (not named):
            continue
        with open_table(path.parents[1] / "csv" / f"{path.stem}.csv", header=named) as table:
            found = [dict(zip(table.columns, cells, strict=True)) if named else cells for _, cells in table]
        assert found == rows, path.name
        compared += 1
    assert compared == 15


def test_a_french_catalogue_in_utf16() -> None:
    with open_table(shared_data("data", "catalog", "off_fr_utf16le_semicolon.csv")) as table:
        rows = list(table)
    assert table.detected == Detected("utf-16-le", ";", True, 1.0)
    assert (len(table.columns), len(rows), rows[-1][0]) == (16, 6774, 6775)
    assert rows[0][1][:3] == [
        "00018999",
        "http://world-fr.openfoodfacts.org/produit/00018999/porridge-de-riz-marks-spencer",
        "Porridge de Riz",
    ]


def test_a_latin1_file_without_header() -> None:
    with open_table(shared_data("data", "catalog", "bdpm_cip13_latin1_noheader.tsv")) as table:
        rows = list(table)
    assert (table.detected.encoding, table.detected.delimiter, table.detected.header) == ("cp1252", "\t", False)
    assert (len(table.columns), len(rows), rows[0][0]) == (13, 10042, 1)
    assert rows[0][1][2] == "plaquette(s) PVC PVDC aluminium de 30 comprimé(s)"
