"""Create or update many products in one request: each item is checked, then all are written in a few statements."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from catalog.fields import KEEP
from catalog.models import Product
from catalog.payload import Payload, read_new_product, read_payload
from catalog.provenance import Provenance
from catalog.upsert import Mode, Outcome, Result, Row, upsert_products
from catalog.writing import check_categories
from pim.api.errors import FieldError

_STATUS = {
    Result.CREATED: "created",
    Result.RESTORED: "created",
    Result.UPDATED: "updated",
    Result.UNCHANGED: "updated",
}


@dataclass(slots=True)
class Item:
    """The fate of one item. status: created, updated, skipped or error. id: of the product, where it has one."""

    index: int
    ean: str | None
    status: str = ""
    id: UUID | None = None
    errors: list[FieldError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """items: one for each product sent, in the same order. unknown: field names that were ignored, each once."""

    items: list[Item]
    unknown: list[str]

    def count(self, status: str) -> int:
        return sum(item.status == status for item in self.items)


def create_products(
    *,
    products: Sequence[Any],
    provenance: Provenance,
    supplier_code: str | None = None,
    skip_duplicates: bool = False,
    dry_run: bool = False,
    atomic: bool = False,
) -> Report:
    """Create the products whose EAN no live product has; a deleted one comes back under its old id.

    supplier_code: for products that name none. skip_duplicates: a taken EAN, or one that stands twice in the request,
    is no error. dry_run: report only. atomic: write nothing at all when one item has an error.
    """
    payloads = [read_new_product(product) for product in products]
    for payload in payloads:
        if supplier_code:
            payload.values.setdefault("supplier_code", supplier_code)
    return _write(products, payloads, Mode.CREATE, provenance, skip_duplicates, dry_run, atomic)


def update_products(
    *,
    products: Sequence[Any],
    provenance: Provenance,
    skip_not_found: bool = False,
    dry_run: bool = False,
    atomic: bool = False,
) -> Report:
    """Change the fields that each item names, in the live product with its EAN.

    skip_not_found: an EAN that no live product has is no error. dry_run, atomic: as for `create_products`.
    """
    payloads = [read_payload(product, required=("ean",)) for product in products]
    return _write(products, payloads, Mode.UPDATE, provenance, skip_not_found, dry_run, atomic)


def _write(
    products: Sequence[Any],
    payloads: list[Payload],
    mode: Mode,
    provenance: Provenance,
    skip: bool,
    dry_run: bool,
    atomic: bool,
) -> Report:
    check_categories(payloads)
    items = [
        Item(index, payload.ean or _as_sent(product), errors=payload.errors, warnings=payload.warnings)
        for index, (product, payload) in enumerate(zip(products, payloads, strict=True))
    ]
    rows = _rows(items, payloads, skip and mode is Mode.CREATE)
    with transaction.atomic():
        outcomes = upsert_products(
            fields=rows.fields, rows=rows.rows, provenance=provenance, mode=mode, dry_run=dry_run
        )
        ids = _unchanged_ids(rows.rows, outcomes)
        for number, outcome in outcomes.items():
            _settle(items[number], outcome, skip)
            items[number].id = items[number].id or ids.get(items[number].ean or "")
        if atomic and any(item.status == "error" for item in items):
            # all items were tried first, so that the answer names every error at once
            transaction.set_rollback(True)
            for item in items:
                _withdraw(item)
    return Report(items, list(dict.fromkeys(name for payload in payloads for name in payload.unknown)))


@dataclass(frozen=True, slots=True)
class _Rows:
    fields: list[str]
    rows: list[Row]


def _rows(items: list[Item], payloads: list[Payload], skip_repeated: bool) -> _Rows:
    """The rows to write; the first valid item of an EAN counts, a later one is marked as repeated."""
    fields = list(dict.fromkeys(name for payload in payloads if not payload.errors for name in payload.values))
    seen: set[str] = set()
    rows = []
    for item, payload in zip(items, payloads, strict=True):
        if item.errors:
            item.status = "error"
        elif payload.ean in seen:
            item.status = "skipped" if skip_repeated else "error"
            if not skip_repeated:
                item.errors.append(FieldError("ean", "duplicate", _("This EAN stands twice in the request.")))
        else:
            seen.add(payload.ean)
            rows.append(Row(item.index, payload.ean, [payload.values.get(name, KEEP) for name in fields]))
    return _Rows(fields, rows)


def _settle(item: Item, outcome: Outcome, skip: bool) -> None:
    match outcome.result:
        case Result.EXISTS | Result.MISSING if skip:
            item.status = "skipped"
            item.id = outcome.id
        case Result.EXISTS:
            item.status = "error"
            item.errors.append(FieldError("ean", "duplicate", _("A product with this EAN exists already.")))
        case Result.MISSING:
            item.status = "error"
            item.errors.append(FieldError("ean", "not_found", _("There is no product with this EAN.")))
        case result:
            item.status = _STATUS[result]
            item.id = outcome.id


def _withdraw(item: Item) -> None:
    """Nothing of an atomic request was written."""
    if item.status in ("created", "updated"):
        item.status = "skipped"
        item.id = None
        message = _("Not written: another product of this atomic request has errors.")
        item.errors.append(FieldError(None, "atomic", message))


def _unchanged_ids(rows: Sequence[Row], outcomes: dict[int, Outcome]) -> dict[str, UUID]:
    eans = [row.ean for row in rows if outcomes[row.number].result is Result.UNCHANGED]
    return dict(Product.objects.filter(ean__in=eans).values_list("ean", "id")) if eans else {}


def _as_sent(product: Any) -> str | None:
    ean = product.get("ean") if isinstance(product, dict) else None
    return str(ean) if isinstance(ean, str | int) else None
