"""What every reader has in common: the Table interface, its errors and the shaping of headers and rows."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

Position = dict[str, Any]
"""Where a reader stands, as JSON. Opaque: only the reader that wrote it reads it."""

_CODE = re.compile(r"\s*\d{8,14}\s*")


class TableError(Exception):
    """The file cannot be read as a table, or not further than `row`."""

    def __init__(self, message: str, *, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True, slots=True)
class Detected:
    """How the file is read. confidence: 0-1, how sure the detection is; 1 when nothing had to be guessed."""

    encoding: str
    delimiter: str
    header: bool
    confidence: float

    def as_dict(self) -> dict[str, str | bool | float]:
        return asdict(self)


class UnreadableRow(list[str]):
    """Stands in the place of a row's cells when they could not be read; always empty."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Table(ABC):
    """One pass over the rows of a file. A context manager; leaving it closes a file that it opened."""

    columns: list[str]
    detected: Detected

    def __init__(self, source: str | Path | IO[bytes]) -> None:
        # closed by close()
        self._file: IO[bytes] = Path(source).open("rb") if isinstance(source, str | Path) else source  # noqa: SIM115
        self._owned = self._file is not source

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (row number, cells). Numbers are those a spreadsheet shows: the header is row 1.

        Blank rows are counted but not yielded. There are as many cells as columns, missing ones being empty;
        more only when a surplus cell holds something; an UnreadableRow when there is no telling.
        """

    @property
    @abstractmethod
    def position(self) -> Position:
        """Where to resume after the row yielded last."""

    def close(self) -> None:
        if self._owned:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def column_names(cells: Sequence[str]) -> list[str]:
    """Unique, non-empty names from a header row: blanks become column_N, repeated names get a number."""
    names: dict[str, None] = {}
    for index, cell in enumerate(cells, 1):
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
