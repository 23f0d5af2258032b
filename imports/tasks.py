"""The doorbells of import jobs and of their undoing. Safe to ring twice, late or never."""

from celery import shared_task

from imports import undo as undoing
from imports.models import ImportJob, ImportUndo
from imports.pipeline import Pipeline
from pim.jobs import runner


@shared_task(ignore_result=True)
def run(job_id: str) -> None:
    """Work on an import job for one slice."""
    with Pipeline() as pipeline:
        runner.run_slice(ImportJob, job_id, pipeline.step)


@shared_task(ignore_result=True)
def undo(undo_id: str) -> None:
    """Work on the undo of an import for one slice."""
    runner.run_slice(ImportUndo, undo_id, undoing.step)
