"""Benchmarks of the change feed: what capture costs an import, what a page costs at any size and depth.

Part of `make bench`; needs the services and settings that `tests.bench` starts.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.feed import write_feed

REPEATS = 3
START = datetime(2020, 1, 1, tzinfo=UTC)
CAPTURE = ("catalog_capture_insert", "catalog_capture_update")


def capture(run_import: Callable[[Path], float], wipe: Callable[[], None], directory: Path, *, rows: int) -> None:
    """The same imports with and without the triggers of the feed, in turn; the medians.

    run_import: imports a file, returns its seconds. wipe: empties the catalogue.
    """
    from catalog import changes

    fresh, changed = directory / "feed.csv", directory / "feed-changed.csv"
    write_feed(fresh, rows)
    write_feed(changed, rows, changed=0.1)
    kinds = {"empty catalogue": fresh, "unchanged": fresh, "10 % changed": changed}
    seconds: dict[tuple[str, bool], list[float]] = {(kind, on): [] for kind in kinds for on in (True, False)}
    for turn in range(REPEATS):
        for on in (True, False) if turn % 2 else (False, True):
            wipe()
            _sql("TRUNCATE catalog_productchange")
            _switch(on)
            for kind, feed in kinds.items():
                seconds[kind, on].append(run_import(feed))
                changes.drain()
                _vacuum()
    _switch(True)
    for kind in kinds:
        with_feed, without = (statistics.median(seconds[kind, on]) for on in (True, False))
        print(
            f"change feed, import {rows:>9,} rows, {kind:<15}: {with_feed / without - 1:+.1%} "
            f"({with_feed:.2f} s with capture, {without:.2f} s without)",
            flush=True,
        )


def pages(wipe: Callable[[], None], *, sizes: list[int]) -> None:
    """A page of 500 changes at the start, in the middle and near the end of the feed, by size of the catalogue."""
    from catalog import changes
    from catalog.models import ProductChange

    costs = []
    for size in sizes:
        wipe()
        _sql("TRUNCATE catalog_productchange")
        _sql(
            "INSERT INTO catalog_product (id, ean, barcode, name, status, description)"
            " SELECT gen_random_uuid(), to_char(n, 'FM0000000000000'), '', 'Produit ' || n, 'active', repeat('x', 500)"
            f" FROM generate_series(1, {size}) n"
        )
        started = time.perf_counter()
        changes.drain()
        stamping = time.perf_counter() - started
        _vacuum()
        stamps = ProductChange.objects.order_by("stamp").values_list("stamp", flat=True)
        places = {"start": START, "middle": stamps[size // 2], "end": stamps[size - 1000]}
        found = {place: _fastest_ms(since) for place, since in places.items()}
        costs += found.values()
        print(
            f"change feed, {size:>9,} products: stamped at {size / stamping:,.0f}/s; page of 500 "
            + ", ".join(f"{place} {cost:.2f} ms" for place, cost in found.items()),
            flush=True,
        )
    print(f"change feed, dearest page / cheapest page: {max(costs) / min(costs):.2f}")


def _fastest_ms(since: datetime) -> float:
    """Of 41 calls: what the page costs when nothing else runs."""
    from catalog import changes

    times = []
    for _ in range(41):
        started = time.perf_counter()
        page = changes.delta_page(since=since, page=1, page_size=500)
        times.append(time.perf_counter() - started)
        assert len(page.rows) == 500
    return min(times) * 1000


def _switch(on: bool) -> None:
    for trigger in CAPTURE:
        _sql(f"ALTER TABLE catalog_product {'ENABLE' if on else 'DISABLE'} TRIGGER {trigger}")


def _vacuum() -> None:
    _sql("VACUUM (ANALYZE) catalog_productchange, catalog_product")


def _sql(statement: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)
