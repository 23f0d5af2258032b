"""Create or change one product from a checked payload."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg.errors
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from catalog.editing import edit_product
from catalog.fields import DEACTIVATE, FIELDS
from catalog.models import Category, Product
from catalog.payload import Payload
from catalog.provenance import Provenance
from catalog.references import REFERENCES, resolve
from catalog.upsert import Mode, Result, Row, upsert_products
from pim.api.errors import FieldError, invalid_fields


class EanTaken(Exception):
    """Another product, perhaps a deleted one, has this EAN; nothing was changed."""


def create_product(*, payload: Payload, provenance: Provenance) -> UUID:
    """The id of the new product, or of the deleted one with this EAN that came back.

    Raises ValidationError for what is wrong with the payload, EanTaken when a live product has the EAN.
    """
    _refuse_errors(payload)
    outcome = upsert_products(
        fields=list(payload.values),
        rows=[Row(0, payload.ean, list(payload.values.values()))],
        provenance=provenance,
        mode=Mode.CREATE,
    )[0]
    if outcome.result is Result.EXISTS:
        raise EanTaken
    assert outcome.id is not None
    return outcome.id


def change_product(*, product_id: UUID, payload: Payload, provenance: Provenance) -> None:
    """Change what the payload names in a live product.

    Raises ValidationError for what is wrong with the payload, Product.DoesNotExist, EanTaken.
    """
    _refuse_errors(payload)
    try:
        with transaction.atomic():
            product = Product.objects.live().select_for_update().get(pk=product_id)
            edit_product(product_id=product_id, values=_columns(payload, product), provenance=provenance)
    except IntegrityError as error:
        if isinstance(error.__cause__, psycopg.errors.UniqueViolation):
            raise EanTaken from error
        raise


def check_categories(payloads: Iterable[Payload]) -> None:
    """Add an error to each payload whose category does not exist: one query for all of them."""
    named = [(payload, category) for payload in payloads if (category := payload.values.get("category_id"))]
    if not named:
        return
    wanted = {category for _payload, category in named}
    known = {str(pk) for pk in Category.objects.filter(pk__in=wanted).values_list("pk", flat=True)}
    for payload, category in named:
        if category not in known:
            payload.errors.append(FieldError("category_id", "not_found", _("There is no such category.")))


def _refuse_errors(payload: Payload) -> None:
    check_categories([payload])
    if payload.errors:
        raise invalid_fields(payload.errors)


def _columns(payload: Payload, product: Product) -> dict[str, Any]:
    """The payload as model attributes; `product` is locked."""
    columns: dict[str, Any] = {}
    for name, text in payload.values.items():
        if reference := REFERENCES.get(name):
            columns[reference.column] = None if text is None else resolve(name, [text])[text]
        elif name == "category_id":
            columns[name] = None if text is None else UUID(text)
        elif name == "status" and text == DEACTIVATE:
            columns[name] = product.status if product.status == Product.Status.ARCHIVED else Product.Status.INACTIVE
        elif FIELDS[name].kind == "decimal":
            columns[name] = None if text is None else Decimal(text)
        else:
            columns[name] = text
    if payload.ean:
        columns["ean"] = payload.ean
        if payload.upc:
            columns.setdefault("upc", payload.upc)
        if product.barcode == product.ean:  # it stood for the EAN and still does
            columns.setdefault("barcode", payload.ean)
    if columns.get("barcode", product.barcode) is None:
        columns["barcode"] = columns.get("ean", product.ean)
    return columns
