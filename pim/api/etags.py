"""Entity tags of single resources: reads that need not answer again, and writes that must not overwrite unseen.

A tag is a hash of the whole representation, so that nothing which shows in it can change without changing the tag.
Tags are compared without their weakness mark: proxies that compress add it, and the hash stays as strong as it was.
"""

import json
from hashlib import blake2b
from typing import Any

from django.http import HttpRequest
from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder


class PreconditionFailed(APIException):
    """`If-Match` names another state of the resource than it has now."""

    status_code = 412
    default_code = "precondition_failed"

    def __init__(self) -> None:
        super().__init__(_("The resource has changed since you read it; read it again."))


def etag(representation: bytes) -> str:
    return f'"{blake2b(representation, digest_size=16).hexdigest()}"'


def etag_of(data: Any) -> str:
    """The tag of what a view is about to render as JSON."""
    return etag(json.dumps(data, cls=JSONEncoder).encode())


def is_known(request: HttpRequest | Request, tag: str) -> bool:
    """Whether the client has this state already, by `If-None-Match`: the answer is then 304."""
    return _names(request.headers.get("If-None-Match"), tag)


def is_conditional(request: HttpRequest | Request) -> bool:
    """Whether the client wants its change only if the resource is as it saw it."""
    return "If-Match" in request.headers


def require_match(request: HttpRequest | Request, tag: str) -> None:
    """Raises PreconditionFailed unless the resource, locked by the caller, is in a state that `If-Match` names."""
    if is_conditional(request) and not _names(request.headers["If-Match"], tag):
        raise PreconditionFailed


def _names(header: str | None, tag: str) -> bool:
    tags = parse_etags(header) if header else []
    return tags == ["*"] or tag in [one.removeprefix("W/") for one in tags]
