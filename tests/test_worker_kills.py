"""Workers that are killed in the middle of an import change nothing about its result."""

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.files import File
from django.db import connection

from catalog.models import Product, ProductRevision
from imports import lifecycle
from imports.models import ImportJob, ImportLog
from imports.pipeline import Pipeline
from pim.jobs import runner
from pim.jobs.states import TERMINAL, Status
from tests.feed import write_feed
from tests.processes import ROOT, Worker, environment

ROWS = 100_000
KILLS = 6
SHORT = {"PIM_JOB_LEASE_SECONDS": "2", "PIM_JOB_SLICE_SECONDS": "5"}


def start(path: Path) -> ImportJob:
    with path.open("rb") as file:
        return lifecycle.create_import(
            file=File(file, name=path.name), file_name=path.name, supplier_code="ACME", created_by="test"
        )


def digest(sql: str) -> str:
    """A fingerprint of a query's rows."""
    result = hashlib.sha256()
    with connection.cursor() as cursor:
        cursor.execute(sql)
        for row in cursor:
            result.update(repr(row).encode())
    return result.hexdigest()


def state(job: ImportJob) -> dict[str, object]:
    """All that an import leaves behind, without ids and times."""
    return {
        "products": digest(
            "SELECT ean, barcode, p.name, status, b.name, s.code, price, cost_price, weight, width, description,"
            " reference FROM catalog_product p LEFT JOIN catalog_brand b ON b.id = brand_id"
            " LEFT JOIN catalog_supplier s ON s.id = supplier_id ORDER BY ean"
        ),
        "revisions": digest(
            "SELECT p.ean, action, source, row_number, old, new - 'brand_id' - 'supplier_id'"
            " FROM catalog_productrevision r JOIN catalog_product p ON p.id = r.product_id ORDER BY p.ean, r.id"
        ),
        "log": digest(
            "SELECT row_number, level, field, value, message FROM imports_importlog ORDER BY row_number, message"
        ),
        "counters": (
            job.status,
            job.total_rows,
            job.cursor,
            job.products_created,
            job.products_updated,
            job.products_unchanged,
            job.failed_rows,
            job.warnings,
            job.error_summary,
        ),
    }


def wipe() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE catalog_product, catalog_productrevision, catalog_brand, imports_importjob CASCADE")


@pytest.mark.system
@pytest.mark.timeout(300)
@pytest.mark.django_db(transaction=True)
def test_an_import_whose_workers_are_killed_ends_like_an_undisturbed_one(tmp_path):
    feed = tmp_path / "feed.csv"
    broken = write_feed(feed, ROWS)

    undisturbed = start(feed)
    while undisturbed.status not in TERMINAL:
        with Pipeline() as pipeline:
            runner.run_slice(ImportJob, undisturbed.pk, pipeline.step)
        undisturbed.refresh_from_db()
    expected = state(undisturbed)
    assert (undisturbed.status, undisturbed.failed_rows, undisturbed.total_rows) == ("completed", broken, ROWS)
    wipe()

    rng = random.Random(7)
    job = start(feed)
    worker = Worker("imports", **SHORT)
    kills = 0
    killed_at: list[int] = []
    deadline = time.monotonic() + 240
    try:
        while job.status not in TERMINAL and time.monotonic() < deadline:
            assert worker.process.poll() is None, "the worker ended by itself"
            runner.sweep()  # what beat rings for every few seconds
            time.sleep(0.2)
            job.refresh_from_db()
            next_kill = (kills + 1) * ROWS // (KILLS + 2)
            if kills < KILLS and job.cursor >= next_kill - ROWS // 20:
                time.sleep(rng.random() * 0.25)  # anywhere in a batch, not just after a checkpoint
                worker.kill()
                kills += 1
                job.refresh_from_db()
                killed_at.append(job.cursor)
                worker = Worker("imports", **SHORT)
    finally:
        worker.stop()
    assert kills == KILLS, killed_at
    assert killed_at[-1] < ROWS
    assert state(job) == expected
    assert job.lease_epoch > KILLS


@pytest.mark.django_db(transaction=True)
def test_the_memory_of_an_import_does_not_grow_with_its_rows(tmp_path):
    """Peak memory (MB) of a process that imports 5,000 and then 60,000 rows."""

    def peak(rows: int) -> float:
        feed = tmp_path / f"{rows}.csv"
        write_feed(feed, rows)
        job = start(feed)
        script = (
            "import django; django.setup()\n"
            "from imports.models import ImportJob; from imports.pipeline import Pipeline; from pim.jobs import runner\n"
            f"job = ImportJob.objects.get(pk='{job.pk}')\n"
            "while job.status in ImportJob.claimable:\n"
            "    with Pipeline() as pipeline: runner.run_slice(ImportJob, job.pk, pipeline.step)\n"
            "    job.refresh_from_db()\n"
            # not ru_maxrss, which a child inherits from its parent
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        job.refresh_from_db()
        assert (job.status, job.total_rows) == (Status.COMPLETED, rows)
        return int(run.stdout) / 1024

    small, large = peak(5_000), peak(60_000)
    assert large < 150
    assert large - small < 30
    assert ImportLog.objects.exists()
    assert Product.objects.count() == ProductRevision.objects.filter(action="created").count()
