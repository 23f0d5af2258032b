"""What every kind of job stores. The row is the whole truth; the broker only carries hints to look at it."""

from typing import Any, ClassVar

from django.apps import apps
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from pim.ids import uuid7
from pim.jobs.states import Status


class AbstractJob(models.Model):
    """A unit of background work that survives the death of any process.

    cursor: units (rows, codes) done. lease_*: who works on it and until when (database clock);
    lease_epoch is the fencing token. attempt: transport retries spent since the last progress.
    claims_at_cursor: claims since the last checkpoint, so a unit that kills its worker is found.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    status = models.CharField(_("status"), max_length=12, choices=Status.choices, default=Status.PENDING)
    paused_from = models.CharField(max_length=12, blank=True, default="", editable=False)
    cursor = models.BigIntegerField(default=0, editable=False)
    batch_size = models.PositiveIntegerField(default=0, editable=False)
    lease_owner = models.CharField(max_length=200, blank=True, default="", editable=False)
    lease_epoch = models.BigIntegerField(default=0, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    next_run_at = models.DateTimeField(db_default=Now(), editable=False)
    attempt = models.PositiveSmallIntegerField(_("retries used"), default=0, editable=False)
    claims_at_cursor = models.PositiveSmallIntegerField(default=0, editable=False)
    error_class = models.CharField(_("error class"), max_length=20, blank=True, default="", editable=False)
    error_summary = models.TextField(_("error summary"), blank=True, default="", editable=False)
    created_by = models.CharField(_("created by"), max_length=200, blank=True, default="", editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    started_at = models.DateTimeField(_("started"), null=True, blank=True, editable=False)
    completed_at = models.DateTimeField(_("finished"), null=True, blank=True, editable=False)

    # Statuses in which a worker may take the job, the task that works on it, and that task's queue.
    claimable: ClassVar[frozenset[Status]] = frozenset()
    task_name: ClassVar[str]
    queue: ClassVar[str]
    default_batch_size: ClassVar[int]

    class Meta:
        abstract = True
        ordering = ("-created_at", "-id")
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_status_known", condition=models.Q(status__in=Status.values)
            ),
            models.CheckConstraint(
                name="%(app_label)s_%(class)s_cursor_not_negative", condition=models.Q(cursor__gte=0)
            ),
        ]
        indexes: ClassVar[list[Any]] = [
            models.Index(
                name="%(app_label)s_%(class)s_due",
                fields=["next_run_at"],
                condition=~models.Q(status__in=["completed", "failed", "cancelled"]),
            ),
        ]

    @classmethod
    def finished(cls, job_id: Any) -> None:
        """Called whenever a job becomes completed, failed or cancelled, inside the transaction that makes it so."""


class AbstractJobLog(models.Model):
    """One line of a job's log."""

    class Level(models.TextChoices):
        ERROR = "error", _("error")
        WARNING = "warning", _("warning")
        INFO = "info", _("info")

    id = models.BigAutoField(primary_key=True)
    timestamp = models.DateTimeField(_("time"), db_default=Now())
    level = models.CharField(_("level"), max_length=7, choices=Level.choices)
    message = models.TextField(_("message"))

    class Meta:
        abstract = True
        ordering = ("id",)


def job_models() -> list[type[AbstractJob]]:
    """Every kind of job that is installed."""
    return [model for model in apps.get_models() if issubclass(model, AbstractJob)]
