"""Request bodies: what an endpoint does not know is ignored and said, so a typo is visible."""

from collections.abc import Collection, Iterable
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.request import Request

from pim.api.errors import ValidationError


def json_object(request: Request) -> dict[str, Any]:
    """The body as an object; raises ValidationError when it is another kind of JSON value."""
    if not isinstance(request.data, dict):
        raise ValidationError(_("The body must be a JSON object."))
    return request.data


def ignored(names: Iterable[str], known: Collection[str]) -> list[str]:
    """One warning for each name that is not known."""
    return [_("Unknown, ignored: %(name)s") % {"name": name} for name in names if name not in known]
