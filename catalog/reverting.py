"""Take back what one source (an import job) did to products, as far as nothing has changed since.

The revisions say what was written and what was there before. One statement for any number of products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from catalog.merge import COLUMNS
from catalog.provenance import Provenance


@dataclass(frozen=True, slots=True)
class Conflict:
    """What was left as it is. field: a column, None for the whole product. actor, at: who changed it last and when,
    None when there is no trace of it or when the old value names a brand, supplier or category that is gone."""

    product_id: UUID
    ean: str
    field: str | None
    value: str | None
    actor: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Reverted:
    """products: how many were put back, wholly or in part."""

    products: int
    conflicts: list[Conflict]


def revert_products(
    *, source_id: UUID, product_ids: Sequence[UUID], supplier_id: UUID | None, provenance: Provenance
) -> Reverted:
    """Give each field that the source changed its earlier value; delete what the source created or restored.

    A field that does not hold what the source wrote is left alone. So is, as a whole, a product that was deleted since,
    and one that the source created or restored and that others have changed since; changes that were themselves taken
    back do not count. supplier_id: whose memory of sent values is forgotten, so that the same file can come again.
    """
    parameters: dict[str, Any] = {
        "source_id": source_id,
        "ids": list(product_ids),
        "supplier_id": supplier_id,
        "by_source": provenance.source.value,
        "by_id": provenance.source_id,
        "actor": provenance.actor,
        "columns": list(COLUMNS),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        # Locked in the order in which all writers lock, and before: the statement sees what others have committed.
        cursor.execute("SELECT FROM catalog_product WHERE id = ANY(%(ids)s) ORDER BY ean FOR UPDATE", parameters)
        cursor.execute(
            "SELECT FROM catalog_supplierrecord WHERE product_id = ANY(%(ids)s) AND supplier_id = %(supplier_id)s"
            " ORDER BY product_id FOR UPDATE",
            parameters,
        )
        cursor.execute(_STATEMENT, parameters)
        rows = cursor.fetchall()
    products = sum(kind == "reverted" for kind, *_ in rows)
    return Reverted(products, [Conflict(*conflict) for kind, *conflict in rows if kind == "conflict"])


_GONE = " ".join(
    f"WHEN '{column}' THEN f.before <> 'null'"
    f" AND NOT EXISTS (SELECT FROM {table} t WHERE t.id = (f.before #>> '{{}}')::uuid)"
    for column, table in (
        ("brand_id", "catalog_brand"),
        ("supplier_id", "catalog_supplier"),
        ("category_id", "catalog_category"),
    )
)
_NAMES = ", ".join(COLUMNS)

_STATEMENT = f"""
WITH own AS (
    -- `IS NOT DISTINCT FROM` keeps the planner from the index on source_id: a million rows for every batch
    SELECT product_id, min(id) AS first,
        bool_or(action = 'created') AS created, bool_or(action = 'restored') AS restored
    FROM catalog_productrevision
    WHERE product_id = ANY(%(ids)s) AND source_id IS NOT DISTINCT FROM %(source_id)s GROUP BY product_id),
touch AS (
    SELECT r.id, r.product_id, r.source_id IS NOT DISTINCT FROM %(source_id)s AS ours,
        f.key AS field, r.old -> f.key AS old, f.value AS new
    FROM own JOIN catalog_productrevision r ON r.product_id = own.product_id AND r.id >= own.first,
        jsonb_each(r.new) f),
field AS (
    SELECT product_id, field,
        (array_agg(old ORDER BY id) FILTER (WHERE ours))[1] AS before,
        (array_agg(new ORDER BY id DESC) FILTER (WHERE ours))[1] AS written,
        max(id) FILTER (WHERE ours) AS last_ours,
        (array_agg(old ORDER BY id) FILTER (WHERE NOT ours))[1] AS before_others,
        min(id) FILTER (WHERE NOT ours) AS first_other, max(id) FILTER (WHERE NOT ours) AS last_other
    FROM touch GROUP BY product_id, field),
product AS (
    SELECT p.id, p.ean, own.created, own.created OR own.restored AS made, p.deleted_at IS NOT NULL AS deleted,
        to_jsonb(p) || jsonb_build_object('deleted', p.deleted_at IS NOT NULL) AS now
    FROM own JOIN catalog_product p ON p.id = own.product_id),
whole AS (
    -- products that are left alone altogether, and the revision behind that
    SELECT p.id, max(f.last_other) AS revision
    FROM product p LEFT JOIN field f ON f.product_id = p.id AND f.last_other IS NOT NULL
        AND f.before_others IS DISTINCT FROM p.now -> f.field
    WHERE p.deleted OR (p.made AND f.field IS NOT NULL) GROUP BY p.id),
verdict AS MATERIALIZED (
    SELECT p.id, p.ean, f.field, f.before, p.now -> f.field AS now, p.now ->> f.field AS shown, f.last_other,
        p.now -> f.field IS DISTINCT FROM f.written OR (f.first_other < f.last_ours) IS TRUE
            OR (CASE f.field {_GONE} ELSE false END) IS TRUE AS kept
    FROM product p JOIN field f ON f.product_id = p.id AND f.last_ours IS NOT NULL
    WHERE NOT p.created AND f.field = ANY(%(columns)s) AND NOT EXISTS (SELECT FROM whole w WHERE w.id = p.id)),
plan AS MATERIALIZED (
    SELECT p.id, p.made, coalesce(v.old, '{{}}') AS old, coalesce(v.new, '{{}}') AS new
    FROM product p LEFT JOIN (
        SELECT id, jsonb_object_agg(field, now) AS old, jsonb_object_agg(field, before) AS new
        FROM verdict WHERE NOT kept GROUP BY id) v ON v.id = p.id
    WHERE NOT EXISTS (SELECT FROM whole w WHERE w.id = p.id) AND (p.made OR v.id IS NOT NULL)),
updated AS (
    UPDATE catalog_product p
    SET ({_NAMES}) = (SELECT {_NAMES} FROM jsonb_populate_record(p, plan.new)),
        deleted_at = CASE WHEN plan.made THEN statement_timestamp() END, updated_at = statement_timestamp()
    FROM plan WHERE p.id = plan.id),
revised AS (
    INSERT INTO catalog_productrevision (product_id, action, source, source_id, actor, old, new)
    SELECT id, CASE WHEN made THEN 'deleted' ELSE 'updated' END, %(by_source)s, %(by_id)s, %(actor)s,
        CASE WHEN made THEN old || '{{"deleted": false}}' ELSE old END,
        CASE WHEN made THEN new || '{{"deleted": true}}' ELSE new END
    FROM plan ORDER BY id),
forgotten AS (
    UPDATE catalog_supplierrecord m
    SET digest = 0,
        values = CASE WHEN plan.made THEN '{{}}' ELSE m.values - ARRAY(SELECT jsonb_object_keys(plan.new)) END
    FROM plan WHERE m.product_id = plan.id AND m.supplier_id = %(supplier_id)s)
SELECT 'reverted', id, NULL, NULL, NULL, NULL, NULL FROM plan
UNION ALL
SELECT 'conflict', v.id, v.ean, v.field, v.shown, r.actor, r.at
FROM verdict v LEFT JOIN catalog_productrevision r ON r.id = v.last_other WHERE v.kept
UNION ALL
SELECT 'conflict', p.id, p.ean, NULL, NULL, r.actor, r.at
FROM whole w JOIN product p ON p.id = w.id LEFT JOIN catalog_productrevision r ON r.id = w.revision
"""
