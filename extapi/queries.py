"""Products as the external API shows them, put together as JSON by PostgreSQL: no object is made per row.

`ExtProductSerializer` describes the same shape; a test holds the two equal.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from catalog.models import Product

_TIME = """replace(to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')"""

# Key of the answer -> what makes it of a product, its brand and its supplier.
COLUMNS: Final[dict[str, str]] = {
    "id": "p.id",
    "ean": "p.ean",
    "title": "p.name",
    "name": "p.name",
    "brand_name": "b.name",
    "is_active": "p.status = 'active' AND p.deleted_at IS NULL",
    "status": "CASE WHEN p.deleted_at IS NULL THEN p.status ELSE 'archived' END",
    "deleted": "p.deleted_at IS NOT NULL",
    "weight": "trim_scale(p.weight)",
    "width": "trim_scale(p.width)",
    "height": "trim_scale(p.height)",
    "depth": "trim_scale(p.depth)",
    "unit_of_measure": "p.unit_of_measure",
    "description": "p.description",
    "short_description": "p.short_description",
    "reference": "p.reference",
    "supplier_code": "s.code",
    "category_id": "p.category_id",
    "asin": "p.asin",
    "upc": "p.upc",
    "gtin": "p.gtin",
    "external_id": "p.external_id",
    "url_slug": "p.url_slug",
    "barcode": "p.barcode",
    "price": "trim_scale(p.price)",
    "cost_price": "trim_scale(p.cost_price)",
    "image_url": "p.image_url",
    "created_at": _TIME.format("p.created_at"),
    "updated_at": _TIME.format("p.updated_at"),
}
_SOURCE = (
    "catalog_product p LEFT JOIN catalog_brand b ON b.id = p.brand_id"
    " LEFT JOIN catalog_supplier s ON s.id = p.supplier_id"
)


@dataclass(frozen=True, slots=True)
class Found:
    """One product: JSON text, and when it was changed last."""

    id: UUID
    json: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Page:
    """rows: a JSON array. total: of all pages. high_water: of the change feed, whose changes up to there rows have."""

    rows: str
    total: int
    high_water: datetime


def product_by_id(product_id: UUID) -> Found:
    """Deleted or not: what a write has just left."""
    found = _product("p.id = %s", product_id, COLUMNS)
    assert found is not None  # products are never removed
    return found


def live_product(ean: str, *, names: Collection[str] = COLUMNS, lock: bool = False) -> Found | None:
    """The product with this EAN unless it is deleted. lock: until the end of the transaction."""
    return _product("p.ean = %s AND p.deleted_at IS NULL", ean, names, lock)


def list_page(products: QuerySet[Product], *, names: Collection[str], skip: int, limit: int) -> Page:
    """A page of the selected products in the order of their ids, which is that of their creation."""
    selection, values = products.order_by().values("id").query.sql_with_params()
    with connection.cursor() as cursor:
        # The ids of the page first: what is skipped is not joined. One statement sees one state of the table and the
        # feed, so the rows have all that was stamped up to the high water.
        cursor.execute(
            "SELECT (SELECT last FROM catalog_syncclock),"
            " EXISTS (SELECT FROM catalog_productchange WHERE stamp IS NULL),"
            " count(*), '[' || coalesce(string_agg(row_to_json(r)::text, ', '), '') || ']'"
            f" FROM (SELECT {_columns(names)} FROM {_SOURCE}"
            f" WHERE p.id IN ({selection} ORDER BY 1 OFFSET {skip} LIMIT {limit}) ORDER BY p.id) r",
            values,
        )
        high_water, moving, count, rows = cursor.fetchone()
    if 0 < count < limit or (count == 0 and skip == 0):
        total = skip + count  # the last page: what stands before it is all there is
    else:
        total = products.count() if moving else _count(selection, values, high_water)
    return Page(rows, total, high_water)


@lru_cache(maxsize=256)
def _count(selection: str, values: tuple[Any, ...], high_water: datetime) -> int:
    """The number of selected products, which holds while the feed stands still."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({selection}) selected", values)
        return int(cursor.fetchone()[0])


def products_in_order(ids: Sequence[UUID], *, names: Collection[str]) -> str:
    """These products, deleted or not, as the elements of a JSON array in the order given; unknown ids are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(string_agg(row_to_json(r)::text, ', '), '')"
            f" FROM (SELECT {_columns(names)} FROM {_SOURCE}"
            " JOIN unnest(%s::uuid[]) WITH ORDINALITY AS asked(id, position) ON asked.id = p.id"
            " ORDER BY asked.position) r",
            [list(ids)],
        )
        return str(cursor.fetchone()[0])


def _product(where: str, value: Any, names: Collection[str], lock: bool = False) -> Found | None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT p.id, (SELECT row_to_json(r) FROM (SELECT {_columns(names)}) r)::text, {COLUMNS['updated_at']}"
            f" FROM {_SOURCE} WHERE {where}{' FOR UPDATE OF p' if lock else ''}",
            [value],
        )
        row = cursor.fetchone()
    return Found(*row) if row else None


def _columns(names: Collection[str]) -> str:
    return ", ".join(f"{COLUMNS[name]} AS {name}" for name in names)
