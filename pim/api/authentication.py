"""The back office's signed-in staff may call the API as well, for instance from its browsable documentation."""

from typing import Any

from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request


class StaffSessionAuthentication(SessionAuthentication):
    """Session and CSRF token of an active staff member; anyone else counts as not signed in."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        user = getattr(request._request, "user", None)
        if user is None or not (user.is_active and user.is_staff):
            return None
        self.enforce_csrf(request)
        return user, None
