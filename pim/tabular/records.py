"""Tables of files without a header, JSON and XML: the columns are the names that the first records use."""

from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice

from pim.tabular.base import FlawedRow, Position, Table, UnreadableRow
from pim.tabular.errors import TableError

SAMPLE_RECORDS = 1000
MAX_COLUMNS = 5000
SEPARATOR = "|"  # between several values of one name

Record = dict[str, str] | UnreadableRow
"""{name: text}, or why there is no telling."""


class RecordTable(Table):
    """Rows are numbered from 1 in the order of the records; those without any value are counted but not yielded."""

    nothing = "The file holds no records"
    _row = 0

    @abstractmethod
    def _records(self, resume: Position | None) -> Iterator[Record]:
        """The records from the start of the file, or those after `resume`."""

    def _begin(self, resume: Position | None) -> None:
        """Stand before the first record, or before the one after `resume`; set the columns."""
        self.columns = list(resume["columns"]) if resume else self._names()
        self._row = resume["row"] if resume else 0
        self._rows = self._records(resume)

    def _names(self) -> list[str]:
        """The names of the first records, in the order in which they come up."""
        names: dict[str, None] = {}
        count, reason = 0, ""
        for count, record in enumerate(islice(self._records(None), SAMPLE_RECORDS), 1):
            if isinstance(record, UnreadableRow):
                reason = reason or f" (record {count}: {record.reason})"
            else:
                names.update(dict.fromkeys(record))
            if len(names) > MAX_COLUMNS:
                raise TableError(f"Record {count}: there are more than {MAX_COLUMNS:,} different names of fields")
        if not names:
            raise TableError(self.nothing + reason)
        if not all(map(_storable, names)):
            raise TableError("The name of a field holds a NUL character or half a character (a lone surrogate)")
        return list(names)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        fresh = self._row == 0
        columns = self.columns
        known = dict.fromkeys(columns, "")
        for record in self._rows:
            self._row += 1
            if isinstance(record, UnreadableRow):
                fresh = False
                yield self._row, record
                continue
            merged = known | record
            cells = list(merged.values())
            if len(cells) > len(columns):
                unknown = {name: value for name, value in record.items() if name not in known and value}
                cells = cells[: len(columns)]
                if unknown:
                    fresh = False
                    yield self._row, FlawedRow(cells, unreadable={}, unknown=unknown)
                    continue
            if any(cells):
                fresh = False
                yield self._row, cells
        if fresh:
            raise TableError(self.nothing)


def _storable(name: str) -> bool:
    return "\0" not in name and not any("\ud800" <= char <= "\udfff" for char in name)
