"""The results of a job as a file: CSV, JSON (an array of objects with the CSV's columns) or an Excel workbook."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, Any, NamedTuple

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from code2asin.models import Code2AsinJob, MatchResult
from pim.tabular.csv_writer import write_csv
from pim.tabular.formulas import escape_formula

# Column of the file -> field of the result.
COLUMNS = {
    "product_ean": "code",
    "product_id": "product_id",
    "product_name": "product__name",
    "asin": "asin",
    "confidence": "confidence",
    "status": "status",
    "match_type": "match_type",
    "amazon_title": "title",
    "matched_at": "matched_at",
    "review": "review",
    "reviewed_by": "reviewed_by",
    "reviewed_at": "reviewed_at",
    "error_class": "error_class",
    "reason": "reason",
}
CHUNK_ROWS = 2000
EXCEL_MAX_ROWS = 1_048_575  # and the header

Row = tuple[Any, ...]


def rows(job: Code2AsinJob, *, include_unmatched: bool) -> Iterator[Row]:
    """The settled codes of a job in order, as values for COLUMNS; streamed."""
    results = MatchResult.objects.filter(job=job).exclude(status=MatchResult.Status.PENDING).order_by("position")
    if not include_unmatched:
        results = results.exclude(status=MatchResult.Status.UNMATCHED)
    for row in results.values_list(*COLUMNS.values()).iterator(chunk_size=CHUNK_ROWS):
        yield tuple(_plain(value) for value in row)


def csv_chunks(rows: Iterable[Row]) -> Iterator[bytes]:
    return write_csv(list(COLUMNS), rows)


def json_chunks(rows: Iterable[Row]) -> Iterator[bytes]:
    separator = b"[\n"
    for row in rows:
        yield separator + json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False, default=str).encode()
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def excel_file(rows: Iterable[Row]) -> IO[bytes]:
    """A temporary file with one sheet, ready to be read; for EXCEL_MAX_ROWS rows at most."""
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("results")
    sheet.append(list(COLUMNS))
    for row in rows:
        sheet.append([_cell(value) for value in row])
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
    workbook.save(file)
    file.seek(0)
    return file


class Format(NamedTuple):
    """How a kind of file is named and written."""

    extension: str
    media_type: str
    write: Callable[[Iterable[Row]], Iterable[bytes]]


FORMATS = {
    "csv": Format("csv", "text/csv; charset=utf-8", csv_chunks),
    "json": Format("json", "application/json", json_chunks),
    "excel": Format("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", excel_file),
}


def _plain(value: Any) -> Any:
    """A value as the API shows it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def _cell(value: Any) -> Any:
    """A value for a spreadsheet: text that could be read as a formula is defused, what XML cannot hold is marked."""
    if value is None or isinstance(value, int | float):
        return value
    return ILLEGAL_CHARACTERS_RE.sub("\ufffd", escape_formula(str(value)))
