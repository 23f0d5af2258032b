"""The rows of a file whose format cannot be resumed at a byte, as lines of JSON: parsed once, read from anywhere.

The first line is a header, the others are rows: `[number, cell, …]`, or an object for a row that is not just cells.
"""

import json
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, Self

from django.core.files.storage import Storage
from django.db import transaction

from imports.models import ImportJob
from imports.uploads import StorageTemporaryFile
from pim.tabular import Detected, FlawedRow, Position, Table, UnreadableRow

_encode = json.JSONEncoder(separators=(",", ":")).encode


def needs_staging(table: Table) -> bool:
    """Plain CSV is as quick to read as staged rows would be."""
    return table.detected.format != "csv" or bool(table.detected.compression)


def drop_staged(job: ImportJob) -> None:
    """Remove the job's staged rows once the transaction under way, if any, is committed."""
    if name := job.staged:
        transaction.on_commit(lambda: job.file.storage.delete(name))


class Stage:
    """Writes the rows of a table. A context manager; what is not saved leaves nothing behind."""

    def __init__(self, table: Table) -> None:
        self._file = StorageTemporaryFile("rows.jsonl", "application/jsonl")
        self._write(_encode({"columns": table.columns, "detected": table.detected.as_dict()}))

    def add(self, number: int, cells: list[str]) -> None:
        if cells.__class__ is list:
            self._write(_encode([number, *cells]))
        else:
            self._write(_encode(_unusual(number, cells)))

    def save(self, storage: Storage, name: str) -> str:
        """Keep the rows; returns the name under which they are stored."""
        self._file.seek(0)
        return storage.save(name, self._file)

    def _write(self, line: str) -> None:
        self._file.write(line.encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _unusual(number: int, cells: list[str]) -> dict[str, Any]:
    if isinstance(cells, UnreadableRow):
        return {"row": number, "reason": cells.reason}
    assert isinstance(cells, FlawedRow)
    return {"row": number, "cells": [*cells], "unreadable": [*cells.unreadable.items()], "unknown": cells.unknown}


class StagedTable(Table):
    """One pass over staged rows."""

    def __init__(self, source: IO[bytes], *, resume: Position | None = None) -> None:
        super().__init__(source)
        source.seek(0)
        header = source.readline()
        found = json.loads(header)
        self.columns = found["columns"]
        self.detected = Detected(**found["detected"])
        self._source = source
        self._offset = len(header) if resume is None else int(resume["offset"])

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        self._source.seek(self._offset)
        for line in iter(self._source.readline, b""):
            self._offset += len(line)
            row = json.loads(line)
            if row.__class__ is list:
                yield row[0], row[1:]
            elif "reason" in row:
                yield row["row"], UnreadableRow(row["reason"])
            else:
                unreadable = dict(row["unreadable"])
                yield row["row"], FlawedRow(row["cells"], unreadable=unreadable, unknown=row["unknown"])

    @property
    def position(self) -> Position:
        return {"format": "staged", "offset": self._offset}
