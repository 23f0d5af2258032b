"""The SQL of the merge behind `catalog.upsert`, put together from column names; every value is staged or a parameter.

One statement: lock the existing products that differ, in EAN order; update them; insert new ones; write a revision for
each; remember what the supplier sent; return the fate of every row that is not unchanged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from catalog.fields import DEACTIVATE

# Column of catalog_product -> type in the staging table.
COLUMNS = {
    "name": "text",
    "barcode": "text",
    "status": "text",
    "price": "numeric",
    "cost_price": "numeric",
    "weight": "numeric",
    "width": "numeric",
    "height": "numeric",
    "depth": "numeric",
    "unit_of_measure": "text",
    "description": "text",
    "short_description": "text",
    "reference": "text",
    "asin": "text",
    "upc": "text",
    "gtin": "text",
    "external_id": "text",
    "url_slug": "text",
    "image_url": "text",
    "brand_id": "uuid",
    "supplier_id": "uuid",
    "category_id": "uuid",
}

# Column -> the name under which a person locks it, where it is another one.
LOCK_NAMES = {"brand_id": "brand_name", "supplier_id": "supplier_code"}


class Mode(StrEnum):
    UPSERT = "upsert"
    CREATE = "create"  # a live EAN is left alone and reported
    UPDATE = "update"  # an unknown or deleted EAN is left alone and reported


STAGE_TABLE = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS upsert_stage (number bigint, id uuid, ean text, keep bigint, digest bigint, "
    + ", ".join(f"{column} {kind}" for column, kind in COLUMNS.items())
    + ") ON COMMIT DELETE ROWS"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a merge is to do. kept: mask of the columns that some row leaves as they are.

    remember: the rows are a supplier's: his unchanged values and locked fields are left alone.
    diff: a dry run also returns old and new values.
    """

    columns: tuple[str, ...]
    kept: int
    mode: Mode
    dry_run: bool
    remember: bool
    diff: bool = False


@lru_cache(maxsize=256)
def statement(plan: Plan) -> str:
    """The merge. Returns rows (number, product id or null, result) for all but unchanged ones; with `diff` also the
    old and new values as objects."""
    nothing = ", NULL::jsonb, NULL::jsonb" if plan.diff else ""
    new = {column: _new_value(plan, i, column) for i, column in enumerate(plan.columns)}
    ctes = [_changed(plan, new), _FRESH]
    differences = f", {_differences(plan.columns, 'o')}, {_differences(plan.columns, 'n')}" if plan.diff else ""
    selects = [f"SELECT number, id, CASE WHEN restored THEN 'restored' ELSE 'updated' END{differences} FROM changed"]
    if plan.mode is Mode.CREATE:
        selects.append(
            f"SELECT s.number, p.id, 'exists'{nothing} FROM upsert_stage s JOIN catalog_product p ON p.ean = s.ean"
            " WHERE p.deleted_at IS NULL"
        )
    creates = plan.mode is not Mode.UPDATE and "name" in plan.columns
    if plan.mode is Mode.UPDATE:
        selects.append(f"SELECT number, NULL::uuid, 'missing'{nothing} FROM fresh")
        selects.append(
            f"SELECT s.number, NULL::uuid, 'missing'{nothing} FROM upsert_stage s"
            " JOIN catalog_product p ON p.ean = s.ean WHERE p.deleted_at IS NOT NULL"
        )
    elif not creates:
        selects.append(f"SELECT number, NULL::uuid, 'nameless'{nothing} FROM fresh")
    elif plan.dry_run:
        created = f", NULL::jsonb, {_given(plan.columns)}" if plan.diff else ""
        selects.append(
            f"SELECT number, NULL::uuid, CASE WHEN name IS NULL THEN 'nameless' ELSE 'created' END{created}"
            " FROM fresh f"
        )
    else:
        ctes += [_insert(plan.columns), _created_revisions(plan.columns)]
        selects.append(
            "SELECT f.number, i.id, CASE WHEN i.id IS NOT NULL THEN 'created'"
            " WHEN f.name IS NULL THEN 'nameless' ELSE 'raced' END"
            " FROM fresh f LEFT JOIN inserted i ON i.id = f.id"
        )
    if not plan.dry_run:
        ctes += [_update(plan.columns), _updated_revisions(plan.columns)]
        if plan.remember:
            ctes.append(_remember(plan, creates))
    return f"WITH {', '.join(ctes)} {' UNION ALL '.join(selects)}"


_FRESH = """fresh AS MATERIALIZED (
    SELECT s.* FROM upsert_stage s WHERE NOT EXISTS (SELECT FROM catalog_product p WHERE p.ean = s.ean))"""

# LIMIT keeps the planner from reading all that the supplier ever sent for each batch.
_MEMORY = """LEFT JOIN LATERAL (
        SELECT digest, values FROM catalog_supplierrecord r
        WHERE r.product_id = p.id AND r.supplier_id = %(supplier_id)s LIMIT 1) m ON true"""


def _changed(plan: Plan, new: Mapping[str, str]) -> str:
    """The existing products that differ, locked, with old and new values."""
    differs = " OR ".join(f"p.{c} IS DISTINCT FROM {value}" for c, value in new.items()) or "false"
    if plan.remember:
        # The digest of all that he sent decides at once for the many rows in which nothing is new.
        differs = f"m.digest IS DISTINCT FROM s.digest AND ({differs})"
    condition = {
        Mode.UPSERT: f"p.deleted_at IS NOT NULL OR ({differs})",
        Mode.CREATE: "p.deleted_at IS NOT NULL",
        Mode.UPDATE: f"p.deleted_at IS NULL AND ({differs})",
    }[plan.mode]
    values = "".join(f", p.{c} AS o_{c}, {value} AS n_{c}" for c, value in new.items())
    return f"""changed AS MATERIALIZED (
        SELECT s.number, p.id, p.deleted_at IS NOT NULL AS restored, p.status AS was_status{values}
        FROM upsert_stage s JOIN catalog_product p ON p.ean = s.ean {_MEMORY if plan.remember else ""}
        WHERE {condition} ORDER BY p.ean {"" if plan.dry_run else "FOR UPDATE OF p"})"""


def _new_value(plan: Plan, i: int, column: str) -> str:
    """The value a column is to have in an existing product."""
    value = f"s.{column}"
    if column == "status":
        value = (
            f"CASE s.status WHEN '{DEACTIVATE}' THEN CASE p.status WHEN 'archived' THEN 'archived' ELSE 'inactive' END"
            f" ELSE coalesce(s.status, 'active') END"
        )
    elif column == "barcode":
        value = "coalesce(s.barcode, s.ean)"
    elif column == "name":
        value = "coalesce(s.name, p.name)"  # a product never loses its name
    # A deleted product that comes back is active again unless the row says otherwise.
    old = "CASE WHEN p.deleted_at IS NULL THEN p.status ELSE 'active' END" if column == "status" else f"p.{column}"
    if plan.remember:
        last = (
            f"m.values ->> '{column}'" if COLUMNS[column] == "text" else f"(m.values ->> '{column}')::{COLUMNS[column]}"
        )
        unchanged = f"m.values ? '{column}' AND {last} IS NOT DISTINCT FROM s.{column}"
        locked = f"'{LOCK_NAMES.get(column, column)}' = ANY(p.locked_fields)"
        value = f"CASE WHEN {locked} OR ({unchanged}) THEN p.{column} ELSE {value} END"
    if plan.kept & 1 << i:
        value = f"CASE WHEN s.keep & {1 << i} <> 0 THEN {old} ELSE {value} END"
    return value


_CREATION = {
    "barcode": "coalesce({0}barcode, {0}ean)",
    "status": f"CASE {{0}}status WHEN '{DEACTIVATE}' THEN 'inactive' ELSE coalesce({{0}}status, 'active') END",
}
"""The value of a new product where it is not simply what is staged."""


def _insert(columns: Sequence[str]) -> str:
    special = {column: value.format("") for column, value in _CREATION.items()}
    for column in special.keys() - set(columns):
        special[column] = {"barcode": "ean", "status": "'active'"}[column]
    given = [c for c in columns if c not in special]
    names = ", ".join(["id", "ean", *special, *given])
    values = ", ".join(["id", "ean", *special.values(), *given])
    return f"""inserted AS (
        INSERT INTO catalog_product ({names})
        SELECT {values} FROM fresh WHERE name IS NOT NULL ORDER BY ean
        ON CONFLICT (ean) DO NOTHING RETURNING id)"""


def _given(columns: Sequence[str]) -> str:
    """All values of a new product that are given, as an object."""
    pairs = (f"'{c}', {_CREATION.get(c, f'{{0}}{c}').format('f.')}" for c in ("ean", *columns))
    return f"jsonb_strip_nulls(jsonb_build_object({', '.join(pairs)}))"


def _created_revisions(columns: Sequence[str]) -> str:
    return f"""created_revision AS (
        INSERT INTO catalog_productrevision (product_id, action, source, source_id, actor, row_number, new)
        SELECT f.id, 'created', {_PROVENANCE.format(number="f.number")}, {_given(columns)}
        FROM fresh f JOIN inserted i ON i.id = f.id)"""


def _update(columns: Sequence[str]) -> str:
    assignments = [f"{c} = c.n_{c}" for c in columns]
    if "status" not in columns:
        assignments.append("status = CASE WHEN c.restored THEN 'active' ELSE p.status END")
    return f"""updated AS (
        UPDATE catalog_product p SET {", ".join(assignments)}, deleted_at = NULL, updated_at = statement_timestamp()
        FROM changed c WHERE p.id = c.id)"""


def _differences(columns: Sequence[str], side: str) -> str:
    """The old ("o") or new ("n") values of the columns that change, as an object."""
    parts = [
        f"CASE WHEN n_{c} IS DISTINCT FROM o_{c} THEN jsonb_build_object('{c}', {side}_{c}) ELSE '{{}}' END"
        for c in columns
    ]
    if "status" not in columns:  # of a deleted product that comes back
        status = {"o": "was_status", "n": "'active'"}[side]
        parts.append(
            f"CASE WHEN restored AND was_status <> 'active' THEN jsonb_build_object('status', {status}) ELSE '{{}}' END"
        )
    return " || ".join(["'{}'::jsonb", *parts])


def _updated_revisions(columns: Sequence[str]) -> str:
    return f"""updated_revision AS (
        INSERT INTO catalog_productrevision (product_id, action, source, source_id, actor, row_number, old, new)
        SELECT c.id, CASE WHEN restored THEN 'restored' ELSE 'updated' END,
            {_PROVENANCE.format(number="c.number")}, {_differences(columns, "o")}, {_differences(columns, "n")}
        FROM changed c)"""


def _remember(plan: Plan, creates: bool) -> str:
    """What the supplier sent, where it is not what he sent last."""
    sent = [f"'{c}', {c}" for i, c in enumerate(plan.columns) if not plan.kept & 1 << i]
    values = [f"jsonb_build_object({', '.join(sent)})"] + [
        f"CASE WHEN keep & {1 << i} = 0 THEN jsonb_build_object('{c}', {c}) ELSE '{{}}' END"
        for i, c in enumerate(plan.columns)
        if plan.kept & 1 << i
    ]
    columns = "".join(f", s.{c}" for c in plan.columns)
    created = f" UNION ALL SELECT s.id, s.keep, s.digest{columns} FROM fresh s JOIN inserted i ON i.id = s.id"
    return f"""remembered AS (
        INSERT INTO catalog_supplierrecord AS r (product_id, supplier_id, source_id, digest, values)
        SELECT id, %(supplier_id)s, %(source_id)s, digest, {" || ".join(values)}
        FROM (
            SELECT p.id, s.keep, s.digest{columns}
            FROM upsert_stage s JOIN catalog_product p ON p.ean = s.ean {_MEMORY}
            WHERE m.digest IS DISTINCT FROM s.digest{created if creates else ""}) sent
        ORDER BY id
        ON CONFLICT (product_id, supplier_id) DO UPDATE
        SET source_id = excluded.source_id, digest = excluded.digest, values = r.values || excluded.values)"""


_PROVENANCE = "%(source)s, %(source_id)s, %(actor)s, CASE WHEN %(by_row)s AND {number} > 0 THEN {number} END"
