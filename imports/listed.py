"""The list of products that a job works through in batches: made in one statement, dropped when the work is done."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from imports.models import ListedProduct


class Listed(NamedTuple):
    number: int
    product_id: UUID


def make_list(owner: UUID, *, product_ids: str, parameters: Sequence[Any]) -> int:
    """Number the products that a query finds, replacing an earlier list; returns how many there are.

    product_ids: SQL that selects the ids, in the order in which they are to be visited.
    """
    drop_list(owner)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO imports_listedproduct (owner, number, product_id)"  # noqa: S608 - the callers' constants
            f" SELECT %s, row_number() OVER (), id FROM ({product_ids}) AS found(id)",
            [owner, *parameters],
        )
        return int(cursor.rowcount)


def read_list(owner: UUID, *, after: int, size: int) -> list[Listed]:
    """The next `size` products after number `after`."""
    found = ListedProduct.objects.filter(owner=owner, number__gt=after, number__lte=after + size).order_by("number")
    return [Listed(*row) for row in found.values_list("number", "product_id")]


def drop_list(owner: UUID) -> None:
    ListedProduct.objects.filter(owner=owner).delete()
