"""Import jobs and their logs as JSON, and the form that creates a job."""

import json
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from imports.models import ImportJob, ImportLog


class ImportJobSerializer(serializers.ModelSerializer[ImportJob]):
    """progress: share of the rows done, 0 to 1; null until the rows are counted."""

    supplier_id = serializers.UUIDField(read_only=True)
    supplier_code = serializers.CharField(source="supplier.code", read_only=True)
    processed_rows = serializers.IntegerField(source="cursor", read_only=True)
    successful_rows = serializers.IntegerField(read_only=True)
    progress = serializers.SerializerMethodField()
    error_summary = serializers.SerializerMethodField()

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
            "ean_check",
            "detected",
            "total_rows",
            "processed_rows",
            "successful_rows",
            "failed_rows",
            "products_created",
            "products_updated",
            "products_unchanged",
            "warnings",
            "progress",
            "error_summary",
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


class ImportUploadSerializer(serializers.Serializer[Any]):
    """The form that starts an import."""

    file = serializers.FileField(help_text=gettext_lazy("The file; its name tells its type."))
    supplier_code = serializers.CharField(
        max_length=100, help_text=gettext_lazy("Supplier of all products of the file; created when unknown.")
    )
    dry_run = serializers.BooleanField(default=False, help_text=gettext_lazy("Check everything, write nothing."))
    mapping = MappingField(
        child=serializers.CharField(),
        default=dict,
        help_text=gettext_lazy("File column → product field; without it the headers decide."),
    )
    encoding = serializers.CharField(default="", allow_blank=True, max_length=20)
    delimiter = serializers.CharField(default="", allow_blank=True, max_length=1, trim_whitespace=False)
    header = serializers.BooleanField(default=None, allow_null=True)
    ean_check = serializers.ChoiceField(choices=ImportJob.EanCheck.choices, required=False)

    def validate_encoding(self, value: str) -> str:
        try:
            "".encode(value or "utf-8")
        except LookupError as error:
            raise serializers.ValidationError(_("Unknown encoding; use for example utf-8 or cp1252.")) from error
        return value


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
