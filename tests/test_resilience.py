"""What happens to jobs when workers, database and broker fail around them, for real."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.feed import write_feed
from tests.own_system import System, own_system

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

IMPORT = """
from django.core.files import File
from imports.lifecycle import create_import
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        upload = File(file, name="feed.csv")
        print(create_import(file=upload, file_name="feed.csv", supplier_code="S", created_by="t").pk)
"""
COUNTERS = "status, total_rows, cursor, products_created, products_updated, products_unchanged, failed_rows, warnings"
KILLS = 20
REST = ("completed", "failed", "cancelled", "paused", "ready")


@pytest.fixture
def system() -> Iterator[System]:
    with own_system() as running:
        yield running


def start(system: System, *feeds: Path) -> list[str]:
    return system.python(IMPORT, *map(str, feeds)).splitlines()


def wait(system: System, seconds: float = 180) -> list[str]:
    """Until every import is at rest; their statuses."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        statuses = [status for (status,) in system.sql("SELECT status FROM imports_importjob ORDER BY id")]
        if all(status in REST for status in statuses):
            return statuses
        time.sleep(0.2)
    raise AssertionError(system.sql(f"SELECT {COUNTERS}, lease_until, next_run_at, error_class FROM imports_importjob"))


def state(system: System) -> list[tuple[object, ...]]:
    """Products, history, log and counters, without ids and times, as fingerprints."""
    return [
        system.sql(
            "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM (SELECT ean, p.name, status, b.name,"
            " price, cost_price, weight, width, description, reference FROM catalog_product p"
            " LEFT JOIN catalog_brand b ON b.id = brand_id) t"
        )[0],
        system.sql(
            "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM (SELECT ean, action, row_number,"
            " old - 'brand_id', new - 'brand_id' - 'supplier_id' FROM catalog_productrevision r"
            " JOIN catalog_product p ON p.id = product_id) t"
        )[0],
        system.sql(
            "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM"
            " (SELECT row_number, level, field, value, message FROM imports_importlog) t"
        )[0],
        system.sql(f"SELECT {COUNTERS} FROM imports_importjob")[0],
    ]


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_twenty_kills_two_database_crashes_and_a_flushed_broker_change_nothing(system, tmp_path):
    feed = tmp_path / "feed.csv"
    write_feed(feed, 100_000)
    system.beat()
    worker = system.worker()
    start(system, feed)
    assert wait(system) == ["completed"]
    expected = state(system)
    system.sql(
        "TRUNCATE catalog_product, catalog_productrevision, catalog_supplierrecord, catalog_brand, imports_importjob"
        " CASCADE"
    )

    rng = random.Random(11)
    system.sql("ALTER TABLE catalog_product SET (autovacuum_enabled = false)")
    start(system, feed)
    kills = 0
    crashes = [30_000, 60_000]  # rows done at which the database goes down; the second time the broker is emptied too
    status, cursor = "analyzing", 0
    while status not in REST:
        time.sleep(rng.random() * 0.8)
        if crashes and cursor >= crashes[0]:
            crashes.pop(0)
            system.restart_database()
            if not crashes:
                system.flush_broker()
        if kills < KILLS:
            kill(worker)
            worker = system.worker()
            kills += 1
        before, deadline = cursor, time.monotonic() + 20
        while True:
            ((status, cursor),) = system.sql("SELECT status, cursor FROM imports_importjob")
            # every other worker gets somewhere before it is killed, the others hardly start
            if status in REST or cursor > before or kills % 2 or time.monotonic() > deadline:
                break
            time.sleep(0.05)
    assert (kills, crashes) == (KILLS, [])
    assert state(system) == expected


def test_a_frozen_worker_that_wakes_after_its_lease_writes_nothing(system, tmp_path):
    feed = tmp_path / "feed.csv"
    write_feed(feed, 60_000)
    system.beat()
    frozen = system.worker(1)
    start(system, feed)
    while system.sql("SELECT cursor FROM imports_importjob")[0][0] < 10_000:
        time.sleep(0.02)
    os.killpg(frozen.pid, signal.SIGSTOP)
    other = system.worker(1)
    (epoch,) = system.sql("SELECT lease_epoch FROM imports_importjob")[0]
    while system.sql("SELECT lease_epoch FROM imports_importjob")[0][0] == epoch:
        time.sleep(0.05)
    os.killpg(frozen.pid, signal.SIGCONT)
    assert wait(system) == ["completed"]
    kill(other)
    row = system.sql(
        "SELECT total_rows, cursor, products_created + products_updated + products_unchanged + failed_rows"
        " FROM imports_importjob"
    )[0]
    assert row == (60_000, 60_000, 60_000)
    twice = "SELECT row_number FROM imports_importlog GROUP BY row_number, message HAVING count(*) > 1"
    assert system.sql(twice) == []


def test_fifty_jobs_survive_a_flushed_broker_without_anybodys_help(system, tmp_path):
    feed = tmp_path / "feed.csv"
    write_feed(feed, 20)
    start(system, *[feed] * 50)
    system.flush_broker()
    system.worker()
    system.beat()
    assert wait(system) == ["completed"] * 50


def test_a_job_that_is_created_while_the_broker_is_away_runs_when_it_is_back(system, tmp_path):
    feed = tmp_path / "feed.csv"
    write_feed(feed, 20)
    system.valkey.stop()
    start(system, feed)
    assert system.sql("SELECT status FROM imports_importjob") == [("analyzing",)]
    system.valkey.start()
    system.worker()
    system.beat()
    assert wait(system) == ["completed"]


def test_a_worker_that_is_asked_to_stop_hands_its_job_on(system, tmp_path):
    feed = tmp_path / "feed.csv"
    write_feed(feed, 60_000)
    system.beat()
    first = system.worker(1)
    start(system, feed)
    while system.sql("SELECT cursor FROM imports_importjob")[0][0] < 5_000:
        time.sleep(0.02)
    first.terminate()
    assert first.wait(60) == 0
    cursor, lease = system.sql("SELECT cursor, lease_until FROM imports_importjob")[0]
    assert 5_000 <= cursor < 60_000
    assert lease is None
    system.worker(1)
    assert wait(system) == ["completed"]


def test_ten_imports_over_the_same_products_at_once_all_complete(system, tmp_path):
    feeds = []
    for number in range(10):
        feeds.append(tmp_path / f"{number}.csv")
        write_feed(feeds[-1], 1500, seed=number)
    system.beat()
    for _worker in range(2):
        system.worker(5)
    start(system, *feeds)
    assert wait(system) == ["completed"] * 10
    assert system.sql("SELECT count(*) FROM imports_importjob WHERE failed_rows <> 15") == [(0,)]
    assert system.sql("SELECT max(attempt) FROM imports_importjob") == [(0,)]


PAUSES = """
import random, time
from django.db import connection
from imports import lifecycle
from imports.models import ImportJob

def state():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM catalog_product), (SELECT count(*) FROM catalog_productrevision),"
            " (SELECT count(*) FROM imports_importlog), cursor, failed_rows, products_created FROM imports_importjob"
        )
        return cursor.fetchone()

job, rng, seen = ImportJob.objects.get(), random.Random(3), set()
while len(seen) < 8:
    time.sleep(rng.random() / 2)
    job.refresh_from_db()
    if job.status == "completed":
        break
    lifecycle.control(job, "pause")
    before = state()
    time.sleep(0.4)  # longer than a batch
    assert state() == before, (before, state())
    seen.add(before[3])
    lifecycle.control(job, "resume")
print(len(seen))
"""


def test_nothing_is_written_between_a_pause_and_its_resumption(system, tmp_path):
    feed = tmp_path / "feed.csv"
    write_feed(feed, 60_000)
    system.beat()
    system.worker(1)
    start(system, feed)
    while system.sql("SELECT total_rows FROM imports_importjob") == [(None,)]:
        time.sleep(0.05)
    assert int(system.python(PAUSES)) >= 3  # at so many different places
    assert wait(system) == ["completed"]
    assert system.sql("SELECT cursor, failed_rows FROM imports_importjob") == [(60_000, 600)]


def test_twenty_rings_for_one_job_are_one_piece_of_work(system, tmp_path):
    feed = tmp_path / "feed.csv"
    write_feed(feed, 20)
    (job,) = start(system, feed)
    system.python(
        "from imports.tasks import run\nfor _ring in range(20): run.apply_async([sys.argv[1]], queue='imports')", job
    )
    system.worker(4)
    assert wait(system) == ["completed"]
    assert system.sql("SELECT lease_epoch, products_created FROM imports_importjob") == [(1, 20)]
