"""API keys in the back office: create, look, revoke. The secret is shown once, in the answer that creates the key."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.exceptions import PermissionDenied, ValidationError
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

from pim.admin import CreateFormAdmin, badge
from pim.apikeys.keys import create_key, revoke_key
from pim.apikeys.models import ApiKey, Scope


class NewKeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        help_text=_("Which system uses this key."),
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=[(scope.value, format_lazy("{} – {}", scope.value, scope.label)) for scope in Scope],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("What the key may do."),
    )
    expires_at = forms.SplitDateTimeField(
        label=_("Expires"), required=False, widget=AdminSplitDateTime, help_text=_("Never when left empty.")
    )

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError(_("The expiry must lie in the future."))
        return expires_at


@admin.register(ApiKey)
class ApiKeyAdmin(CreateFormAdmin):
    create_form = NewKeyForm
    create_label = _("Create an API key")
    create_fieldsets = ((None, {"fields": ("name", "scopes", "expires_at")}),)
    change_form_template = "admin/apikeys/apikey/change_form.html"
    list_display = (
        "name",
        "prefix",
        "status_badge",
        "scope_list",
        "last_used_at",
        "expires_at",
        "created_by",
    )
    search_fields = ("name", "public_id")
    ordering = ("-created_at", "-id")
    actions = ("revoke_selected",)
    fields = (
        "name",
        "prefix",
        "status_badge",
        "scope_list",
        "expires_at",
        "last_used_at",
        "created_at",
        "created_by",
        "revoked_at",
    )
    readonly_fields = fields

    @admin.display(description=_("key"), ordering="public_id")
    def prefix(self, key: ApiKey) -> SafeString:
        return format_html('<span class="pim-code">pm_live_{}…</span>', key.public_id)

    @admin.display(description=_("scopes"))
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description=_("status"))
    def status_badge(self, key: ApiKey) -> SafeString:
        if key.revoked_at:
            return badge("revoked", _("revoked"))
        if key.expires_at and key.expires_at <= timezone.now():
            return badge("expired", _("expired"))
        return badge("active", _("active"))

    # --- creating -----------------------------------------------------------------------------------------------

    def create(self, request: HttpRequest, form: NewKeyForm) -> ApiKey:
        data = form.cleaned_data
        key, secret = create_key(
            name=data["name"],
            scopes=data["scopes"],
            expires_at=data["expires_at"],
            created_by=request.user.get_username(),
        )
        key.secret = secret  # type: ignore[attr-defined]  # lives as long as this answer
        return key

    def response_created(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """The only page that ever shows the secret: this answer itself, stored neither in a session nor in a cookie."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("API key created"),
            "subtitle": None,
            "key": obj,
            "secret": obj.secret,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/apikeys/apikey/created.html", context)

    # --- revoking -----------------------------------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("apikeys.change_apikey")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke_view)
        return [path("<uuid:key_id>/revoke/", view, name="apikeys_apikey_revoke"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may_revoke = {"may_revoke": self.has_revoke_permission(request)}
        return super().change_view(request, object_id, form_url, may_revoke | (extra_context or {}))

    def revoke_view(self, request: HttpRequest, key_id: UUID) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_revoke_permission(request):
            raise PermissionDenied
        key = get_object_or_404(ApiKey, pk=key_id)
        self._revoke(request, [key])
        return HttpResponseRedirect(reverse("admin:apikeys_apikey_change", args=[key_id]))

    @admin.action(description=_("Revoke selected keys"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        self._revoke(request, list(queryset))

    def _revoke(self, request: HttpRequest, keys: list[ApiKey]) -> None:
        revoked = [key for key in keys if revoke_key(key.pk)]
        for key in revoked:
            self.log_change(request, key, "Revoked")
        text = ngettext(
            "%d key revoked: it is refused from now on.", "%d keys revoked: they are refused from now on.", len(revoked)
        )
        messages.success(request, text % len(revoked))
