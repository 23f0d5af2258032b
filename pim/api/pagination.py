"""Pages of a list: `skip` and `limit`, or `page` and `per_page` (also `page_size`), refused when out of range."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from pim.api.errors import invalid

# Above it a number is a mistake, not a position.
MAX_SKIP = 2**31 - 1

_SIZE_NAMES = ("limit", "per_page", "page_size")
PAGE_PARAMETERS = frozenset({"skip", "page", *_SIZE_NAMES})

_WHOLE = re.compile(r"-?[0-9]{1,40}")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    skip: int
    limit: int

    @property
    def number(self) -> int:
        return self.skip // self.limit + 1

    def meta(self, total: int) -> dict[str, int | bool]:
        return {
            "total": total,
            "page": self.number,
            "per_page": self.limit,
            "total_pages": -(-total // self.limit),
            "has_next": self.skip + self.limit < total,
            "has_previous": self.skip > 0,
        }


def read_page(parameters: Mapping[str, str], *, default: int = 50, maximum: int = 500) -> Page:
    """The page that the query parameters ask for.

    Raises ValidationError for numbers out of range, and for parameters that contradict each other.
    """
    sizes = {
        name: read_int(parameters[name], name, minimum=1, maximum=maximum) for name in _SIZE_NAMES if name in parameters
    }
    if len(set(sizes.values())) > 1:
        raise invalid(list(sizes)[-1], _("Give one of limit, per_page and page_size."))
    limit = next(iter(sizes.values()), default)
    if "page" not in parameters:
        return Page(read_int(parameters.get("skip", "0"), "skip", minimum=0, maximum=MAX_SKIP), limit)
    if "skip" in parameters:
        raise invalid("page", _("Give skip or page, not both."))
    return Page((read_int(parameters["page"], "page", minimum=1, maximum=MAX_SKIP // limit) - 1) * limit, limit)


def read_int(text: str, name: str, *, minimum: int, maximum: int) -> int:
    """A whole number from a query parameter; raises ValidationError when it is none or out of range."""
    if not _WHOLE.fullmatch(text):
        raise invalid(name, _("Must be a whole number."))
    number = int(text)
    if not minimum <= number <= maximum:
        bounds = {"minimum": minimum, "maximum": maximum}
        raise invalid(name, _("Must be from %(minimum)d to %(maximum)d.") % bounds, "out_of_range")
    return number


class SkipLimitPagination(BasePagination):
    """`{items, meta}`. A view may set `default_limit` and `max_limit`."""

    page: Page
    total: int

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any]:
        self.page = read_page(request.query_params, default=_default(view), maximum=_maximum(view))
        self.total = queryset.count()
        return list(queryset[self.page.skip : self.page.skip + self.page.limit]) if self.page.skip < self.total else []

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"items": data, "meta": self.page.meta(self.total)})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        whole: dict[str, Any] = {"type": "integer", "minimum": 0}
        flag: dict[str, Any] = {"type": "boolean"}
        meta = dict.fromkeys(("total", "page", "per_page", "total_pages"), whole)
        meta |= dict.fromkeys(("has_next", "has_previous"), flag)
        return {
            "type": "object",
            "required": ["items", "meta"],
            "properties": {
                "items": schema,
                "meta": {"type": "object", "required": list(meta), "properties": meta},
            },
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        size = {"type": "integer", "minimum": 1, "maximum": _maximum(view), "default": _default(view)}
        return [
            _parameter(
                "skip", _("Items to skip."), {"type": "integer", "minimum": 0, "maximum": MAX_SKIP, "default": 0}
            ),
            _parameter("limit", _("Items per page."), size),
            _parameter("page", _("Page number from 1, instead of `skip`."), {"type": "integer", "minimum": 1}),
            *(_parameter(name, _("The same as `limit`."), size) for name in _SIZE_NAMES[1:]),
        ]


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _default(view: APIView | None) -> int:
    return getattr(view, "default_limit", 50)


def _maximum(view: APIView | None) -> int:
    return getattr(view, "max_limit", 500)
