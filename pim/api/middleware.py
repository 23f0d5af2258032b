"""What every request to the API gets whatever happens to it: a request id, errors in the API's shape, rate headers."""

import re
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.views import defaults

from pim.api.errors import ApiError, error_response, field_error, status_error
from pim.api.throttling import add_rate_headers

API_PREFIXES = ("/api/", "/code2asin/")
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")

GetResponse = Callable[[HttpRequest], HttpResponseBase]


class RequestIdMiddleware:
    """Answers with `X-Request-Id`: the client's when it is well-formed, else a new one. Later code reads the header."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        request.META["HTTP_X_REQUEST_ID"] = request_id
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler400`: what is refused before ApiErrorMiddleware sees it, such as an unknown host name."""
    if request.path.startswith(API_PREFIXES):
        return error_response(request, status_error(400))
    return defaults.bad_request(request, exception)


class ApiErrorMiddleware:
    """Gives the API's shape to what Django answers in HTML: unknown address, unexpected failure, refused request.

    Routes are declared without a trailing slash; one that is sent is dropped here, so nothing ever redirects.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(API_PREFIXES):
            return self.get_response(request)
        for name, values in request.GET.lists():
            if any("\x00" in text for text in (name, *values)):
                message = _("The NUL character is not allowed.")
                return error_response(request, ApiError.of_fields([field_error(name.replace("\x00", ""), message)]))
        request.path_info = request.path_info.removesuffix("/")
        response = self.get_response(request)
        if response.status_code >= 400 and not response.get("Content-Type", "").startswith("application/json"):
            response = error_response(request, status_error(response.status_code))
        add_rate_headers(request, response)
        return response
