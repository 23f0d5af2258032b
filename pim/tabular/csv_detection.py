"""How a CSV file is written: binary content refused, encoding by evidence, delimiter by consistent columns."""

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import IO

from pim.tabular.errors import TableError

SAMPLE = 256 * 1024
DELIMITERS = ",;\t|"
RECORDS = 100

_MAGIC = (
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
)
# UTF-32 first: its little-endian mark begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Windows, old Macintosh and DOS, with a head start for what is by far the most frequent
_LEGACY = {"cp1252": 0.2, "mac_roman": 0.0, "cp850": 0.0}
_USUAL = frozenset("àâäæçéèêëîïôöœùûüÿßñáíóúãõåøÀÂÄÇÉÈÊËÎÏÔÖŒÙÛÜÑÁÓÅØ«»’“”–…€°²³©®™\xa0")
_QUOTED = re.compile(r'"[^"]*"')
_LINE_END = re.compile(r"\r\n|\n|\r")
_SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r\n|\n|\r)")


@dataclass(frozen=True, slots=True)
class Encoding:
    """A codec name, the bytes of the byte order mark to skip, and how sure this is (0-1)."""

    name: str
    bom: int
    confidence: float


def refuse_binary(head: bytes) -> None:
    """Raises TableError when the file is of a well-known binary kind, whatever its name says."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            raise TableError(
                f"This is {kind}, not a CSV file; export the table as CSV or give the file its real extension"
            )


def detect_encoding(file: IO[bytes], head: bytes, *, asked: str | None) -> Encoding:
    """Byte order mark, else what was asked, else UTF-8 when the first non-ASCII text is UTF-8, else a legacy charset.

    file: positioned after `head`, its first bytes. Raises TableError for binary data and unknown encodings.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, len(mark), 1.0)
    if asked is not None:
        return Encoding(_supported(asked), 0, 1.0)
    if b"\0" in head:
        return _utf16_without_mark(head)
    text = _first_non_ascii(file, head)
    if text is None:
        return Encoding("utf-8", 0, 1.0)
    decoded = codecs.getincrementaldecoder("utf-8")("replace").decode(text)
    damaged = decoded.count("\ufffd")
    good = sum(not char.isascii() for char in decoded) - damaged
    # legacy text almost never forms a valid sequence, so a few broken ones among many good ones are damage
    if good > damaged:
        return Encoding("utf-8", 0, good / (good + damaged))
    plausible = {name: _plausibility(text, name) for name in _LEGACY}
    best = max(_LEGACY, key=lambda name: plausible[name] + _LEGACY[name])
    return Encoding(best, 0, round(plausible[best] * 0.9, 2))


def detect_delimiter(text: str, *, complete: bool) -> tuple[str, float]:
    """The delimiter with which most records have as many cells as the first one, and that share (0-1).

    complete: False when `text` stops in the middle of the file, whose last record is then left out.
    A single column has no delimiter: then the comma, with confidence 0.5.
    """
    best = (0.5, 1, ",")
    for delimiter in DELIMITERS:
        records = _records(text, delimiter, complete=complete)
        if not records:
            continue
        # the header knows the number of columns, unless it is a title without any delimiter
        width = len(records[0])
        if width == 1:
            width = Counter(map(len, records)).most_common(1)[0][0]
        share = sum(len(cells) >= width and not any(cells[width:]) for cells in records) / len(records)
        if width > 1 and (share, width) > best[:2]:
            best = (share, width, delimiter)
    return best[2], round(best[0], 2)


def separator_line(text: str) -> tuple[str, str] | None:
    """The line `sep=;` with which Excel is told the delimiter: (the line with its end, the delimiter)."""
    found = _SEPARATOR_LINE.match(text)
    return (found[0], found[1]) if found else None


def line_end(text: str) -> str:
    """How lines end: in a carriage return alone, as on old Macintoshes, or (with or without one) in a line feed."""
    first = _LINE_END.search(_QUOTED.sub("", text))
    return "\r" if first and first[0] == "\r" else "\n"


def _records(text: str, delimiter: str, *, complete: bool) -> list[list[str]]:
    """The first records, blank ones left out; none when the text does not parse with this delimiter."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        records = [cells for cells in islice(reader, RECORDS + 1) if any(cells)]
    except csv.Error:
        return []
    return records if complete or len(records) < 2 else records[:-1]


def _supported(asked: str) -> str:
    """The codec of a named encoding; only those whose bytes can be counted: UTF-8, -16, -32 and single-byte ones."""
    try:
        name = codecs.lookup(asked.strip()).name
        if name in ("utf-8", "utf-8-sig"):
            return "utf-8"
        if name in ("utf-16", "utf-32"):  # without a mark: as Windows writes it
            return f"{name}-le"
        if name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            return name
        if len(bytes(range(256)).decode(name, "replace")) == 256 and "\n".encode(name) == b"\n":
            return name
    except (LookupError, ValueError, TypeError):
        pass
    raise TableError(
        f"Encoding {asked!r} is not supported; use utf-8, utf-16 or a single-byte one such as cp1252, iso-8859-15 "
        "or mac_roman"
    )


def _utf16_without_mark(head: bytes) -> Encoding:
    """Western text in UTF-16 has a NUL in nearly every second byte and none in the others."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd * 4 > len(head) and even * 20 < odd:
        return Encoding("utf-16-le", 0, 0.9)
    if even * 4 > len(head) and odd * 20 < even:
        return Encoding("utf-16-be", 0, 0.9)
    if head.count(0) * 100 > len(head):
        raise TableError("This is binary data (NUL bytes in it), not a CSV file")
    return Encoding("utf-8", 0, 0.5)


def _first_non_ascii(file: IO[bytes], head: bytes) -> bytes | None:
    """The first stretch of the file with a non-ASCII byte: later text cannot contradict an all-ASCII beginning."""
    block = head
    while block:
        if not block.isascii():
            return block
        block = file.read(SAMPLE)
    return None


def _plausibility(data: bytes, encoding: str) -> float:
    """The share of non-ASCII characters that are usual in western European texts and stand where they may stand."""
    text = data.decode(encoding, errors="replace")
    high = [
        char in _USUAL and not (char.isupper() and before.islower())
        for before, char in pairwise(" " + text)
        if not char.isascii()
    ]
    return sum(high) / len(high)
