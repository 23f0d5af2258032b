"""Import jobs in the back office: upload a file, follow it, confirm a dry run, read what each row came to."""

import errno
from collections.abc import Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from catalog.fields import ALIASES, FIELDS
from catalog.models import Supplier
from imports import lifecycle
from imports.models import ImportJob, ImportLog
from imports.preview import preview
from pim.admin import JobAdmin, Tile, grouped
from pim.jobs.errors import PermanentError
from pim.jobs.states import Status

PREVIEW_ROWS = 10
SUGGESTED_SUPPLIERS = 500
TABS = {"logs": _("Log"), "preview": _("Preview"), "configuration": _("Configuration")}
DELIMITERS = [(",", ", (comma)"), (";", "; (semicolon)"), ("\t", "tab"), ("|", "| (bar)")]


class SupplierCodeInput(forms.TextInput):
    """A text field that suggests the codes of known suppliers."""

    template_name = "admin/imports/importjob/supplier_code.html"

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        suppliers = Supplier.objects.order_by("code", "id").values_list("code", "name")
        context["suppliers"] = suppliers[:SUGGESTED_SUPPLIERS]
        return context


class UploadForm(forms.Form):
    file = forms.FileField(
        label=_("File"),
        widget=forms.FileInput(attrs={"accept": ",".join(f".{kind}" for kind in ImportJob.FileType.values)}),
    )
    supplier_code = forms.CharField(
        label=_("Supplier code"),
        max_length=100,
        widget=SupplierCodeInput(attrs={"class": "vTextField", "list": "known-suppliers", "autocomplete": "off"}),
        help_text=_("Of all products in the file. A code that is not known yet makes a new supplier."),
    )
    dry_run = forms.BooleanField(
        label=_("Dry run"), required=False, help_text=_("Check everything, write nothing until you confirm.")
    )
    mapping = forms.CharField(
        label=_("Column mapping"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 5, "placeholder": "Code article = reference\nPrix TTC = price"}),
        help_text=_(
            "One line a column: column of the file = product field. Left empty, the headers decide. Fields: %s."
        )
        % ", ".join(FIELDS),
    )
    encoding = forms.CharField(
        label=_("Encoding"), required=False, max_length=20, help_text=_("Such as utf-8, cp1252.")
    )
    delimiter = forms.ChoiceField(label=_("Delimiter"), required=False, choices=[("", _("detect")), *DELIMITERS])
    has_header = forms.TypedChoiceField(
        label=_("First row"),
        required=False,
        empty_value=None,
        coerce=lambda value: value == "yes",
        choices=[("", _("detect")), ("yes", _("holds the column names")), ("no", _("is a product"))],
    )
    ean_check = forms.ChoiceField(
        label=_("Wrong check digits"), choices=ImportJob.EanCheck.choices, initial=lambda: settings.EAN_CHECK
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        try:
            lifecycle.file_type(file.name)
        except lifecycle.UnknownFileType as error:
            raise ValidationError(str(error)) from error
        if file.size > settings.IMPORT_MAX_UPLOAD_BYTES:
            raise ValidationError(
                _("The file is larger than %(limit)d MB."), params={"limit": settings.IMPORT_MAX_UPLOAD_BYTES // 2**20}
            )
        return file

    def clean_mapping(self) -> dict[str, str]:
        mapping: dict[str, str] = {}
        for number, line in enumerate(self.cleaned_data["mapping"].splitlines(), 1):
            if not line.strip():
                continue
            column, equals, field = (part.strip() for part in line.rpartition("="))
            if not (column and equals and field):
                raise ValidationError(
                    _("Line %(number)d is not of the form: column = field."), params={"number": number}
                )
            if ALIASES.get(field, field) not in FIELDS:
                raise ValidationError(
                    _("Line %(number)d: there is no field “%(field)s”."), params={"number": number, "field": field}
                )
            if column in mapping:
                raise ValidationError(
                    _("Line %(number)d: the column “%(column)s” was mapped before."),
                    params={"number": number, "column": column},
                )
            mapping[column] = field
        return mapping

    def clean_encoding(self) -> str:
        encoding: str = self.cleaned_data["encoding"]
        try:
            "".encode(encoding or "utf-8")
        except LookupError as error:
            raise ValidationError(_("There is no encoding of this name.")) from error
        return encoding


@admin.register(ImportJob)
class ImportJobAdmin(JobAdmin):
    create_form = UploadForm
    create_label = _("Import a file")
    create_fieldsets = (
        (None, {"fields": ("file", "supplier_code", "dry_run")}),
        (
            _("Advanced options"),
            {"fields": ("mapping", "encoding", "delimiter", "has_header", "ean_check"), "classes": ("collapse",)},
        ),
    )
    page_template = "admin/imports/importjob/page.html"
    moves = lifecycle.MOVES
    log_model = ImportLog
    list_display = (
        "file_name",
        "supplier",
        "status_badge",
        "progress",
        "products_created",
        "products_updated",
        "refused",
        "created",
    )
    list_filter = ("status", "dry_run", ("created_at", admin.DateFieldListFilter))
    search_fields = ("file_name", "supplier__code", "supplier__name")
    search_help_text = _("File name or supplier.")

    def control(self, job: ImportJob, name: str) -> bool:
        return lifecycle.control(job, name)

    def total(self, job: ImportJob) -> int | None:
        return job.total_rows

    @admin.display(description=_("refused"), ordering="failed_rows")
    def refused(self, job: ImportJob) -> SafeString | str:
        if not job.failed_rows:
            return "0"
        page = reverse("admin:imports_importjob_change", args=[job.pk])
        return format_html('<a href="{}?level=error#logs">{}</a>', page, grouped(job.failed_rows))

    def create(self, request: HttpRequest, form: UploadForm) -> ImportJob | None:
        data = form.cleaned_data
        try:
            return lifecycle.create_import(
                file=data["file"],
                file_name=data["file"].name,
                supplier_code=data["supplier_code"],
                dry_run=data["dry_run"],
                mapping=data["mapping"],
                encoding=data["encoding"],
                delimiter=data["delimiter"],
                has_header=data["has_header"],
                ean_check=data["ean_check"],
                created_by=request.user.get_username(),
            )
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            form.add_error("file", gettext("The server has no room left for the file; nothing was kept."))
            return None

    def page_context(self, request: HttpRequest, job: ImportJob) -> dict[str, Any]:
        tab = request.GET.get("tab", "logs")
        if tab not in TABS:
            raise Http404("There is no such tab.")
        context: dict[str, Any] = {
            "tab": tab,
            "tabs": TABS.items(),
            "tiles": _tiles(job),
            "log_kind": "rows",
            "log_query": "",
            "written": job.products_created + job.products_updated,
            "ready": job.status == Status.READY,
        }
        if tab == "logs":
            context |= self.log_page(request, job)
        elif tab == "preview":
            try:
                context["preview"] = preview(job, limit=PREVIEW_ROWS)
            except (PermanentError, FileNotFoundError) as error:
                context["preview_error"] = str(error)
            else:
                context["preview_fields"], context["preview_rows"] = _as_table(context["preview"].rows)
        return context


def _tiles(job: ImportJob) -> list[Tile]:
    """The job's counters; those of a dry run say what would happen."""
    return [
        Tile(gettext("Rows"), "–" if job.total_rows is None else grouped(job.total_rows)),
        Tile(gettext("Created"), grouped(job.products_created), "good" if job.products_created else ""),
        Tile(gettext("Updated"), grouped(job.products_updated)),
        Tile(gettext("Unchanged"), grouped(job.products_unchanged)),
        Tile(
            gettext("Refused"),
            grouped(job.failed_rows),
            "bad" if job.failed_rows else "",
            "?level=error#logs" if job.failed_rows else "",
        ),
        Tile(
            gettext("Warnings"),
            grouped(job.warnings),
            "warn" if job.warnings else "",
            "?level=warning#logs" if job.warnings else "",
        ),
    ]


def _as_table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The fields that any row has, and each row's values in that order."""
    fields = list(dict.fromkeys(name for row in rows for name in row))
    return fields, [[row.get(name, "") for name in fields] for row in rows]
