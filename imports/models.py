"""Import jobs and the log of their rows."""

from pathlib import PurePath
from typing import Any, ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from catalog.models import Supplier
from pim.jobs.models import AbstractJob, AbstractJobLog
from pim.jobs.states import Status


def upload_path(job: "ImportJob", filename: str) -> str:
    """Where the uploaded file is kept; the client's name is data, never part of the path."""
    return f"imports/{job.pk}/source{PurePath(filename).suffix.lower()}"


class ImportJob(AbstractJob):
    """One supplier file on its way into the catalogue.

    position: the reader's token for the row after `cursor`. total_rows: known after the analysis.
    field_errors: refused rows by the first field that refused them.
    """

    class FileType(models.TextChoices):
        CSV = "csv", "CSV"

    class EanCheck(models.TextChoices):
        OFF = "off", _("accept silently")
        WARN = "warn", _("accept with a warning")
        REJECT = "reject", _("refuse the row")

    supplier = models.ForeignKey(Supplier, verbose_name=_("supplier"), on_delete=models.PROTECT, related_name="+")
    file = models.FileField(_("file"), upload_to=upload_path, max_length=255)
    file_name = models.CharField(_("file name"), max_length=255)
    file_type = models.CharField(_("file type"), max_length=4, choices=FileType.choices, default=FileType.CSV)
    file_size = models.BigIntegerField(_("file size (bytes)"))
    dry_run = models.BooleanField(
        _("dry run"), default=False, help_text=_("Check everything, write nothing until confirmed.")
    )
    mapping = models.JSONField(
        _("column mapping"), default=dict, blank=True, help_text=_("File column → product field.")
    )
    encoding = models.CharField(_("encoding"), max_length=20, blank=True, default="")
    delimiter = models.CharField(_("delimiter"), max_length=1, blank=True, default="")
    has_header = models.BooleanField(_("first row holds the column names"), null=True, blank=True)
    ean_check = models.CharField(_("wrong check digits"), max_length=6, choices=EanCheck.choices)
    detected = models.JSONField(_("detected"), default=dict, blank=True, editable=False)
    position = models.JSONField(null=True, editable=False)
    total_rows = models.BigIntegerField(_("rows"), null=True, editable=False)
    failed_rows = models.BigIntegerField(_("refused"), default=0, editable=False)
    products_created = models.BigIntegerField(_("created"), default=0, editable=False)
    products_updated = models.BigIntegerField(_("updated"), default=0, editable=False)
    products_unchanged = models.BigIntegerField(_("unchanged"), default=0, editable=False)
    warnings = models.BigIntegerField(_("warnings"), default=0, editable=False)
    field_errors = models.JSONField(default=dict, editable=False)

    claimable: ClassVar = frozenset({Status.ANALYZING, Status.PENDING, Status.PROCESSING})
    task_name: ClassVar = "imports.tasks.run"
    queue: ClassVar = "imports"
    default_batch_size: ClassVar = 5000

    class Meta(AbstractJob.Meta):
        verbose_name = _("import job")
        verbose_name_plural = _("import jobs")

    def __str__(self) -> str:
        return f"{self.file_name} ({self.supplier})"

    @property
    def successful_rows(self) -> int:
        return self.products_created + self.products_updated + self.products_unchanged


class ImportLog(AbstractJobLog):
    """What was found in one row of the file. row_number: the spreadsheet's row, the header being row 1."""

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="logs", db_index=False)
    row_number = models.BigIntegerField(_("row"), null=True)
    field = models.CharField(_("field"), max_length=50, null=True)
    value = models.TextField(_("value"), null=True)

    class Meta(AbstractJobLog.Meta):
        verbose_name = _("import log")
        verbose_name_plural = _("import logs")
        indexes: ClassVar[list[Any]] = [
            models.Index(name="imports_log_job", fields=["job", "id"]),
            models.Index(name="imports_log_job_level", fields=["job", "level", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.row_number} {self.level}: {self.message}"


class SupersededRow(models.Model):
    """A row whose EAN stands again further down in the same file: the last row wins, this one writes nothing."""

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="superseded_rows", db_index=False)
    row_number = models.BigIntegerField()
    by_row = models.BigIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint("job", "row_number", name="imports_superseded_row_unique"),)

    def __str__(self) -> str:
        return f"{self.row_number} by {self.by_row}"
