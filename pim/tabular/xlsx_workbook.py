"""The package of an XLSX workbook: its limits, sheets, texts and number formats."""

import io
import posixpath
import re
import tempfile
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal
from urllib.parse import unquote

from pim.tabular.errors import TableError
from pim.tabular.packed import open_zip
from pim.tabular.xml_stream import XmlElements, local_name, parse_part

MAX_SIZE = 300 * 1024**2  # bytes of all parts together
MAX_RATIO = 100  # unpacked to packed
FREE = 8 * 1024**2  # bytes that are never too many, whatever the ratio
MAX_PART = 20 * 1024**2  # bytes of a part that is read whole: the list of sheets, the styles
MAX_TEXTS = 5_000_000
TEXTS_IN_MEMORY = 8 * 1024**2  # characters; further ones go to a temporary file

MAX_DIGITS = 50  # of a number that is shown with leading zeros

OLE_MAGIC = b"\xd0\xcf\x11\xe0"

Format = Literal["date", "time", "duration"] | int
"""What a number means by its format; an int is the number of digits it is shown with, by leading zeros."""

_BUILT_IN: dict[int, Format] = {
    **dict.fromkeys((14, 15, 16, 17, 22, *range(27, 32), 36, *range(50, 59)), "date"),
    **dict.fromkeys((18, 19, 20, 21, *range(32, 36), 45, 47), "time"),
    46: "duration",
}
_NO_CODE = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!(?:h+|m+|s+)\])[^\]]*\]', re.IGNORECASE)
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A worksheet. part: its name within the package."""

    name: str
    part: str
    visible: bool


class Texts:
    """The shared texts by number: the first ones in memory, all others in a temporary file."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._near: list[str] = []
        self._starts = array("Q", [0])
        self._file: IO[bytes] | None = None
        size = 0
        for count, text in enumerate(texts, 1):
            if count > MAX_TEXTS:
                raise TableError(f"The workbook holds more than {MAX_TEXTS:,} different texts; save it as CSV")
            # what an object costs counts too
            size += len(text) + 64
            if size <= TEXTS_IN_MEMORY:
                self._near.append(text)
                continue
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115
            data = text.encode(errors="surrogatepass")
            self._file.write(data)
            self._starts.append(self._starts[-1] + len(data))

    def __getitem__(self, index: int) -> str:
        """Raises IndexError."""
        if 0 <= index < len(self._near):
            return self._near[index]
        far = index - len(self._near)
        if self._file is None or not 0 <= far < len(self._starts) - 1:
            raise IndexError(index)
        start, end = self._starts[far], self._starts[far + 1]
        self._file.seek(start)
        return self._file.read(end - start).decode(errors="surrogatepass")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Workbook:
    """An open workbook. Raises TableError for everything that is none, that is protected, and for bombs.

    sheets: the worksheets in the order of their tabs. epoch_1904: whether days are counted from 1904. formats: what
    numbers mean by the style of their cell.
    """

    def __init__(self, file: IO[bytes]) -> None:
        file.seek(0)
        _refuse_others(file)
        self._archive = open_zip(file)
        self._refuse_bombs(file)
        parts = {name.lower(): name for name in self._archive.namelist()}
        self._parts = parts
        main = next((target for kind, target in self._relations("").values() if kind == "officeDocument"), None)
        if main is None or main.lower() not in parts:
            if "xl/workbook.bin" in parts:
                raise TableError("This is a binary Excel workbook (.xlsb); save it as .xlsx")
            raise TableError("This is not an Excel workbook: the list of its sheets is missing")
        if main.lower().endswith(".bin"):
            raise TableError("This is a binary Excel workbook (.xlsb); save it as .xlsx")
        book = self._part(main)
        relations = self._relations(main)
        properties = next((element for element in _children(book, "workbookPr")), None)
        self.epoch_1904 = properties is not None and properties.get("date1904") in ("1", "true", "on")
        self.sheets = list(self._sheets(book, relations))
        if not self.sheets:
            raise TableError("The workbook has no worksheet")
        by_kind = dict(relations.values())
        self.formats = self._formats(by_kind.get("styles"))
        self._texts_part = by_kind.get("sharedStrings")

    def open(self, part: str) -> IO[bytes]:
        """A stream of one part. Raises TableError when there is no such part."""
        name = self._parts.get(part.lower())
        if name is None:
            raise TableError(f"The workbook is incomplete: its part {part} is missing")
        if self._archive.getinfo(name).flag_bits & 1:
            raise TableError("The workbook is protected by a password; send it without one")
        try:
            return Part(self._archive.open(name))  # type: ignore[return-value]
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise TableError(f"The workbook is damaged: {error}") from error

    def texts(self) -> Texts:
        """The shared texts; the caller closes them."""
        part = self._texts_part
        if part is None or part.lower() not in self._parts:
            return Texts(iter(()))
        return Texts(map(rich_text, XmlElements(self.open(part), ("sst", "si"))))

    def close(self) -> None:
        self._archive.close()

    def _refuse_bombs(self, file: IO[bytes]) -> None:
        size = sum(info.file_size for info in self._archive.infolist())
        packed = file.seek(0, io.SEEK_END)
        if size > MAX_SIZE:
            raise TableError(
                f"The workbook unpacks to {size >> 20} MB, at most {MAX_SIZE >> 20} MB are read; "
                "split it or save the sheet as CSV"
            )
        if size > FREE and size > packed * MAX_RATIO:
            raise TableError(
                f"The workbook unpacks to {size // packed} times its size, more than {MAX_RATIO} times is refused; "
                "save the sheet as CSV"
            )

    def _part(self, part: str) -> Any:
        with self.open(part) as stream:
            data = stream.read(MAX_PART + 1)
        if len(data) > MAX_PART:
            raise TableError(f"The part {part} of the workbook is larger than {MAX_PART >> 20} MB")
        return parse_part(data)

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """{id: (kind, target part)} of what `part` ("" for the package) refers to inside the workbook."""
        folder, name = posixpath.split(part)
        path = posixpath.join(folder, "_rels", f"{name}.rels")
        if path.lower() not in self._parts:
            return {}
        found = {}
        for relation in self._part(path):
            if not isinstance(relation.tag, str) or relation.get("TargetMode") == "External":
                continue
            target = unquote(relation.get("Target", "")).replace("\\", "/")
            full = target if target.startswith("/") else posixpath.join("/", folder, target)
            kind = relation.get("Type", "").rpartition("/")[2]
            found[relation.get("Id", "")] = (kind, posixpath.normpath(full).lstrip("/"))
        return found

    def _sheets(self, book: Any, relations: dict[str, tuple[str, str]]) -> Iterator[Sheet]:
        for group in _children(book, "sheets"):
            for sheet in _children(group, "sheet"):
                key = next((value for name, value in sheet.attrib.items() if name.endswith("}id")), "")
                kind, part = relations.get(key, ("", ""))
                if kind == "worksheet":
                    yield Sheet(sheet.get("name", ""), part, sheet.get("state", "visible") == "visible")

    def _formats(self, part: str | None) -> dict[str | None, Format]:
        """{cell style: what numbers mean in it}, where it is anything but numbers; None is a cell without a style."""
        if part is None or part.lower() not in self._parts:
            return {}
        styles = self._part(part)
        own = {
            number.get("numFmtId"): number.get("formatCode", "")
            for group in _children(styles, "numFmts")
            for number in _children(group, "numFmt")
        }
        found: dict[str | None, Format] = {}
        styles_of_cells = (style for group in _children(styles, "cellXfs") for style in _children(group, "xf"))
        for index, style in enumerate(styles_of_cells):
            key = style.get("numFmtId", "0")
            built_in = _BUILT_IN.get(int(key)) if len(key) < 4 and key.isdecimal() else None
            meaning = number_format(own[key]) if key in own else built_in
            if meaning is not None:
                found[str(index)] = meaning
        if "0" in found:
            found[None] = found["0"]
        return found


class Part(io.RawIOBase):
    """A stream of a package part whose damage is a TableError."""

    def __init__(self, content: IO[bytes]) -> None:
        super().__init__()
        self._content = content

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._content.read(size)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise TableError(f"The workbook is damaged: {error}") from error

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._content.seek(offset, whence)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise TableError(f"The workbook is damaged: {error}") from error

    def close(self) -> None:
        self._content.close()
        super().close()


def rich_text(element: Any) -> str:
    """The text of a string item, of all its runs, without phonetic hints."""
    if len(element) == 1 and not len(element[0]):
        text: str = element[0].text or ""
    else:
        text = "".join(
            part.text or ""
            for child in element
            if isinstance(child.tag, str) and local_name(child) in ("t", "r")
            for part in ((child,) if local_name(child) == "t" else _children(child, "t"))
        )
    return unescaped(text) if "_x" in text else text


def unescaped(text: str) -> str:
    """Text without the escapes for characters that XML cannot hold, such as `_x000D_` (ECMA-376, 22.9.2.19)."""
    return _ESCAPE.sub(_character, text)


def _character(escape: re.Match[str]) -> str:
    code = int(escape[1], 16)
    return escape[0] if code == 0 or 0xD800 <= code <= 0xDFFF else chr(code)


def number_format(code: str) -> Format | None:
    """What numbers of a format mean: dates, times, or codes shown with leading zeros."""
    plain = _NO_CODE.sub("", code.split(";")[0]).strip()
    lower = plain.lower()
    if lower in ("general", "standard", "@"):
        return None
    if 1 < len(plain) <= MAX_DIGITS and not plain.strip("0"):
        return len(plain)
    if re.search(r"\[(?:h+|m+|s+)\]", lower):
        return "duration"
    if re.search(r"[yd]|mmm", lower):
        return "date"
    if re.search(r"[hs]", lower):
        return "time"
    return None


def _children(element: Any, name: str) -> Iterator[Any]:
    return (child for child in element if isinstance(child.tag, str) and local_name(child) == name)


def _refuse_others(file: IO[bytes]) -> None:
    """Raises TableError for protected workbooks and those from before 2007."""
    head = file.read(8)
    if not head:
        raise TableError("The file is empty")
    if head.startswith(OLE_MAGIC):
        file.seek(0)
        if "EncryptedPackage".encode("utf-16-le") in file.read(MAX_PART):
            raise TableError("The workbook is protected by a password; remove it and send the file again")
        raise TableError("This is an old Excel workbook (.xls); save it as .xlsx")
    if not head.startswith(b"PK"):
        raise TableError(
            "This is not an Excel workbook (.xlsx); save the table as .xlsx or give the file its real ending"
        )
