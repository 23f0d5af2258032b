"""The product's frame: settings, wiring, and the ground the domains share."""

from pim.celery import app as celery_app

__all__ = ["celery_app"]
