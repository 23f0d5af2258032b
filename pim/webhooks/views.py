"""`/api/v1/webhooks…`: who is told, and what was sent."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from pim.api.bodies import ignored, json_object
from pim.api.errors import Conflict
from pim.apikeys.models import Scope
from pim.webhooks import deliveries, signing
from pim.webhooks.models import WebhookDelivery, WebhookEndpoint
from pim.webhooks.serializers import (
    CallbackSerializer,
    DeliverySerializer,
    EndpointSerializer,
    NewEndpointSerializer,
    SecretSerializer,
    WrittenEndpointSerializer,
)

READ, WRITE = (Scope.IMPORTS_READ,), (Scope.IMPORTS_WRITE,)


class WebhookViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[WebhookEndpoint]):
    """Systems that are told when jobs end."""

    serializer_class = EndpointSerializer
    required_scopes = {
        "list": READ,
        "retrieve": READ,
        "create": WRITE,
        "partial_update": WRITE,
        "destroy": WRITE,
        "rotate_secret": WRITE,
        "test": WRITE,
        "callback_secret": WRITE,
    }

    def get_queryset(self) -> QuerySet[WebhookEndpoint]:
        return WebhookEndpoint.objects.with_last_delivery().order_by("-created_at", "-id")

    @extend_schema(request=EndpointSerializer, responses={201: NewEndpointSerializer})
    def create(self, request: Request) -> Response:
        """Add a webhook. The answer shows the secret that signs its messages, this once."""
        body, form = self._form(request, None)
        secret = signing.new_secret()
        endpoint = form.save(secret=secret, created_by=str(request.user))
        return Response({**self._json(endpoint.pk), "warnings": _unknown(body), "secret": secret}, status=201)

    @extend_schema(request=EndpointSerializer, responses=WrittenEndpointSerializer)
    def partial_update(self, request: Request, pk: UUID) -> Response:
        """Change what is sent. Switching a webhook on again clears why it was switched off."""
        with transaction.atomic():
            endpoint = get_object_or_404(WebhookEndpoint.objects.select_for_update(), pk=pk)
            body, form = self._form(request, endpoint)
            switched_on = {"disabled_reason": ""} if form.validated_data.get("is_active") else {}
            form.save(updated_at=Now(), **switched_on)
        return Response({**self._json(pk), "warnings": _unknown(body)})

    @extend_schema(responses={200: {"type": "object", "maxProperties": 0}})
    def destroy(self, request: Request, pk: UUID) -> Response:
        """Remove a webhook with the log of its deliveries; nothing more is sent to it."""
        deliveries.delete_endpoint(self.get_object().pk)
        return Response({})

    @extend_schema(request=None, responses=SecretSerializer)
    def rotate_secret(self, request: Request, pk: UUID) -> Response:
        """Make a new secret and show it, this once. For 24 hours messages carry the signature of the old one too."""
        return Response({"secret": signing.rotate_secret(self.get_object())})

    @extend_schema(request=None, responses=DeliverySerializer)
    def test(self, request: Request, pk: UUID) -> Response:
        """Send a `ping` now and answer with what came of it; a ping is not repeated."""
        return Response(DeliverySerializer(deliveries.ping(self.get_object())).data)

    @extend_schema(request=CallbackSerializer, responses=SecretSerializer)
    def callback_secret(self, request: Request) -> Response:
        """The secret that signs messages to a job's `callback_url`; one for each scheme, host and port."""
        form = CallbackSerializer(data=json_object(request))
        form.is_valid(raise_exception=True)
        return Response({"secret": signing.callback_secrets(form.validated_data["url"])[0]})

    def _form(self, request: Request, endpoint: WebhookEndpoint | None) -> tuple[dict[str, Any], EndpointSerializer]:
        body = json_object(request)
        form = EndpointSerializer(endpoint, data=body, partial=endpoint is not None)
        form.is_valid(raise_exception=True)
        return body, form

    def _json(self, pk: UUID) -> dict[str, Any]:
        return EndpointSerializer(self.get_queryset().get(pk=pk)).data


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]
    """Narrows the log."""

    class Meta:
        model = WebhookDelivery
        fields = ("status", "event", "message_id")


class DeliveryList(generics.ListAPIView[WebhookDelivery]):
    """What was sent to webhooks and to callback URLs, the newest first."""

    queryset = WebhookDelivery.objects.order_by("-created_at", "-id")
    serializer_class = DeliverySerializer
    filter_backends = (filters.DjangoFilterBackend,)
    filterset_class = DeliveryFilter
    required_scopes = {"GET": READ}
    max_limit = 200


@extend_schema_view(get=extend_schema(operation_id="webhook_deliveries_list"))
class WebhookDeliveryList(DeliveryList):
    """What was sent to one webhook, the newest first."""

    def get_queryset(self) -> QuerySet[WebhookDelivery]:
        return super().get_queryset().filter(endpoint=get_object_or_404(WebhookEndpoint, pk=self.kwargs["pk"]))


class DeliveryResend(generics.GenericAPIView[WebhookDelivery]):
    """Send a message again."""

    queryset = WebhookDelivery.objects.all()
    serializer_class = DeliverySerializer
    required_scopes = {"POST": WRITE}

    @extend_schema(request=None)
    def post(self, request: Request, pk: UUID) -> Response:
        """Send a delivered or failed message again under the same message id, with the full number of retries."""
        delivery = self.get_object()
        if not deliveries.resend(delivery.pk):
            raise Conflict(
                _("Only a delivered or failed message can be sent again, and a ping never."), "illegal_state"
            )
        delivery.refresh_from_db()
        return Response(self.get_serializer(delivery).data)


def _unknown(body: dict[str, Any]) -> list[str]:
    return ignored(body, ("url", "description", "events", "is_active"))
