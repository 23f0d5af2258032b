"""The Code2ASIN API: jobs, their control, log, results, decisions, statistics and exports."""

from collections.abc import Callable
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import Avg, Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.http import FileResponse, Http404, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from code2asin import exports, lifecycle, results
from code2asin.models import Code2AsinJob, Code2AsinLog, MatchResult
from code2asin.serializers import (
    SETTLED,
    AcceptSerializer,
    ExportQuerySerializer,
    JobSerializer,
    LogSerializer,
    NewJobSerializer,
    ResultSerializer,
    RetriedSerializer,
    RetrySerializer,
    StatisticsSerializer,
)
from pim.api.bodies import ignored, json_object
from pim.api.errors import Conflict, invalid
from pim.api.pagination import SkipLimitPagination
from pim.api.parsers import StrictJSONParser
from pim.apikeys.models import Scope
from pim.jobs.backoff import MAX_RETRIES
from pim.jobs.states import Status

READ: dict[str, tuple[str, ...]] = {"GET": (Scope.CODE2ASIN_READ,)}
WRITE: dict[str, tuple[str, ...]] = {"POST": (Scope.CODE2ASIN_WRITE,)}
DELETE: dict[str, tuple[str, ...]] = {"DELETE": (Scope.CODE2ASIN_DELETE,)}
JSON_OR_FORM = (StrictJSONParser, FormParser, MultiPartParser)  # for actions whose body is optional
EXPORT_RESPONSES = {(200, file_format.media_type): OpenApiTypes.BINARY for file_format in exports.FORMATS.values()}


class JobPagination(SkipLimitPagination):
    """Both documented shapes at once: `total`, `page` and `per_page` beside the items, and `meta`."""

    def get_paginated_response(self, data: Any) -> Response:
        meta = self.page.meta(self.total)
        flat = {name: meta[name] for name in ("total", "page", "per_page")}
        return Response({"items": data, **flat, "meta": meta})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        answer = super().get_paginated_response_schema(schema)
        whole = {"type": "integer", "minimum": 0}
        answer["properties"] |= dict.fromkeys(("total", "page", "per_page"), whole)
        answer["required"] += ["total", "page", "per_page"]
        return answer


def _choice(request: Request, name: str, allowed: list[str]) -> str | None:
    """A query parameter that takes one of a few values; None when it is absent."""
    value = request.query_params.get(name)
    if value is not None and value not in allowed:
        raise invalid(name, _("Must be one of %(allowed)s.") % {"allowed": ", ".join(allowed)}, "invalid_choice")
    return value


def _options(request: Request, serializer: type[BaseSerializer[Any]]) -> dict[str, Any]:
    """Options of an action, from the query or the body."""
    options = serializer(data=dict(chain(request.query_params.items(), json_object(request).items())))
    options.is_valid(raise_exception=True)
    return dict(options.validated_data)


def _job(job_id: UUID) -> Code2AsinJob:
    return get_object_or_404(Code2AsinJob.objects.select_related("supplier"), pk=job_id)


@extend_schema(tags=["Code2ASIN"])
class JobsView(ListAPIView[Code2AsinJob]):
    required_scopes = {**READ, **WRITE}
    serializer_class = JobSerializer
    pagination_class = JobPagination

    def get_queryset(self) -> QuerySet[Code2AsinJob]:
        jobs = Code2AsinJob.objects.select_related("supplier")
        status = _choice(self.request, "status", Status.values)
        return jobs if status is None else jobs.filter(status=status)

    @extend_schema(parameters=[OpenApiParameter("status", str, enum=Status.values)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """All jobs, newest first."""
        return self.list(request, *args, **kwargs)

    @extend_schema(request=NewJobSerializer, responses={201: JobSerializer})
    def post(self, request: Request) -> Response:
        """Create a job over a selection of the catalogue. It waits for its start unless `auto_start` is true."""
        body = json_object(request)
        new = NewJobSerializer(data=body)
        new.is_valid(raise_exception=True)
        values = dict(new.validated_data)
        auto_start = values.pop("auto_start")
        job = lifecycle.create_job(**values, actor=str(request.user))
        if auto_start:
            lifecycle.control(job, "start")
        answer = JobSerializer(_job(job.pk)).data
        warnings = ignored(body, new.fields)
        return Response({**answer, "warnings": warnings} if warnings else answer, status=201)


@extend_schema(tags=["Code2ASIN"])
class JobView(APIView):
    required_scopes = {**READ, **DELETE}

    @extend_schema(responses=JobSerializer)
    def get(self, request: Request, job_id: UUID) -> Response:
        """One job with its counters."""
        return Response(JobSerializer(_job(job_id)).data)

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def delete(self, request: Request, job_id: UUID) -> Response:
        """Remove a job with its results and log, unless it is processing. Products keep their ASINs."""
        lifecycle.delete(_job(job_id))
        return Response({})


@extend_schema(tags=["Code2ASIN"])
class MoveView(APIView):
    """move: the name in `lifecycle.MOVES`; each address has its own."""

    required_scopes = WRITE
    move = ""

    @extend_schema(request=None, responses=JobSerializer)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Start a pending job, pause a running one, resume a paused one, or cancel it. Asking twice is no error."""
        job = _job(job_id)
        lifecycle.control(job, self.move)
        return Response(JobSerializer(job).data)


@extend_schema(tags=["Code2ASIN"])
class RetryView(APIView):
    required_scopes = WRITE
    parser_classes = JSON_OR_FORM

    @extend_schema(
        parameters=[OpenApiParameter("reset_retry_counter", bool, default=False)],
        request=RetrySerializer,
        responses=RetriedSerializer,
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Run a failed or cancelled job again, for the codes that are left. Allowed five times, then with a reset."""
        reset = _options(request, RetrySerializer)["reset_retry_counter"]
        job = _job(job_id)
        lifecycle.retry(job, reset_counter=reset)
        return Response(
            {
                "message": "Job marque pour relance (compteur reinitialise)" if reset else "Job marque pour relance",
                "job_id": str(job.pk),
                "id": str(job.pk),
                "status": job.status,
                "retry_count": job.retry_count,
                "max_retries": MAX_RETRIES,
            }
        )


@extend_schema(tags=["Code2ASIN"])
class LogsView(ListAPIView[Code2AsinLog]):
    required_scopes = READ
    serializer_class = LogSerializer
    max_limit = 200

    def get_queryset(self) -> QuerySet[Code2AsinLog]:
        logs = Code2AsinLog.objects.filter(job=_job(self.kwargs["job_id"]))
        level = _choice(self.request, "level", Code2AsinLog.Level.values)
        return logs if level is None else logs.filter(level=level)

    @extend_schema(parameters=[OpenApiParameter("level", str, enum=Code2AsinLog.Level.values)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The log of a job, oldest first."""
        logs: list[Code2AsinLog] = self.paginate_queryset(self.get_queryset()) or []
        products = {log.product_id for log in logs} - {None}
        found = MatchResult.objects.filter(job=kwargs["job_id"], product__in=products) if products else None
        candidates = dict(found.values_list("product_id", "candidates")) if found is not None else {}
        rows = LogSerializer(logs, many=True, context={"candidates": candidates})
        return self.get_paginated_response(rows.data)


@extend_schema(tags=["Code2ASIN"])
class ResultsView(ListAPIView[MatchResult]):
    required_scopes = READ
    serializer_class = ResultSerializer
    max_limit = 100

    def get_queryset(self) -> QuerySet[MatchResult]:
        found = MatchResult.objects.filter(job=_job(self.kwargs["job_id"])).select_related("product")
        status = _choice(self.request, "status", list(SETTLED))
        return found.filter(status=status) if status else found.exclude(status=MatchResult.Status.PENDING)

    @extend_schema(parameters=[OpenApiParameter("status", str, enum=SETTLED)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What the codes of a job came to, in the order of the codes; codes not looked up yet are not listed."""
        return self.list(request, *args, **kwargs)


@extend_schema(tags=["Code2ASIN"])
class AcceptView(APIView):
    required_scopes = WRITE
    parser_classes = JSON_OR_FORM

    @extend_schema(request=AcceptSerializer, responses=ResultSerializer)
    def post(self, request: Request, job_id: UUID, result_id: UUID) -> Response:
        """Accept the proposed ASIN, or the one that is named, and give it to the product."""
        asin = _options(request, AcceptSerializer).get("asin")
        return _decision(lambda: results.accept(result_id=result_id, job_id=job_id, asin=asin, actor=str(request.user)))


@extend_schema(tags=["Code2ASIN"])
class RejectView(APIView):
    required_scopes = WRITE

    @extend_schema(request=None, responses=ResultSerializer)
    def post(self, request: Request, job_id: UUID, result_id: UUID) -> Response:
        """Reject the match; an ASIN that it gave to the product is taken back."""
        return _decision(lambda: results.reject(result_id=result_id, job_id=job_id, actor=str(request.user)))


def _decision(decide: Callable[[], MatchResult]) -> Response:
    try:
        return Response(ResultSerializer(decide()).data)
    except MatchResult.DoesNotExist:
        raise Http404 from None
    except results.InvalidAsin as error:
        raise invalid("asin", str(error)) from None
    except results.AlreadyDecided as error:
        raise Conflict(str(error), "already_decided") from None
    except results.DecisionRefused as error:
        raise Conflict(str(error), "illegal_state") from None


@extend_schema(tags=["Code2ASIN"])
class StatisticsView(APIView):
    required_scopes = READ

    @extend_schema(responses=StatisticsSerializer)
    def get(self, request: Request) -> Response:
        """Figures over all jobs."""
        jobs = Code2AsinJob.objects.aggregate(
            total_jobs=Count("id"),
            completed_jobs=Count("id", filter=Q(status=Status.COMPLETED)),
            failed_jobs=Count("id", filter=Q(status=Status.FAILED)),
            running_jobs=Count("id", filter=Q(status=Status.PROCESSING)),
            total_products_matched=Coalesce(Sum("matched"), 0),
            settled=Coalesce(Sum(F("matched") + F("ambiguous") + F("unmatched")), 0),
        )
        settled = jobs.pop("settled")
        confidence = MatchResult.objects.filter(status=MatchResult.Status.MATCHED).aggregate(mean=Avg("confidence"))
        return Response(
            {
                **jobs,
                "match_rate": round(jobs["total_products_matched"] / settled, 4) if settled else 0.0,
                "average_confidence": round(confidence["mean"] or 0.0, 4),
            }
        )


@extend_schema(tags=["Code2ASIN"])
class ExportView(APIView):
    # It only reads, so the right to read suffices for POST as well.
    required_scopes = {**READ, "POST": (Scope.CODE2ASIN_READ, Scope.CODE2ASIN_WRITE)}

    @extend_schema(parameters=[ExportQuerySerializer], responses=EXPORT_RESPONSES)
    def get(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """The results of a completed job as a file; `partial=true` gives what is settled so far of any other."""
        return self._export(request, job_id)

    @extend_schema(parameters=[ExportQuerySerializer], request=None, responses=EXPORT_RESPONSES)
    def post(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """The same as GET."""
        return self._export(request, job_id)

    def _export(self, request: Request, job_id: UUID) -> HttpResponseBase:
        options = _options(request, ExportQuerySerializer)
        job = _job(job_id)
        if job.status != Status.COMPLETED and not options["partial"]:
            message = _("The job is %(status)s: only completed jobs are exported, others with partial=true.")
            raise Conflict(message % {"status": job.status}, "illegal_state")
        if options["format"] == "excel" and job.total_codes > exports.EXCEL_MAX_ROWS:
            message = _("An Excel sheet holds %(limit)d rows, the job has %(count)d; export CSV or JSON instead.")
            raise invalid("format", message % {"limit": exports.EXCEL_MAX_ROWS, "count": job.total_codes})
        rows = exports.rows(job, include_unmatched=options["include_unmatched"])
        extension, media_type, write = exports.FORMATS[options["format"]]
        disposition = content_disposition_header(True, f"code2asin_results_{job.pk}.{extension}")
        return FileResponse(write(rows), content_type=media_type, headers={"Content-Disposition": str(disposition)})
