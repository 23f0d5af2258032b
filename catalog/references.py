"""Brands, suppliers and categories that products name: found, or created without races, many at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID, uuid4

from django.db import connection

from pim.ids import uuid7s


@dataclass(frozen=True, slots=True)
class Reference:
    """A product field that names a row of another table. conflict: the unique index that makes creation safe."""

    field: str
    column: str
    table: str
    key: str
    conflict: str
    top_level_only: bool = False


REFERENCES = {
    reference.field: reference
    for reference in (
        Reference("brand_name", "brand_id", "catalog_brand", "name", "(lower(name))"),
        Reference("supplier_code", "supplier_id", "catalog_supplier", "code", "(lower(code))"),
        Reference(
            "category", "category_id", "catalog_category", "name", "(parent_id, lower(name))", top_level_only=True
        ),
    )
}


def resolve(field: str, names: Iterable[str], *, create: bool = True) -> dict[str, UUID]:
    """The id of each name (case-insensitive), creating what does not exist: two statements whatever the number.

    Creation goes in the order of the unique key, so concurrent writers cannot deadlock. With `create=False`
    an unknown name gets an id that no row has: it differs from every stored one, which is what a dry run shows.
    """
    reference = REFERENCES[field]
    wanted = sorted(set(names))
    if not wanted:
        return {}
    where = " AND parent_id IS NULL" if reference.top_level_only else ""
    found = _lookup(reference, wanted, where)
    missing = [name for name in wanted if name not in found]
    if not missing:
        return found
    if not create:
        return found | {name: uuid4() for name in missing}
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {reference.table} (id, {reference.key})"
            f" SELECT t.id, t.name FROM unnest(%s::uuid[], %s::text[]) AS t(id, name) ORDER BY lower(t.name), t.id"
            f" ON CONFLICT {reference.conflict} DO NOTHING",
            [uuid7s(len(missing)), missing],
        )
    return found | _lookup(reference, missing, where)


def _lookup(reference: Reference, names: list[str], where: str) -> dict[str, UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT t.name, r.id FROM unnest(%s::text[]) AS t(name)"
            f" JOIN {reference.table} r ON lower(r.{reference.key}) = lower(t.name){where}",
            [names],
        )
        return dict(cursor.fetchall())
