"""The doorbell of import jobs."""

from celery import shared_task

from imports.models import ImportJob
from imports.pipeline import Pipeline
from pim.jobs import runner


@shared_task(ignore_result=True)
def run(job_id: str) -> None:
    """Work on an import job for one slice; safe to run twice, late or never."""
    with Pipeline() as pipeline:
        runner.run_slice(ImportJob, job_id, pipeline.step)
