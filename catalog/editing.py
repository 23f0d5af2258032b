"""Change one product at a time, with its revision: what the API's PATCH and DELETE and the back office do."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from catalog.models import Product, ProductRevision
from catalog.provenance import Provenance


def edit_product(*, product_id: UUID, values: Mapping[str, Any], provenance: Provenance) -> Product:
    """Set columns of a live product and record what changed; writes nothing when nothing differs.

    values: model attribute names (`brand_id` for a relation) and validated Python values.
    Raises Product.DoesNotExist when there is no such live product, IntegrityError when an EAN is taken.
    """
    with transaction.atomic():
        product = Product.objects.live().select_for_update().get(pk=product_id)
        changed = {name: value for name, value in values.items() if getattr(product, name) != value}
        if changed:
            old = {name: _plain(getattr(product, name)) for name in changed}
            Product.objects.filter(pk=product_id).update(**changed, updated_at=Now())
            _record(product_id, ProductRevision.Action.UPDATED, provenance, old, changed)
    return Product.objects.select_related("brand", "supplier", "category").get(pk=product_id)


def delete_product(*, product_id: UUID, provenance: Provenance) -> None:
    """Mark a live product as deleted; its row stays for history and for a later return of the same EAN.

    Raises Product.DoesNotExist when there is no such live product.
    """
    with transaction.atomic():
        if not Product.objects.live().filter(pk=product_id).update(deleted_at=Now(), updated_at=Now()):
            raise Product.DoesNotExist
        _record(product_id, ProductRevision.Action.DELETED, provenance, {"deleted": False}, {"deleted": True})


def _record(
    product_id: UUID,
    action: ProductRevision.Action,
    provenance: Provenance,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
) -> None:
    ProductRevision.objects.create(
        product_id=product_id,
        action=action,
        source=provenance.source,
        source_id=provenance.source_id,
        actor=provenance.actor,
        old={name: _plain(value) for name, value in old.items()},
        new={name: _plain(value) for name, value in new.items()},
    )


def _plain(value: Any) -> Any:
    """A value as the merge's `to_jsonb` would store it."""
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, UUID) else value
