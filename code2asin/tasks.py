"""The doorbell of matching jobs."""

from celery import shared_task

from code2asin.models import Code2AsinJob
from code2asin.processing import Matching
from pim.jobs import runner


@shared_task(name="code2asin.tasks.run", ignore_result=True)
def run(job_id: str) -> None:
    """Work on a matching job for one slice; safe to run twice, late or never."""
    runner.run_slice(Code2AsinJob, job_id, Matching().step)
