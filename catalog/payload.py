"""What clients send for a product, checked: JSON values to text for the write path, one compiled function per field."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from catalog.fields import ALIASES, DEACTIVATE, FIELDS, STATUSES, FieldSpec
from catalog.identifiers import CodeError, normalise
from pim.api.errors import FieldError

Reader = Callable[[Any], str | None]

_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")
_PATTERNS = {
    "asin": (re.compile(r"[A-Z0-9]{10}"), _lazy("An ASIN has 10 letters A-Z and digits.")),
    "slug": (re.compile(r"[-a-zA-Z0-9_]+"), _lazy("A slug has only letters a-z, digits, hyphens and underscores.")),
    "url": (re.compile(r"https?://[^\s/]+\S*", re.I), _lazy("Must begin with http:// or https://, without blanks.")),
}
_BOOLEANS = {True: "active", False: DEACTIVATE, "true": "active", "false": DEACTIVATE}
_KEPT_AS_SENT = frozenset({"description", "short_description"})
_NAMES_A_RECORD = frozenset({"name", "brand_name", "supplier_code"})


class ValueRefused(ValueError):
    """A value that its field does not take; the message says what it takes."""

    def __init__(self, message: str, code: str = "invalid") -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Payload:
    """One product as sent.

    ean: normalised; empty when it is absent or refused. values: field of the write path -> text ready for PostgreSQL,
    None to clear; `is_active` is merged into `status`. unknown: names that are no field.
    upc: the 12 digits when the EAN was sent as a UPC-A; a new product keeps them.
    """

    ean: str = ""
    upc: str | None = None
    values: dict[str, str | None] = field(default_factory=dict)
    errors: list[FieldError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read_payload(
    data: Any, *, required: Collection[str] = (), null_clears: bool = True, writable: Collection[str] | None = None
) -> Payload:
    """Check one JSON object; what is wrong with it stands in `errors`, nothing is raised.

    null_clears: null empties a field (and is an error where that is not possible), else it is as if not sent.
    writable: the fields taken, all when None; others count as unknown.
    """
    payload = Payload()
    if not isinstance(data, Mapping):
        payload.errors.append(FieldError(None, "invalid", _("A product must be a JSON object.")))
        return payload
    sent = _by_field(data, payload, null_clears, WRITABLE if writable is None else writable)
    for name, value in sent.items():
        try:
            if name == "ean":
                _read_ean(value, payload)
            else:
                payload.values[name] = None if value is None else READERS[name](value)
                if value is None and not _nullable(name):
                    raise ValueRefused(_("May not be null."), "null")
        except ValueRefused as refusal:
            payload.errors.append(FieldError(name, refusal.code, str(refusal)))
    named = {error.field for error in payload.errors}
    for name in required:
        if name not in named and name not in sent:
            payload.errors.append(FieldError(name, "required", _("This field is required.")))
    if not payload.errors:
        _merge_activity(payload)
    return payload


def _by_field(
    data: Mapping[str, Any], payload: Payload, null_clears: bool, writable: Collection[str]
) -> dict[str, Any]:
    """The sent values by field name, other names of the same field resolved."""
    sent: dict[str, Any] = {}
    for key, value in data.items():
        name = ALIASES.get(key, key)
        if name not in writable:
            payload.unknown.append(key)
        elif value is None and not null_clears:
            continue
        elif name in sent and sent[name] != value:
            message = _("%(name)s and its other name contradict each other.") % {"name": name}
            payload.errors.append(FieldError(name, "contradiction", message))
        else:
            sent[name] = value
    return sent


def _read_ean(value: Any, payload: Payload) -> None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueRefused(_("Must be a text of digits."))
    try:
        ean = normalise(str(value))
    except CodeError as error:
        raise ValueRefused(str(error)) from None
    if ean.warning and (ean.check_digit_ok or settings.EAN_CHECK != "off"):
        if not ean.check_digit_ok and settings.EAN_CHECK == "reject":
            raise ValueRefused(ean.warning, "check_digit")
        payload.warnings.append(f"{ean.ean}: {ean.warning}")
    payload.ean, payload.upc = ean.ean, ean.upc


def _merge_activity(payload: Payload) -> None:
    """`is_active` becomes the status; a status beside it must say the same."""
    if "is_active" not in payload.values:
        return
    activity = payload.values.pop("is_active")
    status = payload.values.setdefault("status", activity)
    if (status == "active") != (activity == "active"):
        payload.errors.append(FieldError("is_active", "contradiction", _("is_active contradicts status.")))


def _nullable(name: str) -> bool:
    return name not in FIELDS or FIELDS[name].nullable


def _reader(spec: FieldSpec) -> Reader:
    match spec.kind:
        case "text":
            return _text_reader(spec)
        case "decimal":
            return _decimal_reader(spec)
        case "status":
            return _read_status
        case "boolean":
            return _read_boolean
        case "digits":
            return _digits_reader(spec)
        case _:
            return _pattern_reader(spec)


def _text_reader(spec: FieldSpec) -> Reader:
    limit = spec.max_length
    strip = spec.name not in _KEPT_AS_SENT
    refuse_empty = spec.name in _NAMES_A_RECORD
    empty: str | None = None if spec.name == "barcode" else ""  # an empty barcode is the EAN, as a missing one

    def read(value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise ValueRefused(_("Must be a text."))
        text = value.strip() if strip else value
        if not text and refuse_empty:
            raise ValueRefused(_("May not be empty."), "blank")
        if len(text) > limit:
            lengths = {"length": len(text), "limit": limit}
            raise ValueRefused(_("Has %(length)d characters, at most %(limit)d are allowed.") % lengths, "max_length")
        return text or empty

    return read


def _pattern_reader(spec: FieldSpec) -> Reader:
    as_text = _text_reader(spec)
    pattern, message = _PATTERNS[spec.kind]
    upper = spec.kind == "asin"

    def read(value: Any) -> str | None:
        text = as_text(value) or ""
        if upper:
            text = text.upper()
        if not pattern.fullmatch(text):
            raise ValueRefused(str(message))
        return text

    return read


def _digits_reader(spec: FieldSpec) -> Reader:
    lengths = spec.lengths
    expected = str(lengths[0]) if len(lengths) == 1 else f"{lengths[0]}-{lengths[-1]}"

    def read(value: Any) -> str | None:
        text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not (text.isascii() and text.isdigit() and len(text) in lengths):
            raise ValueRefused(_("Must have %(expected)s digits.") % {"expected": expected})
        return text

    return read


def _decimal_reader(spec: FieldSpec) -> Reader:
    step = Decimal(1).scaleb(-spec.decimals)

    def read(value: Any) -> str | None:
        if isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value.strip()):
            number = Decimal(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = Decimal(repr(value))  # the shortest text of a double: what the client wrote
        else:
            raise ValueRefused(_("Must be a number."))
        if not 0 <= number <= spec.maximum:
            raise ValueRefused(_("Must be from 0 to %(maximum)s.") % {"maximum": spec.maximum}, "out_of_range")
        rounded = number.quantize(step)
        if rounded != number:
            raise ValueRefused(_("Has more than %(places)d decimals.") % {"places": spec.decimals}, "max_decimals")
        return f"{abs(rounded):f}"

    return read


def _read_status(value: Any) -> str | None:
    if value not in STATUSES:
        raise ValueRefused(_("Must be active, inactive or archived."), "invalid_choice")
    return str(value)


def _read_boolean(value: Any) -> str | None:
    if not isinstance(value, bool | str) or value not in _BOOLEANS:
        raise ValueRefused(_("Must be true or false."))
    return _BOOLEANS[value]


def _read_uuid(value: Any) -> str | None:
    try:
        return str(UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise ValueRefused(_("Must be a UUID.")) from None


# Categories are named by their id here: only imports name them by text.
READERS: Final[dict[str, Reader]] = {
    **{spec.name: _reader(spec) for spec in FIELDS.values() if spec.name not in ("ean", "category")},
    "category_id": _read_uuid,
}
WRITABLE: Final = frozenset({"ean", *READERS})


def read_new_product(data: Any) -> Payload:
    """Check an object that is to become a product."""
    payload = read_payload(data, required=("ean", "name"))
    if payload.upc:
        payload.values.setdefault("upc", payload.upc)
    return payload
