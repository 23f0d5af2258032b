"""How fast each reader is beside a bare loop of the same library over the same rows, and that memory stays flat.

`python -m tests.bench_readers [ROWS]`. `write_feed_as` makes the same feed in every format.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from xml.sax.saxutils import escape

from lxml import etree

from pim.tabular import open_table
from tests.feed import HEADER, write_feed

FIELDS = ("ean", "title", "brand", "reference", "price", "cost_price", "weight", "width", "description")
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def write_feed_as(format: str, path: Path, feed: Path) -> None:
    """The rows of the CSV file `feed` as csv, xlsx, json, ndjson or xml. XLSX as spreadsheet programs store it."""
    with feed.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        match format:
            case "csv":
                path.write_bytes(feed.read_bytes())
            case "xlsx":
                _write_xlsx(path, rows)
            case "json" | "ndjson":
                start, between, end = ("[", ",\n", "]") if format == "json" else ("", "\n", "\n")
                with path.open("w", encoding="utf-8") as out:
                    for i, row in enumerate(rows):
                        out.write(between if i else start)
                        json.dump(dict(zip(FIELDS, row, strict=True)), out, ensure_ascii=False)
                    out.write(end)
            case "xml":
                with path.open("w", encoding="utf-8") as out:
                    out.write('<?xml version="1.0" encoding="UTF-8"?>\n<products>\n')
                    for row in rows:
                        cells = (f"<{name}>{escape(cell)}</{name}>" for name, cell in zip(FIELDS, row, strict=True))
                        out.write(f"<product>{''.join(cells)}</product>\n")
                    out.write("</products>\n")


def _write_xlsx(path: Path, rows: Iterator[list[str]]) -> None:
    texts: dict[str, int] = {}
    numeric = frozenset((0, 4, 5, 6, 7))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r" Type="{RELATIONS}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets><sheet name="Tarif" sheetId="1" r:id="s"/>'
            "</sheets></workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{PACKAGE}"><Relationship Id="s" Type="{RELATIONS}/worksheet" '
            f'Target="worksheets/sheet1.xml"/><Relationship Id="t" Type="{RELATIONS}/sharedStrings" '
            'Target="sharedStrings.xml"/></Relationships>',
        )
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(f'<worksheet xmlns="{MAIN}"><dimension ref="A1"/><sheetData>'.encode())
            for number, row in enumerate(chain([list(HEADER)], rows), 1):
                cells = []
                for index, cell in enumerate(row):
                    reference = f"{chr(65 + index)}{number}"
                    if index in numeric and cell.replace(".", "").isdigit():
                        cells.append(f'<c r="{reference}"><v>{cell}</v></c>')
                    else:
                        text = texts.setdefault(cell, len(texts))
                        cells.append(f'<c r="{reference}" t="s"><v>{text}</v></c>')
                sheet.write(f'<row r="{number}" spans="1:9">{"".join(cells)}</row>'.encode())
            sheet.write(b"</sheetData></worksheet>")
        with archive.open("xl/sharedStrings.xml", "w", force_zip64=True) as shared:
            shared.write(f'<sst xmlns="{MAIN}">'.encode())
            for text in texts:
                shared.write(f"<si><t>{escape(text)}</t></si>".encode())
            shared.write(b"</sst>")


def bare_csv(path: Path) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def bare_xlsx(path: Path) -> int:
    """lxml over the parts, texts in a list, cells in the order in which they stand."""
    with zipfile.ZipFile(path) as archive:
        with archive.open("xl/sharedStrings.xml") as part:
            texts = []
            for _, item in etree.iterparse(part, tag=f"{{{MAIN}}}si"):
                texts.append(item[0].text)
                item.clear()
        count = 0
        with archive.open("xl/worksheets/sheet1.xml") as part:
            for _, row in etree.iterparse(part, tag=f"{{{MAIN}}}row"):
                cells = []
                for cell in row:
                    value = cell[0].text
                    cells.append(texts[int(value)] if cell.get("t") == "s" else value)
                row.clear()
                while row.getprevious() is not None:
                    del row.getparent()[0]
                count += 1
        return count - 1


def bare_json(path: Path) -> int:
    """The whole file at once: the library has no other way."""
    with path.open("rb") as file:
        return len(json.load(file))


def bare_ndjson(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if json.loads(line))


def bare_xml(path: Path) -> int:
    count = 0
    with path.open("rb") as file:
        for _, item in etree.iterparse(file, tag="product"):
            count += bool({child.tag: child.text for child in item})
            item.clear()
            while item.getprevious() is not None:
                del item.getparent()[0]
    return count


BARE: dict[str, Callable[[Path], int]] = {
    "csv": bare_csv,
    "xlsx": bare_xlsx,
    "json": bare_json,
    "ndjson": bare_ndjson,
    "xml": bare_xml,
}


def read(path: Path) -> int:
    with open_table(path) as table:
        return sum(1 for _ in table)


def readers(rows: int, directory: Path) -> Iterator[str]:
    """One line for each format: processor time, the best of three runs each."""
    feed = directory / "feed.source"
    write_feed(feed, rows)
    for format, bare in BARE.items():
        path = directory / f"feed.{format}"
        write_feed_as(format, path, feed)
        assert read(path) == bare(path) == rows
        ours, limit = (min(_timed(work, path) for _ in range(3)) for work in (read, bare))
        peak = _peak(path)
        yield (
            f"read {format:<6} {rows:>9,} rows: {rows / ours:>9,.0f} rows/s = {limit / ours:.2f} of the bare loop "
            f"({rows / limit:,.0f}/s); peak {peak:.0f} MB"
        )
        path.unlink()


def _peak(path: Path) -> float:
    """MB at most in use by a process that reads the file and does nothing else."""
    script = (
        f"from tests.bench_readers import *; read(Path({str(path)!r}))\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    return int(subprocess.check_output([sys.executable, "-c", script])) / 1024


def _timed(work: Callable[[Path], int], path: Path) -> float:
    started = time.process_time()
    work(path)
    return time.process_time() - started


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="pim-readers-") as name:
        for line in readers(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, Path(name)):
            print(line, flush=True)
