"""Lines of an import's log, written many at a time."""

from collections.abc import Iterable
from typing import Literal, NamedTuple
from uuid import UUID

from django.db import connection


class LogLine(NamedTuple):
    """row: of the file, None for what no row names. value: as in the file or the catalogue, shortened."""

    row: int | None
    field: str | None
    value: str | None
    message: str
    level: Literal["error", "warning", "info"]


def write_log(job_id: UUID, lines: Iterable[LogLine]) -> None:
    """COPY the lines into the job's log in the order given."""
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY imports_importlog (job_id, level, row_number, field, value, message) FROM STDIN") as copy,
    ):
        for line in lines:
            copy.write_row((job_id, line.level, line.row, line.field, line.value, line.message))
