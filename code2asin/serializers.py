"""What the Code2ASIN API takes and shows; where two names are documented for one thing, both are shown."""

from decimal import Decimal
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from catalog.filters import filter_products
from code2asin.exports import FORMATS
from code2asin.models import Code2AsinJob, Code2AsinLog, MatchResult
from pim.jobs.backoff import MAX_RETRIES
from pim.webhooks.models import MAX_URL_LENGTH, public_url

# A result exists for a client once its code is looked up.
SETTLED = (MatchResult.Status.MATCHED, MatchResult.Status.UNMATCHED, MatchResult.Status.AMBIGUOUS)


class NewJobSerializer(serializers.Serializer[Any]):
    """A job to create. product_filter: the filters of the product list."""

    name = serializers.CharField(max_length=255)
    product_filter = serializers.DictField(default=dict)
    auto_match = serializers.BooleanField(default=True)
    confidence_threshold = serializers.DecimalField(
        max_digits=4, decimal_places=3, min_value=Decimal(0), max_value=Decimal(1), default=Decimal("0.85")
    )
    auto_start = serializers.BooleanField(default=False)
    callback_url = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=MAX_URL_LENGTH,
        validators=[public_url],
        help_text=gettext_lazy("Told once when the job ends; see webhooks."),
    )

    def validate_product_filter(self, value: dict[str, Any]) -> dict[str, Any]:
        try:
            filter_products(value)
        except DjangoValidationError as error:
            raise serializers.ValidationError(error.message_dict) from None
        return value


class JobSerializer(serializers.ModelSerializer[Code2AsinJob]):
    """A job. progress: from 0 to 1."""

    supplier_code = serializers.CharField(source="supplier.code", default=None, read_only=True, allow_null=True)
    total_products = serializers.IntegerField(source="total_codes")
    successful_conversions = serializers.IntegerField(source="matched")
    failed_conversions = serializers.IntegerField(source="unmatched")
    confidence_threshold = serializers.FloatField()
    max_retries = serializers.IntegerField(default=MAX_RETRIES, read_only=True)
    progress = serializers.SerializerMethodField()
    error_summary = serializers.SerializerMethodField()

    class Meta:
        model = Code2AsinJob
        fields: ClassVar = (
            "id",
            "name",
            "source",
            "supplier_code",
            "status",
            "progress",
            "total_products",
            "total_codes",
            "successful_conversions",
            "failed_conversions",
            "matched",
            "ambiguous",
            "unmatched",
            "auto_match",
            "confidence_threshold",
            "product_filter",
            "callback_url",
            "provider",
            "marketplace",
            "retry_count",
            "max_retries",
            "error_summary",
            "created_by",
            "created_at",
            "started_at",
            "completed_at",
        )
        read_only_fields = fields

    def get_progress(self, job: Code2AsinJob) -> float:
        if not job.total_codes:
            return 1.0 if job.staged else 0.0
        return round(job.cursor / job.total_codes, 4)

    def get_error_summary(self, job: Code2AsinJob) -> str | None:
        return job.error_summary or None


class RetrySerializer(serializers.Serializer[Any]):
    reset_retry_counter = serializers.BooleanField(default=False)


class RetriedSerializer(serializers.Serializer[Any]):
    """The answer to a retry. id: the same as job_id."""

    message = serializers.CharField()
    id = serializers.UUIDField()
    job_id = serializers.UUIDField()
    status = serializers.CharField()
    retry_count = serializers.IntegerField()
    max_retries = serializers.IntegerField()


class LogSerializer(serializers.ModelSerializer[Code2AsinLog]):
    """One line. Lines about the job as a whole have no code. api_response: the candidates the marketplace gave."""

    api_response = serializers.SerializerMethodField()

    class Meta:
        model = Code2AsinLog
        fields: ClassVar = (
            "id",
            "timestamp",
            "level",
            "message",
            "product_id",
            "input_code",
            "code_type",
            "previous_asin",
            "new_asin",
            "change_reason",
            "confidence_score",
            "processing_time_ms",
            "api_response",
        )
        read_only_fields = fields

    def get_api_response(self, log: Code2AsinLog) -> dict[str, Any] | None:
        candidates = self.context.get("candidates", {}).get(log.product_id)
        return None if candidates is None else {"candidates": candidates}


class CandidateSerializer(serializers.Serializer[Any]):
    """An item that may be the product, with its score and one sentence for each figure in it."""

    asin = serializers.CharField()
    title = serializers.CharField(allow_null=True)
    brand = serializers.CharField(allow_null=True)
    image = serializers.CharField(allow_null=True)
    score = serializers.FloatField()
    match_type = serializers.ChoiceField(("exact", "partial", "fuzzy"))
    features = serializers.DictField()
    reasons = serializers.ListField(child=serializers.CharField())
    vetoes = serializers.ListField(child=serializers.CharField())


class ResultSerializer(serializers.ModelSerializer[MatchResult]):
    """The fate of one code. asin: the accepted one, or the proposal of an ambiguous result."""

    job_id = serializers.UUIDField()
    product_id = serializers.UUIDField(allow_null=True)
    product_name = serializers.CharField(source="product.name", default=None)
    product_ean = serializers.CharField(source="code")
    amazon_title = serializers.CharField(source="title")
    match_confidence = serializers.FloatField(source="confidence")
    candidates = CandidateSerializer(many=True)

    class Meta:
        model = MatchResult
        fields: ClassVar = (
            "id",
            "job_id",
            "product_id",
            "product_ean",
            "product_name",
            "asin",
            "amazon_title",
            "status",
            "match_type",
            "confidence",
            "match_confidence",
            "matched_at",
            "reason",
            "error_class",
            "review",
            "reviewed_by",
            "reviewed_at",
            "candidates",
        )
        read_only_fields = fields


class AcceptSerializer(serializers.Serializer[Any]):
    """asin: another ASIN than the proposed one."""

    asin = serializers.CharField(required=False, allow_null=True)


class StatisticsSerializer(serializers.Serializer[Any]):
    """Over all jobs; the rates are 0 while nothing is looked up."""

    total_jobs = serializers.IntegerField()
    completed_jobs = serializers.IntegerField()
    failed_jobs = serializers.IntegerField()
    running_jobs = serializers.IntegerField()
    total_products_matched = serializers.IntegerField()
    match_rate = serializers.FloatField()
    average_confidence = serializers.FloatField()


class ExportQuerySerializer(serializers.Serializer[Any]):
    """partial: export what is settled although the job is not completed."""

    format = serializers.ChoiceField(list(FORMATS), default="csv")
    include_unmatched = serializers.BooleanField(default=True)
    partial = serializers.BooleanField(default=False)  # type: ignore[assignment]  # DRF takes fields off the class
