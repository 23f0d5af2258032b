"""`/api/v1/imports/…`: create an import, follow it, control it."""

import errno
from pathlib import PurePath
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, UnsupportedMediaType
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.fields import FIELDS
from catalog.models import Supplier
from imports import lifecycle
from imports.filters import ImportJobFilter, ImportLogFilter
from imports.models import ImportJob, ImportLog, RowDifference, SupplierMapping
from imports.preview import preview
from imports.refused import refused_rows
from imports.serializers import (
    DifferencesSerializer,
    ImportJobSerializer,
    ImportLogSerializer,
    ImportOptionsSerializer,
    ImportUploadSerializer,
    PreviewSerializer,
    RowDifferenceSerializer,
    RowProblemSerializer,
    SupplierMappingSerializer,
    check_digits,
)
from imports.uploads import ImportUploadHandler
from pim.api.bodies import ignored, json_object
from pim.api.errors import Conflict, invalid
from pim.api.idempotency import idempotent
from pim.api.pagination import read_int, read_page
from pim.apikeys.models import Scope
from pim.jobs.errors import PermanentError
from pim.jobs.states import Status

READ, WRITE = (Scope.IMPORTS_READ,), (Scope.IMPORTS_WRITE,)


class StorageFull(APIException):
    status_code = 507
    default_code = "insufficient_storage"


class ImportJobViewSet(
    mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ImportJob]
):
    queryset = ImportJob.objects.select_related("supplier", "undo").order_by("-created_at", "-id")
    serializer_class = ImportJobSerializer
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ImportJobFilter
    required_scopes = {
        "list": READ,
        "retrieve": READ,
        "preview": READ,
        "errors_csv": READ,
        "diff": READ,
        "create": WRITE,
        "partial_update": WRITE,
        "pause": WRITE,
        "resume": WRITE,
        "cancel": WRITE,
        "confirm": WRITE,
        "retry": WRITE,
        "undo": WRITE,
    }

    def get_parsers(self) -> Any:
        # asked for before the action is known
        method = self.request.method if self.request else None
        return [MultiPartParser()] if self.action_map.get(str(method).lower()) == "create" else super().get_parsers()

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # before anything reads the body
        request.upload_handlers = [ImportUploadHandler(request)]
        return super().initialize_request(request, *args, **kwargs)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, OSError) and exc.errno == errno.ENOSPC:
            exc = StorageFull(_("The server has no room left for the file; nothing was kept."))
        return super().handle_exception(exc)

    @extend_schema(request={"multipart/form-data": ImportUploadSerializer}, responses={201: ImportJobSerializer})
    @idempotent
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start an import from an uploaded file. The answer comes at once; the work is done in the background."""
        form = ImportUploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        file = form.validated_data.pop("file")
        try:
            job = lifecycle.create_import(
                file=file, file_name=file.name, created_by=str(request.user), **form.validated_data
            )
        except lifecycle.UnknownFileType as error:
            raise UnsupportedMediaType(file.content_type, detail=str(error)) from error
        return Response(ImportJobSerializer(job).data, status=201)

    @extend_schema(request=ImportOptionsSerializer, responses=ImportJobSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change how the file of a job that is ready is read; it is then checked again.

        Also for a job that failed before its first row, such as one whose columns could not be mapped.
        """
        body = json_object(request)
        form = ImportOptionsSerializer(data=body)
        form.is_valid(raise_exception=True)
        if not form.validated_data:
            raise invalid("mapping", _("Name at least one option to change."))
        job = self.get_object()
        try:
            lifecycle.change_options(job, **form.validated_data)
        except PermanentError as error:
            raise invalid("mapping", str(error)) from error
        answer = dict(ImportJobSerializer(job).data)
        if warnings := ignored(body, form.fields.keys()):
            answer["request_warnings"] = warnings
        return Response(answer)

    @extend_schema(request=None, responses=ImportJobSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Pause the job; nothing is written from the moment this answers until it is resumed."""
        return self._control("pause")

    @extend_schema(request=None, responses=ImportJobSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on after the last checkpoint; a job that is ready is confirmed."""
        return self._control("resume")

    @extend_schema(request=None, responses=ImportJobSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Stop the job for good. What it has written stays and is counted."""
        return self._control("cancel")

    @extend_schema(request=None, responses=ImportJobSerializer)
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, pk: str) -> Response:
        """Carry out what a dry run has checked."""
        return self._control("confirm")

    @extend_schema(request=None, responses=ImportJobSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Let a failed or cancelled job go on after its last checkpoint."""
        return self._control("retry")

    @extend_schema(request=None, responses={202: ImportJobSerializer})
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Take back what a completed or cancelled job wrote, in the background; `undo` of the job tells how far it is.

        Changed fields get their earlier values, created products are removed. What changed after the import is left
        alone and named in the log. Asking again changes nothing.
        """
        job = self.get_object()
        lifecycle.undo(job, requested_by=str(request.user))
        return Response(ImportJobSerializer(self.get_object()).data, status=202)

    @extend_schema(
        operation_id="imports_jobs_errors_csv", responses={(200, "text/csv"): OpenApiTypes.BINARY}, filters=False
    )
    @action(detail=True, methods=["get"], pagination_class=None)
    def errors_csv(self, request: Request, pk: str) -> HttpResponseBase:
        """The refused rows as a CSV file: the file's columns, then `row_number` and `errors`. Correct it, import it."""
        job = self.get_object()
        try:
            chunks = refused_rows(job)
        except PermanentError as error:
            raise invalid("file", str(error)) from error
        name = content_disposition_header(True, f"{PurePath(job.file_name).stem}-errors.csv")
        return FileResponse(chunks, content_type="text/csv; charset=utf-8", headers={"Content-Disposition": str(name)})

    @extend_schema(
        responses=DifferencesSerializer,
        parameters=[
            OpenApiParameter("skip", int, default=0),
            OpenApiParameter("limit", int, default=50, description=_("At most 200.")),
            OpenApiParameter("change", str, enum=RowDifference.Change.values),
        ],
        filters=False,
    )
    @action(detail=True, methods=["get"], pagination_class=None)
    def diff(self, request: Request, pk: str) -> Response:
        """What a dry run found: counts, and a sample of rows with old and new values."""
        page = read_page(request.query_params, maximum=200)
        change = request.query_params.get("change", "")
        if change not in ("", *RowDifference.Change.values):
            raise invalid("change", _("Must be one of %s.") % ", ".join(RowDifference.Change.values))
        job = self.get_object()
        if job.status != Status.READY:
            message = _("The job is %(status)s: only a job that is ready has differences to show.")
            raise Conflict(message % {"status": job.status}, "illegal_state")
        found = RowDifference.objects.filter(job=job, **({"change": change} if change else {})).order_by("id")
        total = found.count()
        items = list(found[page.skip : page.skip + page.limit])
        refused = {item.row_number: item for item in items if item.change == RowDifference.Change.REFUSED}
        for line in ImportLog.objects.filter(job=job, level=ImportLog.Level.ERROR, row_number__in=refused):
            refused[line.row_number].errors.append(line)
        counts = {
            "created": job.products_created,
            "updated": job.products_updated,
            "unchanged": job.products_unchanged,
            "refused": job.failed_rows,
            "deactivated": job.products_deactivated,
        }
        return Response(
            {"counts": counts, "items": RowDifferenceSerializer(items, many=True).data, "meta": page.meta(total)}
        )

    @extend_schema(responses=PreviewSerializer, parameters=[OpenApiParameter("limit", int, default=10)], filters=False)
    @action(detail=True, methods=["get"], pagination_class=None)
    def preview(self, request: Request, pk: str) -> Response:
        """The first rows as they would be imported, and the problems found in the first thousand."""
        limit = read_int(request.query_params.get("limit", "10"), "limit", minimum=1, maximum=100)
        job = self.get_object()
        try:
            found = preview(job, limit=limit)
        except PermanentError as error:
            raise invalid("file", str(error)) from error
        return Response(
            {
                "total_rows": job.total_rows,
                "preview": [_as_json(row) for row in found.rows],
                "validation_errors": RowProblemSerializer(found.problems, many=True).data,
                "columns": found.mapped,
                "ignored_columns": found.ignored,
                "detected": found.detected,
                "check_digits": check_digits(found.check_digits),
            }
        )

    def _control(self, name: str) -> Response:
        job = self.get_object()
        lifecycle.control(job, name)
        return Response(ImportJobSerializer(job).data)


class ImportLogList(generics.ListAPIView[ImportLog]):
    """What was found in the rows of the file."""

    queryset = ImportLog.objects.order_by("row_number", "id")
    serializer_class = ImportLogSerializer
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ImportLogFilter
    required_scopes = {"GET": READ}
    max_limit = 200

    def get_queryset(self) -> QuerySet[ImportLog]:
        return super().get_queryset().filter(job=get_object_or_404(ImportJob, pk=self.kwargs["pk"]))


class SupplierMappingView(APIView):
    """How a supplier's files are read unless a job says otherwise."""

    required_scopes = {"GET": READ, "PUT": WRITE, "DELETE": WRITE}

    @extend_schema(responses=SupplierMappingSerializer)
    def get(self, request: Request, code: str) -> Response:
        """The mapping, constants and defaults saved for a supplier."""
        return Response(SupplierMappingSerializer(get_object_or_404(SupplierMapping, supplier__code__iexact=code)).data)

    @extend_schema(request=SupplierMappingSerializer, responses=SupplierMappingSerializer)
    def put(self, request: Request, code: str) -> Response:
        """Save them; what is left out is empty afterwards."""
        supplier = get_object_or_404(Supplier, code__iexact=code)
        form = SupplierMappingSerializer(data=json_object(request))
        form.is_valid(raise_exception=True)
        empty: dict[str, dict[str, str]] = {"mapping": {}, "constants": {}, "defaults": {}}
        values = empty | form.validated_data | {"updated_at": Now()}
        SupplierMapping.objects.update_or_create(supplier=supplier, defaults=values)
        return Response(SupplierMappingSerializer(SupplierMapping.objects.get(supplier=supplier)).data)

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def delete(self, request: Request, code: str) -> Response:
        """Let the headers decide again."""
        get_object_or_404(SupplierMapping, supplier__code__iexact=code).delete()
        return Response({})


def _as_json(row: dict[str, str]) -> dict[str, Any]:
    return {name: float(value) if FIELDS[name].kind == "decimal" else value for name, value in row.items()}
