"""CSV for spreadsheets and other systems: streamed, with text cells that cannot run as formulas."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from pim.tabular.formulas import escape_formula

Cell = str | int | float | Decimal | bool | date | datetime | UUID | None

CHUNK = 64 * 1024  # characters


def write_csv(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    delimiter: str = ",",
    bom: bool = False,
) -> Iterator[bytes]:
    """Yield the file in chunks of UTF-8, the header first; lines end in CRLF (RFC 4180).

    None is an empty cell, booleans are `true` and `false`, numbers stay numbers; text is made safe by
    `escape_formula`. bom: for Excel, which otherwise takes UTF-8 for a legacy encoding.
    """
    buffer = io.StringIO(newline="")
    if bom:
        buffer.write("\ufeff")
    writer = csv.writer(buffer, delimiter=delimiter)
    writer.writerow([escape_formula(column) for column in columns])
    for row in rows:
        writer.writerow([_safe(cell) for cell in row])
        if buffer.tell() >= CHUNK:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    if buffer.tell():
        yield buffer.getvalue().encode()


def _safe(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return escape_formula(cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return cell
