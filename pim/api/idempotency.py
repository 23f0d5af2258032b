"""`Idempotency-Key` on POST: a request that comes again, because its answer was lost, is answered and not repeated.

The work and its answer are committed together, so a process that dies in between leaves neither, and the repetition
does the work. Refused requests leave nothing either.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from hashlib import sha256
from typing import Any, Final

from django.db import connection, transaction
from django.db.models.functions import Now
from django.http import HttpResponse
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from pim.api.errors import Conflict, invalid
from pim.api.models import IdempotentAnswer

HEADER: Final = "Idempotency-Key"
LIFETIME: Final = timedelta(hours=24)

# Expired answers removed by each new one: more than one, so that a backlog shrinks, and few enough not to be felt.
_SWEPT: Final = 20
_KEPT_HEADERS: Final = ("ETag", "Location")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Handler = Callable[..., Response | HttpResponse]


class StillRunning(APIException):
    """The first request with this key has not been answered yet."""

    status_code = 409
    default_code = "in_progress"
    wait = 1  # second, for Retry-After

    def __init__(self) -> None:
        super().__init__(_("A request with this Idempotency-Key is being processed; try again."))


def idempotent(handler: Handler) -> Handler:
    """Make a method of a view that handles POST honour the header. The schema describes it by this mark."""

    @wraps(handler)
    def answer(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response | HttpResponse:
        key = request.headers.get(HEADER)
        if key is None:
            return handler(view, request, *args, **kwargs)
        if not _KEY.fullmatch(key):
            raise invalid(HEADER, _("Must have 1 to 255 visible ASCII characters."))
        fingerprint = _fingerprint(request)
        caller = _caller(request)
        with transaction.atomic():
            if not _lock(caller, key):
                raise StillRunning
            fresh = IdempotentAnswer.objects.filter(created_at__gt=Now() - LIFETIME)
            stored = fresh.filter(caller=caller, key=key).first()
            if stored is None:
                response = handler(view, request, *args, **kwargs)
                if response.status_code < 400:
                    _store(caller, key, fingerprint, response)
                return response
        if stored.fingerprint != fingerprint:
            message = _("This Idempotency-Key was used for another request; use a new one for each.")
            raise Conflict(message, "idempotency_key_reused", field=HEADER)
        headers = {**stored.headers, "Idempotency-Replayed": "true"}
        return HttpResponse(stored.body, "application/json", stored.status, headers=headers)

    answer.idempotent = True  # type: ignore[attr-defined]
    return answer


def _caller(request: Request) -> str:
    key: Any = request.auth
    return f"key:{key.pk}" if key is not None else f"user:{request.user.pk}"


def _fingerprint(request: Request) -> str:
    """Of what is asked: address and body. Files count by their content, read once more for it."""
    digest = sha256(f"{request.method} {request.get_full_path()}\n".encode())
    if (request.content_type or "").startswith("multipart/"):
        form: Any = request.data
        for name, values in sorted(form.lists()):
            digest.update(f"{name}\n{[value for value in values if isinstance(value, str)]}\n".encode())
        for name, file in sorted(request.FILES.items()):
            content = sha256()
            for chunk in file.chunks():
                content.update(chunk)
            file.seek(0)
            digest.update(f"{name} {file.name} {content.hexdigest()}\n".encode())
    else:
        digest.update(request._request.body)
    return digest.hexdigest()


def _lock(caller: str, key: str) -> bool:
    """Until the end of the transaction; False when another request holds the key."""
    number = int.from_bytes(sha256(f"{caller} {key}".encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def _store(caller: str, key: str, fingerprint: str, response: Response | HttpResponse) -> None:
    expired = IdempotentAnswer.objects.filter(created_at__lte=Now() - LIFETIME)
    expired.filter(caller=caller, key=key).delete()
    swept = expired.order_by("created_at").select_for_update(skip_locked=True).values_list("pk", flat=True)[:_SWEPT]
    IdempotentAnswer.objects.filter(pk__in=list(swept)).delete()
    content = JSONRenderer().render(response.data) if isinstance(response, Response) else response.content
    IdempotentAnswer.objects.create(
        caller=caller,
        key=key,
        fingerprint=fingerprint,
        status=response.status_code,
        headers={name: response[name] for name in _KEPT_HEADERS if name in response},
        body=content.decode(),
    )
