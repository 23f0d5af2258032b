"""Import jobs in tests: made from text or bytes, worked on in the test's process."""

import io
from typing import Any

from imports import lifecycle, undo
from imports.models import ImportJob, ImportLog, ImportUndo
from imports.pipeline import Pipeline
from pim.jobs import runner


def start(content: str | bytes, *, name: str = "feed.csv", supplier: str = "ACME", **options: Any) -> ImportJob:
    data = content.encode() if isinstance(content, str) else content
    return lifecycle.create_import(
        file=io.BytesIO(data), file_name=name, supplier_code=supplier, created_by="test", **options
    )


def work(job: ImportJob) -> ImportJob:
    with Pipeline() as pipeline:
        runner.run_slice(ImportJob, job.pk, pipeline.step)
    job.refresh_from_db()
    return job


def import_file(content: str | bytes, **options: Any) -> ImportJob:
    return work(start(content, **options))


def take_back(job: ImportJob) -> ImportUndo:
    """Undo the import, to the end."""
    lifecycle.undo(job, requested_by="boss")
    found = ImportUndo.objects.get(job=job)
    runner.run_slice(ImportUndo, found.pk, undo.step)
    found.refresh_from_db()
    return found


def counts(job: ImportJob) -> tuple[int | None, int, int, int, int]:
    """Rows, created, updated, unchanged, refused."""
    return job.total_rows, job.products_created, job.products_updated, job.products_unchanged, job.failed_rows


def problems(job: ImportJob, level: str = "error") -> list[tuple[int | None, str | None, str | None]]:
    lines = ImportLog.objects.filter(job=job, level=level, row_number__isnull=False).order_by("row_number", "id")
    return list(lines.values_list("row_number", "field", "value"))
