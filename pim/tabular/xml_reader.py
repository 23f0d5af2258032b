"""XML: records at one path of the document, flattened to columns; namespaces go by local names."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from pim.tabular.base import Detected, Position
from pim.tabular.errors import TableError
from pim.tabular.records import SEPARATOR, Record, RecordTable
from pim.tabular.xml_stream import XmlElements, events, local_name

CODE = re.compile(r"\s*\d{8,14}\s*")
ENOUGH = 200  # records with codes in them
SAMPLE = 4 * 1024 * 1024  # bytes in which the repeated element is looked for
# what tells apart elements of one name that say the same in several languages or kinds
QUALIFIERS = ("lang", "type", "price_type")
# well-known documents, by the root element
FEEDS = {"rss": "channel/item", "RDF": "item", "feed": "entry", "ICECAT-interface": "Product"}
RECORDS = frozenset(
    ("product", "article", "item", "entry", "offer", "row", "record", "produit", "artikel", "shopitem", "good")
)


class XmlTable(RecordTable):
    """Children and attributes of a record are its fields: `name`, `price/amount`, `@id`, `price/@currency`.

    Several elements of one name are joined with `|`, those that carry a language or type are apart: `title[fr]`.
    record_path: local names from the root or the end of such a path, `rss/channel/item` or `item`.
    """

    def __init__(
        self, source: str | Path | IO[bytes], *, record_path: str | None = None, resume: Position | None = None
    ) -> None:
        super().__init__(source)
        try:
            self._file.seek(0)
            if resume is not None:
                path = resume["path"]
            elif record_path:
                path = [name.rpartition(":")[2] for name in record_path.split("/") if name]
            else:
                path = _find_records(self._file)
            self._path = tuple(path)
            self.nothing = f"The XML file has no element with content at {'/'.join(path)}"
            self._begin(resume)
        except BaseException:
            self.close()
            raise
        self.detected = Detected(
            "utf-8", "", True, 1.0, format="xml", compression=self._compression, record_path="/".join(self._path)
        )

    @property
    def position(self) -> Position:
        return {
            "format": "xml",
            "place": self._elements.place,
            "path": list(self._path),
            "row": self._row,
            "columns": self.columns,
        }

    def _names(self) -> list[str]:
        names = super()._names()
        self._path = self._elements.path  # from the root, where only its end was known
        return names

    def _records(self, resume: Position | None) -> Iterator[Record]:
        self._file.seek(0)
        self._elements = XmlElements(self._file, self._path, resume=resume["place"] if resume else None)
        return map(_record, self._elements)


def _record(element: Any) -> Record:
    found: dict[str, str] = {}
    _flatten(element, "", element.items(), found)
    return found


def _flatten(element: Any, prefix: str, attributes: list[tuple[str, str]], found: dict[str, str]) -> None:
    """Put the fields of `element` into `found`; prefix: its path and a slash, "" for the record itself."""
    for name, value in attributes:
        _put(found, f"{prefix}@{_local(name)}", value)
    own = element.text or ""
    for child in element:
        if tail := child.tail:
            own += tail
        tag = child.tag
        if tag.__class__ is not str:  # a comment or a processing instruction
            continue
        name = prefix + (tag.rpartition("}")[2] if tag[0] == "{" else tag)
        further = child.items()
        if further:
            name += "".join(f"[{value}]" for attribute, value in further if _local(attribute) in QUALIFIERS)
            further = [item for item in further if _local(item[0]) not in QUALIFIERS]
        if further or len(child):
            _flatten(child, f"{name}/", further, found)
        elif name in found:
            found[name] += SEPARATOR + (child.text or "")
        else:
            found[name] = child.text or ""
    if own and not own.isspace():
        _put(found, prefix[:-1] or "text()", own)


def _put(found: dict[str, str], name: str, value: str) -> None:
    found[name] = f"{found[name]}{SEPARATOR}{value}" if name in found else value


def _local(name: str) -> str:
    return name.rpartition("}")[2] if name[0] == "{" else name


def _find_records(file: IO[bytes]) -> tuple[str, ...]:
    """The path of the elements that are the records: by the kind of document, else by what repeats and holds codes.

    Raises TableError when there is nothing to choose.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    with_code: Counter[tuple[str, ...]] = Counter()
    with_fields: set[tuple[str, ...]] = set()
    path: list[str] = []
    coded: list[bool] = []
    try:
        for event, element in events(file, limit=SAMPLE):
            if event == "start":
                name = local_name(element)
                if not path and (known := _known(element)):
                    return known
                path.append(name)
                coded.append(False)
                continue
            values = chain(element.values(), (element.text or "",))
            code = coded.pop() or any(map(CODE.fullmatch, values))
            counts[tuple(path)] += 1
            with_code[tuple(path)] += code
            if len(element) or element.attrib:
                with_fields.add(tuple(path))
            if with_code[tuple(path)] == ENOUGH and tuple(path) in with_fields:
                break
            path.pop()
            if coded:
                coded[-1] |= code
            element.clear()
    except TableError:
        if not with_fields:  # else the records before the damage are read first
            raise
    return _best(with_fields, counts, with_code)


def _known(root: Any) -> tuple[str, ...] | None:
    """The path of the records in documents of a well-known kind."""
    name = local_name(root)
    if name.upper() == "BMECAT":
        return ("ARTICLE",) if root.get("version", "").startswith("1") else ("PRODUCT",)
    return (name, *FEEDS[name].split("/")) if name in FEEDS else None


def _best(
    candidates: Collection[tuple[str, ...]], counts: Counter[tuple[str, ...]], with_code: Counter[tuple[str, ...]]
) -> tuple[str, ...]:
    """The outermost path that repeats, those first that hold codes, have a usual name, or are the most."""

    def rank(path: tuple[str, ...]) -> tuple[bool, bool, int, bool, int, tuple[str, ...]]:
        repeated = counts[path] > 1
        usual = path[-1].casefold() in RECORDS
        return repeated or usual, with_code[path] > 0, -len(path), usual, with_code[path] or counts[path], path

    inner = [path for path in candidates if len(path) > 1] or list(candidates)
    if not inner:
        raise TableError("The XML file holds no records: no element has fields")
    return max(inner, key=rank)
