"""The doorbells of deliveries, and the sweep that rings for those that are due."""

from celery import shared_task

from pim.webhooks import deliveries


@shared_task(ignore_result=True)
def deliver(delivery_id: str) -> None:
    """Make one attempt; safe to run twice, late or never."""
    deliveries.deliver(delivery_id)


@shared_task(ignore_result=True)
def sweep() -> None:
    deliveries.sweep()
