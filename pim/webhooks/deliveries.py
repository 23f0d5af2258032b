"""Send messages: a delivery is claimed in its row, sent, and its row says what came of it. Rules: docs/webhooks.md."""

import json
import logging
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import requests
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from pim.jobs import backoff, runner
from pim.jobs.errors import RetryableError
from pim.net import CONNECT_TIMEOUT_S, failure_text, http_session, read_start
from pim.webhooks.events import new_message
from pim.webhooks.models import PING, WebhookDelivery, WebhookEndpoint
from pim.webhooks.signing import callback_secrets, endpoint_secrets, signature

logger = logging.getLogger(__name__)

USER_AGENT = "pim-webhooks/1.0"
ANSWER_TIMEOUT_S = 10.0  # for the status line and headers, and then again for the part of the body that is kept
KEPT_BYTES = 2048
LEASE = timedelta(minutes=2)  # longer than an attempt can take; after it the attempt counts as lost
MAX_RETRY_AFTER_S = 24 * 3600
GONE = 410

Status = WebhookDelivery.Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. status_code: None when no answer came. retry_after: seconds the receiver asked for."""

    status_code: int | None = None
    duration_ms: int | None = None
    error: str = ""
    response: str = ""
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300


def deliver(delivery_id: UUID | str) -> None:
    """Make one attempt if it is due and nobody else makes it; safe to call twice, late or never."""
    due = WebhookDelivery.objects.filter(pk=delivery_id, status=Status.PENDING, next_attempt_at__lte=Now())
    if due.update(attempts=F("attempts") + 1, attempted_at=Now(), next_attempt_at=Now() + LEASE):
        _attempt(WebhookDelivery.objects.filter(pk=delivery_id))


def ping(endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Send a test message now, once, even to an endpoint that is switched off; the delivery says what came of it."""
    delivery = WebhookDelivery.objects.create(
        **new_message(PING, {"webhook_id": endpoint.pk}),
        endpoint=endpoint,
        attempts=1,
        attempted_at=Now(),
        next_attempt_at=Now() + LEASE,
    )
    _attempt(WebhookDelivery.objects.filter(pk=delivery.pk))
    return WebhookDelivery.objects.get(pk=delivery.pk)


def resend(delivery_id: UUID) -> bool:
    """Start a finished delivery anew, under the same message id; False when it is not finished or does not exist."""
    finished = WebhookDelivery.objects.filter(pk=delivery_id).exclude(status=Status.PENDING).exclude(event=PING)
    with transaction.atomic():
        if not finished.update(status=Status.PENDING, attempts=0, next_attempt_at=Now(), error=""):
            return False
        runner.ring(WebhookDelivery, delivery_id)
        return True


def delete_endpoint(endpoint_id: UUID) -> None:
    """Remove an endpoint with its log; what it was still to be sent is not sent."""
    with transaction.atomic():
        # The lock first: an event that is being told either gets in before and is deleted too, or does not see it.
        for endpoint in WebhookEndpoint.objects.select_for_update().filter(pk=endpoint_id):
            endpoint.delete()


def sweep(*, limit: int = 200) -> int:
    """Ring for deliveries that are due: retries, lost messages, dead workers. Returns their number."""
    due = WebhookDelivery.objects.filter(status=Status.PENDING, next_attempt_at__lte=Now())
    ids = list(due.order_by("next_attempt_at", "id").values_list("pk", flat=True)[:limit])
    for delivery_id in ids:
        runner.ring(WebhookDelivery, delivery_id)
    return len(ids)


def _attempt(claimed: QuerySet[WebhookDelivery]) -> None:
    delivery = claimed.select_related("endpoint").first()
    if delivery is None:  # deleted meanwhile
        return
    endpoint = delivery.endpoint
    allowed = 1 if delivery.event == PING else 1 + backoff.MAX_RETRIES
    if delivery.attempts > allowed:
        outcome, retry = Outcome(error=_("The last attempt was lost: its worker died.")), False
    elif endpoint is not None and not endpoint.is_active and delivery.event != PING:
        outcome, retry = Outcome(error=_("The webhook is switched off.")), False
    else:
        outcome = _send(delivery)
        retry = delivery.attempts < allowed and outcome.status_code != GONE
    _finish(delivery, outcome, retry=retry)


def _send(delivery: WebhookDelivery) -> Outcome:
    endpoint = delivery.endpoint
    url = delivery.callback_url if endpoint is None else endpoint.url
    secrets = callback_secrets(url) if endpoint is None else endpoint_secrets(endpoint)
    body = json.dumps(delivery.payload, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(message_id=delivery.message_id, timestamp=timestamp, body=body, secrets=secrets),
    }
    began = time.monotonic()
    with http_session(user_agent=USER_AGENT, guarded=True) as session:
        try:
            answer = session.post(
                url, data=body, headers=headers, timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S), stream=True
            )
        except requests.RequestException as error:
            return Outcome(duration_ms=_since(began), error=failure_text(error))
        duration_ms = _since(began)
        start = read_start(answer, max_bytes=KEPT_BYTES, deadline_s=ANSWER_TIMEOUT_S)
    outcome = Outcome(
        status_code=answer.status_code,
        duration_ms=duration_ms,
        response=start.decode("utf-8", "replace").replace("\x00", "\ufffd"),
        retry_after=_retry_after(answer),
    )
    if outcome.delivered:
        return outcome
    return replace(outcome, error=_("The receiver answered %(status)d.") % {"status": answer.status_code})


def _finish(delivery: WebhookDelivery, outcome: Outcome, *, retry: bool) -> None:
    """Write the outcome down, unless the attempt counts as lost and another one has begun."""
    changes: dict[str, Any] = {
        "status_code": outcome.status_code,
        "duration_ms": outcome.duration_ms,
        "error": outcome.error,
        "response": outcome.response,
    }
    wait = None
    if outcome.delivered:
        changes |= {"status": Status.DELIVERED, "next_attempt_at": None}
    else:
        failure = RetryableError(outcome.error, category="network", retry_after=outcome.retry_after)
        wait = backoff.delay(failure, attempt=delivery.attempts - 1) if retry else None
        changes |= {"next_attempt_at": Now() + wait} if wait else {"status": Status.FAILED, "next_attempt_at": None}
    with transaction.atomic():
        if outcome.status_code == GONE and delivery.endpoint is not None:  # before the delivery, as when deleting
            WebhookEndpoint.objects.filter(pk=delivery.endpoint.pk, url=delivery.endpoint.url).update(
                is_active=False, disabled_reason=_("The receiver answered 410 (gone)."), updated_at=Now()
            )
        WebhookDelivery.objects.filter(
            pk=delivery.pk, status=Status.PENDING, attempted_at=delivery.attempted_at
        ).update(**changes)
    level = logging.INFO if outcome.delivered else logging.WARNING
    what = "delivered" if outcome.delivered else f"retry in {wait}" if wait else "failed"
    logger.log(level, "webhook delivery %s, attempt %d: %s %s", delivery.pk, delivery.attempts, what, outcome.error)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _retry_after(answer: requests.Response) -> float | None:
    """Seconds; the other form, a date, depends on two clocks and is left aside."""
    text = answer.headers.get("Retry-After", "").strip()
    return min(int(text), MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() and len(text) < 10 else None
