"""JSON shapes of the webhook API. A secret stands in the answers that make one, and in no other."""

from typing import Any

from rest_framework import serializers

from pim.webhooks.models import MAX_URL_LENGTH, Event, WebhookDelivery, WebhookEndpoint, public_url


class EndpointSerializer(serializers.ModelSerializer[WebhookEndpoint]):
    """A webhook. events: what is sent; everything when empty."""

    last_delivery_status = serializers.ChoiceField(
        choices=WebhookDelivery.Status.choices,
        read_only=True,
        allow_null=True,
        help_text="Of the newest delivery; null before the first.",
    )
    last_delivery_at = serializers.DateTimeField(read_only=True, allow_null=True)

    class Meta:
        model = WebhookEndpoint
        fields = (
            "id",
            "url",
            "description",
            "events",
            "is_active",
            "disabled_reason",
            "last_delivery_status",
            "last_delivery_at",
            "created_by",
            "created_at",
            "updated_at",
        )
        read_only_fields = ("disabled_reason", "created_by", "created_at", "updated_at")

    def validate_events(self, events: list[str]) -> list[str]:
        return [event for event in Event.values if event in events]  # each once, in one order


class WrittenEndpointSerializer(EndpointSerializer):
    """What a write answers. warnings: fields of the request that are unknown and were ignored."""

    warnings = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta(EndpointSerializer.Meta):
        fields = (*EndpointSerializer.Meta.fields, "warnings")  # type: ignore[assignment]


class NewEndpointSerializer(WrittenEndpointSerializer):
    """What creating answers: this once with the secret that signs."""

    secret = serializers.CharField(read_only=True, help_text="`whsec_…`; cannot be shown again.")

    class Meta(WrittenEndpointSerializer.Meta):
        fields = (*WrittenEndpointSerializer.Meta.fields, "secret")  # type: ignore[assignment]


class SecretSerializer(serializers.Serializer[Any]):
    """A secret that signs from now on."""

    secret = serializers.CharField(read_only=True)


class CallbackSerializer(serializers.Serializer[Any]):
    """The callback URL whose secret is asked for."""

    url = serializers.CharField(max_length=MAX_URL_LENGTH, validators=[public_url])


class DeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    """A message to one receiver. Status code, duration, error and response are those of the latest attempt."""

    webhook_id = serializers.UUIDField(
        source="endpoint_id", read_only=True, allow_null=True, help_text="Null for a job's callback URL."
    )

    class Meta:
        model = WebhookDelivery
        fields = (
            "id",
            "webhook_id",
            "callback_url",
            "event",
            "message_id",
            "payload",
            "status",
            "attempts",
            "attempted_at",
            "next_attempt_at",
            "status_code",
            "duration_ms",
            "error",
            "response",
            "created_at",
        )
        read_only_fields = fields
