"""The periodic sweep that wakes due jobs."""

from celery import shared_task

from pim.jobs import runner


@shared_task(ignore_result=True)
def sweep() -> None:
    runner.sweep()
