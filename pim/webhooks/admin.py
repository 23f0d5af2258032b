"""Webhooks in the back office: who is told, what was sent. A secret is shown once, in the answer that makes it."""

import json
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from pim.admin import BackOfficeAdmin, CreateFormAdmin, badge
from pim.webhooks import deliveries, signing
from pim.webhooks.models import Event, WebhookDelivery, WebhookEndpoint, WebhookEndpointQuerySet

DELIVERY_TONES = {"delivered": "completed", "failed": "failed", "pending": "processing"}


class EndpointForm(forms.ModelForm):  # type: ignore[type-arg]
    events = forms.MultipleChoiceField(
        label=_("Events"),
        required=False,
        choices=[(event.value, format_lazy("{} – {}", event.value, event.label)) for event in Event],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("What is sent; everything when none is chosen."),
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("url", "description", "events", "is_active")
        widgets = {
            "url": forms.URLInput(attrs={"class": "vURLField"}),
            "description": forms.TextInput(attrs={"class": "vTextField"}),
        }


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(CreateFormAdmin):
    form = EndpointForm
    create_form = EndpointForm  # type: ignore[assignment]  # a model form is as good
    create_label = _("Add a webhook")
    create_fieldsets = ((None, {"fields": ("url", "description", "events", "is_active")}),)
    change_form_template = "admin/webhooks/webhookendpoint/change_form.html"
    list_display = ("__str__", "state", "last_delivery", "event_list", "url")
    list_filter = ("is_active",)
    search_fields = ("url", "description")
    ordering = ("-created_at", "-id")
    readonly_fields = ("state", "last_delivery", "created_at", "created_by")
    fields = ("url", "description", "events", "is_active", *readonly_fields)

    @admin.display(description=_("status"), ordering="is_active")
    def state(self, endpoint: WebhookEndpoint) -> SafeString:
        if endpoint.is_active:
            return badge("active", _("active"))
        off = badge("revoked", _("switched off"))
        return format_html("{} {}", off, endpoint.disabled_reason) if endpoint.disabled_reason else off

    @admin.display(description=_("events"))
    def event_list(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.events) or gettext("all")

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEndpoint]:
        return cast(WebhookEndpointQuerySet, super().get_queryset(request)).with_last_delivery()

    @admin.display(description=_("last delivery"))
    def last_delivery(self, endpoint: Any) -> SafeString | str:
        status = endpoint.last_delivery_status
        return _badge(status) if status else "–"

    # --- creating, changing, deleting ---------------------------------------------------------------------------

    def create(self, request: HttpRequest, form: Any) -> WebhookEndpoint:
        secret = signing.new_secret()
        form.instance.secret = secret
        form.instance.created_by = request.user.get_username()
        endpoint: WebhookEndpoint = form.save()
        return endpoint

    def response_created(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return self._reveal(request, obj, obj.secret, gettext("Webhook added"))

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool) -> None:
        names = list(form.changed_data)
        if obj.is_active and "is_active" in names:
            obj.disabled_reason = ""
            names.append("disabled_reason")
        obj.updated_at = timezone.now()
        obj.save(update_fields=[*names, "updated_at"])  # never the secret, which may have been rotated meanwhile

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super(CreateFormAdmin, self).has_delete_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: WebhookEndpoint) -> None:
        deliveries.delete_endpoint(obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        for endpoint in queryset:
            deliveries.delete_endpoint(endpoint.pk)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Without the deliveries: there may be very many, and nobody may delete them one by one."""
        return [str(obj) for obj in objs], {self.opts.verbose_name_plural: len(objs)}, set(), []

    # --- testing, rotating --------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        test, rotate = self.admin_site.admin_view(self.test_view), self.admin_site.admin_view(self.rotate_view)
        return [
            path("<uuid:endpoint_id>/test/", test, name="webhooks_webhookendpoint_test"),
            path("<uuid:endpoint_id>/rotate/", rotate, name="webhooks_webhookendpoint_rotate"),
            *super().get_urls(),
        ]

    def test_view(self, request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
        endpoint = self._posted(request, endpoint_id)
        if isinstance(endpoint, HttpResponse):
            return endpoint
        delivery = deliveries.ping(endpoint)
        self.log_change(request, endpoint, "Tested")
        if delivery.status == WebhookDelivery.Status.DELIVERED:
            result = {"status": delivery.status_code, "duration": delivery.duration_ms}
            messages.success(request, gettext("The receiver answered %(status)d after %(duration)d ms.") % result)
        else:
            messages.error(request, gettext("The test failed: %(error)s") % {"error": delivery.error})
        return HttpResponseRedirect(self.page_of(endpoint))

    def rotate_view(self, request: HttpRequest, endpoint_id: UUID) -> HttpResponse:
        endpoint = self._posted(request, endpoint_id)
        if isinstance(endpoint, HttpResponse):
            return endpoint
        secret = signing.rotate_secret(endpoint)
        self.log_change(request, endpoint, "Secret rotated")
        return self._reveal(request, endpoint, secret, gettext("New secret"))

    def _posted(self, request: HttpRequest, endpoint_id: UUID) -> WebhookEndpoint | HttpResponse:
        """The endpoint of a POST by someone who may change it; the answer to any other method."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        return get_object_or_404(WebhookEndpoint, pk=endpoint_id)

    def _reveal(self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str, title: str) -> HttpResponse:
        """The only page that shows the secret: this answer itself, stored neither in a session nor in a cookie."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "subtitle": None,
            "endpoint": endpoint,
            "secret": secret,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/webhooks/webhookendpoint/secret.html", context)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(BackOfficeAdmin):
    list_display = ("event", "receiver", "status_badge", "attempts", "status_code", "created_at", "next_attempt_at")
    list_display_links = ("event",)
    list_filter = ("status", "event")
    list_select_related = ("endpoint",)
    search_fields = ("message_id",)
    ordering = ("-created_at", "-id")
    actions = ("resend_selected",)
    fields = (
        "event",
        "message_id",
        "receiver",
        "status_badge",
        "attempts",
        "attempted_at",
        "next_attempt_at",
        "status_code",
        "duration_ms",
        "error",
        "response",
        "body",
        "created_at",
    )
    readonly_fields = fields

    @admin.display(description=_("status"), ordering="status")
    def status_badge(self, delivery: WebhookDelivery) -> SafeString:
        return _badge(delivery.status)

    @admin.display(description=_("receiver"))
    def receiver(self, delivery: WebhookDelivery) -> SafeString | str:
        if delivery.endpoint is None:
            return delivery.callback_url
        address = reverse("admin:webhooks_webhookendpoint_change", args=[delivery.endpoint.pk])
        return format_html('<a href="{}">{}</a>', address, delivery.endpoint)

    @admin.display(description=_("payload"))
    def body(self, delivery: WebhookDelivery) -> SafeString:
        return format_html("<pre>{}</pre>", json.dumps(delivery.payload, indent=2, ensure_ascii=False))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_webhookendpoint")

    @admin.action(description=_("Send selected messages again"), permissions=["resend"])
    def resend_selected(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        chosen = list(queryset)
        again = [delivery for delivery in chosen if deliveries.resend(delivery.pk)]
        for delivery in again:
            self.log_change(request, delivery, "Sent again")
        text = ngettext("%d message is sent again.", "%d messages are sent again.", len(again))
        messages.success(request, text % len(again))
        if left := len(chosen) - len(again):
            text = ngettext(
                "%d message is still on its way or a test, and was left alone.",
                "%d messages are still on their way or tests, and were left alone.",
                left,
            )
            messages.warning(request, text % left)


def _badge(status: str) -> SafeString:
    return badge(DELIVERY_TONES[status], WebhookDelivery.Status(status).label)
