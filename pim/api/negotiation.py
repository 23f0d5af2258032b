"""Content negotiation that does not stand in the way of JSON."""

from collections.abc import Iterable

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class JsonFirstNegotiation(DefaultContentNegotiation):
    """A view with one renderer uses it whatever `Accept` says, and `?format=` then belongs to the view."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        choices = list(renderers)
        if len(choices) == 1:
            return choices[0], choices[0].media_type
        chosen: tuple[BaseRenderer, str] = super().select_renderer(request, choices, format_suffix)
        return chosen
