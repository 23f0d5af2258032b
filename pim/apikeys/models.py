"""API keys: a public id to find the row, a keyed digest of the secret, scopes, expiry and revocation."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from pim.ids import uuid7


class Scope(models.TextChoices):
    """What a key may do; the names are part of the API."""

    EXT_READ = "ext:products:read", _("external API: read products")
    EXT_WRITE = "ext:products:write", _("external API: write products")
    CODE2ASIN_READ = "READ_CODE2ASIN", _("Code2ASIN: read")
    CODE2ASIN_WRITE = "WRITE_CODE2ASIN", _("Code2ASIN: create and control jobs")
    CODE2ASIN_DELETE = "DELETE_CODE2ASIN", _("Code2ASIN: delete jobs")
    PRODUCTS_READ = "products:read", _("products: read")
    PRODUCTS_WRITE = "products:write", _("products: create and change")
    PRODUCTS_DELETE = "products:delete", _("products: delete")
    IMPORTS_READ = "imports:read", _("imports: read")
    IMPORTS_WRITE = "imports:write", _("imports: create and control")


class ApiKey(models.Model):
    """One client's key. The secret exists in plain text only in the answer that creates it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=100, help_text=_("Which system uses this key."))
    public_id = models.CharField(_("key id"), max_length=8, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    pepper_id = models.CharField(max_length=16, editable=False)
    scopes = ArrayField(models.CharField(max_length=30, choices=Scope.choices), verbose_name=_("scopes"), default=list)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True, help_text=_("Never when left empty."))
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    created_by = models.CharField(_("created by"), max_length=200, blank=True, default="", editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ("name", "id")

    def __str__(self) -> str:
        return f"{self.name} (pm_live_{self.public_id}…)"
