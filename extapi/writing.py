"""Create and change products by EAN: one product, or a batch in a constant number of statements."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from catalog.fields import KEEP
from catalog.models import Product
from catalog.payload import Payload, read_payload
from catalog.provenance import Provenance
from catalog.references import REFERENCES, resolve
from catalog.upsert import Mode, Outcome, Result, Row, upsert_products
from catalog.writing import check_categories
from pim.api.errors import FieldError, invalid_fields

# What clients may write. Prices, barcode and image address belong to other doors: a full update leaves them alone.
WRITABLE: Final = frozenset(
    {
        *("ean", "name", "brand_name", "description", "short_description", "reference", "supplier_code"),
        *("category_id", "asin", "upc", "gtin", "status", "is_active", "weight", "width", "height", "depth"),
        *("unit_of_measure", "external_id", "url_slug"),
    }
)

_REPLACED: Final = tuple(sorted(WRITABLE - {"ean", "is_active"}))
_CREATED: Final = (Result.CREATED, Result.RESTORED)
_NAMELESS: Final = Outcome(Result.NAMELESS, None)


@dataclass(slots=True)
class Written:
    """What became of one product. created: also when a deleted one came back. id: None when there are errors.

    ean: normalised; as sent when it cannot be. unknown: names in it that are no field.
    """

    ean: str
    created: bool = False
    id: UUID | None = None
    errors: list[FieldError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def upsert(*, products: Sequence[Any], provenance: Provenance) -> list[Written]:
    """Create or change each product by its EAN; the fate of each, in the order sent, none of which stops the others.

    Null is as if not sent. An unknown or deleted EAN needs a name. An EAN that stands several times is written as
    often, in order, so the last value of each field wins.
    """
    payloads = [read_payload(product, required=("ean",), null_clears=False, writable=WRITABLE) for product in products]
    check_categories(payloads)
    written = [
        Written(
            payload.ean or _as_sent(product),
            errors=payload.errors,
            warnings=payload.warnings,
            unknown=payload.unknown,
        )
        for product, payload in zip(products, payloads, strict=True)
    ]
    valid = [number for number, payload in enumerate(payloads) if not payload.errors]
    _keep_upcs([payloads[number] for number in valid])
    rounds = _each_ean_once(valid, payloads)
    with transaction.atomic():
        if len(rounds) > 1:
            # before products are locked: another batch may hold a new brand and wait for these products
            _create_references([payloads[number] for number in valid])
        for numbers in rounds:
            unnamed = _unnamed(numbers, payloads)
            outcomes = _write([number for number in numbers if number not in unnamed], payloads, provenance)
            for number in numbers:
                outcome = outcomes.get(number, _NAMELESS)
                if outcome.result is Result.NAMELESS:
                    message = _("There is no product with this EAN; a new one needs a name.")
                    written[number].errors.append(FieldError("name", "required", message))
                written[number].created = outcome.result in _CREATED
                written[number].id = outcome.id
    _add_ids_of_unchanged(written)
    return written


class Write(Protocol):
    """`replace` or `change`."""

    def __call__(self, *, ean: str, body: Any, provenance: Provenance) -> Written: ...


def replace(*, ean: str, body: Any, provenance: Provenance) -> Written:
    """Set every writable field of a live product: what is absent or null is emptied, the status becomes active.

    Raises ValidationError for what is wrong with the body, Product.DoesNotExist.
    """
    payload = read_payload(body, required=("name",), null_clears=False, writable=WRITABLE)
    for name in _REPLACED:
        payload.values.setdefault(name, None)
    return _update(ean, payload, provenance)


def change(*, ean: str, body: Any, provenance: Provenance) -> Written:
    """Set the fields of a live product that are sent and not null. Raises as `replace`."""
    return _update(ean, read_payload(body, null_clears=False, writable=WRITABLE), provenance)


def _update(ean: str, payload: Payload, provenance: Provenance) -> Written:
    if payload.ean not in ("", ean):
        message = _("Must be the EAN of the address, %(ean)s, or absent.") % {"ean": ean}
        payload.errors.append(FieldError("ean", "contradiction", message))
    check_categories([payload])
    if payload.errors:
        raise invalid_fields(payload.errors)
    payload.ean = ean
    outcome = _write([0], [payload], provenance, Mode.UPDATE)[0]
    if outcome.result is Result.MISSING:
        raise Product.DoesNotExist
    written = Written(ean, id=outcome.id, warnings=payload.warnings, unknown=payload.unknown)
    _add_ids_of_unchanged([written])
    return written


def _write(
    numbers: Sequence[int], payloads: Sequence[Payload], provenance: Provenance, mode: Mode = Mode.UPSERT
) -> dict[int, Outcome]:
    fields = list(dict.fromkeys(name for number in numbers for name in payloads[number].values))
    rows = [
        Row(number, payloads[number].ean, [payloads[number].values.get(name, KEEP) for name in fields])
        for number in numbers
    ]
    return upsert_products(fields=fields, rows=rows, provenance=provenance, mode=mode)


def _each_ean_once(numbers: Iterable[int], payloads: Sequence[Payload]) -> list[list[int]]:
    """The products in rounds: the first ones of each EAN, then the second ones, and so on."""
    rounds: list[list[int]] = []
    seen: dict[str, int] = {}
    for number in numbers:
        ean = payloads[number].ean
        turn = seen[ean] = seen.get(ean, -1) + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(number)
    return rounds


def _create_references(payloads: Iterable[Payload]) -> None:
    """The brands and suppliers that are named, so that the merges only have to find them."""
    named: dict[str, list[str]] = {}
    for payload in payloads:
        for field_name in REFERENCES:
            if name := payload.values.get(field_name):
                named.setdefault(field_name, []).append(name)
    for field_name, names in named.items():
        resolve(field_name, names)


def _unnamed(numbers: Sequence[int], payloads: Sequence[Payload]) -> set[int]:
    """Those that have neither a name nor a live product."""
    nameless = {number: payloads[number].ean for number in numbers if "name" not in payloads[number].values}
    if not nameless:
        return set()
    live = set(Product.objects.live().filter(ean__in=nameless.values()).values_list("ean", flat=True))
    return {number for number, ean in nameless.items() if ean not in live}


def _keep_upcs(payloads: Sequence[Payload]) -> None:
    """A product that is new keeps the 12 digits it was sent with."""
    sent = {payload.ean: payload for payload in payloads if payload.upc}
    if not sent:
        return
    known = set(Product.objects.live().filter(ean__in=sent).values_list("ean", flat=True))
    for ean, payload in sent.items():
        if ean not in known:
            payload.values.setdefault("upc", payload.upc)


def _add_ids_of_unchanged(written: Sequence[Written]) -> None:
    without = [one for one in written if one.id is None and not one.errors]
    if not without:
        return
    ids = dict(Product.objects.filter(ean__in={one.ean for one in without}).values_list("ean", "id"))
    for one in without:
        one.id = ids[one.ean]


def _as_sent(product: Any) -> str:
    ean = product.get("ean") if isinstance(product, Mapping) else None
    return str(ean) if isinstance(ean, str | int) else ""
