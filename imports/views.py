"""`/api/v1/imports/…`: create an import, follow it, control it."""

import errno
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, mixins, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, UnsupportedMediaType
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from catalog.fields import FIELDS
from imports import lifecycle
from imports.filters import ImportJobFilter, ImportLogFilter
from imports.models import ImportJob, ImportLog
from imports.preview import preview
from imports.serializers import (
    ImportJobSerializer,
    ImportLogSerializer,
    ImportUploadSerializer,
    PreviewSerializer,
    RowProblemSerializer,
)
from pim.api.errors import invalid
from pim.api.pagination import read_int
from pim.apikeys.models import Scope
from pim.jobs.errors import PermanentError

READ, WRITE = (Scope.IMPORTS_READ,), (Scope.IMPORTS_WRITE,)


class FileTooLarge(APIException):
    status_code = 413
    default_code = "payload_too_large"


class StorageFull(APIException):
    status_code = 507
    default_code = "insufficient_storage"


class ImportJobViewSet(
    mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ImportJob]
):
    queryset = ImportJob.objects.select_related("supplier").order_by("-created_at", "-id")
    serializer_class = ImportJobSerializer
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ImportJobFilter
    required_scopes = {
        "list": READ,
        "retrieve": READ,
        "preview": READ,
        "create": WRITE,
        "pause": WRITE,
        "resume": WRITE,
        "cancel": WRITE,
        "confirm": WRITE,
    }

    def get_parsers(self) -> Any:
        return [MultiPartParser()] if getattr(self, "action", None) in ("create", None) else super().get_parsers()

    @extend_schema(request={"multipart/form-data": ImportUploadSerializer}, responses={201: ImportJobSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Start an import from an uploaded file. The answer comes at once; the work is done in the background."""
        form = ImportUploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        data = form.validated_data
        file = data["file"]
        if file.size > settings.IMPORT_MAX_UPLOAD_BYTES:
            limit = settings.IMPORT_MAX_UPLOAD_BYTES // 2**20
            raise FileTooLarge(_("The file is larger than %(limit)d MB.") % {"limit": limit})
        try:
            job = lifecycle.create_import(
                file=file,
                file_name=file.name,
                supplier_code=data["supplier_code"],
                dry_run=data["dry_run"],
                mapping=data["mapping"],
                encoding=data["encoding"],
                delimiter=data["delimiter"],
                has_header=data["header"],
                ean_check=data.get("ean_check"),
                created_by=str(request.user),
            )
        except lifecycle.UnknownFileType as error:
            raise UnsupportedMediaType(file.content_type, detail=str(error)) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise StorageFull(_("The server has no room left for the file; nothing was kept.")) from error
        return Response(ImportJobSerializer(job).data, status=201)

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


def _as_json(row: dict[str, str]) -> dict[str, Any]:
    return {name: float(value) if FIELDS[name].kind == "decimal" else value for name, value in row.items()}
