"""Where to send messages, and each message on its way with what became of it."""

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from pim.fields import EncryptedTextField
from pim.ids import uuid7
from pim.net import AddressRefused, check_url

MAX_URL_LENGTH = 2000


def public_url(value: str) -> None:
    """Validator: see `pim.net.check_url`."""
    try:
        check_url(value)
    except AddressRefused as error:
        raise ValidationError(str(error), code="address_refused") from None


class Event(models.TextChoices):
    """What is told; the names are part of the API."""

    IMPORT_COMPLETED = "import.completed", _("import completed")
    IMPORT_FAILED = "import.failed", _("import failed")
    IMPORT_CANCELLED = "import.cancelled", _("import cancelled")
    CODE2ASIN_COMPLETED = "code2asin.completed", _("Code2ASIN job completed")
    CODE2ASIN_FAILED = "code2asin.failed", _("Code2ASIN job failed")
    CODE2ASIN_CANCELLED = "code2asin.cancelled", _("Code2ASIN job cancelled")


PING = "ping"  # sent by the test action only


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def with_last_delivery(self) -> "WebhookEndpointQuerySet":
        """Adds `last_delivery_status` and `last_delivery_at`, both NULL before the first one."""
        newest = WebhookDelivery.objects.filter(endpoint=models.OuterRef("pk")).order_by("-created_at", "-id")
        return self.annotate(
            last_delivery_status=models.Subquery(newest.values("status")[:1]),
            last_delivery_at=models.Subquery(newest.values("created_at")[:1]),
        )


class WebhookEndpoint(models.Model):
    """A system that wants to be told. The secret is shown by the answers that make one, and nowhere else.

    previous_secret: after a rotation it signs beside the new one until previous_secret_until.
    disabled_reason: set when the endpoint itself asked for an end.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    url = models.CharField(_("URL"), max_length=MAX_URL_LENGTH, validators=[public_url])
    description = models.CharField(_("description"), max_length=200, blank=True, default="")
    events = ArrayField(
        models.CharField(max_length=30, choices=Event.choices),
        verbose_name=_("events"),
        default=list,
        blank=True,
        help_text=_("What is sent; everything when none is chosen."),
    )
    is_active = models.BooleanField(_("active"), default=True)
    disabled_reason = models.CharField(max_length=200, blank=True, default="", editable=False)
    secret = EncryptedTextField(editable=False)
    previous_secret = EncryptedTextField(null=True, editable=False)
    previous_secret_until = models.DateTimeField(null=True, editable=False)
    created_by = models.CharField(_("created by"), max_length=200, blank=True, default="", editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)

    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return self.description or self.url


class WebhookDelivery(models.Model):
    """One message to one receiver, and its latest attempt.

    endpoint: NULL for a message to a job's callback URL, which stands in callback_url. message_id: the same in every
    attempt and for every receiver of one event. attempts: begun so far. attempted_at: when the latest began; it also
    fences off a worker that comes back late. next_attempt_at: while an attempt is under way, when it counts as lost.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("failed")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    endpoint = models.ForeignKey(
        WebhookEndpoint,
        verbose_name=_("webhook"),
        null=True,
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_index=False,
    )
    callback_url = models.CharField(_("callback URL"), max_length=MAX_URL_LENGTH, blank=True, default="")
    event = models.CharField(_("event"), max_length=30)
    message_id = models.CharField(_("message id"), max_length=40)
    payload = models.JSONField(_("payload"), encoder=DjangoJSONEncoder)
    status = models.CharField(_("status"), max_length=9, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, db_default=Now())
    status_code = models.PositiveSmallIntegerField(_("HTTP status"), null=True)
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), null=True)
    error = models.TextField(_("error"), blank=True, default="")
    response = models.TextField(_("response"), blank=True, default="")
    created_at = models.DateTimeField(_("created"), db_default=Now())
    attempted_at = models.DateTimeField(_("last attempt"), null=True)

    task_name: ClassVar = "pim.webhooks.tasks.deliver"
    queue: ClassVar = "webhooks"

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ("-created_at", "-id")
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="webhooks_delivery_one_receiver",
                condition=models.Q(endpoint__isnull=False, callback_url="")
                | (models.Q(endpoint__isnull=True) & ~models.Q(callback_url="")),
            ),
            models.CheckConstraint(
                name="webhooks_delivery_due_while_pending",
                condition=models.Q(status="pending", next_attempt_at__isnull=False)
                | (~models.Q(status="pending") & models.Q(next_attempt_at__isnull=True)),
            ),
        ]
        indexes: ClassVar[list[Any]] = [
            models.Index(
                name="webhooks_delivery_due", fields=["next_attempt_at"], condition=models.Q(status="pending")
            ),
            models.Index(name="webhooks_delivery_newest", fields=["-created_at", "-id"]),
            models.Index(name="webhooks_delivery_log", fields=["endpoint", "-created_at", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.message_id}"
