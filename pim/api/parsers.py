"""The one JSON parser: UTF-8, no ambiguity, and nothing that PostgreSQL cannot store."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from pim.api.errors import invalid

# Deeper than any request of this API; far below what exhausts the interpreter's stack.
MAX_DEPTH = 50

_SUSPECT_ESCAPE = re.compile(r"\\u(0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class StrictJSONParser(JSONParser):
    """Refuses NaN and Infinity, repeated keys, numbers beyond a double, deep nesting, NUL and lone surrogates."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            text = stream.read().decode("utf-8-sig")
            value = json.loads(
                text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_repeats
            )
        except UnicodeDecodeError as error:
            raise ParseError(_("The body is not UTF-8 text (byte %(at)d).") % {"at": error.start}) from None
        except RecursionError:
            raise ParseError(_too_deep()) from None
        except ValueError as error:
            raise ParseError(_("The body is not valid JSON: %(cause)s") % {"cause": error}) from None
        _refuse_depth(value)
        if _SUSPECT_ESCAPE.search(text):
            _refuse_unstorable(value)
        return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(_("%(name)s is not a JSON number") % {"name": name})


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(_("the number %(number)s is too large") % {"number": text[:40]})
    return number


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _value in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(_("the key %(key)r stands twice in one object") % {"key": repeated})
    return result


def _too_deep() -> str:
    return _("The body is nested more than %(depth)d levels deep.") % {"depth": MAX_DEPTH}


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _depth in range(MAX_DEPTH):
        level = [child for parent in level for child in _containers(parent)]
        if not level:
            return
    raise ParseError(_too_deep())


def _containers(parent: Any) -> list[Any]:
    children = parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ()
    return [child for child in children if isinstance(child, dict | list)]


def _refuse_unstorable(value: Any) -> None:
    for path, text in _texts(value, ""):
        if _UNSTORABLE.search(text):
            path = _UNSTORABLE.sub("\ufffd", path)
            raise invalid(path, _("The text has a NUL character or half of a surrogate pair; remove it."))


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield path, value
        case dict():
            for key, child in value.items():
                yield path, key
                yield from _texts(child, f"{path}.{key}" if path else key)
        case list():
            for index, child in enumerate(value):
                yield from _texts(child, f"{path}[{index}]")
