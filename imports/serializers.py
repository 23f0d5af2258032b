"""Import jobs and their logs as JSON, and the form that creates a job."""

import json
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.fields import ALIASES, FIELDS
from imports.models import ImportJob, ImportLog, ImportUndo, RowDifference
from pim.webhooks.models import MAX_URL_LENGTH, public_url


class ImportUndoSerializer(serializers.ModelSerializer[ImportUndo]):
    """total_products: that the import wrote, null until they are listed. undone: put back, wholly or in part.
    conflicts: products of which something changed after the import and was left alone; the log says what."""

    total_products = serializers.IntegerField(source="total", read_only=True, allow_null=True)
    processed_products = serializers.IntegerField(source="cursor", read_only=True)

    class Meta:
        model = ImportUndo
        fields = (
            *("status", "total_products", "processed_products", "undone", "conflicts", "error_summary"),
            *("created_by", "created_at", "started_at", "completed_at"),
        )
        read_only_fields = fields


class CheckDigitsSerializer(serializers.Serializer[Any]):
    """Codes of one length. share: of wrong check digits, 0 to 1."""

    rows = serializers.IntegerField()
    wrong = serializers.IntegerField()
    share = serializers.FloatField()


def check_digits(counted: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    """The counts by length of the code, and the share of wrong ones."""
    return {
        length: {**counts, "share": round(counts["wrong"] / counts["rows"], 4)} for length, counts in counted.items()
    }


class ImportJobSerializer(serializers.ModelSerializer[ImportJob]):
    """progress: share of the rows done, 0 to 1; null until the rows are counted. rows_per_second, seconds_left: of a
    job that is being worked on. check_digits: by length of the code. undo: null unless it was asked for."""

    supplier_id = serializers.UUIDField(read_only=True)
    supplier_code = serializers.CharField(source="supplier.code", read_only=True)
    processed_rows = serializers.IntegerField(source="cursor", read_only=True)
    successful_rows = serializers.IntegerField(read_only=True)
    progress = serializers.SerializerMethodField()
    error_summary = serializers.SerializerMethodField()
    check_digits = serializers.SerializerMethodField()
    rows_per_second = serializers.SerializerMethodField()
    seconds_left = serializers.SerializerMethodField()
    undo = ImportUndoSerializer(read_only=True, allow_null=True)

    class Meta:
        model = ImportJob
        fields = (
            "id",
            "status",
            "file_name",
            "file_type",
            "file_size",
            "supplier_id",
            "supplier_code",
            "dry_run",
            "mapping",
            "encoding",
            "delimiter",
            "has_header",
            "sheet",
            "record_path",
            "ean_check",
            "empty_cells",
            "decimal_mark",
            "constants",
            "defaults",
            "missing",
            "max_missing_percent",
            "callback_url",
            "detected",
            "total_rows",
            "processed_rows",
            "successful_rows",
            "failed_rows",
            "products_created",
            "products_updated",
            "products_unchanged",
            "products_deactivated",
            "warnings",
            "check_digits",
            "progress",
            "rows_per_second",
            "seconds_left",
            "error_summary",
            "undo",
            "created_by",
            "created_at",
            "started_at",
            "completed_at",
        )
        read_only_fields = fields

    def get_progress(self, job: ImportJob) -> float | None:
        return None if not job.total_rows else round(job.cursor / job.total_rows, 4)

    def get_error_summary(self, job: ImportJob) -> str | None:
        return job.error_summary or None

    def get_check_digits(self, job: ImportJob) -> dict[str, dict[str, float]]:
        return check_digits(job.check_digits)

    def get_rows_per_second(self, job: ImportJob) -> float | None:
        rate = _rate(job)
        return None if rate is None else round(rate, 1)

    def get_seconds_left(self, job: ImportJob) -> int | None:
        rate = _rate(job)
        return None if rate is None or job.total_rows is None else round((job.total_rows - job.cursor) / rate)


def _rate(job: ImportJob) -> float | None:
    """Rows a second since the rows were begun; None while there is nothing to go by."""
    if job.status not in job.claimable or not (job.cursor and job.started_at):
        return None
    return job.cursor / max((timezone.now() - job.started_at).total_seconds(), 0.1)


class ImportLogSerializer(serializers.ModelSerializer[ImportLog]):
    class Meta:
        model = ImportLog
        fields = ("row_number", "level", "field", "message", "value", "timestamp")
        read_only_fields = fields


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class MappingField(serializers.DictField):
    """{file column: product field}; in a form it is JSON text."""

    def get_value(self, dictionary: Any) -> Any:
        return dictionary.get(self.field_name, serializers.empty)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError) as error:
                raise serializers.ValidationError(_('Not valid JSON; write for example {"Titre": "name"}.')) from error
        return super().to_internal_value(data)


class ConstantsField(MappingField):
    """{product field: value}; in a form it is JSON text."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        values = super().to_internal_value(data)
        known = {ALIASES.get(name, name): value for name, value in values.items()}
        for name in known:
            if name not in FIELDS or name in ("ean", "supplier_code"):
                raise serializers.ValidationError(_("There is no field “%(field)s” to set.") % {"field": name})
        return known


class ImportOptionsSerializer(serializers.Serializer[Any]):
    """How a file is read and what its rows may do."""

    mapping = MappingField(
        child=serializers.CharField(),
        required=False,
        help_text=gettext_lazy(
            "File column → product field. Left out, the mapping saved for the supplier is used; where there is none, "
            "and with an empty mapping, the headers decide."
        ),
    )
    save_mapping = serializers.BooleanField(
        required=False,
        help_text=gettext_lazy("Use the mapping, constants and defaults for the supplier's next files too."),
    )
    constants = ConstantsField(
        child=serializers.CharField(),
        required=False,
        help_text=gettext_lazy("Product field → value of all rows, whatever the file says."),
    )
    defaults = ConstantsField(
        child=serializers.CharField(),
        required=False,
        help_text=gettext_lazy("Product field → value where the cell is empty."),
    )
    encoding = serializers.CharField(required=False, allow_blank=True, max_length=20)
    delimiter = serializers.CharField(required=False, allow_blank=True, max_length=1, trim_whitespace=False)
    header = serializers.BooleanField(
        source="has_header",
        required=False,
        allow_null=True,
        help_text=gettext_lazy("Whether the first row holds the column names; null: detect."),
    )
    sheet = serializers.CharField(
        required=False, allow_blank=True, max_length=100, help_text=gettext_lazy("Name of the sheet of an XLSX file.")
    )
    record_path = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=500,
        help_text=gettext_lazy("Where the records are in a JSON or XML file."),
    )
    ean_check = serializers.ChoiceField(choices=ImportJob.EanCheck.choices, required=False)
    empty_cells = serializers.ChoiceField(
        choices=ImportJob.EmptyCells.choices,
        required=False,
        help_text=gettext_lazy("Whether an empty cell leaves a field as it is or empties it."),
    )
    decimal_mark = serializers.ChoiceField(
        choices=ImportJob.DecimalMark.choices,
        required=False,
        help_text=gettext_lazy("How the file writes decimals; empty: each number by itself."),
    )
    missing = serializers.ChoiceField(
        choices=ImportJob.Missing.choices,
        required=False,
        help_text=gettext_lazy("What becomes of the supplier's products that the file leaves out."),
    )
    max_missing_percent = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=100,
        help_text=gettext_lazy("The import fails when the file leaves out more than this share of them."),
    )

    callback_url = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=MAX_URL_LENGTH,
        validators=[public_url],
        help_text=gettext_lazy("Told once when the job ends; see webhooks."),
    )

    def validate_encoding(self, value: str) -> str:
        try:
            "".encode(value or "utf-8")
        except LookupError as error:
            raise serializers.ValidationError(_("Unknown encoding; use for example utf-8 or cp1252.")) from error
        return value


class ImportUploadSerializer(ImportOptionsSerializer):
    """The form that starts an import."""

    file = serializers.FileField(help_text=gettext_lazy("The file; its name tells its type."))
    supplier_code = serializers.CharField(
        max_length=100, help_text=gettext_lazy("Supplier of all products of the file; created when unknown.")
    )
    dry_run = serializers.BooleanField(default=False, help_text=gettext_lazy("Check everything, write nothing."))


class RowProblemSerializer(serializers.Serializer[Any]):
    """A problem found in one row."""

    row_number = serializers.IntegerField(source="row")
    level = serializers.ChoiceField(choices=ImportLog.Level.choices)
    field = serializers.CharField()
    message = serializers.CharField()
    value = serializers.CharField(allow_null=True)


class PreviewSerializer(serializers.Serializer[Any]):
    """total_rows is null until the rows are counted."""

    total_rows = serializers.IntegerField(allow_null=True)
    preview = serializers.ListField(child=serializers.DictField())
    validation_errors = RowProblemSerializer(many=True)
    columns = serializers.DictField(child=serializers.CharField())
    ignored_columns = serializers.ListField(child=serializers.CharField())
    detected = serializers.DictField()
    check_digits = serializers.DictField(child=CheckDigitsSerializer())


class ValueChangeSerializer(serializers.Serializer[Any]):
    old = serializers.JSONField(allow_null=True)
    new = serializers.JSONField(allow_null=True)


class RowErrorSerializer(serializers.ModelSerializer[ImportLog]):
    class Meta:
        model = ImportLog
        fields = ("field", "message", "value")
        read_only_fields = fields


class RowDifferenceSerializer(serializers.Serializer[Any]):
    """What one row would do. errors: why it is refused. row_number: null for a product that the file leaves out."""

    row_number = serializers.IntegerField(allow_null=True)
    ean = serializers.CharField()
    change = serializers.ChoiceField(choices=RowDifference.Change.choices)
    product_id = serializers.UUIDField(allow_null=True)
    fields = serializers.DictField(child=ValueChangeSerializer())  # type: ignore[assignment]
    errors = RowErrorSerializer(many=True)  # type: ignore[assignment]


class DifferencesSerializer(serializers.Serializer[Any]):
    """counts: of all rows by kind; the items are a sample of at most 1,000 rows of each kind."""

    counts = serializers.DictField(child=serializers.IntegerField())
    items = RowDifferenceSerializer(many=True)
    meta = serializers.DictField()


class SupplierMappingSerializer(serializers.Serializer[Any]):
    """How a supplier's files are read unless a job says otherwise."""

    mapping = MappingField(child=serializers.CharField(), required=False)
    constants = ConstantsField(child=serializers.CharField(), required=False)
    defaults = ConstantsField(child=serializers.CharField(), required=False)
    updated_at = serializers.DateTimeField(read_only=True)
