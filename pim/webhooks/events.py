"""Tell the world: messages are rows written in the transaction of what they tell about, and sent after it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from pim.ids import uuid7
from pim.jobs import runner
from pim.webhooks.models import Event, WebhookDelivery


def emit(event: Event, data: Mapping[str, Any], *, callback_url: str = "") -> None:
    """Tell every active endpoint that wants `event`, and the callback URL if there is one.

    Call it inside the transaction that makes the event true: both happen or neither. data: what JSON can hold, and
    also UUIDs, times and decimals. callback_url: vetted with `public_url` when it was entered.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("emit() belongs into the transaction of what it tells about")
    receivers: list[dict[str, Any]] = [{"endpoint_id": endpoint} for endpoint in _endpoints(event)]
    if callback_url:
        receivers.append({"callback_url": callback_url})
    message = new_message(event, data)
    deliveries = WebhookDelivery.objects.bulk_create(WebhookDelivery(**message, **receiver) for receiver in receivers)
    for delivery in deliveries:
        runner.ring(WebhookDelivery, delivery.pk)


def new_message(event: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that are the same for every receiver of an event."""
    return {
        "event": event,
        "message_id": f"msg_{uuid7().hex}",
        "payload": {"type": event, "timestamp": timezone.now(), "data": dict(data)},
    }


def _endpoints(event: Event) -> list[UUID]:
    """Locked against deletion (which Django cannot say), so that no foreign key fails when the caller commits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM webhooks_webhookendpoint"
            " WHERE is_active AND (events = '{}' OR %s = ANY(events)) ORDER BY id FOR KEY SHARE",
            [event],
        )
        return [row[0] for row in cursor]
