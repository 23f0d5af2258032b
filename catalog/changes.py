"""The change feed: what changed since a moment, losing nothing under concurrent writers (docs/change-feed.md).

Triggers note every change of a product in the transaction that makes it; the sequencer gives it a stamp once it is
committed. Stamps are unique and only grow, so a reader that has seen one has seen every change stamped before it.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from catalog.models import Product, ProductChange, SyncClock

ROUND = 5000  # changes stamped in one transaction: some 0.1 s, which is what a writer may wait for the sequencer
EXACT_TOTAL = 10_000
TICK = timedelta(microseconds=1)


class Change(NamedTuple):
    """removed_ean: set when the product's row was removed with SQL; then there is no such product any more."""

    product_id: UUID
    stamp: datetime
    removed_ean: str | None


@dataclass(frozen=True, slots=True)
class DeltaPage:
    """rows: in the order of their stamps. next_since: where the reader goes on. total: exact up to EXACT_TOTAL."""

    rows: list[Change]
    next_since: datetime
    total: int


def drain(*, max_rounds: int | None = None) -> int:
    """Stamp the changes that are committed; how many. Stops after max_rounds of ROUND changes each.

    Changes that an open transaction is making again stay unstamped until it ends. Raises RuntimeError inside a
    transaction: its own changes are not committed yet.
    """
    stamped, rounds = 0, 0
    while max_rounds is None or rounds < max_rounds:
        now = _stamp()
        stamped += now
        rounds += 1
        if now < ROUND:
            break
    return stamped


def high_water() -> datetime:
    """The largest stamp given so far. Read it before the rows: read after them it may cover changes they lack."""
    return SyncClock.objects.values_list("last", flat=True).get()


def delta_page(*, since: datetime, page: int, page_size: int) -> DeltaPage:
    """The changes stamped at or after `since`, oldest first, deleted products included.

    Every change committed before the call is in this page or, when it is full, in a later one. A page is shorter than
    page_size only when there is nothing after it. page: from 1; the way to read on is `next_since`, not pages.
    Must not be called inside a transaction (RuntimeError).
    """
    offset = (page - 1) * page_size
    changes = ProductChange.objects.filter(stamp__gte=since).order_by("stamp")
    while True:
        stamped = drain(max_rounds=1)
        last = high_water()
        rows = [
            Change._make(row)
            for row in changes.values_list("product_id", "stamp", "removed_ean")[offset : offset + page_size]
        ]
        if len(rows) == page_size or stamped < ROUND:
            break
    if page > 1:
        # Rows changed meanwhile have left the earlier pages and others have moved up, unseen: only `since` is safe.
        next_since = since
    elif rows:
        next_since = rows[-1].stamp + TICK
    else:
        next_since = last + TICK  # also leads a `since` from the future back
    return DeltaPage(rows, next_since, _total(changes, offset, rows, page_size))


def changed_since(products: QuerySet[Product], moment: datetime) -> QuerySet[Product]:
    """Those products that changed after `moment`, deleted ones included where `products` has them.

    Ordered by id, a walk through its pages misses nothing that was there when it began. The moment for the next walk
    is `high_water()`, read after `drain()` and before the first page.
    """
    # What is not stamped yet belongs to it, too: a product that changes again must not drop out for a moment.
    later = Q(stamp__gt=moment) | Q(stamp=None)
    return products.filter(Exists(ProductChange.objects.filter(later, product=OuterRef("pk"))))


def _stamp() -> int:
    """One round of the sequencer; how many changes it stamped. Fewer than ROUND: nothing is left that it may stamp."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SELECT catalog_stamp_changes(%s)", [ROUND])
        stamped: int = cursor.fetchone()[0]
        return stamped


def _total(changes: QuerySet[ProductChange], offset: int, rows: list[Change], page_size: int) -> int:
    """How many changes there are: counted as far as EXACT_TOTAL, beyond it what the planner's statistics say."""
    if len(rows) < page_size and (rows or not offset):
        return offset + len(rows)
    counted = changes.order_by()[: EXACT_TOTAL + 1].count()
    if counted <= EXACT_TOTAL:
        return counted
    plan = json.loads(changes.order_by().explain(format="json"))
    return max(counted, int(plan[0]["Plan"]["Plan Rows"]))
