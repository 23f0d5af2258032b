"""XLSX: the rows of one sheet, streamed from the package, with the exact text of each cell."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from pim.tabular.base import (
    Detected,
    FlawedRow,
    Position,
    Table,
    TableError,
    column_names,
    fitted,
    looks_like_header,
)
from pim.tabular.xlsx_workbook import MAX_SIZE, Format, Sheet, Texts, Workbook, rich_text, unescaped
from pim.tabular.xml_stream import XmlElements, local_name

MAX_COLUMNS = 16_384  # as Excel has
PRECISION = 15  # decimal digits of a number that a spreadsheet keeps and shows
ROW = ("worksheet", "sheetData", "row")

Cells = tuple[int, list[str], dict[int, str]]
"""Row number, cells, and {index: why the cell cannot be read}."""


class XlsxTable(Table):
    """One sheet of a workbook.

    The position of a row is a byte of the unpacked sheet; resuming unpacks what comes before without parsing it,
    and reads the shared texts again.
    """

    def __init__(
        self,
        source: str | Path | IO[bytes],
        *,
        sheet: str | None = None,
        header: bool | None = None,
        resume: Position | None = None,
    ) -> None:
        super().__init__(source)
        self._book: Workbook | None = None
        self._texts: Texts | None = None
        try:
            if self._compression:
                self._file = _unpacked(self._file)
            self._book = Workbook(self._file)
            self._texts = self._book.texts()
            self._columns_by_letters: dict[str, int] = {}
            self._row = 0
            if resume is None:
                self._choose(self._book, sheet, header)
            else:
                self._resume(self._book, resume)
        except BaseException:
            self.close()
            raise

    def _choose(self, book: Workbook, name: str | None, header: bool | None) -> None:
        for sheet in _candidates(book.sheets, name):
            rows = self._open(book, sheet)
            first = next((found for found in rows if any(cell.strip() for cell in found[1])), None)
            if first is not None:
                break
        else:
            where = f"Sheet {name!r}" if name else "Every sheet of the workbook"
            raise TableError(f"{where} is empty")
        cells = first[1]
        while not cells[-1].strip():
            cells.pop()
        self._fresh = True
        if header is None:
            header = looks_like_header(cells)
        if header:
            self.columns = column_names(cells)
            self._rows = rows
        else:
            self.columns = column_names([""] * len(cells))
            self._rows = self._open(book, sheet)
        self.detected = Detected(
            "utf-8", "", header, 1.0, format="xlsx", compression=self._compression, sheet=sheet.name
        )

    def _resume(self, book: Workbook, token: Position) -> None:
        self.columns = list(token["columns"])
        self.detected = Detected(
            "utf-8", "", token["header"], 1.0, format="xlsx", compression=self._compression, sheet=token["sheet"]
        )
        sheet = next((sheet for sheet in book.sheets if sheet.name == token["sheet"]), None)
        if sheet is None:
            raise TableError(f"The workbook has no sheet {token['sheet']!r} any more")
        self._fresh = False
        self._rows = self._open(book, sheet, row=token["row"], place=token["place"])

    @property
    def position(self) -> Position:
        return {
            "format": "xlsx",
            "sheet": self.detected.sheet,
            "header": self.detected.header,
            "row": self._row,
            "place": self._elements.place,
            "columns": self.columns,
        }

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        width = len(self.columns)
        for number, cells, unreadable in self._rows:
            shaped = cells if len(cells) == width and cells[0] > "!" else fitted(cells, width)
            if shaped is None:
                continue
            self._fresh = False
            if unreadable and len(shaped) == width:
                shaped = FlawedRow(shaped, unreadable=unreadable, unknown={})
            yield number, shaped
        if self._fresh:
            raise TableError(f"Sheet {self.detected.sheet!r} has a header but no rows")

    def close(self) -> None:
        if self._book is not None:
            self._book.close()
        if self._texts is not None:
            self._texts.close()
        if self._compression:
            self._file.close()
        super().close()

    def _open(
        self, book: Workbook, sheet: Sheet, *, row: int = 0, place: dict[str, Any] | None = None
    ) -> Iterator[Cells]:
        self._elements = XmlElements(book.open(sheet.part), ROW, resume=place)
        self._row = row
        return self._read(book)

    def _read(self, book: Workbook) -> Iterator[Cells]:
        formats, epoch = book.formats, _epoch(book)
        index_of = self._columns_by_letters
        texts = self._texts
        assert texts is not None
        for element in self._elements:
            number = element.get("r")
            given = int(number) if number and len(number) < 10 and number.isdecimal() else 0
            self._row = max(given, self._row + 1)
            cells: list[str] = []
            unreadable: dict[int, str] = {}
            index = -1
            for cell in element:
                reference = cell.get("r")
                if reference is None:
                    index += 1
                else:
                    letters = reference.rstrip("0123456789")
                    index = index_of.get(letters, -1)
                    if index < 0:
                        index = index_of[letters] = _column(letters, self._row)
                parts = len(cell)
                if not parts:
                    continue
                kind = cell.get("t")
                child = cell[0]
                value = child.text if parts == 1 and child.tag[-2:] == "}v" else _value(cell)
                if kind == "s":
                    try:
                        text = texts[int(value or "")]
                    except (ValueError, IndexError):
                        text = value or ""
                        unreadable[index] = "refers to a text that the workbook does not hold"
                elif kind is None or kind == "n":
                    if not value:
                        if _is_formula(cell):
                            unreadable[index] = NO_RESULT
                        continue
                    text = value if value.isdigit() else _number(value)
                    if formats and (meaning := formats.get(cell.get("s"))) is not None:
                        text = _formatted(text, meaning, epoch)
                elif kind == "inlineStr":
                    text = "".join(rich_text(child) for child in cell if _is(child, "is")) or value or ""
                elif kind == "b":
                    text = "true" if value in ("1", "true") else "false" if value in ("0", "false") else value or ""
                elif kind == "e":
                    text = value or "#ERROR"
                    unreadable[index] = f"holds the spreadsheet error {text}; correct the cell or its formula"
                else:  # "str", the result of a formula, and "d", a date in ISO notation
                    text = value or ""
                    if "_x" in text:
                        text = unescaped(text)
                if index == len(cells):
                    cells.append(text)
                else:
                    if index > len(cells):
                        cells.extend([""] * (index + 1 - len(cells)))
                    cells[index] = text
            yield self._row, cells, unreadable


NO_RESULT = "holds a formula without a stored result; open the file in a spreadsheet program and save it again"


def _unpacked(content: IO[bytes]) -> IO[bytes]:
    """A workbook that was packed once more, in a temporary file: it is not read in one direction."""
    file = TemporaryFile()  # noqa: SIM115
    while block := content.read(1 << 20):
        file.write(block)
        if file.tell() > MAX_SIZE:
            file.close()
            raise TableError(f"The packed workbook is larger than {MAX_SIZE >> 20} MB")
    return file


def _candidates(sheets: list[Sheet], name: str | None) -> list[Sheet]:
    """The sheets to look at, in this order: the named one, or the visible ones, then the hidden ones."""
    if name is None:
        return sorted(sheets, key=lambda sheet: not sheet.visible)
    found = [sheet for sheet in sheets if sheet.name == name]
    found = found or [sheet for sheet in sheets if sheet.name.strip().casefold() == name.strip().casefold()]
    if len(found) != 1:
        names = ", ".join(sheet.name for sheet in sheets[:50])
        raise TableError(f"The workbook has no sheet {name!r}. Sheets: {names}")
    return found


def _column(letters: str, row: int) -> int:
    """The index of a column by its letters; "A" is 0."""
    index = 0
    for letter in letters.upper():
        index = index * 26 + ord(letter) - 64
        if not "A" <= letter <= "Z" or index > MAX_COLUMNS:
            break
    else:
        if index:
            return index - 1
    raise TableError(f"Row {row}: {letters[:20]!r} is no column of a spreadsheet", row=row)


def _is(element: Any, name: str) -> bool:
    return isinstance(element.tag, str) and local_name(element) == name


def _value(cell: Any) -> str | None:
    for child in cell:
        if _is(child, "v"):
            text: str | None = child.text
            return text
    return None


def _is_formula(cell: Any) -> bool:
    return any(_is(child, "f") for child in cell)


def _number(text: str) -> str:
    """A stored number in plain notation, with the digits that a spreadsheet shows: 3.76E+12 is 3760000000000."""
    text = text.strip()
    if len(text) <= PRECISION and "e" not in text and "E" not in text:
        return text
    try:
        number = Decimal(text)
    except ArithmeticError:
        return text
    if not number.is_finite() or abs(number.adjusted()) > 100:
        return text
    if len(number.as_tuple().digits) > PRECISION and not text.lstrip("-").isdigit():
        number = number.quantize(Decimal(1).scaleb(number.adjusted() - PRECISION + 1))
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _epoch(book: Workbook) -> date:
    return date(1904, 1, 1) if book.epoch_1904 else date(1899, 12, 30)


def _formatted(text: str, meaning: Format, epoch: date) -> str:
    """A number as its format shows it; the number itself where it cannot be a date."""
    if isinstance(meaning, int):
        return text.zfill(meaning) if text.isdigit() else text
    try:
        number = Decimal(text)
    except ArithmeticError:
        return text
    if not number.is_finite() or number < 0 or number.adjusted() > 7:
        return text
    milliseconds = round(number * 86_400_000)
    days, rest = divmod(milliseconds, 86_400_000)
    clock = _clock(rest)
    if meaning == "duration":
        hours, _, minutes = clock.partition(":")
        return f"{days * 24 + int(hours):02}:{minutes}"
    if meaning == "time" and not days:
        return clock
    # Excel counts a 29 February 1900 that never was
    if days < 60 and epoch.year == 1899:
        days += 1
    try:
        day = (epoch + timedelta(days=days)).isoformat()
    except OverflowError:
        return text
    return f"{day}T{clock}" if rest else day


def _clock(milliseconds: int) -> str:
    seconds, fraction = divmod(milliseconds, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{clock}.{fraction:03}" if fraction else clock
