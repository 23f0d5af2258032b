"""Import jobs and the log of their rows."""

from pathlib import PurePath
from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from catalog.models import Supplier
from pim.jobs.models import AbstractJob, AbstractJobLog
from pim.jobs.states import Status
from pim.webhooks.events import emit
from pim.webhooks.models import MAX_URL_LENGTH, Event, public_url


def upload_path(job: "ImportJob", filename: str) -> str:
    """Where the uploaded file is kept; the client's name is data, never part of the path."""
    return f"imports/{job.pk}/source{PurePath(filename).suffix.lower()}"


class ImportJob(AbstractJob):
    """One supplier file on its way into the catalogue.

    position: the reader's token for the row after `cursor`. staged: where the rows are that the analysis has parsed;
    empty for plain CSV and for a completed job. total_rows: known after the analysis.
    field_errors: refused rows by the first field that refused them. check_digits: by length of the code,
    {"13": {"rows": n, "wrong": m}}. missing_total: products of the supplier that the file leaves out and the job's
    policy concerns, counted by the analysis; missing_done: how many of them are dealt with.
    """

    class FileType(models.TextChoices):
        CSV = "csv", "CSV"
        XLSX = "xlsx", "XLSX"
        JSON = "json", "JSON"
        XML = "xml", "XML"

    class EanCheck(models.TextChoices):
        OFF = "off", _("accept silently")
        WARN = "warn", _("accept with a warning")
        REJECT = "reject", _("refuse the row")

    class EmptyCells(models.TextChoices):
        KEEP = "keep", _("leave the product as it is")
        CLEAR = "clear", _("empty the field")

    class DecimalMark(models.TextChoices):
        DETECT = "", _("each number by itself")
        POINT = ".", _(". (point)")
        COMMA = ",", _(", (comma)")

    class Missing(models.TextChoices):
        IGNORE = "ignore", _("leave them alone")
        DEACTIVATE = "deactivate", _("make them inactive")
        ARCHIVE = "archive", _("archive them")

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
    sheet = models.CharField(_("sheet"), max_length=100, blank=True, default="")
    record_path = models.CharField(_("path of the records"), max_length=500, blank=True, default="")
    ean_check = models.CharField(_("wrong check digits"), max_length=6, choices=EanCheck.choices)
    empty_cells = models.CharField(_("empty cells"), max_length=5, choices=EmptyCells.choices, default=EmptyCells.KEEP)
    decimal_mark = models.CharField(
        _("decimal mark"), max_length=1, choices=DecimalMark.choices, blank=True, default=DecimalMark.DETECT
    )
    constants = models.JSONField(_("constants"), default=dict, blank=True, help_text=_("Field → value of all rows."))
    defaults = models.JSONField(_("defaults"), default=dict, blank=True, help_text=_("Field → value of empty cells."))
    missing = models.CharField(
        _("products missing from the file"), max_length=10, choices=Missing.choices, default=Missing.IGNORE
    )
    max_missing_percent = models.PositiveSmallIntegerField(_("at most missing (%)"), default=20)
    callback_url = models.CharField(
        _("callback address"),
        max_length=MAX_URL_LENGTH,
        blank=True,
        default="",
        validators=[public_url],
        help_text=_("Told once when the job ends."),
    )
    detected = models.JSONField(_("detected"), default=dict, blank=True, editable=False)
    position = models.JSONField(null=True, editable=False)
    staged = models.CharField(max_length=255, blank=True, default="", editable=False)
    total_rows = models.BigIntegerField(_("rows"), null=True, editable=False)
    failed_rows = models.BigIntegerField(_("refused"), default=0, editable=False)
    products_created = models.BigIntegerField(_("created"), default=0, editable=False)
    products_updated = models.BigIntegerField(_("updated"), default=0, editable=False)
    products_unchanged = models.BigIntegerField(_("unchanged"), default=0, editable=False)
    products_deactivated = models.BigIntegerField(_("deactivated"), default=0, editable=False)
    warnings = models.BigIntegerField(_("warnings"), default=0, editable=False)
    missing_total = models.BigIntegerField(default=0, editable=False)
    missing_done = models.BigIntegerField(default=0, editable=False)
    check_digits = models.JSONField(default=dict, editable=False)
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

    @classmethod
    def finished(cls, job_id: Any) -> None:
        job = cls.objects.select_related("supplier").get(pk=job_id)
        emit(Event(f"import.{job.status}"), {"job": job.summary()}, callback_url=job.callback_url)

    def summary(self) -> dict[str, Any]:
        """What is told about the job when it ends."""
        names = (
            *("status", "file_name", "dry_run", "total_rows", "successful_rows", "failed_rows", "products_created"),
            *("products_updated", "products_unchanged", "products_deactivated", "warnings", "error_summary"),
            *("created_at", "completed_at"),
        )
        told = {name: getattr(self, name) for name in names}
        return {"id": self.pk, "supplier_code": self.supplier.code, "processed_rows": self.cursor} | told

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


class ImportUndo(AbstractJob):
    """The work of taking an import back; a job of its own, so the import keeps its status and counters.

    total: products that the import wrote. undone: products put back, wholly or in part. conflicts: products of which
    something was left as it is because it changed after the import.
    """

    job = models.OneToOneField(ImportJob, on_delete=models.CASCADE, related_name="undo")
    total = models.BigIntegerField(null=True, editable=False)
    undone = models.BigIntegerField(_("undone"), default=0, editable=False)
    conflicts = models.BigIntegerField(_("conflicts"), default=0, editable=False)

    claimable: ClassVar = frozenset({Status.PENDING, Status.PROCESSING})
    task_name: ClassVar = "imports.tasks.undo"
    queue: ClassVar = "imports"
    default_batch_size: ClassVar = 2000

    class Meta(AbstractJob.Meta):
        verbose_name = _("undo of an import")
        verbose_name_plural = _("undos of imports")

    def __str__(self) -> str:
        return f"undo of {self.job}"


class ListedProduct(models.Model):
    """The products that a job (an import or an undo, `owner`) still has to visit, numbered from 1."""

    id = models.BigAutoField(primary_key=True)
    owner = models.UUIDField()
    number = models.BigIntegerField()
    product_id = models.UUIDField()

    class Meta:
        constraints = (models.UniqueConstraint("owner", "number", name="imports_listed_product_unique"),)

    def __str__(self) -> str:
        return f"{self.owner} {self.number}"


class RowDifference(models.Model):
    """What one row would do, as a dry run found it: a sample of at most `SAMPLE` rows of each kind.

    fields: {field: {"old": …, "new": …}}. row_number: null for a product that the file leaves out. errors: of a refused
    row, from the log; not stored here, empty until a reader fills it.
    """

    class Change(models.TextChoices):
        CREATED = "created", _("created")
        UPDATED = "updated", _("updated")
        UNCHANGED = "unchanged", _("unchanged")
        REFUSED = "refused", _("refused")
        DEACTIVATED = "deactivated", _("deactivated")

    SAMPLE: ClassVar = 1000

    id = models.BigAutoField(primary_key=True)
    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="differences", db_index=False)
    change = models.CharField(_("change"), max_length=11, choices=Change.choices)
    row_number = models.BigIntegerField(_("row"), null=True)
    ean = models.CharField(_("EAN"), max_length=13)
    product_id = models.UUIDField(null=True)
    fields = models.JSONField(_("fields"))

    class Meta:
        ordering = ("id",)
        indexes: ClassVar[list[Any]] = [models.Index(name="imports_difference_job", fields=["job", "change", "id"])]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.errors: list[ImportLog] = []

    def __str__(self) -> str:
        return f"{self.row_number} {self.change}"


class SupplierMapping(models.Model):
    """How a supplier's files are read unless a job says otherwise."""

    supplier = models.OneToOneField(
        Supplier, on_delete=models.CASCADE, primary_key=True, related_name="+", verbose_name=_("supplier")
    )
    mapping = models.JSONField(_("column mapping"), default=dict)
    constants = models.JSONField(_("constants"), default=dict)
    defaults = models.JSONField(_("defaults"), default=dict)
    updated_at = models.DateTimeField(_("changed"), db_default=Now())

    class Meta:
        verbose_name = _("mapping of a supplier")
        verbose_name_plural = _("mappings of suppliers")

    def __str__(self) -> str:
        return str(self.supplier)
