"""The engine under every job: claims, leases, checkpoints, moves, retries and the sweep."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from catalog.models import Supplier
from imports.models import ImportJob
from pim.jobs import backoff, runner
from pim.jobs.errors import PermanentError, RetryableError
from pim.jobs.runner import Lease, LeaseLost
from pim.jobs.states import IllegalMove, Status, move

PAUSE = move("pause", [Status.PENDING, Status.PROCESSING], Status.PAUSED, [Status.PAUSED])
RESUME = move("resume", [Status.PAUSED], None, [Status.PENDING, Status.PROCESSING])
CANCEL = move("cancel", [Status.PROCESSING, Status.PAUSED], Status.CANCELLED, [Status.CANCELLED])
START = move("start", [Status.PENDING], Status.PROCESSING, [Status.PROCESSING])


def make_job(**fields) -> ImportJob:
    supplier, _ = Supplier.objects.get_or_create(code="ACME")
    values = {"status": Status.PROCESSING, "total_rows": 10, "file_name": "x.csv", "file_size": 1, "ean_check": "warn"}
    job = ImportJob.objects.create(supplier=supplier, **values | fields)
    job.refresh_from_db()
    return job


def claim(job: ImportJob) -> Lease:
    lease = runner.claim(ImportJob, job.pk)
    assert lease is not None
    job.refresh_from_db()
    return lease


def fields(job: ImportJob, *names: str) -> tuple[object, ...]:
    return tuple(ImportJob.objects.values_list(*names).get(pk=job.pk))


@pytest.mark.django_db
def test_a_job_is_claimed_once_until_its_lease_ends():
    job = make_job()
    first = claim(job)
    assert runner.claim(ImportJob, job.pk) is None
    ImportJob.objects.filter(pk=job.pk).update(lease_until=Now() - timedelta(seconds=1))
    second = claim(job)
    assert second.epoch == first.epoch + 1


@pytest.mark.django_db
@pytest.mark.parametrize("status", [Status.READY, Status.PAUSED, Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_job_at_rest_is_not_claimed(status):
    assert runner.claim(ImportJob, make_job(status=status).pk) is None


@pytest.mark.django_db
def test_a_job_that_waits_for_a_retry_is_not_claimed_before_its_time():
    job = make_job(next_run_at=Now() + timedelta(minutes=1))
    assert runner.claim(ImportJob, job.pk) is None


@pytest.mark.django_db
def test_a_checkpoint_moves_the_cursor_and_renews_the_lease():
    job = make_job()
    lease = claim(job)
    ImportJob.objects.filter(pk=job.pk).update(lease_until=Now() + timedelta(seconds=1))
    with transaction.atomic():
        lease.checkpoint(job, advance=4, failed_rows=1)
    cursor, failed, until, claims = fields(job, "cursor", "failed_rows", "lease_until", "claims_at_cursor")
    assert (cursor, failed, claims) == (4, 1, 0)
    assert until > job.lease_until - timedelta(seconds=30)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "meanwhile",
    [{"status": Status.PAUSED}, {"status": Status.CANCELLED}, {"lease_epoch": 99}, {"cursor": 3}],
    ids=["paused", "cancelled", "taken over", "advanced by another"],
)
def test_a_batch_is_rolled_back_when_the_job_moved_on_without_it(meanwhile):
    job = make_job()
    lease = claim(job)

    def batch() -> None:
        with transaction.atomic():
            Supplier.objects.create(code="half-written")
            ImportJob.objects.filter(pk=job.pk).update(**meanwhile)
            lease.checkpoint(job, advance=4)

    with pytest.raises(LeaseLost):
        batch()
    assert not Supplier.objects.filter(code="half-written").exists()
    assert fields(job, "cursor") == (0,)


@pytest.mark.django_db(transaction=True)
def test_a_checkpoint_outside_a_transaction_is_a_mistake():
    job = make_job()
    lease = claim(job)
    with pytest.raises(RuntimeError, match="transaction"):
        lease.checkpoint(job, advance=1)


@pytest.mark.django_db
def test_a_pause_remembers_where_it_began():
    job = make_job(status=Status.PENDING)
    assert runner.apply_move(job, PAUSE) is True
    assert (job.status, job.paused_from) == ("paused", "pending")
    assert runner.apply_move(job, PAUSE) is False
    assert runner.apply_move(job, RESUME) is True
    assert job.status == "pending"


@pytest.mark.django_db
def test_an_illegal_move_names_the_status_and_changes_nothing():
    job = make_job(status=Status.COMPLETED)
    before = ImportJob.objects.values().get(pk=job.pk)
    with pytest.raises(IllegalMove, match="Cannot pause a job whose status is completed"):
        runner.apply_move(job, PAUSE)
    assert ImportJob.objects.values().get(pk=job.pk) == before


@pytest.mark.django_db(transaction=True)
def test_of_twenty_simultaneous_starts_one_starts_the_job():
    job = make_job(status=Status.PENDING)
    barrier = threading.Barrier(20)
    started: list[bool] = []

    def ask() -> None:
        mine = ImportJob.objects.get(pk=job.pk)
        barrier.wait()
        started.append(runner.apply_move(mine, START))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started) == [False] * 19 + [True]


def run(job: ImportJob, error: Exception) -> None:
    def step(current: ImportJob, lease: Lease) -> None:
        raise error

    runner.run_slice(ImportJob, job.pk, step)


@pytest.mark.django_db
@pytest.mark.parametrize(("category", "retries"), [("network", 5), ("api_rate_limit", 5), ("unknown", 2)])
def test_a_failure_that_may_pass_is_retried_on_its_schedule_and_then_fails_the_job(category, retries):
    job = make_job()
    waits = []
    for _attempt in range(10):
        run(job, RetryableError("the other side is away", category=category))
        status, next_run, lease = fields(job, "status", "next_run_at", "lease_until")
        assert lease is None
        if status == "failed":
            break
        with connection.cursor() as cursor:
            cursor.execute("SELECT round(extract(epoch FROM %s::timestamptz - now()) / 60)", [next_run])
            waits.append(int(cursor.fetchone()[0]))
        ImportJob.objects.filter(pk=job.pk).update(next_run_at=Now() - timedelta(seconds=1))
    assert waits == [1, 5, 15, 60, 240][:retries]
    assert fields(job, "status", "error_class", "error_summary") == ("failed", category, "the other side is away")


@pytest.mark.django_db
def test_progress_gives_the_retries_back():
    job = make_job(attempt=3)
    lease = claim(job)
    with transaction.atomic():
        lease.checkpoint(job, advance=1)
    assert fields(job, "attempt") == (0,)


def test_the_other_sides_own_waiting_time_counts_when_it_is_longer(settings):
    error = RetryableError("slow down", category="api_rate_limit", retry_after=600)
    assert backoff.delay(error, attempt=0) == timedelta(minutes=10)
    assert backoff.delay(error, attempt=2) == timedelta(minutes=15)


@pytest.mark.django_db
def test_a_permanent_failure_fails_the_job_at_once():
    job = make_job()
    run(job, PermanentError("the file is not a table", category="invalid_data"))
    assert fields(job, "status", "error_class", "error_summary", "lease_until") == (
        "failed",
        "invalid_data",
        "the file is not a table",
        None,
    )


@pytest.mark.django_db
def test_an_unexpected_failure_is_retried_with_caution():
    job = make_job()
    run(job, ZeroDivisionError("division by zero"))
    assert fields(job, "status", "attempt", "error_class") == ("processing", 1, "unknown")


@pytest.mark.django_db
def test_a_failure_after_a_pause_leaves_the_pause_alone():
    job = make_job()

    def step(current: ImportJob, lease: Lease) -> None:
        runner.apply_move(ImportJob.objects.get(pk=job.pk), PAUSE)
        raise PermanentError("too late", category="unknown")

    runner.run_slice(ImportJob, job.pk, step)
    assert fields(job, "status") == ("paused",)


@pytest.mark.django_db
def test_the_sweep_rings_for_due_jobs_that_nobody_holds(monkeypatch, django_capture_on_commit_callbacks):
    due = make_job(status=Status.ANALYZING)
    orphan = make_job(lease_until=Now() - timedelta(seconds=1))
    make_job(lease_until=Now() + timedelta(seconds=60))
    make_job(status=Status.PAUSED)
    make_job(status=Status.COMPLETED)
    make_job(next_run_at=Now() + timedelta(minutes=5))
    rung = []
    monkeypatch.setattr(runner, "ring", lambda model, job_id: rung.append(job_id))
    assert runner.sweep() == 2
    assert set(rung) == {due.pk, orphan.pk}


@pytest.mark.django_db
def test_a_broker_that_is_away_stops_nothing(settings, monkeypatch, django_capture_on_commit_callbacks):
    import celery
    import kombu.exceptions

    def refuse(*args, **kwargs):
        raise kombu.exceptions.OperationalError("no broker")

    monkeypatch.setattr(celery.current_app, "send_task", refuse)
    job = make_job(status=Status.PAUSED, paused_from=Status.PROCESSING)
    with django_capture_on_commit_callbacks(execute=True):
        assert runner.apply_move(job, RESUME) is True
    assert fields(job, "status") == ("processing",)
