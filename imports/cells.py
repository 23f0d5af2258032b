"""From a cell's text to a field's value, as text PostgreSQL can COPY: one function per field, compiled once. Pure."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, Literal

from catalog.fields import DEACTIVATE, FieldSpec, Keep
from imports.columns import UNITS
from pim.tabular.formulas import unescape_formula

Value = str | Keep | None
Converter = Callable[[str], Value]
DecimalMark = Literal[".", ","]

_CURRENCY = r"(?:€|\$|£|¥|zł|kč|euros?|(?:eur|usd|gbp|chf|czk|pln|huf|ron|bgn|sek|dkk|nok|isk|cad|aud|jpy|cny|mad|tnd))"
_MONEY = re.compile(rf"(?:{_CURRENCY}\s*)?(.*?)(?:\s*{_CURRENCY})?", re.IGNORECASE | re.DOTALL)
_MEASURE = re.compile(r"(.*?)\s*([a-z]*)", re.IGNORECASE | re.DOTALL)
_SCIENTIFIC = re.compile(r"[\d.,]+e[+-]?\d+", re.IGNORECASE)
_ONE_MARK = re.compile(r"(\d*)([.,])(\d+)")
_GROUPED = re.compile(r"(\d{1,3}(?:([., ])\d{3})(?:\2\d{3})*)(?:([.,])(\d+))?")
_GROUP_SPACES = re.compile(r"[\s'’]")
_LONGEST_NUMBER = 25  # characters; all the digits that Decimal keeps exactly

_EXCEL_TEXT = re.compile(r'="(.*)"', re.DOTALL)  # how spreadsheets are made to keep leading zeros
_CODE_SEPARATORS = re.compile(r"[\s\-]+")
_FLOAT_SUFFIX = re.compile(r"[.,]0+")
_ASIN = re.compile(r"[A-Z0-9]{10}")
_SLUG = re.compile(r"[-a-zA-Z0-9_]+")
_URL = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)

TRUE: Final = frozenset(("true", "vrai", "yes", "oui", "1", "y", "o", "on", "actif", "active", "enabled"))
FALSE: Final = frozenset(("false", "faux", "no", "non", "0", "n", "off", "inactif", "inactive", "disabled"))
_BOOLEANS: Final = dict.fromkeys(TRUE, "active") | dict.fromkeys(FALSE, DEACTIVATE)
_STATUSES: Final = _BOOLEANS | {
    **dict.fromkeys(("inactive", "inactif"), "inactive"),
    **dict.fromkeys(("archived", "archive", "archivé", "archivée"), "archived"),
}


class CellError(ValueError):
    """A cell that cannot be read; the message says why."""


def converter(
    spec: FieldSpec, *, empty: Value, factor: Decimal = Decimal(1), decimal_mark: DecimalMark | None = None
) -> Converter:
    """The function that reads the cells of one column; it raises CellError.

    empty: the value of an empty cell. factor: turns the column's unit into the stored one.
    decimal_mark: how the file writes decimals, where known; else each number must be unambiguous.
    """
    match spec.kind:
        case "text":
            return _text(spec, empty)
        case "decimal":
            return _decimal(spec, empty, factor, decimal_mark)
        case "boolean":
            return _word(_BOOLEANS, "true or false", empty)
        case "status":
            return _word(_STATUSES, "active, inactive or archived", empty)
        case "digits":
            return _digits(spec, empty)
        case "asin":
            return _pattern(spec, _ASIN, "an ASIN has 10 letters A-Z and digits", empty, upper=True)
        case "slug":
            return _pattern(spec, _SLUG, "a slug has only letters a-z, digits, hyphens and underscores", empty)
        case "url":
            return _pattern(spec, _URL, "an address must begin with http:// or https:// and have no spaces", empty)
    raise ValueError(f"no converter for {spec.name}")


def code_text(cell: str) -> str:
    """The code in a cell, without what spreadsheets put around it to keep leading zeros."""
    text = unescape_formula(cell.strip())
    if wrapped := _EXCEL_TEXT.fullmatch(text):
        return wrapped[1].strip()
    return text.removeprefix("'")


def _text(spec: FieldSpec, empty: Value) -> Converter:
    limit = spec.max_length

    def convert(cell: str) -> Value:
        text = unescape_formula(cell).strip() if cell[:1] == "'" else cell.strip()
        if not text:
            return empty
        if len(text) > limit:
            raise CellError(f"{len(text)} characters, at most {limit} are allowed")
        if "\0" in text:
            raise CellError("holds a NUL character; remove it")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise CellError("holds half a character (a lone surrogate); remove it") from error
        return text

    return convert


def _pattern(
    spec: FieldSpec, pattern: re.Pattern[str], message: str, empty: Value, *, upper: bool = False
) -> Converter:
    as_text = _text(spec, empty)

    def convert(cell: str) -> Value:
        text = as_text(cell)
        if not isinstance(text, str):
            return text
        if upper:
            text = text.upper()
        if not pattern.fullmatch(text):
            raise CellError(message)
        return text

    return convert


def _word(words: Mapping[str, str], choices: str, empty: Value) -> Converter:
    def convert(cell: str) -> Value:
        text = cell.strip()
        if not text:
            return empty
        if (value := words.get(text.casefold())) is None:
            raise CellError(f"must be {choices}")
        return value

    return convert


def _digits(spec: FieldSpec, empty: Value) -> Converter:
    lengths = spec.lengths
    expected = f"{lengths[0]} digits" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]} digits"

    def convert(cell: str) -> Value:
        text = _CODE_SEPARATORS.sub("", code_text(cell))
        if not text:
            return empty
        if _SCIENTIFIC.fullmatch(text):
            raise CellError(
                f"expected {expected}: a spreadsheet has rounded this code to scientific notation and digits are "
                "lost; format the column as text and export the file again"
            )
        whole = _FLOAT_SUFFIX.split(text)[0] if _FLOAT_SUFFIX.search(text) else text
        if not (whole.isascii() and whole.isdigit() and len(whole) in lengths):
            raise CellError(f"expected {expected}")
        return whole

    return convert


def _decimal(spec: FieldSpec, empty: Value, factor: Decimal, mark: DecimalMark | None) -> Converter:
    places = spec.decimals
    step = Decimal(1).scaleb(-places)
    # numbers as we write them, one digit short of the maximum: nothing left to check
    shorter = len(str(int(spec.maximum))) - 1
    plain = re.compile(rf"(?:0|[1-9]\d{{0,{shorter - 1}}})(\.\d{{1,{places}}})?", re.ASCII).fullmatch
    fast = factor == 1 and mark != ","
    pads = tuple("0" * (places + 1 - n) for n in range(places + 2))  # by length of ".dd"
    units = UNITS[spec.unit] if spec.unit else None
    # with three decimals stored, three digits after a mark are decimals; else they may be a group of thousands
    groups_possible = places < 3 or factor != 1

    def convert(cell: str) -> Value:
        if fast and (match := plain(cell)):
            fraction = match[1]
            return cell + pads[len(fraction)] if fraction else f"{cell}.{pads[1]}"
        text = unescape_formula(cell.strip())
        if not text:
            return empty
        scale = factor
        if units is None:
            body = _whole(_MONEY, text)[1]
        else:
            parts = _whole(_MEASURE, text)
            body = parts[1]
            if unit := parts[2].lower():
                if unit not in units:
                    raise CellError(f"unknown unit {parts[2]!r}; use {spec.unit}" if body else "is not a number")
                scale = units[unit]
        value = _number(body.strip(), mark, groups_possible) * scale
        if not 0 <= value <= spec.maximum:
            raise CellError(f"must be between 0 and {spec.maximum} (read as {value.normalize():f})")
        rounded = value.quantize(step)
        if rounded != value:
            raise CellError(f"has more than {places} decimals (read as {value.normalize():f})")
        return f"{rounded:f}"

    return convert


def _whole(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    assert match is not None  # both patterns take any text
    return match


def _number(text: str, mark: DecimalMark | None, groups_possible: bool) -> Decimal:
    """Read a number in French, English, German or Swiss notation; refuse what can be read in two ways."""
    sign = 1
    if text[:1] in ("-", "\u2212", "+"):
        sign = 1 if text[0] == "+" else -1
        text = text[1:].lstrip()
    if _SCIENTIFIC.fullmatch(text):
        raise CellError("scientific notation is not accepted; write the number out")
    text = _GROUP_SPACES.sub(" ", text)
    if len(text) > _LONGEST_NUMBER or not text.isascii():
        raise CellError("is not a number")
    if text.isdigit():
        return sign * Decimal(text)
    if single := _ONE_MARK.fullmatch(text):
        whole, found, fraction = single.groups()
        group = len(fraction) == 3 and 1 <= len(whole) <= 3 and whole[0] != "0"
        if mark is not None and found != mark:
            if not group:
                raise CellError(f"{found!r} is not the decimal mark of this file, {mark!r} is")
            return sign * Decimal(whole + fraction)
        if mark is None and group and groups_possible:
            raise CellError(
                f"ambiguous: {whole}.{fraction} with decimals or {whole}{fraction} with a thousands mark? "
                "Write it without thousands marks and with two decimals"
            )
        return sign * Decimal(f"{whole}.{fraction}")
    if grouped := _GROUPED.fullmatch(text):
        whole, separator, found, fraction = grouped.groups()
        digits = whole.replace(separator, "")
        if found is None:
            if separator == mark:
                raise CellError(f"{mark!r} is the decimal mark of this file and stands in this number more than once")
            return sign * Decimal(digits)
        # 2,849,83 can only mean 2849.83; 2,849,835 is caught above as a whole number
        if mark is None or found == mark:
            return sign * Decimal(f"{digits}.{fraction}")
    raise CellError("is not a number")
