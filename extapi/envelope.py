"""The envelope around every answer of the external API: `{success, data, meta, errors}`."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from django.http import HttpResponse
from rest_framework.utils.encoders import JSONEncoder

from pim.api.errors import ApiError, FieldError

# Of an error that has no `since` to repeat: a client that carries on from here repeats, and loses nothing.
BEGINNING: Final = "1970-01-01T00:00:00Z"


def success(
    data: str,
    *,
    updated_at: str,
    total: int = 1,
    page: int = 1,
    page_size: int = 1,
    status: int = 200,
    errors: list[str] | None = None,
    warnings: list[str] | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """data: JSON text, handed on as the database wrote it. updated_at: where a synchronisation may carry on.

    errors: of the items of a batch. warnings: what was ignored or looks wrong; the key is there only if something is.
    """
    meta = {"total": total, "page": page, "page_size": page_size, "updated_at": updated_at}
    rest = f'"meta": {as_json(meta)}, "errors": {as_json(errors or [])}'
    if warnings:
        rest += f', "warnings": {as_json(warnings)}'
    return HttpResponse(f'{{"success": true, "data": {data}, {rest}}}', "application/json", status, headers=headers)


def error_body(request: Any, error: ApiError) -> dict[str, Any]:
    """The envelope of a failure; `meta.updated_at` repeats what the client asked from, so its next request does too."""
    details = error.errors or [FieldError(None, error.code, error.detail)]
    asked_from = request.GET.get("since", request.GET.get("updated_since", BEGINNING))
    return {
        "success": False,
        "data": None,
        "meta": {"total": 0, "page": 1, "page_size": 0, "updated_at": asked_from},
        "errors": sentences(error.errors) or [error.detail],
        "error_details": [detail.as_json() for detail in details],
        "request_id": request.headers.get("X-Request-Id"),
    }


def sentences(errors: list[FieldError]) -> list[str]:
    """Each error as one sentence that names its field."""
    return [f"{error.field}: {error.message}" if error.field else error.message for error in errors]


def as_json(data: Any) -> str:
    return json.dumps(data, cls=JSONEncoder, ensure_ascii=False)


def timestamp(moment: datetime) -> str:
    """In UTC; with all six digits of the second's fraction unless they are zero."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
