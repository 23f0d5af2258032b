"""The repeated elements of an XML document, streamed with flat memory and resumable at any of them.

No DTD is ever read: a document type declaration is cut out, so that nothing can be expanded or loaded from
elsewhere and a reference to any entity but the five predefined ones is an error that names it.
"""

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

from lxml import etree

from pim.tabular.errors import TableError

BLOCK = 64 * 1024
MAX_ELEMENT = 32 * 1024 * 1024  # bytes of one record; only hostile files have larger ones
MAX_PROLOG = 1024 * 1024  # bytes before the root element

# no DTD, no network, libxml2's limits on depth (256) and text (10 MB); external entities cannot be declared
_SAFE = {"no_network": True, "load_dtd": False, "dtd_validation": False, "huge_tree": False}
_WIDE = (
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_DECLARATION = re.compile(rb"\s*<\?xml\s.*?\?>", re.DOTALL)
_ENCODING = re.compile(rb"encoding\s*=\s*[\"']([A-Za-z][\w.:-]*)[\"']")
_SKIPPED = re.compile(rb"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_DOCTYPE_TOKEN = re.compile(rb"<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|\"[^\"]*(?:\"|\Z)|'[^']*(?:'|\Z)|[<>]", re.DOTALL)
_ROOT = re.compile(rb"<([^\s/>!?]+)[\s/>]")
_NAME = re.compile(r"[^\W\d][\w.\-]*")
_ENTITY = re.compile(r"Entity '([^']*)' not defined")

Place = dict[str, Any]
"""Where reading stands, as JSON: a byte of the source, the elements after it, and the ancestors to open."""


class XmlElements:
    """Iterates over the elements at one path; each is emptied when the next one is asked for.

    source: a binary stream at its start; seekable where `resume` is given. path: local names; when the first is not
    the root's, it may be the end of a path, and the first element found decides about the rest.
    resume: `place` after an element; iteration goes on with the next one.
    Raises TableError while iterating when the document is not well-formed, after the elements before that point.
    """

    def __init__(self, source: IO[bytes], path: Sequence[str], *, resume: Place | None = None) -> None:
        self.path = tuple(path)
        self._exact = False  # whether `path` begins with the root
        self._since = 0  # elements since the last place that can be jumped to
        self._skip = 0
        self._open = False  # whether an element is unfinished
        self._root: Any = None
        self._parent: Any = None
        self._tag = ""
        self._end_tag = b""
        self._offset, self._context = 0, ""
        head = _head(source)
        self._source, self._encoding = head.source, head.encoding
        for name in (head.root, self.path[-1]):
            if not _NAME.fullmatch(name):
                raise TableError(f"{name[:60]!r} cannot be the name of an XML element")
        tags = [f"{{*}}{head.root}", f"{{*}}{self.path[-1]}"]
        self._parser = etree.XMLPullParser(events=("start", "end"), tag=tags, encoding=head.override, **_SAFE)
        self._buffer, self._read = head.document, head.size
        if resume is not None:
            self._skip = resume["since"]
            if resume["offset"]:
                self._jump(resume)

    def _jump(self, place: Place) -> None:
        self._offset, self._context = place["offset"], place["context"]
        self._end_tag = place["end_tag"].encode(self._encoding)
        self._source.seek(self._offset)
        self._buffer, self._read = b"", self._offset
        declaration = f'<?xml version="1.0" encoding="{self._encoding}"?>{self._context}'
        self._parser.feed(declaration.encode(self._encoding))

    @property
    def place(self) -> Place:
        return {
            "offset": self._offset,
            "since": self._since,
            "context": self._context,
            "end_tag": self._end_tag.decode(self._encoding),
        }

    def __iter__(self) -> Iterator[Any]:
        size = 0  # bytes since the last element ended
        for data, ends_element, ends_document in self._segments():
            found, error = self._feed(data, last=ends_document)
            last = None
            for element in found:
                size = 0
                self._since += 1
                if self._skip:
                    self._skip -= 1
                else:
                    yield element
                element.clear(keep_tail=False)
                last = element
            if error is not None:
                raise error
            size += len(data)
            if size > MAX_ELEMENT and self._open:
                raise TableError(f"A <{self.path[-1]}> is longer than {MAX_ELEMENT >> 20} MB")
            if ends_element and last is not None and self._at_boundary(last, data):
                self._offset, self._since = self._read - len(self._buffer), 0
            self._prune()

    def _segments(self) -> Iterator[tuple[bytes, bool, bool]]:
        """The document in parts that end, where possible, with the end tag of an element.

        Yields (bytes, whether they end so, whether they are the last).
        """
        if self._buffer:  # the head, in which the first element may tell what its end tag looks like
            head, self._buffer = self._buffer, b""
            yield head, False, False
        while block := self._source.read(BLOCK):
            self._read += len(block)
            data = self._buffer + block
            found = data.rfind(self._end_tag) if self._end_tag else -1
            end = len(data) if found < 0 else found + len(self._end_tag)
            self._buffer = data[end:]
            yield data[:end], found >= 0, False
        rest, self._buffer = self._buffer, b""
        yield rest, False, True

    def _feed(self, data: bytes, *, last: bool) -> tuple[list[Any], TableError | None]:
        """The elements that end in `data`, and what then stopped the parser."""
        error = None
        try:
            self._parser.feed(data)
            if last:
                self._parser.close()
        except etree.XMLSyntaxError as problem:
            error = TableError(_explained(problem))
        except LookupError as problem:
            error = TableError(f"The encoding that the XML declaration names is not known: {problem}")
        found = []
        for event, element in self._parser.read_events():
            if self._root is None:
                self._root = element
            if self._is_ours(element):
                self._open = event == "start"
                if not self._open:
                    found.append(element)
        return found, error

    def _is_ours(self, element: Any) -> bool:
        parent = element.getparent()
        if parent is not None and parent is self._parent and element.tag == self._tag:
            return True
        names = (*(local_name(ancestor) for ancestor in reversed(list(element.iterancestors()))), local_name(element))
        if names != self.path:
            if self._exact or names[-len(self.path) :] != self.path:
                return False
            self.path = names
        self._exact = True
        self._parent, self._tag = parent, element.tag
        prefix = f"{element.prefix}:" if element.prefix else ""
        self._end_tag = f"</{prefix}{self.path[-1]}>".encode(self._encoding, "replace")
        self._context = "".join(map(_start_tag, reversed(list(element.iterancestors()))))
        return True

    def _at_boundary(self, last: Any, data: bytes) -> bool:
        """Whether the end of `data` really ends `last`, and is not text within a comment or another element."""
        parent = last.getparent()
        return (
            parent is not None
            and not self._open
            and parent[-1] is last
            and data.rfind(b"<!--") <= data.rfind(b"-->")
            and data.rfind(b"<?") <= data.rfind(b"?>")
        )

    def _prune(self) -> None:
        """Drop all that is complete: everything but the path to the place where the parser stands."""
        node = self._root
        while node is not None and len(node) and not (self._open and node.getparent() is self._parent):
            del node[:-1]
            node = node[-1]


class _Head(NamedTuple):
    """The start of a document, without its DOCTYPE.

    root: its local name. size: the bytes of `source` that were read. encoding: of the document, by its declaration.
    override: the encoding that the parser has to use whatever the declaration says.
    """

    document: bytes
    root: str
    size: int
    source: IO[bytes]
    encoding: str
    override: str | None


def parse_part(data: bytes) -> Any:
    """The root element of a small document, parsed whole. Raises TableError."""
    head = _head(io.BytesIO(data))
    try:
        return etree.fromstring(head.document + head.source.read(), etree.XMLParser(encoding=head.override, **_SAFE))
    except etree.XMLSyntaxError as error:
        raise TableError(_explained(error)) from error


def events(source: IO[bytes], *, limit: int) -> Iterator[tuple[str, Any]]:
    """("start" or "end", element) for every element in the first `limit` bytes. Raises TableError."""
    head = _head(source)
    parser = etree.XMLPullParser(events=("start", "end"), encoding=head.override, **_SAFE)
    data, read = head.document, 0
    try:
        while data and read < limit:
            read += len(data)
            parser.feed(data)
            yield from parser.read_events()
            data = head.source.read(BLOCK)
        if not data:
            parser.close()
    except etree.XMLSyntaxError as error:
        yield from parser.read_events()
        raise TableError(_explained(error)) from error
    except LookupError as error:
        raise TableError(f"The encoding that the XML declaration names is not known: {error}") from error
    yield from parser.read_events()


def local_name(element: Any) -> str:
    tag: str = element.tag
    return tag.rpartition("}")[2]


def _head(source: IO[bytes]) -> _Head:
    """Read as far as the root element begins. source: at its start. Raises TableError."""
    data = source.read(BLOCK)
    wide = next((name for mark, name in _WIDE if data.startswith(mark)), None)
    if wide is not None:
        source = Recoded(source, wide)  # type: ignore[assignment]
        data = source.read(BLOCK)
    if not data.strip():
        raise TableError("The file is empty")
    while (found := _split(data)) is None:
        block = source.read(BLOCK)
        if not block:
            raise TableError("The file holds no XML element")
        if len(data) > MAX_PROLOG:
            raise TableError("The file begins with more than 1 MB of comments or document type declaration")
        data += block
    start, end, root = found
    declaration = _DECLARATION.match(data.removeprefix(codecs.BOM_UTF8))
    named = _ENCODING.search(declaration[0]) if declaration and wide is None else None
    encoding = _codec(named[1].decode()) if named else "utf-8"
    # line numbers in messages stay those of the file
    document = data[:start] + b"\n" * data.count(b"\n", start, end) + data[end:]
    local = root.decode(encoding, "replace").rpartition(":")[2]
    return _Head(document, local, len(data), source, encoding, "utf-8" if wide else None)


def _split(data: bytes) -> tuple[int, int, bytes] | None:
    """Start and end of the DOCTYPE (equal when there is none) and the root's name; None when `data` is too short."""
    at = 3 if data.startswith(codecs.BOM_UTF8) else 0
    start = end = None
    while True:
        if skipped := _SKIPPED.match(data, at):
            at = skipped.end()
        elif data.startswith(b"<!DOCTYPE", at) and start is None:
            start, end = at, _doctype_end(data, at)
            if end is None:
                return None
            at = end
        elif root := _ROOT.match(data, at):
            return (start, end, root[1]) if start is not None and end is not None else (at, at, root[1])
        elif len(data) - at > BLOCK or (data[at : at + 1] not in (b"<", b"")):
            raise TableError("This is not an XML file: there is text before the first element")
        else:
            return None


def _doctype_end(data: bytes, start: int) -> int | None:
    depth = 0
    for token in _DOCTYPE_TOKEN.finditer(data, start):
        if token[0] == b"<":
            depth += 1
        elif token[0] == b">":
            depth -= 1
            if not depth:
                return token.end()
    return None


def _codec(name: str) -> str:
    """The codec in which tags are searched and written; the parser itself goes by the declaration."""
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "latin-1"


def _start_tag(element: Any) -> str:
    names = {f"xmlns:{prefix}" if prefix else "xmlns": uri for prefix, uri in element.nsmap.items()}
    declared = "".join(f' {name}="{_escaped(uri)}"' for name, uri in names.items())
    return f"<{element.prefix + ':' if element.prefix else ''}{local_name(element)}{declared}>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _explained(error: etree.XMLSyntaxError) -> str:
    message = str(error.msg)
    if entity := _ENTITY.search(message):
        where = message[entity.end() :]
        return (
            f"The file refers to the entity &{entity[1][:60]};{where}: only &amp; &lt; &gt; &quot; and &apos; are "
            "read, entities are never expanded; write the text itself"
        )
    return f"The file is not well-formed XML: {message[:300]}"


class Recoded(io.RawIOBase):
    """A stream of UTF-16 as UTF-8, without byte order mark. Seeking back reads from the start again."""

    def __init__(self, source: IO[bytes], encoding: str) -> None:
        super().__init__()
        self._source, self._encoding = source, encoding
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._source.seek(0)
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        self._ready = b""
        left = offset
        while left and (skipped := self.read(min(left, BLOCK))):
            left -= len(skipped)
        return offset - left

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._ready) < size:
            block = self._source.read(BLOCK)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise TableError(f"The file cannot be read as {self._encoding}: {error.reason}") from error
            self._ready += text.removeprefix("\ufeff").encode(errors="replace")
            if not block:
                break
        size = len(self._ready) if size < 0 else size
        ready, self._ready = self._ready[:size], self._ready[size:]
        return ready
