"""Liveness and readiness. Reasons are short, for the addresses are public; the log has the details."""

import logging
from collections.abc import Callable

from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu import Connection
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

OK = "ok"
BROKER_TIMEOUT = 2.0  # seconds
WORKER_TIMEOUT = 1.0  # seconds; the first answer ends the wait


class NotReadyError(Exception):
    """Something the product depends on is not reachable; the message is public."""


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers: 200 whatever the state of everything else, so that nobody restarts it in vain."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when database, broker and at least one worker are reachable, else 503 naming what is not and why."""
    results = {"database": outcome(check_database), "broker": outcome(check_broker)}
    results["worker"] = outcome(check_worker) if results["broker"] == OK else "not asked: the broker does not answer"
    ready = all(result == OK for result in results.values())
    body = {"status": "ok" if ready else "unavailable", "checks": results}
    response = JsonResponse(body, status=200 if ready else 503, headers={} if ready else {"Retry-After": "5"})
    # The checks log what they find. Django would add an error, and perhaps a mail, to every poll.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except NotReadyError as error:
        return str(error)
    return OK


def check_database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        logger.warning("Not ready: the database does not answer: %s", error)
        raise NotReadyError("the database does not answer") from error


def check_broker() -> None:
    with _broker() as broker:
        try:
            broker.ensure_connection(max_retries=1, timeout=BROKER_TIMEOUT)
        except (OperationalError, *broker.connection_errors) as error:
            logger.warning("Not ready: the broker does not answer: %s", error)
            raise NotReadyError("the broker does not answer") from error


def check_worker() -> None:
    """A ping is answered by the worker's main process, so workers busy with long tasks count as reachable."""
    with _broker() as broker:
        inspect = current_app.control.inspect(connection=broker, timeout=WORKER_TIMEOUT, limit=1)
        try:
            answers = inspect.ping()
        except (OperationalError, *broker.connection_errors, *broker.channel_errors) as error:
            raise NotReadyError("the broker does not answer") from error
    if not answers:
        raise NotReadyError(f"no worker answered within {WORKER_TIMEOUT:g} s")


def _broker() -> Connection:
    """A connection of its own, with short timeouts; the pool's wait for ever."""
    timeouts = {"socket_timeout": BROKER_TIMEOUT, "socket_connect_timeout": BROKER_TIMEOUT}
    return Connection(
        settings.CELERY_BROKER_URL,
        connect_timeout=BROKER_TIMEOUT,
        transport_options={**settings.CELERY_BROKER_TRANSPORT_OPTIONS, **timeouts},
    )
