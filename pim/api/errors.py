"""Every failure in one shape: `{detail, code, errors: [{field, code, message}], request_id}`.

`describe` says what an exception means to a client; a surface with a shape of its own registers it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg.errors
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import InterfaceError, OperationalError
from django.db.models import ProtectedError
from django.db.utils import IntegrityError
from django.http import Http404, HttpRequest, JsonResponse
from django.http.request import UnreadablePostError
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, AuthenticationFailed, ErrorDetail, NotAuthenticated
from rest_framework.exceptions import ValidationError as ValidationError
from rest_framework.response import Response

from pim.jobs.states import IllegalMove

# Seconds after which a client may try again when the database is away.
UNAVAILABLE_RETRY_AFTER = 5


@dataclass(frozen=True, slots=True)
class FieldError:
    """field: path in the request such as `products[3].price`; None when the request as a whole is meant."""

    field: str | None
    code: str
    message: str

    def as_json(self) -> dict[str, str | None]:
        return {"field": self.field, "code": self.code, "message": self.message}


def field_error(field: str | None, message: str, code: str = "invalid") -> FieldError:
    return FieldError(field, code, message)


@dataclass(frozen=True, slots=True)
class ApiError:
    """What a client is told: the HTTP status, a stable code, a sentence, the fields at fault, extra headers."""

    status: int
    code: str
    detail: str
    errors: list[FieldError] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_fields(cls, errors: list[FieldError]) -> "ApiError":
        first = errors[0]
        detail = f"{first.field}: {first.message}" if first.field else first.message
        if len(errors) > 1:
            detail = _("%(first)s (and %(count)d more)") % {"first": detail, "count": len(errors) - 1}
        return cls(422, "validation_error", detail, errors)


# What makes the body of an error answer. The request is Django's or DRF's.
ErrorShape = Callable[[Any, ApiError], dict[str, Any]]

_shapes: dict[str, ErrorShape] = {}


def register_error_shape(prefix: str, shape: ErrorShape) -> None:
    """Errors of every address at or below `prefix`, whoever raises them, have the body that `shape` makes."""
    _shapes[prefix] = shape


class Conflict(APIException):
    """The request is well-formed but the state of what it addresses does not allow it. field: the one at fault."""

    status_code = 409
    default_code = "conflict"

    def __init__(self, detail: str, code: str | None = None, *, field: str | None = None) -> None:
        super().__init__(detail, code)
        self.field = field


def invalid(field: str, message: str, code: str = "invalid") -> ValidationError:
    """The exception for one field at fault; `field` may be a path."""
    return ValidationError({field: [ErrorDetail(message, code)]})


def invalid_fields(errors: Iterable[FieldError]) -> ValidationError:
    """The exception for several fields at fault."""
    detail: dict[str, list[ErrorDetail]] = {}
    for error in errors:
        detail.setdefault(error.field or "non_field_errors", []).append(ErrorDetail(error.message, error.code))
    return ValidationError(detail)


def status_error(status: int) -> ApiError:
    """The error for a bare HTTP status."""
    code, detail = {
        400: ("malformed_request", _("The request is malformed.")),
        401: ("not_authenticated", _("A valid API key is required.")),
        403: ("permission_denied", _("You are not allowed to do this.")),
        404: ("not_found", _("Not found.")),
        405: ("method_not_allowed", _("This address does not support the method.")),
        413: ("payload_too_large", _("The request body is too large.")),
        500: ("internal_error", _("An unexpected error occurred.")),
        503: ("unavailable", _("The database cannot be reached at the moment; try again.")),
    }.get(status, ("error", _("The request failed.")))
    headers = {"Retry-After": str(UNAVAILABLE_RETRY_AFTER)} if status == 503 else {}
    return ApiError(status, code, detail, headers=headers)


def describe(exception: Exception) -> ApiError | None:
    """What an exception means to a client; None when it is unexpected."""
    match exception:
        case ValidationError():
            return ApiError.of_fields(list(flatten(exception.detail)))
        case DjangoValidationError():
            return ApiError.of_fields(list(_flatten_django(exception)))
        case NotAuthenticated() | AuthenticationFailed():
            error = status_error(exception.status_code)  # the same words for every reason: say nothing to a guesser
            if header := getattr(exception, "auth_header", None):
                error.headers["WWW-Authenticate"] = header
            return error
        case APIException():
            error = ApiError(exception.status_code, _code(exception.get_codes()), str(exception.detail))
            if field := getattr(exception, "field", None):  # of Conflict
                error.errors.append(FieldError(field, error.code, error.detail))
            if wait := getattr(exception, "wait", None):  # of Throttled, in seconds
                error.headers["Retry-After"] = str(math.ceil(wait))
            return error
        case IllegalMove():
            return ApiError(409, "illegal_state", str(exception))
        case Http404():
            return status_error(404)
        case PermissionDenied():
            return status_error(403)
        case RequestDataTooBig():
            return status_error(413)
        case SuspiciousOperation() | UnreadablePostError():
            return status_error(400)
        case ProtectedError():
            return ApiError(409, "in_use", _("Other records still use this one."))
        case IntegrityError(__cause__=psycopg.errors.UniqueViolation()):
            return ApiError(409, "duplicate", _("A record with the same key exists already."))
        case IntegrityError(__cause__=psycopg.errors.ForeignKeyViolation()):
            return ApiError(409, "conflict", _("A record this request names was removed, or is still in use."))
        case OperationalError() | InterfaceError():
            return status_error(503)
    return None


def exception_handler(exception: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's hook: the answer to an exception raised in a view; None lets an unexpected one become a logged 500."""
    error = describe(exception)
    if error is None:
        return None
    return Response(_body(context["request"], error), status=error.status, headers=error.headers)


def error_response(request: HttpRequest, error: ApiError) -> JsonResponse:
    """The same answer outside of DRF."""
    return JsonResponse(_body(request, error), status=error.status, headers=error.headers)


def _body(request: Any, error: ApiError) -> dict[str, Any]:
    for prefix, shape in _shapes.items():
        if f"{request.path}/".startswith(f"{prefix}/"):
            return shape(request, error)
    return {
        "detail": error.detail,
        "code": error.code,
        "errors": [one.as_json() for one in error.errors],
        "request_id": request.headers.get("X-Request-Id"),
    }


def flatten(detail: Any, path: str = "") -> Iterator[FieldError]:
    """DRF's nested error detail as a flat list with the path of each field."""
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            if key == "non_field_errors":
                yield from flatten(value, path)
            elif isinstance(key, int):
                yield from flatten(value, f"{path}[{key}]")
            else:
                yield from flatten(value, f"{path}.{key}" if path else key)
    elif isinstance(detail, list | tuple):
        for index, item in enumerate(detail):
            # messages of one field stand in a list as well as the items of a list field
            yield from flatten(item, path if isinstance(item, str) else f"{path}[{index}]")
    else:
        yield FieldError(path or None, getattr(detail, "code", "invalid"), str(detail))


def _flatten_django(exception: DjangoValidationError) -> Iterator[FieldError]:
    if hasattr(exception, "error_dict"):
        for name, errors in exception.error_dict.items():
            for error in errors:
                for message in error.messages:
                    yield FieldError(None if name == "__all__" else name, error.code or "invalid", message)
    else:
        for error in exception.error_list:
            for message in error.messages:
                yield FieldError(None, error.code or "invalid", message)


def _code(codes: Any) -> str:
    known = {"parse_error": "malformed_request"}
    return known.get(codes, codes) if isinstance(codes, str) else "error"
