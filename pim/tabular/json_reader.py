"""JSON: a list of objects, objects one after the other (NDJSON), or a list inside an object; numbers as written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pim.tabular.base import Detected, Position, UnreadableRow
from pim.tabular.json_stream import JsonText, Number, Repeated, find_records, items, lines
from pim.tabular.records import SEPARATOR, Record, RecordTable

MAX_DEPTH = 32

_TEXTS = frozenset((str, Number))


class JsonTable(RecordTable):
    """The position of a record is the byte after it; resuming starts there.

    record_path: the names that lead to the list of records, such as `data/products`.
    """

    nothing = "The JSON file is not a list of objects, or an empty one"

    def __init__(
        self, source: str | Path | IO[bytes], *, record_path: str | None = None, resume: Position | None = None
    ) -> None:
        super().__init__(source)
        try:
            self._text = JsonText(self._file)
            if resume is None:
                wanted = [name for name in record_path.split("/") if name] if record_path else None
                self._lines, self._path = find_records(self._text, wanted)
            else:
                self._lines, self._path = resume["lines"], tuple(resume["path"])
            self._begin(resume)
        except BaseException:
            self.close()
            raise
        self.detected = Detected(
            self._text.encoding,
            "",
            True,
            1.0,
            format="json",
            compression=self._compression,
            record_path="/".join(self._path),
        )

    @property
    def position(self) -> Position:
        return {
            "format": "json",
            "offset": self._text.offset,
            "row": self._row,
            "lines": self._lines,
            "path": list(self._path),
            "columns": self.columns,
        }

    def _records(self, resume: Position | None) -> Iterator[Record]:
        after = resume["offset"] if resume and resume["row"] else None
        values = lines(self._text, resume=after) if self._lines else items(self._text, self._path, resume=after)
        return map(_record, values)


def _record(value: Any) -> Record:
    if value.__class__ is not dict:
        return UnreadableRow(_REPEATED if isinstance(value, Repeated) else f"this is {_kind(value)}, not an object")
    kinds = set(map(type, value.values()))
    if kinds <= _TEXTS:
        return dict(zip(value, map(str, value.values()), strict=True))
    found: dict[str, str] = {}
    try:
        _flatten(value, "", found, MAX_DEPTH)
    except _UnreadableRecord as error:
        return UnreadableRow(str(error))
    return found


class _UnreadableRecord(ValueError):
    pass


_REPEATED = "a name stands twice in an object; only one of its values could be kept"


def _flatten(value: dict[str, Any], prefix: str, found: dict[str, str], depth: int) -> None:
    for name, item in value.items():
        name = prefix + name
        if name in found:
            raise _UnreadableRecord(f"{name!r} is given twice, by its name and by a name within an object")
        kind = item.__class__
        if kind is str:
            found[name] = item
        elif kind is Number:
            found[name] = str(item)
        elif kind is dict:
            if not depth:
                raise _UnreadableRecord(f"objects are nested more than {MAX_DEPTH} deep")
            _flatten(item, f"{name}.", found, depth - 1)
        elif kind is list and any(isinstance(entry, dict | list) for entry in item):
            found[name] = _json(item, depth)
        elif kind is list:
            found[name] = SEPARATOR.join(map(_scalar, item))
        elif kind is Repeated:
            raise _UnreadableRecord(_REPEATED)
        else:
            found[name] = _scalar(item)


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _json(value: Any, depth: int) -> str:
    """Compact JSON with the numbers of the file."""
    if isinstance(value, Repeated):
        raise _UnreadableRecord(_REPEATED)
    if not depth:
        raise _UnreadableRecord(f"lists and objects are nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        return f"[{','.join(_json(item, depth - 1) for item in value)}]"
    if isinstance(value, dict):
        entries = (f"{json.dumps(name, ensure_ascii=False)}:{_json(item, depth - 1)}" for name, item in value.items())
        return f"{{{','.join(entries)}}}"
    return str(value) if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


def _kind(value: Any) -> str:
    if isinstance(value, Number):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "true, false or null"
