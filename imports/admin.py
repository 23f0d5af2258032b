"""Import jobs in the back office: upload a file, follow it, confirm a dry run, read what each row came to."""

import errno
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from catalog.fields import ALIASES, FIELDS
from catalog.models import Supplier
from imports import lifecycle
from imports.models import ImportJob, ImportLog, ImportUndo, RowDifference
from imports.preview import preview
from imports.serializers import check_digits
from pim.admin import JobAdmin, Tile, badge, grouped
from pim.jobs.errors import PermanentError
from pim.jobs.models import AbstractJob
from pim.jobs.states import IllegalMove, Status
from pim.tabular.opening import FORMATS_BY_SUFFIX, PACKED

PREVIEW_ROWS = 10
DIFFERENCES_PER_PAGE = 50
SUGGESTED_SUPPLIERS = 500
TABS = {"logs": _("Log"), "diff": _("Differences"), "preview": _("Preview"), "configuration": _("Configuration")}
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
        widget=forms.FileInput(attrs={"accept": ",".join((*FORMATS_BY_SUFFIX, *PACKED))}),
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
            "One line a column: column of the file = product field. Left empty, the mapping saved for the supplier is "
            "used, or the headers decide. Fields: %s."
        )
        % ", ".join(FIELDS),
    )
    save_mapping = forms.BooleanField(
        label=_("Save the mapping"), required=False, help_text=_("Use it for the supplier's next files too.")
    )
    constants = forms.CharField(
        label=_("Constants"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "brand_name = Acme"}),
        help_text=_("One line a field: product field = value of all rows."),
    )
    defaults = forms.CharField(
        label=_("Defaults"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "unit_of_measure = pc"}),
        help_text=_("One line a field: product field = value where the cell is empty."),
    )
    sheet = forms.CharField(
        label=_("Sheet"), required=False, max_length=100, help_text=_("Of an Excel file; the first one with rows.")
    )
    record_path = forms.CharField(
        label=_("Path of the records"),
        required=False,
        max_length=500,
        help_text=_("Of a JSON or XML file, such as rss/channel/item."),
    )
    empty_cells = forms.ChoiceField(label=_("Empty cells"), required=False, choices=ImportJob.EmptyCells.choices)
    decimal_mark = forms.ChoiceField(label=_("Decimal mark"), required=False, choices=ImportJob.DecimalMark.choices)
    missing = forms.ChoiceField(
        label=_("Products missing from the file"),
        required=False,
        choices=ImportJob.Missing.choices,
        help_text=_("What becomes of the supplier's other products."),
    )
    max_missing_percent = forms.IntegerField(
        label=_("At most missing (%)"),
        required=False,
        min_value=0,
        max_value=100,
        initial=20,
        help_text=_("The import fails when the file leaves out more of them."),
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

    def clean_constants(self) -> dict[str, str]:
        return self._values("constants")

    def clean_defaults(self) -> dict[str, str]:
        return self._values("defaults")

    def _values(self, name: str) -> dict[str, str]:
        values: dict[str, str] = {}
        for number, line in enumerate(self.cleaned_data[name].splitlines(), 1):
            if not line.strip():
                continue
            field, equals, value = (part.strip() for part in line.partition("="))
            if not (field and equals and value):
                raise ValidationError(
                    _("Line %(number)d is not of the form: field = value."), params={"number": number}
                )
            field = ALIASES.get(field, field)
            if field not in FIELDS or field in ("ean", "supplier_code"):
                raise ValidationError(
                    _("Line %(number)d: there is no field “%(field)s”."), params={"number": number, "field": field}
                )
            values[field] = value
        return values

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
            {
                "fields": (
                    *("mapping", "save_mapping", "constants", "defaults", "encoding", "delimiter", "has_header"),
                    *("sheet", "record_path", "decimal_mark", "empty_cells", "ean_check"),
                    *("missing", "max_missing_percent"),
                ),
                "classes": ("collapse",),
            },
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
        # what is left empty has its default
        given: Any = {name: value for name, value in form.cleaned_data.items() if value not in ("", None, {})}
        file = given.pop("file")
        try:
            return lifecycle.create_import(
                file=file, file_name=file.name, created_by=request.user.get_username(), **given
            )
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            form.add_error("file", gettext("The server has no room left for the file; nothing was kept."))
            return None

    def legal_moves(self, job: AbstractJob) -> Iterator[dict[str, object]]:
        undone = _undo_of(job) is not None
        return (move for move in super().legal_moves(job) if not (undone and str(move["url"]).endswith("/retry/")))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.undo_view)
        return [path("<uuid:job_id>/undo/", view, name="imports_importjob_undo"), *super().get_urls()]

    def undo_view(self, request: HttpRequest, job_id: UUID) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        job = get_object_or_404(self.get_queryset(request), pk=job_id)
        if not self.has_change_permission(request, job):
            raise PermissionDenied
        try:
            if lifecycle.undo(job, requested_by=request.user.get_username()):
                self.log_change(request, job, gettext("Undo the import"))
        except IllegalMove:
            message = gettext("Undo is not possible: the job is %(status)s. Nothing was changed.")
            messages.error(request, message % {"status": job.get_status_display()})
        else:
            messages.success(request, gettext("The import is being taken back."))
        return HttpResponseRedirect(self.page_of(job))

    def page_context(self, request: HttpRequest, job: ImportJob) -> dict[str, Any]:
        tab = request.GET.get("tab", "logs")
        if tab not in TABS:
            raise Http404("There is no such tab.")
        undo = _undo_of(job)
        context: dict[str, Any] = {
            "tab": tab,
            "tabs": [(name, label) for name, label in TABS.items() if name != "diff" or job.status == Status.READY],
            "tiles": _tiles(job, undo),
            "log_kind": "rows",
            "log_query": "",
            "written": job.products_created + job.products_updated,
            "ready": job.status == Status.READY,
            "undo": undo,
            "undo_badge": badge(undo.status, undo.get_status_display()) if undo else "",
            "may_undo": undo is None and job.status in lifecycle.UNDOABLE and self.has_change_permission(request, job),
            "running": job.status in job.claimable or (undo is not None and undo.status in undo.claimable),
        }
        if tab == "logs":
            context |= self.log_page(request, job)
        elif tab == "diff":
            context |= _difference_page(request, job)
        elif tab == "preview":
            try:
                context["preview"] = preview(job, limit=PREVIEW_ROWS)
            except (PermanentError, FileNotFoundError) as error:
                context["preview_error"] = str(error)
            else:
                context["preview_fields"], context["preview_rows"] = _as_table(context["preview"].rows)
        else:
            context["check_digits"] = check_digits(job.check_digits)
        return context


def _undo_of(job: Any) -> ImportUndo | None:
    return ImportUndo.objects.filter(job=job.pk).first()


def _difference_page(request: HttpRequest, job: ImportJob) -> dict[str, Any]:
    """One page of the rows of a dry run with what they would change."""
    change, after = request.GET.get("change", ""), request.GET.get("after", "0")
    if change not in ("", *RowDifference.Change.values) or not after.isdecimal():
        raise Http404("There is no such page of the differences.")
    found = RowDifference.objects.filter(job=job, id__gt=int(after)).order_by("id")
    if change:
        found = found.filter(change=change)
    rows = list(found[: DIFFERENCES_PER_PAGE + 1])
    shown = rows[:DIFFERENCES_PER_PAGE]
    return {
        "change": change,
        "changes": RowDifference.Change.choices,
        "differences": [(row, badge(row.change, row.get_change_display())) for row in shown],
        "next_difference": shown[-1].pk if len(rows) > DIFFERENCES_PER_PAGE else None,
    }


def _tiles(job: ImportJob, undo: ImportUndo | None) -> list[Tile]:
    """The job's counters; those of a dry run say what would happen."""
    tiles = [
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
    if job.missing != ImportJob.Missing.IGNORE:
        tiles.append(Tile(gettext("Missing from the file"), grouped(job.products_deactivated)))
    if undo is not None:
        tiles.append(Tile(gettext("Undone"), grouped(undo.undone)))
        tiles.append(Tile(gettext("Left alone"), grouped(undo.conflicts), "warn" if undo.conflicts else ""))
    return tiles


def _as_table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The fields that any row has, and each row's values in that order."""
    fields = list(dict.fromkeys(name for row in rows for name in row))
    return fields, [[row.get(name, "") for name in fields] for row in rows]
