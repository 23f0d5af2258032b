"""Files in gzip and ZIP: every format, resuming, limits, and choosing the format by content and name."""

import gzip
import io
import json
import random
import tracemalloc
import zipfile
from collections.abc import Callable

import openpyxl
import pytest

from pim.tabular import TableError, detect_format, open_table
from pim.tabular.packed import MAX_RATIO

ROWS = [[f"{3760000000000 + i}", f"Désignation {i * 7919}"] for i in range(3000)]


def xlsx() -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Tarif")
    for row in (["ean", "name"], *ROWS):
        sheet.append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


FILES: dict[str, bytes] = {
    "csv": ("ean;name\n" + "".join(";".join(row) + "\n" for row in ROWS)).encode(),
    "xlsx": xlsx(),
    "json": json.dumps([dict(zip(("ean", "name"), row, strict=True)) for row in ROWS], ensure_ascii=False).encode(),
    "ndjson": "\n".join(json.dumps(dict(zip(("ean", "name"), row, strict=True))) for row in ROWS).encode(),
    "xml": f"<l>{''.join(f'<p><ean>{ean}</ean><name>{name}</name></p>' for ean, name in ROWS)}</l>".encode(),
}


def zipped(members: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


PACKERS: dict[str, Callable[[bytes, str], bytes]] = {
    "": lambda data, _: data,
    "gzip": lambda data, _: gzip.compress(data),
    "zip": lambda data, name: zipped({"export/": b"", name: data, "__MACOSX/._x": b"x"}),
}


def named(data: bytes, name: str) -> io.BytesIO:
    file = io.BytesIO(data)
    file.name = name
    return file


@pytest.mark.parametrize("ending", FILES)
@pytest.mark.parametrize("packing", PACKERS)
def test_every_format_is_read_packed_and_resumes(ending: str, packing: str) -> None:
    name = f"feed.{ending}" + {"": "", "gzip": ".gz", "zip": ".zip"}[packing]
    data = PACKERS[packing](FILES[ending], f"feed.{ending}")
    with open_table(named(data, name)) as table:
        assert table.detected.compression == packing
        assert table.detected.format == ending.removeprefix("nd")
        rows, tokens = [], []
        for row in table:
            rows.append(row)
            tokens.append(json.dumps(table.position))
    assert table.columns == ["ean", "name"]
    assert [cells for _, cells in rows] == ROWS
    assert rows[0][0] == (2 if ending in ("csv", "xlsx") else 1)
    for at in (0, 1500, 2998, 2999):
        with open_table(io.BytesIO(data), resume=json.loads(tokens[at])) as resumed:
            assert list(resumed) == rows[at + 1 :]
            assert resumed.detected == table.detected


@pytest.mark.parametrize("packing", ["gzip", "zip"])
@pytest.mark.parametrize("ending", FILES)
def test_the_content_tells_the_format_where_the_name_does_not(ending: str, packing: str) -> None:
    data = PACKERS[packing](FILES[ending], f"feed.{ending}")
    assert detect_format(io.BytesIO(data), name="feed.zip") == ending.removeprefix("nd")


@pytest.mark.parametrize(
    ("data", "name", "format"),
    [
        (b"ean\n1\n", "feed.csv", "csv"),
        (b"ean\n1\n", "feed.TSV.GZ", "csv"),
        (b"ean\n1\n", "feed", "csv"),
        (b"<a/>", "feed", "xml"),
        (b"<a/>", "feed.xml", "xml"),
        (b"<b>ean</b>,x\n1,2\n", "feed.csv", "csv"),
        (b"[1,2],x\n1,2\n", "feed.txt", "csv"),
        (b"\xef\xbb\xbf [{}]", "feed.dat", "json"),
        ("[{}]".encode("utf-16"), "feed.export", "json"),
        ("<a/>".encode("utf-16"), "feed.export", "xml"),
        (b"{}", "feed.jsonl", "json"),
        (b"", "feed.xml", "xml"),
        (b"PK\x05\x06" + bytes(18), "feed.csv", "!The ZIP archive must hold exactly one file, it holds 0"),
        (b"\xd0\xcf\x11\xe0", "feed.xls", "xlsx"),
        (FILES["xlsx"], "feed.csv", "xlsx"),
        (b"<!DOCTYPE html><html>", "feed.xls", "!This is a web page"),
        (b"<HTML><table>", "feed", "!This is a web page"),
        (b"%PDF-1.7", "feed.pdf", "!Files of format pdf are not read; use csv, xlsx, json, xml"),
    ],
)
def test_formats_are_told_by_content_and_name(data: bytes, name: str, format: str) -> None:
    file = io.BytesIO(data)
    if format.startswith("!"):
        with pytest.raises(TableError, match=format[1:]):
            detect_format(file, name=name)
    else:
        assert detect_format(file, name=name) == format
        assert file.tell() == 0


def encrypted() -> bytes:
    data = bytearray(zipped({"feed.csv": FILES["csv"]}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


NOISE = random.Random(1).randbytes(40_000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(FILES["csv"])[:-2000], "The packed file is damaged or incomplete"),
        (gzip.compress(FILES["csv"])[:-8] + bytes(8), "The packed file is damaged or incomplete: CRC check failed"),
        (gzip.compress(FILES["csv"])[:500] + NOISE, "The packed file is damaged or incomplete"),
        (zipped({"a.csv": b"x\n1\n", "b.csv": b"x\n2\n"}), r"exactly one file, it holds 2: a\.csv, b\.csv"),
        (zipped({}), "must hold exactly one file, it holds 0"),
        (zipped({f"{i}.csv": b"" for i in range(5001)}), "The archive holds more than 5,000 files"),
        (zipped({"feed.csv": FILES["csv"]})[:-10], r"The ZIP archive \(or Excel workbook\) is damaged"),
        (encrypted(), r"feed\.csv in the ZIP archive is protected by a password"),
        (zipped({"inner.zip": zipped({"feed.csv": FILES["csv"]})}), "This is not an Excel workbook"),
        (zipped({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet"}), "This is an OpenDocument file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_what_cannot_be_unpacked_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message), open_table(io.BytesIO(data)) as table:
        list(table)


@pytest.mark.parametrize("packing", ["gzip", "zip"])
def test_bombs_are_refused_before_they_go_off(packing: str) -> None:
    bomb = PACKERS[packing](b"ean,name\n" + b"1,x\n" * 25_000_000, "feed.csv")
    assert len(bomb) * MAX_RATIO < 100_000_000
    tracemalloc.start()
    try:
        with (
            pytest.raises(TableError, match="out of all proportion"),
            open_table(io.BytesIO(bomb)) as table,
        ):
            for _ in table:
                pass
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
