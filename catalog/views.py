"""The API of products, and of the suppliers, brands and categories they name."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.http import Http404
from django.utils.translation import gettext as _
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status, viewsets
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from catalog.bulk import Report, create_products, update_products
from catalog.editing import delete_product
from catalog.filters import FILTERS, ProductFilterSet
from catalog.models import Brand, Category, Product, ProductRevision, Supplier
from catalog.payload import READERS, Payload, ValueRefused, read_new_product, read_payload
from catalog.provenance import Provenance
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
from catalog.writing import EanTaken, change_product, create_product
from pim.api import etags
from pim.api.bodies import ignored, json_object
from pim.api.errors import Conflict, invalid
from pim.api.idempotency import idempotent
from pim.api.pagination import PAGE_PARAMETERS, read_page
from pim.api.schema import IF_MATCH, IF_NONE_MATCH
from pim.apikeys.models import Scope

MAX_BULK = 1000
SORTS = ("created_at", "updated_at", "name", "price", "ean")

SCOPES: dict[str, tuple[str, ...]] = {
    "list": (Scope.PRODUCTS_READ,),
    "retrieve": (Scope.PRODUCTS_READ,),
    "create": (Scope.PRODUCTS_WRITE,),
    "partial_update": (Scope.PRODUCTS_WRITE,),
    "destroy": (Scope.PRODUCTS_DELETE,),
    "create_many": (Scope.PRODUCTS_WRITE,),
    "update_many": (Scope.PRODUCTS_WRITE,),
}

LIST_PARAMETERS = FILTERS | PAGE_PARAMETERS | {"sort_by", "sort_order", "fields"}
_FIELDS = OpenApiParameter("fields", str, description="Keys to answer, separated by commas; all when absent.")
_EMPTY = {200: {"type": "object", "maxProperties": 0}}


def api_provenance(request: Request) -> Provenance:
    """The caller as the author of a change: the key, or the signed-in member of staff."""
    key: Any = request.auth
    return Provenance(ProductRevision.Source.API, str(request.user), key.pk if key is not None else None)


class ProductViewSet(viewsets.GenericViewSet[Product]):
    """Products, keyed by EAN."""

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
            _FIELDS,
        ]
    )
    def list(self, request: Request) -> Response:
        """Products that match every filter given. A parameter that is unknown is ignored and named in `warnings`."""
        parameters = request.query_params
        products = _sorted(self.filter_queryset(self.get_queryset()), parameters)
        names = _names(parameters)
        page = read_page(parameters)
        total = products.count()
        rows = products.values(*PRODUCT_COLUMNS.values())[page.skip : page.skip + page.limit]
        answer: dict[str, Any] = {"items": [product_json(row, names) for row in rows], "meta": page.meta(total)}
        if warnings := ignored(parameters, LIST_PARAMETERS):
            answer["warnings"] = warnings
        return Response(answer)

    @extend_schema(parameters=[_FIELDS, IF_NONE_MATCH])
    def retrieve(self, request: Request, id: str) -> Response:
        """One product."""
        names = _names(request.query_params)
        product = product_json(get_object_or_404(self.get_queryset().values(*PRODUCT_COLUMNS.values()), pk=id), names)
        if "fields" in request.query_params:
            return Response(product)
        tag = {"ETag": etags.etag_of(product)}
        return (
            Response(status=304, headers=tag)
            if etags.is_known(request, tag["ETag"])
            else Response(product, headers=tag)
        )

    @extend_schema(request=ProductCreateSerializer, responses={201: WrittenProductSerializer})
    @idempotent
    def create(self, request: Request) -> Response:
        """Create a product. The EAN of a deleted product brings that product back under its old id."""
        payload = read_new_product(json_object(request))
        try:
            product_id = create_product(payload=payload, provenance=api_provenance(request))
        except EanTaken:
            raise _ean_conflict(payload) from None
        product = {**_product(product_id), "warnings": _warnings(payload)}
        return Response(product, status=status.HTTP_201_CREATED)

    @extend_schema(parameters=[IF_MATCH], request=ProductChangeSerializer, responses=WrittenProductSerializer)
    def partial_update(self, request: Request, id: str) -> Response:
        """Change the fields that are sent; null empties a field that may be empty."""
        payload = read_payload(json_object(request))
        try:
            with self._matched(request, id) as product_id:
                change_product(product_id=product_id, payload=payload, provenance=api_provenance(request))
        except Product.DoesNotExist:
            raise Http404 from None
        except EanTaken:
            raise _ean_conflict(payload) from None
        product = _product(product_id)
        return Response({**product, "warnings": _warnings(payload)}, headers={"ETag": etags.etag_of(product)})

    @extend_schema(parameters=[IF_MATCH], responses=_EMPTY)
    def destroy(self, request: Request, id: str) -> Response:
        """Delete a product. Its record is kept for audit; a second delete answers 404."""
        try:
            with self._matched(request, id) as product_id:
                delete_product(product_id=product_id, provenance=api_provenance(request))
        except Product.DoesNotExist:
            raise Http404 from None
        return Response({})

    @contextmanager
    def _matched(self, request: Request, id: str) -> Iterator[UUID]:
        """The id of the addressed product; with `If-Match`, locked until the end and in the state that it names."""
        with transaction.atomic():
            products = self.get_queryset().only("id")
            conditional = etags.is_conditional(request)
            product_id: UUID = get_object_or_404(products.select_for_update() if conditional else products, pk=id).pk
            if conditional:
                etags.require_match(request, etags.etag_of(_product(product_id)))
            yield product_id


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
    @idempotent
    def create_many(self, request: Request) -> Response:
        """Create products. Each item succeeds or fails alone, unless `atomic` is true."""
        body = json_object(request)
        dry_run = _flag(request, body, "dry_run")
        report = create_products(
            products=_products(body),
            provenance=api_provenance(request),
            supplier_code=_supplier_code(body),
            skip_duplicates=_flag(request, body, "skip_duplicates"),
            dry_run=dry_run,
            atomic=_flag(request, body, "atomic"),
        )
        unknown = ignored(body, ("products", "supplier_code", "skip_duplicates", "dry_run", "atomic"))
        return Response({"created": report.count("created"), **_bulk_json(report, dry_run, unknown)})

    @extend_schema(
        operation_id="products_bulk_update",
        request=BulkUpdateSerializer,
        responses=BulkUpdateAnswerSerializer,
        parameters=[OpenApiParameter("atomic", bool, description="As in the body.")],
    )
    def update_many(self, request: Request) -> Response:
        """Change products, found by their EAN. Each item succeeds or fails alone, unless `atomic` is true."""
        body = json_object(request)
        dry_run = _flag(request, body, "dry_run")
        report = update_products(
            products=_products(body),
            provenance=api_provenance(request),
            skip_not_found=_flag(request, body, "skip_not_found"),
            dry_run=dry_run,
            atomic=_flag(request, body, "atomic"),
        )
        unknown = ignored(body, ("products", "skip_not_found", "dry_run", "atomic"))
        return Response({"updated": report.count("updated"), **_bulk_json(report, dry_run, unknown)})


class ReferenceViewSet(viewsets.GenericViewSet[Any]):
    """What products name. search_field: what `search` looks into. used_by: relations that forbid a delete."""

    lookup_field = "id"
    required_scopes = SCOPES
    search_fields: tuple[str, ...]
    used_by: tuple[str, ...] = ("products",)

    @extend_schema(parameters=[OpenApiParameter("search", str, description="Part of the name or code, in any case.")])
    def list(self, request: Request) -> Response:
        """All of them, in alphabetical order."""
        queryset = self.get_queryset()
        if text := request.query_params.get("search"):
            matches = Q()
            for field in self.search_fields:
                matches |= Q(**{f"{field}__icontains": text})
            queryset = queryset.filter(matches)
        page = self.paginate_queryset(queryset) or []
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, id: str) -> Response:
        """One of them."""
        return Response(self.get_serializer(self._found(id)).data)

    def create(self, request: Request) -> Response:
        """Create one; a name or code that exists in any case is a conflict."""
        return self._save(request, None, status.HTTP_201_CREATED)

    def partial_update(self, request: Request, id: str) -> Response:
        """Change the fields that are sent."""
        return self._save(request, self._found(id), status.HTTP_200_OK)

    @extend_schema(responses=_EMPTY)
    def destroy(self, request: Request, id: str) -> Response:
        """Delete one; a conflict while products, deleted ones included, or children refer to it."""
        record = self._found(id)
        for relation in self.used_by:
            users = getattr(record, relation)
            if count := users.count():
                what = {"count": count, "what": users.model._meta.verbose_name_plural}
                raise Conflict(_("Still used by %(count)d %(what)s, deleted ones included.") % what, "in_use")
        record.delete()
        return Response({})

    def _save(self, request: Request, record: Any, success: int) -> Response:
        body = json_object(request)
        serializer: Any = self.get_serializer(record, data=body, partial=record is not None)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            record = serializer.save(updated_at=Now())
        record.refresh_from_db()
        writable = {name for name, field in serializer.fields.items() if not field.read_only}
        return Response({**self.get_serializer(record).data, "warnings": ignored(body, writable)}, status=success)

    def _found(self, id: str) -> Any:
        return get_object_or_404(self.get_queryset(), pk=id)


class SupplierViewSet(ReferenceViewSet):
    """Suppliers, known by their code."""

    queryset = Supplier.objects.all()
    serializer_class = SupplierSerializer
    search_fields = ("code", "name")


class BrandViewSet(ReferenceViewSet):
    """Brands, known by their name."""

    queryset = Brand.objects.all()
    serializer_class = BrandSerializer
    search_fields = ("name",)


class CategoryViewSet(ReferenceViewSet):
    """The category tree; names are unique among siblings."""

    queryset = Category.objects.all()
    serializer_class = CategorySerializer
    search_fields = ("name",)
    used_by = ("products", "children")


def _sorted(products: QuerySet[Product], parameters: Mapping[str, str]) -> QuerySet[Product]:
    """In the order asked for; without a value last, ties by id, so pages never overlap."""
    sort_by = _choice(parameters, "sort_by", SORTS)
    if _choice(parameters, "sort_order", ("asc", "desc")) == "desc":
        return products.order_by(F(sort_by).desc(nulls_last=True), "-id")
    return products.order_by(F(sort_by).asc(nulls_last=True), "id")


def _choice(parameters: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = parameters.get(name, choices[0])
    if value not in choices:
        raise invalid(name, _("Must be one of %(choices)s.") % {"choices": ", ".join(choices)}, "invalid_choice")
    return value


def _names(parameters: Mapping[str, str]) -> Iterable[str]:
    """The keys asked for with `fields`."""
    if "fields" not in parameters:
        return PRODUCT_COLUMNS
    names = [name.strip() for name in parameters["fields"].split(",")]
    if unknown := [name for name in names if name not in PRODUCT_COLUMNS]:
        known = {"unknown": ", ".join(unknown), "known": ", ".join(PRODUCT_COLUMNS)}
        raise invalid("fields", _("Unknown: %(unknown)s. Known: %(known)s.") % known, "invalid_choice")
    return names


def _product(product_id: UUID) -> dict[str, Any]:
    return product_json(Product.objects.values(*PRODUCT_COLUMNS.values()).get(pk=product_id))


def _warnings(payload: Payload) -> list[str]:
    return payload.warnings + ignored(payload.unknown, ())


def _ean_conflict(payload: Payload) -> Conflict:
    message = _("A product with the EAN %(ean)s exists already.") % {"ean": payload.ean}
    return Conflict(message, "duplicate", field="ean")


def _products(body: Mapping[str, Any]) -> list[Any]:
    products = body.get("products")
    if not isinstance(products, list):
        raise invalid("products", _("A list of products is required."), "required")
    if len(products) > MAX_BULK:
        limits = {"limit": MAX_BULK, "count": len(products)}
        raise invalid("products", _("At most %(limit)d products per request, not %(count)d.") % limits, "max_length")
    return products


def _supplier_code(body: Mapping[str, Any]) -> str | None:
    if (code := body.get("supplier_code")) is None:
        return None
    try:
        return READERS["supplier_code"](code)
    except ValueRefused as refusal:
        raise invalid("supplier_code", str(refusal), refusal.code) from None


def _flag(request: Request, body: Mapping[str, Any], name: str) -> bool:
    """An option of a bulk request, from the body or else the query."""
    value = body.get(name, request.query_params.get(name, False))
    if value in ("true", "1"):
        return True
    if value in ("false", "0"):
        return False
    if not isinstance(value, bool):
        raise invalid(name, _("Must be true or false."))
    return value


def _bulk_json(report: Report, dry_run: bool, unknown: list[str]) -> dict[str, Any]:
    return {
        "skipped": report.count("skipped"),
        "errors": report.count("error"),
        "dry_run": dry_run,
        "results": [bulk_item_json(item) for item in report.items],
        "warnings": unknown + ignored(report.unknown, ()),
    }
