"""Benchmarks, each as a ratio to a limit measured in the same run: `make bench`. BENCH_LARGE=1 adds a million rows.

`make bench ARGS="imports feed"` runs some of them: imports, formats, peer, bulk, feed, external, readers.

The limit of an import is what PostgreSQL alone needs for the same rows: COPY of the raw file into a staging table and
one set-based merge into a table with the product table's columns, indexes, constraints and foreign keys, brands found
or created on the way; no job, row log, revision, supplier memory or change feed.
"""

import csv
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from pim.embedded.postgres import Postgres
from pim.embedded.valkey import Valkey
from pim.tabular import open_table
from tests import bench_external, bench_feed, bench_readers
from tests.feed import write_feed

LARGE = bool(os.environ.get("BENCH_LARGE"))
SIZES = [10_000, 100_000, *([1_000_000] if LARGE else [])]
PEER_ROWS = 5_000

STAGE = """
    CREATE TEMPORARY TABLE raw (ean text, name text, brand text, reference text, price text, cost_price text,
        weight text, width text, description text)
"""
MERGE = """
    INSERT INTO {table} AS p (id, ean, barcode, name, status, reference, price, cost_price, weight, width, description,
        brand_id, supplier_id)
    SELECT gen_random_uuid(), r.ean, r.ean, r.name, 'active', r.reference, r.price::numeric, r.cost_price::numeric,
        r.weight::numeric, r.width::numeric, r.description,
        b.id, (SELECT id FROM catalog_supplier WHERE code = 'BENCH')
    FROM (SELECT DISTINCT ON (ean) * FROM raw WHERE ean ~ '^[0-9]{{13}}$' AND price ~ '^[0-9.]+$' ORDER BY ean) r
    JOIN catalog_brand b ON lower(b.name) = lower(r.brand)
    LEFT JOIN {table} o ON o.ean = r.ean
    WHERE o.ean IS NULL OR (o.name, o.reference, o.price, o.cost_price, o.weight, o.width, o.description)
        IS DISTINCT FROM (r.name, r.reference, r.price::numeric, r.cost_price::numeric, r.weight::numeric,
            r.width::numeric, r.description)
    ORDER BY r.ean
    ON CONFLICT (ean) DO UPDATE SET name = excluded.name, reference = excluded.reference, price = excluded.price,
        cost_price = excluded.cost_price, weight = excluded.weight, width = excluded.width,
        description = excluded.description
"""


def main() -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pim-bench-")))
        directory.chmod(0o711)
        os.environ |= {
            "DATABASE_URL": stack.enter_context(Postgres(directory)).url,
            "CELERY_BROKER_URL": stack.enter_context(Valkey(directory)).url,
            "PIM_DATA_DIR": str(directory),
            "PIM_LOG_LEVEL": "ERROR",
            "DJANGO_SETTINGS_MODULE": "pim.settings",
        }
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        sections: dict[str, Callable[[], None]] = {
            "imports": lambda: imports(directory),
            "formats": lambda: formats(directory),
            "peer": lambda: peer(directory),
            "bulk": bulk,
            "feed": lambda: feed(directory),
            "external": external,
            "readers": lambda: readers(directory),
        }
        for name in sys.argv[1:] or sections:
            sections[name]()


def imports(directory: Path) -> None:
    """CSV import through the job engine, on an empty catalogue, unchanged, and with 10 % changed."""
    for rows in SIZES:
        fresh, changed = directory / f"{rows}.csv", directory / f"{rows}-changed.csv"
        write_feed(fresh, rows)
        write_feed(changed, rows, changed=0.1)
        _wipe()
        for label, feed in (("empty catalogue", fresh), ("unchanged", fresh), ("10 % changed", changed)):
            ours, memory = _import(feed)
            same = _timed(lambda feed=feed: _limit(feed, "limit_same"))
            bare = _timed(lambda feed=feed: _limit(feed, "limit_bare"))
            print(
                f"import {rows:>9,} rows, {label:<15}: {rows / ours:>8,.0f} rows/s"
                f" = {same / ours:.2f} of COPY and merge with the same indexes ({rows / same:,.0f}/s),"
                f" {bare / ours:.2f} of it with the key alone ({rows / bare:,.0f}/s); peak {memory:.0f} MB",
                flush=True,
            )


def formats(directory: Path) -> None:
    """100,000 rows of each format beside: the same reader, COPY of its rows, the same merge."""
    rows = 100_000
    feed = directory / "formats.csv"
    write_feed(feed, rows)
    for kind in ("csv", "xlsx", "json", "xml"):
        path = directory / f"format.{kind}"
        bench_readers.write_feed_as(kind, path, feed)
        _wipe()
        limit = _timed(lambda path=path: _limit(path, "limit_same", parse=True))
        ours, memory = _import(path)
        print(
            f"import {kind:<4} {rows:>9,} rows, empty catalogue: {rows / ours:>8,.0f} rows/s = {limit / ours:.2f} of"
            f" parsing with the same reader, COPY and merge ({rows / limit:,.0f}/s); peak {memory:.0f} MB",
            flush=True,
        )


def peer(directory: Path) -> None:
    """The same products through django-import-export: validated, in bulk, unchanged rows skipped, without brands."""
    import tablib
    from import_export import resources

    from catalog.models import Product

    class ProductResource(resources.ModelResource):
        class Meta:
            model = Product
            import_id_fields = ("ean",)
            fields = ("ean", "name", "barcode", "reference", "price", "cost_price", "weight", "width", "description")
            use_bulk = True
            batch_size = 1000
            skip_unchanged = True
            skip_diff = True
            clean_model_instances = True

    feed = directory / "peer.csv"
    write_feed(feed, PEER_ROWS)
    _wipe()
    ours, _memory = _import(feed)
    _wipe()
    with feed.open(encoding="utf-8", newline="") as file:
        good = [row for row in csv.reader(file) if row[0].isdigit() and row[4].replace(".", "").isdigit()]
    data = tablib.Dataset(headers=ProductResource.Meta.fields)
    for row in {row[0]: row for row in good}.values():
        data.append((row[0], row[1], row[0], row[3], *row[4:]))
    theirs = _timed(lambda: ProductResource().import_data(data, raise_errors=True)) * PEER_ROWS / len(data)
    print(
        f"import csv  {PEER_ROWS:>9,} rows: {PEER_ROWS / ours:,.0f} rows/s = {theirs / ours:.0f} times"
        f" django-import-export ({PEER_ROWS / theirs:,.0f}/s)",
        flush=True,
    )


def feed(directory: Path) -> None:
    bench_feed.capture(lambda path: _import(path)[0], _wipe, directory, rows=100_000)
    bench_feed.pages(_wipe, sizes=SIZES)


def external() -> None:
    bench_external.pages(_wipe, sizes=[100_000, *([1_000_000] if LARGE else [])])
    bench_external.batches(_wipe)


def readers(directory: Path) -> None:
    for line in bench_readers.readers(100_000, directory):
        print(line, flush=True)


def bulk() -> None:
    """POST of 1,000 new products to the API's bulk route beside one set-based statement for the same rows."""
    from django.db import connection
    from rest_framework.test import APIClient

    from pim.apikeys.keys import create_key
    from tests.feed import ean

    _wipe()
    _key, secret = create_key(name="bench", scopes=["products:write"], created_by="bench")
    client = APIClient(headers={"X-API-Key": secret})
    best_ours = best_limit = float("inf")
    for turn in range(5):
        products = [
            {"ean": ean(turn * 1000 + i), "name": f"Produit {i}", "price": 9.99, "brand_name": f"Marque {i % 50}"}
            for i in range(1000)
        ]
        body = {"products": products}
        best_ours = min(best_ours, _timed(lambda body=body: client.post("/api/v1/products/bulk", body, format="json")))

        def limit(products: list[dict[str, object]] = products) -> None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO limit_same (id, ean, barcode, name, status, price) SELECT gen_random_uuid(), e, e, n,"
                    " 'active', p FROM unnest(%s::text[], %s::text[], %s::numeric[]) t(e, n, p)"
                    " ON CONFLICT (ean) DO NOTHING",
                    [[p[k] for p in products] for k in ("ean", "name", "price")],
                )

        best_limit = min(best_limit, _timed(limit))
    print(
        f"bulk create of 1,000 products: {1000 / best_ours:,.0f}/s = {best_limit / best_ours:.2f} of one statement "
        f"({1000 / best_limit:,.0f}/s)"
    )


def _import(feed: Path) -> tuple[float, float]:
    """Seconds of the import by the job engine in a process of its own, and that process's peak memory in MB."""
    import subprocess

    from django.core.files import File

    from imports.lifecycle import create_import

    with feed.open("rb") as file:
        job = create_import(file=File(file), file_name=feed.name, supplier_code="BENCH", created_by="bench")
    script = (
        "import time, django; django.setup()\n"
        "from django.db import connection; connection.ensure_connection()\n"
        "from imports.models import ImportJob; from imports.tasks import run\n"
        f"job = ImportJob.objects.get(pk='{job.pk}')\n"
        "started = time.perf_counter()\n"
        "while job.status in ImportJob.claimable:\n"
        "    run(str(job.pk)); job.refresh_from_db()\n"
        "print(time.perf_counter() - started)\n"
        "assert job.status == 'completed', job.error_summary\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak) / 1024


def _limit(feed: Path, table: str, *, parse: bool = False) -> None:
    """COPY and merge. parse: of the rows as our reader gives them, else of the raw CSV file."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS raw")
        cursor.execute(STAGE)
        if parse:
            with open_table(feed) as rows, cursor.copy("COPY raw FROM STDIN") as copy:
                for _number, cells in rows:
                    copy.write_row(cells)
        else:
            with feed.open("rb") as file, cursor.copy("COPY raw FROM STDIN (FORMAT csv, HEADER)") as copy:
                while block := file.read(1 << 20):
                    copy.write(block)
        cursor.execute(
            "INSERT INTO catalog_brand (id, name) SELECT gen_random_uuid(), brand FROM raw GROUP BY brand"
            " ON CONFLICT DO NOTHING"
        )
        cursor.execute(MERGE.format(table=table))


def _wipe() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE catalog_product, catalog_productrevision, catalog_supplierrecord, catalog_brand,"
            " catalog_productchange, catalog_referencechange, catalog_renamedproduct, imports_importjob CASCADE"
        )
        cursor.execute("DROP TABLE IF EXISTS limit_same, limit_bare")
        cursor.execute("CREATE TABLE limit_same (LIKE catalog_product INCLUDING ALL)")
        for column, table in (("brand_id", "catalog_brand"), ("supplier_id", "catalog_supplier")):
            cursor.execute(f"ALTER TABLE limit_same ADD FOREIGN KEY ({column}) REFERENCES {table}")
        cursor.execute(
            "INSERT INTO catalog_supplier (id, code) VALUES (gen_random_uuid(), 'BENCH') ON CONFLICT DO NOTHING"
        )
        cursor.execute("CREATE TABLE limit_bare (LIKE catalog_product INCLUDING DEFAULTS, UNIQUE (ean))")


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
