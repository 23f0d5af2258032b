"""Scopes: what a key was given, or what a staff member's permissions amount to."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

# Scope -> the Django permissions a signed-in staff member needs for the same thing.
STAFF_PERMISSIONS = {
    "ext:products:read": ("catalog.view_product",),
    "ext:products:write": ("catalog.add_product", "catalog.change_product"),
    "READ_CODE2ASIN": ("code2asin.view_code2asinjob",),
    "WRITE_CODE2ASIN": ("code2asin.add_code2asinjob", "code2asin.change_code2asinjob"),
    "DELETE_CODE2ASIN": ("code2asin.delete_code2asinjob",),
    "products:read": ("catalog.view_product",),
    "products:write": ("catalog.add_product", "catalog.change_product"),
    "products:delete": ("catalog.delete_product",),
    "imports:read": ("imports.view_importjob",),
    "imports:write": ("imports.add_importjob", "imports.change_importjob"),
}


class HasScope(BasePermission):
    """Allows a caller that has one of the scopes in the view's `required_scopes`.

    `required_scopes` maps the action of a viewset, or the method of a plain view, to scopes any one of which suffices.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user:
            return False
        if getattr(view, "action", None) == "metadata" or request.method == "OPTIONS":
            return True  # describes the view, does nothing
        if request.method not in view.allowed_methods:
            return True  # ends as 405
        return any(_has(request, scope) for scope in required_scopes(view, str(request.method)))


def required_scopes(view: Any, method: str) -> tuple[str, ...]:
    """The scopes any one of which a call needs; raises ImproperlyConfigured when the view does not say."""
    scopes: Mapping[str, tuple[str, ...]] = getattr(view, "required_scopes", {})
    operation = getattr(view, "action", None) or ("GET" if method == "HEAD" else method)
    if operation not in scopes:
        raise ImproperlyConfigured(f"{type(view).__name__}.required_scopes does not name {operation!r}.")
    return scopes[operation]


def granted_scopes(request: Request) -> list[str]:
    """Every scope of the caller."""
    return [scope for scope in STAFF_PERMISSIONS if _has(request, scope)]


def _has(request: Request, scope: str) -> bool:
    key: Any = request.auth
    if key is not None:
        return scope in key.scopes
    return bool(request.user.has_perms(STAFF_PERMISSIONS[scope]))
