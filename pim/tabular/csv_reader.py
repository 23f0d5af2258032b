"""CSV: streaming reader with bounded memory, exact resume and detection of encoding, delimiter and header."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO

from pim.tabular.base import (
    Detected,
    Position,
    Table,
    TableError,
    UnreadableRow,
    column_names,
    fitted,
    looks_like_header,
)
from pim.tabular.csv_detection import SAMPLE, detect_delimiter, detect_encoding, line_end, refuse_binary, separator_line

BLOCK = 256 * 1024
MAX_CELL = 1_000_000  # characters
MAX_RECORD = 4 * 1024 * 1024  # bytes
MAX_UNDECODABLE = 100  # rows; more of them mean a wrong encoding, not a few damaged cells
MAX_BROKEN_LINES = 100

# process-wide in the standard library: 131,072 by default, which an HTML description can exceed
csv.field_size_limit(MAX_CELL)


class CsvTable(Table):
    """Bytes are read in blocks of whole lines; the standard csv parser takes the lines from there.

    The position of a row is the byte after it: the start of its block plus the encoded length of what the parser
    has taken from the block, so it costs nothing until somebody asks.
    """

    def __init__(
        self,
        source: str | Path | IO[bytes],
        *,
        encoding: str | None = None,
        delimiter: str | None = None,
        header: bool | None = None,
        resume: Position | None = None,
    ) -> None:
        super().__init__(source)
        self._row = 0
        self._damage: str | None = None  # why the record now being read cannot be trusted
        self._offset, self._size = 0, 0
        self._lines = io.StringIO()
        try:
            if resume is None:
                self._detect(encoding, delimiter, header)
            else:
                self._resume(resume)
        except BaseException:
            self.close()
            raise

    def _detect(self, encoding: str | None, delimiter: str | None, header: bool | None) -> None:
        self._file.seek(0)
        head = self._file.read(SAMPLE)
        if not head:
            raise TableError("The file is empty")
        refuse_binary(head)
        found = detect_encoding(self._file, head, asked=encoding)
        text = head[found.bom :].decode(found.name, errors="ignore")
        start = found.bom
        if hint := separator_line(text):
            line, separator = hint
            delimiter = delimiter or separator
            start += len(line.encode(found.name))
            text = text[len(line) :]
        sure = 1.0
        if delimiter is None:
            delimiter, sure = detect_delimiter(text, complete=len(head) < SAMPLE)
        elif len(delimiter) != 1 or delimiter in '"\r\n':
            raise TableError(f"{delimiter!r} cannot be a delimiter; give one character such as , ; | or a tab")
        self.detected = self._found(found.name, delimiter, header is not False, min(found.confidence, sure))
        self._newline = line_end(text)
        self._fresh = True
        self._start(start, row=0)
        first = self._first_record()
        if header is None and not looks_like_header(first):
            header = False
        if header is False:
            self.columns = column_names([""] * len(first))
            self.detected = replace(self.detected, header=False)
            self._start(start, row=0)
        else:
            self.columns = column_names(first)

    def _found(self, encoding: str, delimiter: str, header: bool, confidence: float) -> Detected:
        return Detected(encoding, delimiter, header, confidence, compression=self._compression)

    def _resume(self, token: Position) -> None:
        self.detected = self._found(token["encoding"], token["delimiter"], token["header"], token["confidence"])
        self.columns = list(token["columns"])
        self._newline = token["newline"]
        self._fresh = False
        self._start(token["offset"], row=token["row"])

    @property
    def position(self) -> Position:
        taken = self._lines.tell()
        text = self._lines.getvalue()
        # a damaged line is longer or shorter in bytes than its replacement text; it is a block of its own
        size = self._size if taken == len(text) else len(text[:taken].encode(self.detected.encoding))
        return {
            "format": "csv",
            "offset": self._offset + size,
            "row": self._row,
            "encoding": self.detected.encoding,
            "delimiter": self.detected.delimiter,
            "header": self.detected.header,
            "confidence": self.detected.confidence,
            "newline": self._newline,
            "columns": self.columns,
        }

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        width = len(self.columns)
        reader = self._reader
        undecodable = 0
        line = reader.line_num
        while True:
            try:
                for row, cells in enumerate(reader, self._row + 1):
                    self._row = row  # `_blocks` and `position` look at it
                    line = reader.line_num
                    if self._damage is not None:
                        undecodable += 1
                        if undecodable > MAX_UNDECODABLE:
                            raise TableError(f"Row {row}: {self._damage}", row=row)
                        cells = UnreadableRow(self._damage)
                        self._damage = None
                    elif len(cells) != width or cells[0] < "!":  # empty or begins with white space
                        shaped = fitted(cells, width)
                        if shaped is None:
                            continue
                        cells = shaped
                    self._fresh = False
                    yield row, cells
            except csv.Error as error:
                self._row += 1
                reason = self._broken(error, lines=reader.line_num - line)
                line = reader.line_num
                self._damage = None
                self._fresh = False
                yield self._row, UnreadableRow(reason)
            else:
                break
        if self._fresh:
            raise TableError("The file has a header but no rows")

    def _start(self, offset: int, *, row: int) -> None:
        self._file.seek(offset)
        self._row = row
        self._damage = None
        self._offset, self._size = offset, 0
        self._lines = io.StringIO()
        blocks = chain.from_iterable(self._blocks(offset))
        self._reader = csv.reader(blocks, delimiter=self.detected.delimiter, strict=True)

    def _first_record(self) -> list[str]:
        """The first row that is not blank, without the empty cells that spreadsheets leave at its end."""
        try:
            for row, cells in enumerate(self._reader, 1):
                self._row = row
                if self._damage is not None:
                    raise TableError(f"Row {self._row}: {self._damage}", row=self._row)
                if any(cell.strip() for cell in cells):
                    return cells
        except csv.Error as error:
            self._row += 1
            raise TableError(f"Row {self._row}: {self._broken(error, lines=1)}", row=self._row) from error
        raise TableError("The file has no rows")

    def _broken(self, error: csv.Error, *, lines: int) -> str:
        """Why the parser gave up on a row; raises TableError when that is no matter of one row."""
        if self._damage is not None:
            return self._damage
        text = str(error)
        if "field larger" in text or "unexpected end" in text or lines > MAX_BROKEN_LINES:
            raise TableError(
                f"Row {self._row}: a cell opens with a quote that is never closed (or holds more than "
                f"{MAX_CELL:,} characters); close it, and write quotes inside a cell twice",
                row=self._row,
            ) from error
        if "new-line" in text:
            return "a carriage return stands inside a cell without quotes; put the cell in quotes"
        where = f" (the row runs over {lines} lines of the file)" if lines > 1 else ""
        return f"a quote inside a quoted cell is not written twice{where}"

    def _blocks(self, offset: int) -> Iterator[io.StringIO]:
        """Blocks of whole lines, each registered as the current one before it is handed over."""
        row, unfinished = self._row, 0
        rest = b""
        while chunk := self._file.read(BLOCK):
            # a record still open after this much is a quote or a line that never ends
            row, unfinished = (row, unfinished + len(chunk)) if row == self._row else (self._row, len(chunk))
            if unfinished > MAX_RECORD:
                raise TableError(
                    f"Row {self._row + 1} is longer than {MAX_RECORD >> 20} MB: a quote is never closed, or the file "
                    "is not a CSV file",
                    row=self._row + 1,
                )
            data = rest + chunk
            end = self._line_end_before(data, len(data))
            rest = data[end:]
            yield from self._texts(data[:end], offset)
            offset += end
        yield from self._texts(rest, offset)

    def _texts(self, data: bytes, offset: int) -> Iterator[io.StringIO]:
        """`data`, whole lines that start at byte `offset`, as text; each line that does not decode comes alone."""
        while data:
            bad = None
            try:
                text = data.decode(self.detected.encoding)
            except UnicodeDecodeError as error:
                bad = error.start
                text = data[:bad].decode(self.detected.encoding)
            if (nul := text.find("\0")) >= 0:
                bad = len(text[:nul].encode(self.detected.encoding))
            if bad is None:
                yield self._block(text, offset, len(data))
                return
            start, end = self._line_end_before(data, bad), self._line_end_after(data, bad)
            if start:
                yield self._block(data[:start].decode(self.detected.encoding), offset, start)
            # without line feeds: it has to stay one line, for one row to be refused
            line = data[start:end].decode(self.detected.encoding, errors="replace").replace("\n", " ") + "\n"
            block = self._block(line, offset + start, end - start)
            self._damage = self._undecodable(data[bad], offset + bad)
            yield block
            offset, data = offset + end, data[end:]

    def _block(self, text: str, offset: int, size: int) -> io.StringIO:
        # newline="\r" would turn line feeds inside cells into carriage returns
        self._lines = io.StringIO(text, newline="\n" if self._newline == "\n" else "")
        self._offset, self._size = offset, size
        return self._lines

    def _undecodable(self, byte: int, offset: int) -> str:
        if byte == 0:
            return f"a NUL character at byte {offset}; remove it and send the file again"
        encoding = self.detected.encoding
        other = "cp1252" if encoding.startswith("utf") else "utf-8"
        return (
            f"byte 0x{byte:02X} at offset {offset} cannot be read as {encoding}; if the file has another encoding, "
            f"name it (for example encoding={other}), otherwise repair the text"
        )

    def _line_end_before(self, data: bytes, stop: int) -> int:
        """Index after the last line end in data[:stop], 0 when there is none."""
        mark = self._newline.encode(self.detected.encoding)
        found = data.rfind(mark, 0, stop)
        while found % len(mark) and found > 0:  # half a character each: not a line end
            found = data.rfind(mark, 0, found + len(mark) - 1)
        return 0 if found < 0 else found + len(mark)

    def _line_end_after(self, data: bytes, start: int) -> int:
        """Index after the first line end from `start` on, the length of `data` when there is none."""
        mark = self._newline.encode(self.detected.encoding)
        found = data.find(mark, start)
        while found % len(mark) and found >= 0:
            found = data.find(mark, found + 1)
        return len(data) if found < 0 else found + len(mark)
