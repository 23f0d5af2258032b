"""Matching jobs, one result per code, the log, and what all workers share: rate buckets and tokens."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from catalog.models import Product, Supplier
from pim.ids import uuid7
from pim.jobs.models import AbstractJob, AbstractJobLog
from pim.jobs.states import Status
from pim.webhooks.events import emit
from pim.webhooks.models import MAX_URL_LENGTH, Event, public_url


class Code2AsinJob(AbstractJob):
    """Maps the EANs of a selection of the catalogue to ASINs.

    total_codes: the count at creation until the first slice has staged the selection, then the number staged.
    """

    class Source(models.TextChoices):
        CATALOG = "catalog", _("catalogue")
        FILE = "file", _("file")

    name = models.CharField(_("name"), max_length=255)
    source = models.CharField(_("source"), max_length=7, choices=Source.choices, default=Source.CATALOG)
    supplier = models.ForeignKey(
        Supplier, verbose_name=_("supplier"), null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    product_filter = models.JSONField(_("product filter"), default=dict, blank=True)
    auto_match = models.BooleanField(
        _("accept certain matches"),
        default=True,
        help_text=_("When off, every match waits for a person."),
    )
    confidence_threshold = models.DecimalField(
        _("confidence threshold"), max_digits=4, decimal_places=3, default="0.85", help_text=_("From 0 to 1.")
    )
    callback_url = models.CharField(
        _("callback address"),
        max_length=MAX_URL_LENGTH,
        blank=True,
        default="",
        validators=[public_url],
        help_text=_("Told once when the job ends."),
    )
    provider = models.CharField(_("provider"), max_length=20)
    marketplace = models.CharField(_("marketplace"), max_length=40)
    total_codes = models.BigIntegerField(_("codes"), default=0, editable=False)
    staged = models.BooleanField(default=False, editable=False)
    matched = models.BigIntegerField(_("matched"), default=0, editable=False)
    ambiguous = models.BigIntegerField(_("ambiguous"), default=0, editable=False)
    unmatched = models.BigIntegerField(_("unmatched"), default=0, editable=False)
    retry_count = models.PositiveSmallIntegerField(_("retries asked for"), default=0, editable=False)

    claimable: ClassVar = frozenset({Status.PROCESSING})
    task_name: ClassVar = "code2asin.tasks.run"
    queue: ClassVar = "code2asin"
    default_batch_size: ClassVar = 100

    class Meta(AbstractJob.Meta):
        verbose_name = _("Code2ASIN job")
        verbose_name_plural = _("Code2ASIN jobs")
        constraints: ClassVar[list[Any]] = [
            *AbstractJob.Meta.constraints,
            models.CheckConstraint(
                name="code2asin_threshold_range",
                condition=Q(confidence_threshold__gte=0, confidence_threshold__lte=1),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def finished(cls, job_id: Any) -> None:
        job = cls.objects.select_related("supplier").get(pk=job_id)
        emit(Event(f"code2asin.{job.status}"), {"job": job.summary()}, callback_url=job.callback_url)

    def summary(self) -> dict[str, Any]:
        """What is told about the job when it ends."""
        return {
            "id": self.pk,
            "name": self.name,
            "status": self.status,
            "supplier_code": self.supplier.code if self.supplier else None,
            "total_codes": self.total_codes,
            "matched": self.matched,
            "ambiguous": self.ambiguous,
            "unmatched": self.unmatched,
            "error_summary": self.error_summary,
            "created_at": self.created_at,
            "completed_at": self.completed_at,
        }


class MatchResult(models.Model):
    """The fate of one code in one job.

    position: 1-based place in the job. candidates: best first, each an object with asin, title, brand, image,
    score, features and reasons. asin: the accepted ASIN, or the best proposal while a person has not decided.
    reason: one sentence on why the status is what it is.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        MATCHED = "matched", _("matched")
        UNMATCHED = "unmatched", _("unmatched")
        AMBIGUOUS = "ambiguous", _("ambiguous")

    class MatchType(models.TextChoices):
        EXACT = "exact", _("exact")
        PARTIAL = "partial", _("partial")
        FUZZY = "fuzzy", _("fuzzy")
        MANUAL = "manual", _("manual")

    class Review(models.TextChoices):
        NONE = "", _("not reviewed")
        ACCEPTED = "accepted", _("accepted")
        REJECTED = "rejected", _("rejected")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    job = models.ForeignKey(Code2AsinJob, on_delete=models.CASCADE, related_name="results", db_index=False)
    position = models.BigIntegerField()
    product = models.ForeignKey(Product, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    code = models.CharField(_("code"), max_length=14)
    status = models.CharField(_("status"), max_length=9, choices=Status.choices, default=Status.PENDING)
    match_type = models.CharField(_("match type"), max_length=7, choices=MatchType.choices, null=True)
    asin = models.CharField(_("ASIN"), max_length=10, null=True)
    confidence = models.FloatField(_("confidence"), null=True)
    title = models.TextField(_("Amazon title"), null=True)
    candidates = models.JSONField(_("candidates"), default=list)
    error_class = models.CharField(_("error class"), max_length=20, blank=True, default="")
    reason = models.TextField(_("reason"), blank=True, default="")
    review = models.CharField(_("review"), max_length=8, choices=Review.choices, blank=True, default="")
    reviewed_by = models.CharField(_("reviewed by"), max_length=200, blank=True, default="")
    reviewed_at = models.DateTimeField(_("reviewed"), null=True)
    matched_at = models.DateTimeField(_("matched at"), null=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        verbose_name = _("match")
        verbose_name_plural = _("matches")
        ordering = ("job", "position")
        permissions = (("review_match", _("Can review matches")),)
        constraints = (
            models.UniqueConstraint("job", "position", name="code2asin_result_position_unique"),
            models.CheckConstraint(
                name="code2asin_result_matched_has_asin",
                condition=~Q(status="matched") | Q(asin__isnull=False),
            ),
        )
        indexes = (
            models.Index(name="code2asin_result_status", fields=["job", "status", "position"]),
            models.Index(name="code2asin_result_review", fields=["id"], condition=Q(status="ambiguous")),
            models.Index(name="code2asin_result_product", fields=["product"]),
        )

    def __str__(self) -> str:
        return f"{self.code} → {self.asin or '–'}"


class Review(MatchResult):
    """A doubtful match as the back office's review queue sees it: the name gives the queue its address."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = _("doubtful match")
        verbose_name_plural = _("doubtful matches")


class Code2AsinLog(AbstractJobLog):
    """What happened to one code, or to the job as a whole (then without a code)."""

    job = models.ForeignKey(Code2AsinJob, on_delete=models.CASCADE, related_name="logs", db_index=False)
    product_id = models.UUIDField(null=True)
    input_code = models.CharField(_("code"), max_length=14, null=True)
    code_type = models.CharField(_("code type"), max_length=4, null=True)
    previous_asin = models.CharField(max_length=10, null=True)
    new_asin = models.CharField(_("ASIN"), max_length=10, null=True)
    change_reason = models.CharField(max_length=20, null=True)
    confidence_score = models.FloatField(_("confidence"), null=True)
    processing_time_ms = models.PositiveIntegerField(null=True)

    class Meta(AbstractJobLog.Meta):
        verbose_name = _("Code2ASIN log")
        verbose_name_plural = _("Code2ASIN logs")
        indexes: ClassVar[list[Any]] = [
            models.Index(name="code2asin_log_job", fields=["job", "id"]),
            models.Index(name="code2asin_log_job_level", fields=["job", "level", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.level}: {self.message}"


class RateBucket(models.Model):
    """The shared limiter's state for one provider, credential and operation (`code2asin.limiter`).

    tat: theoretical arrival time, seconds of the database's epoch clock. rate: requests per second.
    """

    key = models.CharField(max_length=200, primary_key=True)
    tat = models.FloatField(default=0)
    rate = models.FloatField()
    throttled_in_row = models.IntegerField(default=0)
    rate_set_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.key


class AccessToken(models.Model):
    """A provider's access token, shared by all workers and refreshed by one of them.

    expires_at: when to get a new one, at 80 % of the token's life.
    """

    key = models.CharField(max_length=200, primary_key=True)
    token = models.TextField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key
