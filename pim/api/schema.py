"""The OpenAPI document: security schemes, required scopes, and the error answers every operation shares."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from pim.api.permissions import HasScope, required_scopes

_DESCRIPTIONS = {
    "400": "The request is malformed.",
    "401": "No valid API key.",
    "403": "The key lacks the scope.",
    "404": "Not found.",
    "409": "The state of what is addressed does not allow this, or a key exists already.",
    "412": "The resource is not in the state that `If-Match` names.",
    "413": "The request body is too large.",
    "415": "The media type of the request body is not supported.",
    "422": "A value is not acceptable; `errors` names each field.",
    "429": "Too many requests; try again after `Retry-After` seconds.",
    "503": "The database cannot be reached; try again after `Retry-After` seconds.",
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}

IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="`ETag` of the answer you have; 304 if it still holds."
)
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="`ETag` of the state you mean to change; else 412."
)
_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    OpenApiParameter.HEADER,
    description="Of your choice, one for each request; sent again within 24 hours it repeats the answer, not the work.",
)


class FieldErrorSerializer(serializers.Serializer[Any]):
    """One field at fault."""

    field = serializers.CharField(
        allow_null=True, help_text="Path such as `products[3].price`; null: the whole request."
    )
    code = serializers.CharField()
    message = serializers.CharField()


class ErrorSerializer(serializers.Serializer[Any]):
    """The shape of every error answer."""

    detail = serializers.CharField()
    code = serializers.CharField()
    errors = FieldErrorSerializer(many=True)  # type: ignore[assignment]
    request_id = serializers.CharField()


def documented_once(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Leaves out the second address of routes that have two."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/")]


class Schema(AutoSchema):  # type: ignore[misc]
    """Adds the shared error answers and headers, and names the scopes.

    A view with its own error shape sets `error_serializer`.
    """

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        serializer = getattr(self.view, "error_serializer", ErrorSerializer)
        content = {"application/json": {"schema": self.resolve_serializer(serializer(), "response").ref}}
        headers = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"}
        if IF_NONE_MATCH.name in headers:
            operation["responses"]["304"] = {"description": "What you have still holds."}
        for status in self._error_statuses() + (["412"] if IF_MATCH.name in headers else []):
            answer = {"description": _DESCRIPTIONS[status], "content": content}
            if status in ("429", "503"):
                answer["headers"] = _RETRY_AFTER
            operation["responses"].setdefault(status, answer)
        return operation

    def get_override_parameters(self) -> list[OpenApiParameter]:
        handler = getattr(self.view, getattr(self.view, "action", None) or self.method.lower(), None)
        return [_IDEMPOTENCY_KEY] if getattr(handler, "idempotent", False) else []

    def get_description(self) -> str:
        description: str = super().get_description() or ""
        if not self._needs_scope():
            return description
        scopes = " or ".join(f"`{scope}`" for scope in required_scopes(self.view, self.method))
        return f"{description}\n\nRequired scope: {scopes}.".strip()

    def _needs_scope(self) -> bool:
        return any(isinstance(permission, HasScope) for permission in self.view.get_permissions())

    def _error_statuses(self) -> list[str]:
        statuses = {"422", "429", "503"}
        if self._needs_scope():
            statuses |= {"401", "403"}
        if "{" in self.path:
            statuses.add("404")
        if self.method != "GET":
            statuses.add("409")
        if self.method in ("POST", "PUT", "PATCH"):
            statuses |= {"400", "413", "415"}
        return sorted(statuses)


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    target_class = "pim.apikeys.authentication.ApiKeyAuthentication"
    name = ["BearerKey", "HeaderKey"]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "pm_live_…"},
            {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        ]


class StaffSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    target_class = "pim.api.authentication.StaffSessionAuthentication"
    name = "StaffSession"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
