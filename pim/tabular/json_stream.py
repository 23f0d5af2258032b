"""A cursor in JSON text: values one after the other, from any byte at which one ends, without the whole file.

Values are decoded by the standard library, numbers kept as written. Everything that RFC 8259 does not allow is an
error that names the byte.
"""

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any, NoReturn

from pim.tabular.errors import TableError

BLOCK = 256 * 1024  # bytes
MAX_VALUE = 16 * 1024 * 1024  # characters of one record
MAX_SMALL = 1024 * 1024  # characters of an object that is looked into as a whole for a list of records

_SPACE = re.compile(r"[ \t\n\r]*")
# UTF-32 first: its little-endian mark begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Number(str):
    """A number as it is written in the file."""

    __slots__ = ()


class Repeated(dict[str, Any]):
    """An object in which a name stands twice: one of the values is lost."""


class _Refused(ValueError):
    """Read by Python, but not JSON."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(found)


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON; write null")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_constant)


class JsonText:
    """file: seekable, at any place. Raises TableError for whatever is not JSON."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.seek(0)
        self.encoding, self._bom = _encoding(file.read(4))
        self.seek(0)

    @property
    def offset(self) -> int:
        """The byte at which the cursor stands."""
        return self._start + len(self._text[: self._at].encode(self.encoding, "surrogatepass"))

    def seek(self, offset: int) -> None:
        self._start = self._read = max(offset, self._bom)
        self._file.seek(self._start)
        self._decoder = codecs.getincrementaldecoder(self.encoding)()
        self._text, self._at = "", 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is not white space, "" at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None  # matches nothing, too
            self._at = space.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str, otherwise: str) -> None:
        """Step over one character; `otherwise` says what is wrong when another one stands there."""
        if self.peek() != expected:
            self.refuse(otherwise)
        self._at += 1

    def value(self, *, limit: int = MAX_VALUE) -> Any:
        """The next value. limit: characters it may have; raises TooLong beyond."""
        if not self.peek():
            self.refuse("the text ends too early")
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except _Refused as error:
                self.refuse(str(error))
            except RecursionError:
                self.refuse("lists or objects are nested too deeply")
            except json.JSONDecodeError as error:
                # perhaps only cut off
                if len(self._text) - self._at > limit:
                    raise TooLong(f"A value of the file is longer than {limit >> 20} MB") from error
                if not self._more():
                    self._at = error.pos
                    self.refuse(error.msg[0].lower() + error.msg[1:])
                continue
            # a number at the end of what was read may go on
            if end == len(self._text) and self._text[end - 1] not in '"]}' and self._more():
                continue
            self._at = end
            return value

    def key(self) -> str:
        """The next name in an object, and the colon after it."""
        if self.peek() != '"':
            self.refuse("the name of a value is missing")
        name: str = self.value()
        self.take(":", "a colon is missing after a name")
        return name

    def refuse(self, reason: str) -> NoReturn:
        raise TableError(f"The file is not valid JSON: {reason} (at byte {self.offset})")

    def _more(self) -> bool:
        """Read on, at least as much again as is still needed; False at the end of the file."""
        if self._ended:
            return False
        self._start = self.offset
        rest = self._text[self._at :]
        block = self._file.read(max(BLOCK, 2 * len(rest)))
        self._read += len(block)
        self._ended = not block
        try:
            self._text, self._at = rest + self._decoder.decode(block, final=not block), 0
        except UnicodeDecodeError as error:
            byte = self._read - len(error.object) + error.start
            raise TableError(
                f"The file is not valid JSON: byte 0x{error.object[error.start]:02X} at offset {byte} cannot be read "
                f"as {self.encoding}; save the file as UTF-8"
            ) from error
        return not self._ended


def _encoding(head: bytes) -> tuple[str, int]:
    """The encoding and the length of its byte order mark; JSON without one begins with two ASCII characters."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, len(mark)
    if head[1::2] == b"\0\0" and b"\0" not in head[::2]:
        return "utf-16-le", 0
    if head[::2] == b"\0\0" and b"\0" not in head[1::2]:
        return "utf-16-be", 0
    return "utf-8", 0


class TooLong(TableError):
    """A value is longer than its limit."""


def find_records(text: JsonText, path: Sequence[str] | None) -> tuple[bool, tuple[str, ...]]:
    """Where the records are: (True, ()) when one follows the other without a list around, else (False, path).

    path: where given, the names that lead to the list; else the outermost list of objects is taken.
    """
    text.seek(0)
    first = text.peek()
    if not first:
        raise TableError("The file is empty")
    if path is not None:
        return False, tuple(path)
    if first == "[":
        return False, ()
    try:
        value = text.value(limit=MAX_SMALL)
    except TooLong:
        text.seek(0)
        if found := _search(text, ()):
            return False, found
        raise TableError("The JSON file holds no list of objects") from None
    if first == "{" and text.peek() == "{":
        return True, ()
    if text.peek():
        text.refuse("there is text after its end")
    if first != "{":
        raise TableError("The JSON file is not a list of objects, but a single value")
    listed = _outermost_list(value)
    return (False, listed) if listed else (True, ())


def items(text: JsonText, path: Sequence[str], *, resume: int | None = None) -> Iterator[Any]:
    """The items of the list at `path`; those after byte `resume`, at which an item ends. Checks the file to its end."""
    if resume is None:
        text.seek(0)
        for depth, name in enumerate(path):
            _descend(text, name, "/".join(path[: depth + 1]))
        text.take("[", f"there is no list at {'/'.join(path)}" if path else "it is not a list")
        if text.peek() != "]":
            yield text.value()
    else:
        text.seek(resume)
    while text.peek() == ",":
        text.take(",", "")
        yield text.value()
    text.take("]", "a comma or the end of the list is missing")
    for _ in path:
        while text.peek() == ",":
            text.take(",", "")
            text.key()
            text.value()
        text.take("}", "a comma or the end of the object is missing")
    if text.peek():
        text.refuse("there is text after its end")


def lines(text: JsonText, *, resume: int | None = None) -> Iterator[Any]:
    """Values that follow each other; those after byte `resume`."""
    text.seek(resume or 0)
    while text.peek():
        yield text.value()


def _descend(text: JsonText, name: str, path: str) -> None:
    """Go to the value of `name` in the object that begins here."""
    missing = TableError(f"The JSON file has nothing at {path}")
    if text.peek() != "{":
        raise missing
    text.take("{", "")
    if text.peek() == "}":
        raise missing
    while text.key() != name:
        text.value()
        if text.peek() == "}":
            raise missing
        text.take(",", "a comma or the end of the object is missing")


def _search(text: JsonText, path: tuple[str, ...]) -> tuple[str, ...] | None:
    """The path of the first list of objects in a large object that begins here, small objects within it last."""
    within: tuple[str, ...] | None = None
    text.take("{", "it is not an object")
    while text.peek() != "}":
        name = text.key()
        start = text.offset
        try:
            if text.peek() == "[":
                text.take("[", "")
                if text.peek() == "{":
                    return (*path, name)
                text.seek(start)
            value = text.value(limit=MAX_SMALL)
            if within is None and isinstance(value, dict) and (listed := _outermost_list(value)):
                within = (*path, name, *listed)
        except TooLong:
            text.seek(start)
            if text.peek() != "{":
                raise
            if found := _search(text, (*path, name)):
                return found
        if text.peek() != "}":
            text.take(",", "a comma or the end of the object is missing")
    text.take("}", "")
    return within


def _outermost_list(value: dict[str, Any]) -> tuple[str, ...] | None:
    level: list[tuple[tuple[str, ...], dict[str, Any]]] = [((), value)]
    while level:
        inner = []
        for path, found in level:
            for name, item in found.items():
                if isinstance(item, list) and item and all(isinstance(entry, dict) for entry in item):
                    return (*path, name)
                if isinstance(item, dict):
                    inner.append(((*path, name), item))
        level = inner
    return None
