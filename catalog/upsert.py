"""THE write path for many products: stage by COPY, merge in one statement, revisions included.

Rows are validated before they come here. One statement locks the rows that differ (in EAN order, so writers
cannot deadlock), updates them, inserts new ones and writes a revision for each; what does not differ is not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from catalog.fields import DEACTIVATE, KEEP, Keep
from catalog.models import ProductRevision
from catalog.provenance import Provenance
from catalog.references import REFERENCES, resolve
from pim.ids import uuid7s

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
FIELDS = frozenset(COLUMNS) | frozenset(REFERENCES)

Value = str | UUID | Keep | None


class Mode(StrEnum):
    UPSERT = "upsert"
    CREATE = "create"  # a live EAN is left alone and reported
    UPDATE = "update"  # an unknown or deleted EAN is left alone and reported


class Result(StrEnum):
    CREATED = "created"
    RESTORED = "restored"  # a deleted product came back under its old id
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    EXISTS = "exists"  # mode CREATE only
    MISSING = "missing"  # mode UPDATE only
    NAMELESS = "nameless"  # a new product needs a name; nothing was written


class Row(NamedTuple):
    """One product to write. number: the caller's own, unique in the call. values: in the order of `fields`."""

    number: int
    ean: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    id: UUID | None


def upsert_products(
    *,
    fields: Sequence[str],
    rows: Sequence[Row],
    provenance: Provenance,
    mode: Mode = Mode.UPSERT,
    dry_run: bool = False,
) -> dict[int, Outcome]:
    """Write many products in a constant number of statements; the fate of each row by its number.

    fields: names of `FIELDS`, in the order of each row's values (text ready for PostgreSQL, None to clear, KEEP to
    leave as it is). EANs are normalised and unique within the call. dry_run: classify only, write nothing.
    Unchanged rows are reported without their id. Raises ValueError for a repeated EAN or an unknown field.
    """
    if len({row.ean for row in rows}) != len(rows):
        raise ValueError("an EAN stands twice in one call")
    if unknown := set(fields) - FIELDS:
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    if not rows:
        return {}
    with transaction.atomic():
        columns, data = _columns(fields, rows, create=not dry_run)
        kept = _stage(columns, data, rows)
        outcomes: dict[int, Outcome] = {}
        while True:
            raced = _merge(columns, kept, mode, dry_run, provenance, outcomes)
            if not raced:
                break
            # Another writer created these EANs meanwhile: with them visible now, merge what is left.
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM upsert_stage WHERE number <> ALL(%s)", [raced])
    for row in rows:
        outcomes.setdefault(row.number, Outcome(Result.UNCHANGED, None))
    return outcomes


def _columns(
    fields: Sequence[str], rows: Sequence[Row], *, create: bool
) -> tuple[tuple[str, ...], list[Sequence[Value]]]:
    """The columns that some row sets, and their values, names of brands and the like replaced by ids."""
    columns: list[str] = []
    data: list[Sequence[Value]] = []
    for name, values in zip(fields, zip(*(row.values for row in rows), strict=True), strict=True):
        if values.count(KEEP) == len(values):
            continue
        if name in REFERENCES:
            found = resolve(name, (value for value in values if isinstance(value, str)), create=create)
            ids = {text: str(found_id) for text, found_id in found.items()}
            columns.append(REFERENCES[name].column)
            data.append([ids[value] if isinstance(value, str) else value for value in values])
        else:
            columns.append(name)
            data.append(values)
    return tuple(columns), data


def _stage(columns: Sequence[str], data: Sequence[Sequence[Value]], rows: Sequence[Row]) -> int:
    """COPY the rows into this connection's staging table; the mask of columns that some row keeps as they are.

    data: the values of each column. The text is put together here, a column at a time: several times as fast as
    handing rows over one by one.
    """
    kept, masks, texts = 0, [0] * len(rows), []
    for i, values in enumerate(data):
        if KEEP in values:
            kept |= 1 << i
            masks = [mask | 1 << i if value is KEEP else mask for mask, value in zip(masks, values, strict=True)]
            values = [None if value is KEEP else value for value in values]
        texts.append(_copy_text(values))
    head = ([str(row.number) for row in rows], uuid7s(len(rows)), [row.ean for row in rows], map(str, masks))
    names = ", ".join(("number", "id", "ean", "keep", *columns))
    with connection.cursor() as cursor:
        cursor.execute(_STAGE_TABLE)
        cursor.execute("DELETE FROM upsert_stage")
        with cursor.copy(f"COPY upsert_stage ({names}) FROM STDIN") as copy:
            copy.write("\n".join(map("\t".join, zip(*head, *texts, strict=True))) + "\n")
    return kept


def _copy_text(values: Sequence[Value]) -> list[str]:
    """The values of a column as COPY's text format writes them."""
    texts = ["\\N" if value is None else str(value) for value in values]
    everything = "".join(texts)
    backslashes = values.count(None)  # those of the NULL marks
    if everything.count("\\") == backslashes and not any(mark in everything for mark in "\t\n\r"):
        return texts
    return [text if value is None else _escaped(text) for text, value in zip(texts, values, strict=True)]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _merge(
    columns: tuple[str, ...],
    kept: int,
    mode: Mode,
    dry_run: bool,
    provenance: Provenance,
    outcomes: dict[int, Outcome],
) -> list[int]:
    """Run the merge over what is staged; fills `outcomes`, returns the rows that another writer got ahead of."""
    raced = []
    parameters = {
        "source": provenance.source.value,
        "source_id": provenance.source_id,
        "actor": provenance.actor,
        "by_row": provenance.source is ProductRevision.Source.IMPORT,
    }
    with connection.cursor() as cursor:
        cursor.execute(_statement(columns, kept, mode, dry_run), parameters)
        for number, product_id, result in cursor.fetchall():
            if result == "raced":
                raced.append(number)
            else:
                outcomes[number] = Outcome(Result(result), product_id)
    return raced


_STAGE_TABLE = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS upsert_stage (number bigint, id uuid, ean text, keep bigint, "
    + ", ".join(f"{column} {kind}" for column, kind in COLUMNS.items())
    + ") ON COMMIT DELETE ROWS"
)


@lru_cache(maxsize=256)
def _statement(columns: tuple[str, ...], kept: int, mode: Mode, dry_run: bool) -> str:
    """The merge for these columns. Names come from COLUMNS only; every value is staged or a parameter."""
    new = {column: _new_value(i, column, kept) for i, column in enumerate(columns)}
    pairs = [(f"n_{c}", f"o_{c}") for c in columns]
    changed_columns = "".join(f", p.{c} AS o_{c}, {expression} AS n_{c}" for c, expression in new.items())
    differs = " OR ".join(f"p.{c} IS DISTINCT FROM {expression}" for c, expression in new.items()) or "false"
    condition = {
        Mode.UPSERT: f"p.deleted_at IS NOT NULL OR {differs}",
        Mode.CREATE: "p.deleted_at IS NOT NULL",
        Mode.UPDATE: f"p.deleted_at IS NULL AND ({differs})",
    }[mode]
    ctes = [
        f"""changed AS MATERIALIZED (
            SELECT s.number, p.id, p.deleted_at IS NOT NULL AS restored, p.status AS old_status{changed_columns}
            FROM upsert_stage s JOIN catalog_product p ON p.ean = s.ean
            WHERE {condition} ORDER BY p.ean {"" if dry_run else "FOR UPDATE OF p"})""",
        """fresh AS MATERIALIZED (
            SELECT s.* FROM upsert_stage s
            WHERE NOT EXISTS (SELECT FROM catalog_product p WHERE p.ean = s.ean))""",
    ]
    selects = ["SELECT number, id, CASE WHEN restored THEN 'restored' ELSE 'updated' END FROM changed"]
    if mode is Mode.CREATE:
        selects.append(
            "SELECT s.number, p.id, 'exists' FROM upsert_stage s JOIN catalog_product p ON p.ean = s.ean"
            " WHERE p.deleted_at IS NULL"
        )
    if mode is Mode.UPDATE:
        selects.append("SELECT number, NULL::uuid, 'missing' FROM fresh")
        selects.append(
            "SELECT s.number, NULL::uuid, 'missing' FROM upsert_stage s JOIN catalog_product p ON p.ean = s.ean"
            " WHERE p.deleted_at IS NOT NULL"
        )
    elif "name" not in columns:
        selects.append("SELECT number, NULL::uuid, 'nameless' FROM fresh")
    elif dry_run:
        selects.append(
            "SELECT number, NULL::uuid, CASE WHEN name IS NULL THEN 'nameless' ELSE 'created' END FROM fresh"
        )
    else:
        ctes.append(_insert(columns))
        selects.append(
            "SELECT f.number, i.id, CASE WHEN i.id IS NOT NULL THEN 'created'"
            " WHEN f.name IS NULL THEN 'nameless' ELSE 'raced' END"
            " FROM fresh f LEFT JOIN inserted i ON i.id = f.id"
        )
    if not dry_run:
        if mode is not Mode.UPDATE and "name" in columns:
            ctes.append(_created_revisions(columns))
        ctes.extend(_update(columns, pairs))
    return f"WITH {', '.join(ctes)} {' UNION ALL '.join(selects)}"


def _new_value(i: int, column: str, kept: int) -> str:
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
    if kept & 1 << i:
        # A deleted product that comes back is active again unless the row says otherwise.
        old = "CASE WHEN p.deleted_at IS NULL THEN p.status ELSE 'active' END" if column == "status" else f"p.{column}"
        value = f"CASE WHEN s.keep & {1 << i} <> 0 THEN {old} ELSE {value} END"
    return value


def _insert(columns: Sequence[str]) -> str:
    special = {
        "barcode": "coalesce(barcode, ean)",
        "status": f"CASE status WHEN '{DEACTIVATE}' THEN 'inactive' ELSE coalesce(status, 'active') END",
    }
    given = [c for c in columns if c not in special]
    names = ", ".join(["id", "ean", *special, *given])
    values = ", ".join(["id", "ean", *special.values(), *given])
    return f"""inserted AS (
        INSERT INTO catalog_product ({names})
        SELECT {values} FROM fresh WHERE name IS NOT NULL ORDER BY ean
        ON CONFLICT (ean) DO NOTHING RETURNING id)"""


def _created_revisions(columns: Sequence[str]) -> str:
    values = ", ".join(f"'{c}', f.{c}" for c in ("ean", *columns))
    return f"""created_revision AS (
        INSERT INTO catalog_productrevision (product_id, action, source, source_id, actor, row_number, new)
        SELECT f.id, 'created', {_PROVENANCE.format(number="f.number")}, jsonb_strip_nulls(jsonb_build_object({values}))
        FROM fresh f JOIN inserted i ON i.id = f.id)"""


def _update(columns: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    restores_status = "status" not in columns
    assignments = [f"{c} = c.n_{c}" for c in columns]
    if restores_status:
        assignments.append("status = CASE WHEN c.restored THEN 'active' ELSE p.status END")

    def changes(prefix: str) -> str:
        parts = [
            f"CASE WHEN {n} IS DISTINCT FROM {o} THEN jsonb_build_object('{column}', {prefix}_{column}) ELSE '{{}}' END"
            for column, (n, o) in zip(columns, pairs, strict=True)
        ]
        return " || ".join(["'{}'::jsonb", *parts])

    return [
        f"""updated AS (
        UPDATE catalog_product p SET {", ".join(assignments)}, deleted_at = NULL, updated_at = statement_timestamp()
        FROM changed c WHERE p.id = c.id)""",
        f"""updated_revision AS (
        INSERT INTO catalog_productrevision (product_id, action, source, source_id, actor, row_number, old, new)
        SELECT c.id, CASE WHEN restored THEN 'restored' ELSE 'updated' END,
            {_PROVENANCE.format(number="c.number")}, {changes("o")}, {changes("n")}
        FROM changed c)""",
    ]


_PROVENANCE = "%(source)s, %(source_id)s, %(actor)s, CASE WHEN %(by_row)s THEN {number} END"
