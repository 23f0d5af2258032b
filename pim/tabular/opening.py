"""Choosing the reader of a file."""

from pathlib import Path
from typing import IO

from pim.tabular.base import Position, Table, TableError
from pim.tabular.csv_reader import CsvTable

READERS = {"csv": CsvTable}
EXTENSIONS = {".csv": "csv", ".tsv": "csv", ".txt": "csv"}


def open_table(
    source: str | Path | IO[bytes],
    *,
    format: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    resume: Position | None = None,
) -> Table:
    """Open a table in a file for one pass over its rows.

    source: a path, or a seekable binary file that the caller closes. What is None is detected: the format from
    the file's extension, the rest from its content. A byte order mark overrules `encoding`.
    resume: a `Table.position` of an earlier pass over the same file; reading goes on with the row after it, with
    the choices made then.
    Raises TableError, here or while iterating, when the file cannot be read as a table.
    """
    name = source if isinstance(source, str | Path) else getattr(source, "name", None)
    if resume is not None:
        format = str(resume["format"])
    if format is None:
        extension = Path(str(name)).suffix.lower() if isinstance(name, str | Path) else ".csv"
        format = EXTENSIONS.get(extension, extension.removeprefix("."))
    if format not in READERS:
        raise TableError(f"Files of format {format or 'without extension'} are not read; use {', '.join(READERS)}")
    return READERS[format](source, encoding=encoding, delimiter=delimiter, header=header, resume=resume)
