"""What every reader has in common: the Table interface, its errors and the shaping of headers and rows."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

from pim.tabular.errors import TableError
from pim.tabular.packed import unpack

__all__ = ["TableError"]

Position = dict[str, Any]
"""Where a reader stands, as JSON. Opaque: only the reader that wrote it reads it."""

MAX_NAME = 1000  # characters of a column's name

_CODE = re.compile(r"\s*\d{8,14}\s*")


@dataclass(frozen=True, slots=True)
class Detected:
    """How the file is read. confidence: 0-1, how sure the detection is; 1 when nothing had to be guessed.

    compression: what the table was packed in. sheet: of a workbook. record_path: where in a JSON or XML file the
    records stand.
    """

    encoding: str
    delimiter: str
    header: bool
    confidence: float
    format: str = "csv"
    compression: str = ""
    sheet: str = ""
    record_path: str = ""

    def as_dict(self) -> dict[str, str | bool | float]:
        """Without the optional fields that are empty."""
        optional = ("compression", "sheet", "record_path")
        return {name: value for name, value in asdict(self).items() if value or name not in optional}

    def describe(self) -> str:
        """For people: `utf-8, delimiter ';', with header row`."""
        parts = [self.encoding] if self.format == "csv" else [self.format.upper()]
        if self.compression:
            parts.insert(0, self.compression)
        if self.sheet:
            parts.append(f"sheet {self.sheet!r}")
        if self.record_path:
            parts.append(f"records at {self.record_path}")
        if self.delimiter:
            parts.append(f"delimiter {self.delimiter!r}")
        if self.format in ("csv", "xlsx"):
            parts.append("with header row" if self.header else "without header row")
        return ", ".join(parts)


class UnreadableRow(list[str]):
    """Stands in the place of a row's cells when they could not be read; always empty."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class FlawedRow(list[str]):
    """Cells of which some could not be read, or that are not all there was.

    unreadable: {column index: reason}; such a cell holds what stands in the file. unknown: {name: value} of values
    for which the table has no column.
    """

    def __init__(self, cells: list[str], *, unreadable: dict[int, str], unknown: dict[str, str]) -> None:
        super().__init__(cells)
        self.unreadable = unreadable
        self.unknown = unknown


class Table(ABC):
    """One pass over the rows of a file. A context manager; leaving it closes a file that it opened."""

    columns: list[str]
    detected: Detected

    def __init__(self, source: str | Path | IO[bytes]) -> None:
        self._owned = isinstance(source, str | Path)
        self._given: IO[bytes] = Path(source).open("rb") if isinstance(source, str | Path) else source  # noqa: SIM115
        try:
            self._file, self._compression = unpack(self._given)
        except BaseException:
            Table.close(self)
            raise

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (row number, cells).

        Numbers are those a spreadsheet shows (the header is row 1); in JSON and XML the first record is 1. Blank rows
        are counted but not yielded. There are as many cells as columns, missing ones being empty; more only when a
        surplus cell holds something; an UnreadableRow when there is no telling; a FlawedRow when a cell is unreadable.
        """

    @property
    @abstractmethod
    def position(self) -> Position:
        """Where to resume after the row yielded last."""

    def close(self) -> None:
        if self._owned:
            self._given.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def column_names(cells: Sequence[str]) -> list[str]:
    """Unique, non-empty names from a header row: blanks become column_N, repeated names get a number.

    Raises TableError for a name that is none because of its length.
    """
    names: dict[str, None] = {}
    for index, cell in enumerate(cells, 1):
        if len(cell) > MAX_NAME:
            raise TableError(
                f"The first row is no header: cell {index} has {len(cell):,} characters; if the file has none, say so "
                "(header=false)"
            )
        name = base = " ".join(cell.split()) or f"column_{index}"
        repeat = 1
        while name in names:
            repeat += 1
            name = f"{base} ({repeat})"
        names[name] = None
    return list(names)


def looks_like_header(cells: Sequence[str]) -> bool:
    """False when a cell of the first row is already a product code (8 to 14 digits)."""
    return not any(map(_CODE.fullmatch, cells))


def fitted(cells: list[str], width: int) -> list[str] | None:
    """`cells` padded to `width`, empty surplus cells removed; None when the whole row is blank."""
    if not any(cell and not cell.isspace() for cell in cells):
        return None
    surplus = cells[width:]
    if surplus and not any(cell.strip() for cell in surplus):
        return cells[:width]
    return cells + [""] * (width - len(cells))
