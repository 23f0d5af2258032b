"""`manage.py import_file`: the import job from the command line."""

import getpass
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import BaseCommand, CommandError

from imports import lifecycle
from imports.models import ImportJob, ImportLog
from imports.pipeline import Pipeline
from pim.jobs import runner
from pim.jobs.progress import ProgressLine
from pim.jobs.states import TERMINAL, Status

SHOWN_ERRORS = 20


class Command(BaseCommand):
    help = "Import a supplier's file. Exit status: 0 no row failed, 1 some rows failed, 2 the job failed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path)
        parser.add_argument("--supplier", required=True, metavar="CODE", help="created when unknown")
        parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
        parser.add_argument("--encoding", default="")
        parser.add_argument("--delimiter", default="")

    def handle(self, *args: Any, path: Path, **options: Any) -> None:
        try:
            with path.open("rb") as file:
                job = lifecycle.create_import(
                    file=File(file, name=path.name),
                    file_name=path.name,
                    supplier_code=options["supplier"],
                    dry_run=options["dry_run"],
                    encoding=options["encoding"],
                    delimiter=options["delimiter"],
                    created_by=f"{getpass.getuser()} (command line)",
                )
        except (OSError, lifecycle.UnknownFileType) as error:
            raise CommandError(str(error), returncode=2) from error
        try:
            self._run(job)
        except KeyboardInterrupt:
            lifecycle.control(job, "pause")
            raise CommandError(f"Paused. POST /api/v1/imports/jobs/{job.pk}/resume goes on.", returncode=2) from None
        self._summarise(job)

    def _run(self, job: ImportJob) -> None:
        """Work on the job here; when a worker was quicker to take it, watch it."""
        progress = ProgressLine()
        while job.status not in TERMINAL | {Status.READY, Status.PAUSED}:
            with Pipeline() as pipeline:

                def step(current: ImportJob, lease: runner.Lease, pipeline: Pipeline = pipeline) -> None:
                    pipeline.step(current, lease)
                    progress.show(current.cursor, current.total_rows, current.status)

                runner.run_slice(ImportJob, job.pk, step)
            job.refresh_from_db()
            progress.show(job.cursor, job.total_rows, job.status, last=job.status in TERMINAL)
            if job.status not in TERMINAL:
                time.sleep(0.1)

    def _summarise(self, job: ImportJob) -> None:
        if job.status == Status.FAILED:
            raise CommandError(f"The import failed: {job.error_summary}", returncode=2)
        verb = "would be " if job.status == Status.READY else ""
        self.stdout.write(
            f"{job.total_rows} rows: {verb}created {job.products_created}, updated {job.products_updated}, "
            f"unchanged {job.products_unchanged}, refused {job.failed_rows}; warnings {job.warnings}"
        )
        errors = ImportLog.objects.filter(job=job, level=ImportLog.Level.ERROR).order_by("row_number", "id")
        for line in errors[:SHOWN_ERRORS]:
            self.stdout.write(f"  row {line.row_number}, {line.field}: {line.message} [{line.value or ''}]")
        if job.failed_rows > SHOWN_ERRORS:
            self.stdout.write(f"  … all of them: GET /api/v1/imports/jobs/{job.pk}/logs?level=error")
        if job.failed_rows:
            raise SystemExit(1)
