"""`manage.py import_file`: the import job from the command line."""

import getpass
import json
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import BaseCommand, CommandError
from django.db.models import TextChoices

from imports import lifecycle
from imports.models import ImportJob, ImportLog
from imports.pipeline import Pipeline
from imports.serializers import check_digits
from pim.jobs import runner
from pim.jobs.progress import ProgressLine
from pim.jobs.states import TERMINAL, Status

SHOWN_ERRORS = 20
TEXTS = {
    "encoding": "such as utf-8 or cp1252",
    "delimiter": "of a CSV file",
    "sheet": "of an XLSX file",
    "record_path": "where the records of a JSON or XML file are",
}
CHOICES: dict[str, type[TextChoices]] = {
    "ean_check": ImportJob.EanCheck,
    "empty_cells": ImportJob.EmptyCells,
    "decimal_mark": ImportJob.DecimalMark,
    "missing": ImportJob.Missing,
}


class Command(BaseCommand):
    help = "Import a supplier's file. Exit status: 0 no row failed, 1 some rows failed, 2 the job failed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path)
        parser.add_argument("--supplier", required=True, metavar="CODE", help="created when unknown")
        parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
        for name, text in TEXTS.items():
            parser.add_argument(f"--{name.replace('_', '-')}", default=None, help=text)
        for name, choices in CHOICES.items():
            parser.add_argument(f"--{name.replace('_', '-')}", default=None, choices=choices.values)
        parser.add_argument("--max-missing-percent", type=int, default=None, choices=range(101), metavar="PERCENT")
        for name in ("mapping", "constants", "defaults"):
            parser.add_argument(f"--{name}", type=json.loads, default=None, help="JSON object", metavar="JSON")
        parser.add_argument("--save-mapping", action="store_true", help="use the mapping for the supplier's next files")

    def handle(self, *args: Any, path: Path, **options: Any) -> None:
        names = (*TEXTS, *CHOICES, "max_missing_percent", "mapping", "constants", "defaults")
        given: Any = {name: options[name] for name in names if options[name] is not None}
        try:
            with path.open("rb") as file:
                job = lifecycle.create_import(
                    file=File(file, name=path.name),
                    file_name=path.name,
                    supplier_code=options["supplier"],
                    dry_run=options["dry_run"],
                    save_mapping=options["save_mapping"],
                    created_by=f"{getpass.getuser()} (command line)",
                    **given,
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
        if job.missing != ImportJob.Missing.IGNORE:
            self.stdout.write(f"missing from the file: {verb}{job.missing}d {job.products_deactivated} products")
        for length, codes in check_digits(job.check_digits).items():
            if codes["wrong"]:
                self.stdout.write(
                    f"{length}-digit codes: {codes['wrong']} of {codes['rows']} have a wrong check digit "
                    f"({codes['share']:.1%})"
                )
        errors = ImportLog.objects.filter(job=job, level=ImportLog.Level.ERROR).order_by("row_number", "id")
        for line in errors[:SHOWN_ERRORS]:
            self.stdout.write(f"  row {line.row_number}, {line.field}: {line.message} [{line.value or ''}]")
        if job.failed_rows > SHOWN_ERRORS:
            self.stdout.write(f"  … all of them: GET /api/v1/imports/jobs/{job.pk}/errors.csv")
        if job.failed_rows:
            raise SystemExit(1)
