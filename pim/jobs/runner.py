"""Work on a job: claim it with a lease, do one slice of batches, hand it on. Rules: docs/jobs.md."""

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import celery
import kombu.exceptions
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from pim.jobs import backoff
from pim.jobs.errors import JobError, RetryableError
from pim.jobs.models import AbstractJob, job_models
from pim.jobs.states import TERMINAL, IllegalMove, Move, Status

logger = logging.getLogger(__name__)
J = TypeVar("J", bound=AbstractJob)

# A unit that kills its worker this often at one cursor is isolated: smaller batches, then stepped over.
DEATHS_BEFORE_ISOLATION = 3
SHRINK_FACTOR = 8
MAX_TRANSACTION_TRIES = 5


class LeaseLost(Exception):
    """The job was paused, cancelled or taken over: the running batch must be rolled back."""


@dataclass(slots=True)
class Lease:
    """The right to work on one job until the lease ends; `epoch` fences off earlier holders.

    batch_size: units the next batch may take. poisoned: the next single unit killed its worker
    several times and must be logged and stepped over instead of being tried again.
    """

    model: type[AbstractJob]
    job_id: Any
    epoch: int
    batch_size: int
    poisoned: bool = False

    def checkpoint(self, job: AbstractJob, *, advance: int, status: Status | None = None, **updates: Any) -> None:
        """Compare-and-swap that ends a batch's transaction; raises LeaseLost when the job moved on without us.

        advance: units done by this batch. updates: counters as `F("counter") + n` and other columns.
        """
        if not connection.in_atomic_block:
            raise RuntimeError("checkpoint() must be the last statement of the batch's transaction")
        if status is not None:
            updates["status"] = status
            if status in TERMINAL:
                updates["completed_at"] = Now()
        if advance or status is not None:
            updates |= {"claims_at_cursor": 0, "attempt": 0, "error_class": "", "batch_size": self._next_batch_size()}
        swapped = self.model._default_manager.filter(
            pk=self.job_id, lease_epoch=self.epoch, status=job.status, cursor=job.cursor
        ).update(cursor=job.cursor + advance, lease_until=Now() + settings.JOB_LEASE, **updates)
        if not swapped:
            raise LeaseLost
        if status is not None and status in TERMINAL:
            self.model.finished(self.job_id)

    def renew(self, job: AbstractJob) -> None:
        """Keep the lease through a long wait; raises LeaseLost when the job was paused, cancelled or taken over."""
        if not self._mine().filter(status=job.status).update(lease_until=Now() + settings.JOB_LEASE):
            raise LeaseLost

    def release(self, **updates: Any) -> bool:
        """Give the job back, if it is still ours."""
        return bool(self._mine().update(lease_until=None, claims_at_cursor=0, **updates))

    def _mine(self) -> Any:
        return self.model._default_manager.filter(pk=self.job_id, lease_epoch=self.epoch)

    def _next_batch_size(self) -> int:
        return min(self.model.default_batch_size, self.batch_size * 2)


def claim(model: type[AbstractJob], job_id: Any, *, owner: str | None = None) -> Lease | None:
    """Take the job if it is due and nobody holds it, in one statement; None otherwise."""
    holder = owner or f"{socket.gethostname()}:{os.getpid()}"
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    taken = model._default_manager.filter(free, pk=job_id, status__in=model.claimable, next_run_at__lte=Now()).update(
        lease_owner=holder,
        lease_epoch=F("lease_epoch") + 1,
        lease_until=Now() + settings.JOB_LEASE,
        claims_at_cursor=F("claims_at_cursor") + 1,
    )
    if not taken:
        return None
    # Between the two statements only this lease can change these columns.
    row = model._default_manager.values("lease_epoch", "claims_at_cursor", "batch_size", "lease_owner").get(pk=job_id)
    lease = Lease(model, job_id, row["lease_epoch"], row["batch_size"] or model.default_batch_size)
    if row["claims_at_cursor"] > DEATHS_BEFORE_ISOLATION:
        lease.poisoned = lease.batch_size == 1
        lease.batch_size = max(1, lease.batch_size // SHRINK_FACTOR)
        model._default_manager.filter(pk=job_id, lease_epoch=lease.epoch).update(
            batch_size=lease.batch_size, claims_at_cursor=1
        )
    return lease


def run_slice(
    model: type[J],
    job_id: Any,
    step: Callable[[J, Lease], None],
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Work on a job for at most one slice of time, then ring for the next one.

    step: does one batch (or one phase) and ends it with `lease.checkpoint`. It may raise LeaseLost,
    RetryableError or PermanentError; anything else is an unknown failure, retried with caution.
    """
    lease = claim(model, job_id)
    if lease is None:
        return
    deadline = time.monotonic() + settings.JOB_SLICE.total_seconds()
    try:
        while True:
            job = model._default_manager.filter(pk=job_id, lease_epoch=lease.epoch, status__in=model.claimable).first()
            if job is None:  # at rest, taken over or deleted
                break
            _with_deadlock_retry(lambda job=job: step(job, lease))  # type: ignore[misc]
            lease.batch_size = lease._next_batch_size()
            lease.poisoned = False
            if should_stop() or time.monotonic() > deadline:
                break
    except LeaseLost:
        logger.info("job %s: paused, cancelled or taken over; batch rolled back", job_id)
    except JobError as error:
        _failed(lease, error)
        return
    except (OperationalError, InterfaceError):
        raise  # the database is away: the lease runs out and the sweep brings the job back
    except Exception as error:
        logger.exception("job %s: unexpected failure", job_id)
        _failed(lease, RetryableError(f"{type(error).__name__}: {error}", category="unknown"))
        return
    if lease.release() and model._default_manager.filter(pk=job_id, status__in=model.claimable).exists():
        ring(model, job_id)


def _with_deadlock_retry(step: Callable[[], None]) -> None:
    """Run a step again when PostgreSQL chose its transaction as the victim of a deadlock or serialisation conflict."""
    for attempt in range(MAX_TRANSACTION_TRIES):
        try:
            return step()
        except DatabaseError as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if state not in ("40P01", "40001") or attempt == MAX_TRANSACTION_TRIES - 1:
                raise
            time.sleep(0.05 * (attempt + 1) * (0.5 + os.urandom(1)[0] / 255))


def _failed(lease: Lease, error: JobError) -> None:
    attempt = lease._mine().values_list("attempt", flat=True).first() or 0
    wait = backoff.delay(error, attempt=attempt) if isinstance(error, RetryableError) else None
    if wait is not None:
        lease.release(
            attempt=attempt + 1, next_run_at=Now() + wait, error_class=error.category, error_summary=str(error)
        )
        logger.warning("job %s: %s; retry %d in %s", lease.job_id, error, attempt + 1, wait)
        return
    with transaction.atomic():
        failed = (
            lease._mine()
            .filter(status__in=lease.model.claimable)
            .update(
                status=Status.FAILED,
                error_class=error.category,
                error_summary=str(error),
                completed_at=Now(),
                lease_until=None,
            )
        )
        if failed:
            lease.model.finished(lease.job_id)
    logger.error("job %s failed: %s", lease.job_id, error)


def apply_move(job: AbstractJob, move: Move, **updates: Any) -> bool:
    """Ask for a move in one guarded UPDATE. True when it happened, False when the job was already there.

    Refreshes `job`. Raises IllegalMove, with nothing changed, when the status does not allow it.
    """
    model = type(job)
    if move.target is Status.PAUSED:
        updates["paused_from"] = F("status")
    elif move.target is Status.CANCELLED:
        updates["completed_at"] = Now()
    updates["status"] = move.target if move.target is not None else F("paused_from")
    with transaction.atomic():
        moved = model._default_manager.filter(pk=job.pk, status__in=move.sources).update(**updates)
        if moved and move.target is not None and move.target in TERMINAL:
            model.finished(job.pk)
    job.refresh_from_db()
    if not moved and job.status not in move.already:
        raise IllegalMove(move.name, job.status)
    if job.status in model.claimable:
        ring(model, job.pk)
    return bool(moved)


class Ringable(Protocol):
    """A kind of row that a task works on."""

    task_name: str
    queue: str


def ring(model: Ringable, row_id: Any) -> None:
    """After commit, hint to the workers that a row is due. A hint that is lost is made good by a sweep."""

    def send() -> None:
        try:
            celery.current_app.send_task(
                model.task_name,
                args=[str(row_id)],
                queue=model.queue,
                retry=False,
                ignore_result=True,
                expires=2 * settings.JOB_SWEEP_SECONDS,
            )
        except (kombu.exceptions.OperationalError, OSError) as error:
            logger.warning("broker not reachable, %s waits for the sweep: %s", row_id, error)

    transaction.on_commit(send)


def sweep(*, limit: int = 100) -> int:
    """Ring for jobs that are due and that nobody holds: heals lost messages and dead workers. Returns their number."""
    due = 0
    for model in job_models():
        ids = model._default_manager.filter(
            Q(lease_until=None) | Q(lease_until__lt=Now()), status__in=model.claimable, next_run_at__lte=Now()
        ).order_by("next_run_at", "id")
        for job_id in ids.values_list("pk", flat=True)[:limit]:
            ring(model, job_id)
            due += 1
    return due
