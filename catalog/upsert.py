"""THE write path for many products: stage by COPY, merge in one statement, revisions included.

Rows are validated before they come here. One statement locks the rows that differ (in EAN order, so writers
cannot deadlock), updates them, inserts new ones and writes a revision for each; what does not differ is not touched.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from catalog.fields import KEEP, Keep
from catalog.merge import COLUMNS, STAGE_TABLE, Mode, Plan, statement
from catalog.models import ProductRevision
from catalog.provenance import Provenance
from catalog.references import REFERENCES, resolve
from pim.ids import uuid7s

__all__ = ["COLUMNS", "FIELDS", "Mode", "Outcome", "Result", "Row", "upsert_products"]

FIELDS = frozenset(COLUMNS) | frozenset(REFERENCES)

Value = str | UUID | Keep | None


class Result(StrEnum):
    CREATED = "created"
    RESTORED = "restored"  # a deleted product came back under its old id
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    EXISTS = "exists"  # mode CREATE only
    MISSING = "missing"  # mode UPDATE only
    NAMELESS = "nameless"  # a new product needs a name; nothing was written


class Row(NamedTuple):
    """One product to write. number: the caller's own, unique in the call; in an import the row of the file, or below
    zero for a product that no row names. values: in the order of `fields`."""

    number: int
    ean: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of a row. old, new: with `diff`, the columns that would change and their values."""

    result: Result
    id: UUID | None
    old: Mapping[str, Any] | None = None
    new: Mapping[str, Any] | None = None


def upsert_products(
    *,
    fields: Sequence[str],
    rows: Sequence[Row],
    provenance: Provenance,
    mode: Mode = Mode.UPSERT,
    dry_run: bool = False,
    diff: bool = False,
    supplier_id: UUID | None = None,
) -> dict[int, Outcome]:
    """Write many products in a constant number of statements; the fate of each row by its number.

    fields: names of `FIELDS`, in the order of each row's values (text ready for PostgreSQL, None to clear, KEEP to
    leave as it is). EANs are normalised and unique within the call. dry_run: classify only, write nothing;
    diff: and tell the old and new values.
    supplier_id: the rows are this supplier's feed: a value that he sent last time too does not overwrite what was
    changed since, and locked fields are left alone. Unchanged rows are reported without their id.
    Raises ValueError for a repeated EAN or an unknown field.
    """
    if len({row.ean for row in rows}) != len(rows):
        raise ValueError("an EAN stands twice in one call")
    if unknown := set(fields) - FIELDS:
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    if not rows:
        return {}
    with transaction.atomic():
        columns, data = _columns(fields, rows, create=not dry_run)
        digests = None if supplier_id is None else _digests(fields, rows)
        kept = _stage(columns, data, rows, digests)
        plan = Plan(columns, kept, mode, dry_run, remember=supplier_id is not None, diff=dry_run and diff)
        outcomes: dict[int, Outcome] = {}
        while True:
            raced = _merge(plan, provenance, supplier_id, outcomes)
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


def _digests(fields: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """64 bits of a hash of each row as it was sent, as a signed number: equal rows of two imports have equal ones."""
    names = "\x1f".join(fields)
    columns = zip(*(row.values for row in rows), strict=True)
    texts = (["\x02" if v is KEEP else "\x03" if v is None else str(v) for v in values] for values in columns)
    return [
        str(int.from_bytes(blake2b(f"{names}\x1e{chr(31).join(sent)}".encode(), digest_size=8).digest(), signed=True))
        for sent in zip(*texts, strict=True)
    ]


def _stage(
    columns: Sequence[str], data: Sequence[Sequence[Value]], rows: Sequence[Row], digests: Sequence[str] | None
) -> int:
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
    head = [[str(row.number) for row in rows], uuid7s(len(rows)), [row.ean for row in rows], [str(m) for m in masks]]
    names = ["number", "id", "ean", "keep", *columns]
    if digests is not None:
        texts.append(list(digests))
        names.append("digest")
    with connection.cursor() as cursor:
        cursor.execute(STAGE_TABLE)
        cursor.execute("DELETE FROM upsert_stage")
        with cursor.copy(f"COPY upsert_stage ({', '.join(names)}) FROM STDIN") as copy:
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


def _merge(plan: Plan, provenance: Provenance, supplier_id: UUID | None, outcomes: dict[int, Outcome]) -> list[int]:
    """Run the merge over what is staged; fills `outcomes`, returns the rows that another writer got ahead of."""
    raced = []
    parameters = {
        "source": provenance.source.value,
        "source_id": provenance.source_id,
        "actor": provenance.actor,
        "by_row": provenance.source is ProductRevision.Source.IMPORT,
        "supplier_id": supplier_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement(plan), parameters)
        for number, product_id, result, *values in cursor.fetchall():
            if result == "raced":
                raced.append(number)
            else:
                # Django leaves the JSON of plain SQL as text
                outcomes[number] = Outcome(Result(result), product_id, *(v and json.loads(v) for v in values))
    return raced
