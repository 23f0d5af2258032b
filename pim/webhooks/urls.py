"""Routes below `/api/v1/`."""

from django.urls import path

from pim.webhooks.views import DeliveryList, DeliveryResend, WebhookDeliveryList
from pim.webhooks.views import WebhookViewSet as Webhooks

urlpatterns = [
    path("webhooks", Webhooks.as_view({"get": "list", "post": "create"}), name="webhooks"),
    path("webhooks/callback-secret", Webhooks.as_view({"post": "callback_secret"}), name="webhook-callback-secret"),
    path("webhooks/deliveries", DeliveryList.as_view(), name="webhook-deliveries"),
    path("webhooks/deliveries/<uuid:pk>/resend", DeliveryResend.as_view(), name="webhook-delivery-resend"),
    path(
        "webhooks/<uuid:pk>",
        Webhooks.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="webhook",
    ),
    path("webhooks/<uuid:pk>/rotate-secret", Webhooks.as_view({"post": "rotate_secret"}), name="webhook-rotate-secret"),
    path("webhooks/<uuid:pk>/test", Webhooks.as_view({"post": "test"}), name="webhook-test"),
    path("webhooks/<uuid:pk>/deliveries", WebhookDeliveryList.as_view(), name="webhook-delivery-log"),
]
