"""Choosing the reader of a file: what it is packed in, then its content, then its name."""

from pathlib import Path
from typing import IO

from pim.tabular.base import Position, Table, TableError
from pim.tabular.csv_reader import CsvTable
from pim.tabular.json_reader import JsonTable
from pim.tabular.packed import ZIP_MAGIC, unpack
from pim.tabular.xlsx_reader import XlsxTable
from pim.tabular.xlsx_workbook import OLE_MAGIC
from pim.tabular.xml_reader import XmlTable

FORMATS = ("csv", "xlsx", "json", "xml")
FORMATS_BY_SUFFIX = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".json": "json",
    ".ndjson": "json",
    ".jsonl": "json",
    ".xml": "xml",
    ".rss": "xml",
}
PACKED = (".gz", ".zip")


def open_table(
    source: str | Path | IO[bytes],
    *,
    format: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    sheet: str | None = None,
    record_path: str | None = None,
    resume: Position | None = None,
) -> Table:
    """Open a table in a file for one pass over its rows.

    source: a path, or a seekable binary file that the caller closes; packed in gzip, or alone in a ZIP archive, it is
    unpacked while it is read. What is None is detected. A byte order mark overrules `encoding`.
    encoding, delimiter: of CSV. header: of CSV and XLSX. sheet: its name, of XLSX. record_path: where the records of
    JSON and XML are, such as `rss/channel/item`. Options that a format does not have are ignored.
    resume: a `Table.position` of an earlier pass over the same file; reading goes on with the row after it, with
    the choices made then.
    Raises TableError, here or while iterating, when the file cannot be read as a table.
    """
    if resume is not None:
        format = str(resume["format"])
    elif format is None:
        format = _format_of(source)
    match format:
        case "csv":
            return CsvTable(source, encoding=encoding, delimiter=delimiter, header=header, resume=resume)
        case "xlsx":
            return XlsxTable(source, sheet=sheet or None, header=header, resume=resume)
        case "json":
            return JsonTable(source, record_path=record_path or None, resume=resume)
        case "xml":
            return XmlTable(source, record_path=record_path or None, resume=resume)
    raise _not_read(format)


def detect_format(source: IO[bytes], *, name: str) -> str:
    """The format of a file, one of FORMATS, by its first bytes and, where they do not tell, by its name.

    source: seekable; what it is packed in is looked into. Raises TableError when it is of no format that is read.
    """
    content, _ = unpack(source)
    start = content.read(1024)
    source.seek(0)
    if start.startswith((*ZIP_MAGIC, OLE_MAGIC)):
        return "xlsx"
    suffix = _suffix(name)
    named = FORMATS_BY_SUFFIX.get(suffix)
    if named in ("csv", "xlsx"):
        return named
    text = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if text[:5].lower() in (b"<html", b"<!doc") and b"html" in text[:20].lower():
        raise TableError("This is a web page (HTML), not a table; save the table itself as .csv or .xlsx")
    if text.startswith(b"<"):
        return "xml"
    if text.startswith((b"[", b"{")):
        return "json"
    if named is None and suffix:
        raise _not_read(suffix.removeprefix("."))
    return named or "csv"


def _format_of(source: str | Path | IO[bytes]) -> str:
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            return detect_format(file, name=str(source))
    name = getattr(source, "name", "")
    return detect_format(source, name=name if isinstance(name, str) else "")


def _suffix(name: str) -> str:
    """The last ending of a file's name that is not that of a packed file, in lower case."""
    path = Path(name)
    return (Path(path.stem) if path.suffix.lower() in PACKED else path).suffix.lower()


def _not_read(format: str) -> TableError:
    return TableError(f"Files of format {format} are not read; use {', '.join(FORMATS)}")
