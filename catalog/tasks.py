"""Background work of the catalogue."""

from celery import shared_task

from catalog import changes


@shared_task(ignore_result=True)
def stamp_changes() -> None:
    """Stamp what nobody has read yet, so that readers of the change feed find little to do."""
    changes.drain()
