"""Match EANs with ASINs from the command line: create a job, work it off here, show the progress and a summary."""

import signal
import time
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction
from decimal import Decimal, InvalidOperation
from types import FrameType
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from catalog.models import Supplier
from code2asin import lifecycle
from code2asin.models import Code2AsinJob
from code2asin.processing import Matching
from pim.jobs import runner
from pim.jobs.progress import ProgressLine
from pim.jobs.states import TERMINAL, IllegalMove, Status

POLL_S = 1.0  # while another worker has the job, or a retry is waited for
FAILED, INTERRUPTED = 2, 130  # exit statuses


class Command(BaseCommand):
    help = "Find the ASINs of catalogue products. Exit status: 0, or 2 when the job failed, or 130 when interrupted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--supplier", metavar="CODE", help="only this supplier's products")
        parser.add_argument(
            "--auto-match",
            action=BooleanOptionalAction,
            default=True,
            help="accept certain matches without a person (the default)",
        )
        parser.add_argument("--threshold", type=_threshold, default=Decimal("0.85"), help="from 0 to 1, default 0.85")
        parser.add_argument("--resume", type=UUID, metavar="JOB", help="go on with a paused job instead of a new one")

    def handle(self, *args: Any, **options: Any) -> None:
        job = _resumed(options["resume"]) if options["resume"] else self._created(options)
        self._progress = ProgressLine()
        self._interrupted = False
        previous = signal.signal(signal.SIGINT, self._interrupt)
        try:
            self._work(job)
        finally:
            signal.signal(signal.SIGINT, previous)
        self._report(job)

    def _created(self, options: dict[str, Any]) -> Code2AsinJob:
        supplier = options["supplier"]
        if supplier and not Supplier.objects.filter(code__iexact=supplier).exists():
            raise CommandError(f"There is no supplier with the code {supplier!r}.")
        job = lifecycle.create_job(
            name=f"match_asins {timezone.now():%Y-%m-%d %H:%M}",
            product_filter={"supplier_code": supplier} if supplier else {},
            auto_match=options["auto_match"],
            confidence_threshold=options["threshold"],
            actor="match_asins",
        )
        lifecycle.control(job, "start")
        return job

    def _work(self, job: Code2AsinJob) -> None:
        """Slice after slice until the job is at rest. Another worker may take slices of it: that is watched."""
        while job.status == Status.PROCESSING and not self._interrupted:
            epoch = job.lease_epoch
            runner.run_slice(Code2AsinJob, job.pk, Matching().step, should_stop=lambda: self._batch_done(job))
            job.refresh_from_db()
            if job.lease_epoch == epoch and job.status == Status.PROCESSING:
                self._show(job)
                time.sleep(POLL_S)
        if self._interrupted and job.status == Status.PROCESSING:
            lifecycle.control(job, "pause")
        self._show(job)

    def _batch_done(self, job: Code2AsinJob) -> bool:
        job.refresh_from_db()
        self._show(job)
        return self._interrupted

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        self.stderr.write("\nStopping after this batch; press Ctrl-C again to stop at once.")

    def _show(self, job: Code2AsinJob) -> None:
        waiting = f"; waiting to try again: {job.error_summary}" if job.error_class else ""
        self._progress.show(job.cursor, job.total_codes, f"{_counts(job)}{waiting}", last=job.status in TERMINAL)

    def _report(self, job: Code2AsinJob) -> None:
        self.stdout.write(f"Job {job.pk} is {job.status}: {job.total_codes:,} codes, {_counts(job)}.")
        if job.status == Status.FAILED:
            raise CommandError(job.error_summary, returncode=FAILED)
        if self._interrupted and job.status == Status.PAUSED:
            raise CommandError(f"Paused. Go on with: manage.py match_asins --resume {job.pk}", returncode=INTERRUPTED)


def _resumed(job_id: UUID) -> Code2AsinJob:
    job = Code2AsinJob.objects.filter(pk=job_id).first()
    if job is None:
        raise CommandError(f"There is no job {job_id}.")
    try:
        lifecycle.control(job, "resume")
    except IllegalMove as error:
        raise CommandError(str(error)) from None
    return job


def _counts(job: Code2AsinJob) -> str:
    return f"{job.matched:,} matched, {job.ambiguous:,} ambiguous, {job.unmatched:,} unmatched"


def _threshold(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value
