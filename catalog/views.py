"""The API of products, and of the suppliers, brands and categories they name."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Model, Q, QuerySet
from django.db.models.functions import Now
from django.http import Http404
from django.utils.translation import gettext as _
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import ModelSerializer

from catalog import bulk
from catalog.bulk import create_products, unknown_category, update_products
from catalog.editing import delete_product, edit_product
from catalog.fields import DEACTIVATE, FIELDS, KEEP
from catalog.filters import FILTERS, ProductFilterSet
from catalog.models import Brand, Category, Product, ProductRevision, Supplier
from catalog.payload import CREATE_REQUIRES, READERS, Payload, ValueRefused, read_payload
from catalog.provenance import Provenance
from catalog.references import REFERENCES, resolve
from catalog.serializers import (
    PRODUCT_COLUMNS,
    BrandSerializer,
    BulkCreateAnswerSerializer,
    BulkCreateSerializer,
    BulkUpdateAnswerSerializer,
    BulkUpdateSerializer,
    CategorySerializer,
    ProductChangeSerializer,
    ProductCreateSerializer,
    ProductSerializer,
    SupplierSerializer,
    WrittenProductSerializer,
    bulk_item_json,
    product_json,
)
from catalog.upsert import Mode, Result, Row, upsert_products
from pim.api.bodies import ignored, json_object
from pim.api.errors import ApiFieldErrors, Conflict, invalid
from pim.api.pagination import PAGE_PARAMETERS, SkipLimitPagination, read_page
from pim.apikeys.models import Scope

MAX_BULK = 1000
SORTS = ("created_at", "updated_at", "name", "price", "ean")
LIST_PARAMETERS = FILTERS | PAGE_PARAMETERS | {"sort_by", "sort_order", "fields"}

SCOPES = {
    "list": (Scope.PRODUCTS_READ,),
    "retrieve": (Scope.PRODUCTS_READ,),
    "create": (Scope.PRODUCTS_WRITE,),
    "partial_update": (Scope.PRODUCTS_WRITE,),
    "destroy": (Scope.PRODUCTS_DELETE,),
    "create_many": (Scope.PRODUCTS_WRITE,),
    "update_many": (Scope.PRODUCTS_WRITE,),
}

_FIELDS_PARAMETER = OpenApiParameter("fields", str, description="Keys to answer, separated by commas; all when absent.")


def api_provenance(request: Request) -> Provenance:
    """The caller as the author of a change: the key, or the signed-in member of staff."""
    key: Any = request.auth
    return Provenance(ProductRevision.Source.API, str(request.user), key.pk if key is not None else None)


class ProductViewSet(viewsets.GenericViewSet[Product]):
    """Products, keyed by EAN. A deleted product comes back under its old id when its EAN is created again."""

    queryset = Product.objects.live()
    serializer_class = ProductSerializer
    lookup_field = "id"
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ProductFilterSet
    required_scopes = SCOPES

    @extend_schema(
        parameters=[
            OpenApiParameter("sort_by", str, enum=SORTS, default="created_at"),
            OpenApiParameter("sort_order", str, enum=("asc", "desc"), default="asc"),
            _FIELDS_PARAMETER,
        ]
    )
    def list(self, request: Request) -> Response:
        """Products that match every filter given. An unknown parameter is ignored and named in `warnings`."""
        parameters = request.query_params
        products = _sorted(self.filter_queryset(self.get_queryset()), parameters)
        names = _names(parameters)
        page = read_page(parameters)
        total = products.count()
        rows = products.values(*PRODUCT_COLUMNS.values())[page.skip : page.skip + page.limit]
        answer = {"items": [product_json(row, names) for row in rows], "meta": page.meta(total)}
        if warnings := ignored(parameters, LIST_PARAMETERS):
            answer["warnings"] = warnings
        return Response(answer)

    @extend_schema(parameters=[_FIELDS_PARAMETER])
    def retrieve(self, request: Request, id: str) -> Response:
        """One product."""
        return Response(_shown(self._found(id).pk, _names(request.query_params)))

    @extend_schema(request=ProductCreateSerializer, responses={201: WrittenProductSerializer})
    def create(self, request: Request) -> Response:
        """Create a product. A taken EAN is a conflict; the EAN of a deleted product revives that product."""
        payload = _checked(read_payload(json_object(request), required=CREATE_REQUIRES))
        if payload.upc:
            payload.values.setdefault("upc", payload.upc)
        outcome = upsert_products(
            fields=list(payload.values),
            rows=[Row(0, payload.ean, list(payload.values.values()))],
            provenance=api_provenance(request),
            mode=Mode.CREATE,
        )[0]
        if outcome.result is Result.EXISTS or outcome.id is None:
            raise _duplicate_ean()
        return Response(_written(outcome.id, payload), status=status.HTTP_201_CREATED)

    @extend_schema(request=ProductChangeSerializer, responses=WrittenProductSerializer)
    def partial_update(self, request: Request, id: str) -> Response:
        """Change the fields that are sent; null empties a field that may be empty."""
        payload = read_payload(json_object(request))
        product = self._found(id)
        _checked(payload)
        try:
            with transaction.atomic():
                product = Product.objects.select_for_update().get(pk=product.pk)
                edit_product(
                    product_id=product.pk, values=_columns(payload, product), provenance=api_provenance(request)
                )
        except Product.DoesNotExist:
            raise Http404 from None
        except IntegrityError as error:
            if "ean" in str(error):
                raise _duplicate_ean() from error
            raise
        return Response(_written(product.pk, payload))

    @extend_schema(responses={200: {"type": "object", "properties": {}}})
    def destroy(self, request: Request, id: str) -> Response:
        """Delete a product. Its record is kept for audit; a second delete answers 404."""
        try:
            delete_product(product_id=self._found(id).pk, provenance=api_provenance(request))
        except Product.DoesNotExist:
            raise Http404 from None
        return Response({})

    def _found(self, id: str) -> Product:
        return _get(self.get_queryset().only("id"), id)


class ProductBulkViewSet(viewsets.GenericViewSet[Product]):
    """Up to 1,000 products in one request, each answered in `results`."""

    queryset = Product.objects.live()
    serializer_class = ProductSerializer
    required_scopes = SCOPES

    @extend_schema(
        operation_id="products_bulk_create",
        request=BulkCreateSerializer,
        responses=BulkCreateAnswerSerializer,
        parameters=[OpenApiParameter("atomic", bool, description="As in the body.")],
    )
    def create_many(self, request: Request) -> Response:
        """Create up to 1,000 products. Items fail one by one unless `atomic` is true."""
        body = json_object(request)
        report = create_products(
            products=_products(body),
            provenance=api_provenance(request),
            supplier_code=_supplier_code(body),
            skip_duplicates=_flag(request, body, "skip_duplicates"),
            dry_run=(dry_run := _flag(request, body, "dry_run")),
            atomic=_flag(request, body, "atomic"),
        )
        known = ("products", "supplier_code", "skip_duplicates", "dry_run", "atomic")
        return Response(
            {"created": report.count("created"), **_bulk_answer(report, dry_run, ignored(body, known))},
        )

    @extend_schema(
        operation_id="products_bulk_update",
        request=BulkUpdateSerializer,
        responses=BulkUpdateAnswerSerializer,
        parameters=[OpenApiParameter("atomic", bool, description="As in the body.")],
    )
    def update_many(self, request: Request) -> Response:
        """Change up to 1,000 products, found by EAN. Items fail one by one unless `atomic` is true."""
        body = json_object(request)
        report = update_products(
            products=_products(body),
            provenance=api_provenance(request),
            skip_not_found=_flag(request, body, "skip_not_found"),
            dry_run=(dry_run := _flag(request, body, "dry_run")),
            atomic=_flag(request, body, "atomic"),
        )
        known = ("products", "skip_not_found", "dry_run", "atomic")
        return Response(
            {"updated": report.count("updated"), **_bulk_answer(report, dry_run, ignored(body, known))},
        )


class ReferenceViewSet[M: Model](viewsets.GenericViewSet[M]):
    pass
