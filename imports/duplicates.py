"""EANs that stand more than once in a file: the last acceptable row wins, whatever the batches. Flat memory.

The codes go to a temporary table as they are read; only when some repeat is the file read a second time. The table
stays until the analysis is over: `imports.missing` compares the supplier's products with it.
"""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from django.db import connection

from catalog.identifiers import CodeError, normalise
from imports.mapping import Mapper
from imports.models import ImportJob

CHUNK = 10_000


class Finder:
    """Collects the EAN of each row, then says which rows are superseded. A context manager, outside any transaction."""

    def __init__(self, job: ImportJob, *, ean_column: int) -> None:
        self._job = job
        self._column = ean_column
        self._chunk: list[tuple[int, str]] = []
        self.rows = 0

    def __enter__(self) -> Self:
        self._execute("DROP TABLE IF EXISTS import_code, import_repeated")
        self._execute("CREATE TEMPORARY TABLE import_code (row_number bigint, ean text)")
        self._execute(
            "CREATE TEMPORARY TABLE import_repeated (row_number bigint, ean text, accepted boolean DEFAULT false)"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not connection.needs_rollback and connection.connection and not connection.connection.closed:
            self._execute("DROP TABLE IF EXISTS import_code, import_repeated")

    def add(self, number: int, cells: list[str]) -> bool:
        """Note a row; True after each chunk of rows, which is the moment to renew a lease."""
        self.rows += 1
        if self._column < len(cells) and (ean := _ean(cells[self._column])):
            self._chunk.append((number, ean))
        if self.rows % CHUNK:
            return False
        self._flush()
        return True

    def has_duplicates(self) -> bool:
        """Whether any EAN stands twice; to be asked once, when all rows are added."""
        self._flush()
        with connection.cursor() as cursor:
            cursor.execute(
                """INSERT INTO import_repeated (row_number, ean) SELECT row_number, ean FROM import_code
                   WHERE ean IN (SELECT ean FROM import_code GROUP BY ean HAVING count(*) > 1)"""
            )
            return bool(cursor.rowcount)

    def settle(self, rows: Iterable[tuple[int, list[str]]], mapper: Mapper) -> None:
        """Read the file again and mark the rows fit to win: without errors, and named where names are given."""
        name = mapper.fields.index("name") if "name" in mapper.fields else None
        accepted: list[int] = []
        remaining = iter(rows)
        for number in self._repeated_rows():
            cells = next(cells for at, cells in remaining if at == number)
            mapped = mapper(number, cells)
            if mapped.values is not None and (name is None or isinstance(mapped.values[name], str)):
                accepted.append(number)
            if len(accepted) == CHUNK:
                self._accept(accepted)
        self._accept(accepted)

    def store(self) -> None:
        """Write down which rows are superseded, and by which; replaces what an interrupted analysis left."""
        self._execute("DELETE FROM imports_supersededrow WHERE job_id = %s", [self._job.pk])
        self._execute(
            """INSERT INTO imports_supersededrow (job_id, row_number, by_row)
               SELECT %s, row_number, winner FROM (
                   SELECT row_number, max(row_number) OVER (PARTITION BY ean) AS winner
                   FROM import_repeated WHERE accepted) t
               WHERE row_number < winner ORDER BY row_number""",
            [self._job.pk],
        )

    def _flush(self) -> None:
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY import_code (row_number, ean) FROM STDIN") as copy,
        ):
            for row in self._chunk:
                copy.write_row(row)
        self._chunk.clear()

    def _accept(self, numbers: list[int]) -> None:
        self._execute("UPDATE import_repeated SET accepted = true WHERE row_number = ANY(%s)", [numbers])
        numbers.clear()

    def _repeated_rows(self) -> Iterator[int]:
        """Row numbers in ascending order, through a cursor of the server: there may be a million."""
        connection.ensure_connection()
        with connection.connection.cursor("import_repeated_rows", withhold=True) as cursor:
            cursor.execute("SELECT row_number FROM import_repeated ORDER BY row_number")
            for (number,) in cursor:
                yield number

    def _execute(self, sql: str, parameters: list[Any] | None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)


def _ean(raw: str) -> str | None:
    if len(raw) in (8, 13) and raw.isascii() and raw.isdigit():
        return raw
    try:
        return normalise(raw).ean
    except CodeError:
        return None
