"""`/api/v1/ext/…`: the catalogue for machines, by EAN."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog import changes
from catalog.identifiers import CodeError, normalise
from catalog.models import Product, Supplier
from catalog.views import api_provenance
from extapi import queries, serializers, writing
from extapi.envelope import as_json, sentences, success, timestamp
from extapi.writing import Written
from pim.api import etags
from pim.api.bodies import ignored, json_object
from pim.api.errors import invalid, invalid_fields
from pim.api.idempotency import idempotent
from pim.api.pagination import PAGE_PARAMETERS, read_page
from pim.api.permissions import granted_scopes
from pim.api.schema import IF_MATCH, IF_NONE_MATCH
from pim.api.times import parse_time
from pim.apikeys.models import Scope

VERSION: Final = "1.0"
MAX_BATCH: Final = 500

READ, WRITE = (Scope.EXT_READ,), (Scope.EXT_WRITE,)

_FIELDS = OpenApiParameter("fields", str, description="Keys to answer, separated by commas; all when absent.")
_EAN = OpenApiParameter("ean", str, OpenApiParameter.PATH, description="8, 12, 13 or 14 digits.")


def _paging(default: int) -> list[OpenApiParameter]:
    size = {"type": "integer", "minimum": 1, "maximum": 500, "default": default}
    return [
        OpenApiParameter("page", {"type": "integer", "minimum": 1, "default": 1}, description="Page number."),
        OpenApiParameter("page_size", size, description="Products per page."),
    ]


class ProductNotFound(NotFound):
    """No live product has the EAN of the address."""

    def __init__(self, request: Request, ean: str) -> None:
        # A published sentence, the same for all who name no language.
        sentence = "Produit avec EAN '%(ean)s' introuvable."
        if request.headers.get("Accept-Language", "*") != "*":
            sentence = _("There is no product with the EAN '%(ean)s'.")
        super().__init__(sentence % {"ean": ean})


class ExtView(APIView):
    """error_serializer: see `pim.api.schema`. There is no OPTIONS: it has no envelope."""

    error_serializer = serializers.ErrorEnvelopeSerializer
    metadata_class = None
    required_scopes: Mapping[str, tuple[str, ...]]


class StatusView(ExtView):
    required_scopes = {"GET": READ}

    @extend_schema(operation_id="ext_status", responses=serializers.StatusEnvelopeSerializer)
    def get(self, request: Request) -> HttpResponse:
        """Whether the API answers and the key is good: its name and scopes."""
        status = {
            "status": "ok",
            "version": VERSION,
            "api_key_name": str(request.user),
            "api_key_scopes": granted_scopes(request),
            "timestamp": timestamp(timezone.now().replace(microsecond=0)),
        }
        return success(as_json(status), updated_at=timestamp(changes.high_water()))


class ProductsView(ExtView):
    required_scopes = {"GET": READ, "POST": WRITE}

    @extend_schema(
        operation_id="ext_products_list",
        parameters=[
            OpenApiParameter("supplier_code", str, description="Only products of this supplier, whatever the case."),
            OpenApiParameter("updated_since", str, description="Only what changed after this time; deleted ones too."),
            *_paging(50),
            _FIELDS,
        ],
        responses=serializers.ProductListEnvelopeSerializer,
    )
    def get(self, request: Request) -> HttpResponse:
        """Products in the order of their creation. With `updated_since`, carry on from `meta.updated_at` of page 1."""
        parameters = request.query_params
        page = read_page(parameters)
        names = _names(parameters)
        products: QuerySet[Product] = Product.objects.live()
        moment = _moment(parameters, "updated_since") if "updated_since" in parameters else None
        if moment is not None:
            changes.drain()
            products = changes.changed_since(Product.objects.all(), moment)
        if "supplier_code" in parameters:
            suppliers = Supplier.objects.filter(code__iexact=parameters["supplier_code"])
            products = products.filter(supplier__in=suppliers)
        found = queries.list_page(products, names=names, skip=page.skip, limit=page.limit)
        return success(
            found.rows,
            updated_at=timestamp(found.high_water),
            total=found.total,
            page=page.number,
            page_size=page.limit,
            warnings=_unknown(parameters, "supplier_code", "updated_since"),
        )

    @extend_schema(
        operation_id="ext_products_upsert",
        request=serializers.ExtProductUpsertSerializer,
        responses={200: serializers.UpsertEnvelopeSerializer, 201: serializers.UpsertEnvelopeSerializer},
    )
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Create the product with this EAN (201), or change its fields that are sent and not null (200)."""
        written = writing.upsert(products=[json_object(request)], provenance=api_provenance(request))[0]
        if written.errors:
            raise invalid_fields(written.errors)
        assert written.id is not None
        found = queries.product_by_id(written.id)
        head = as_json({"created": written.created, "ean": written.ean, "id": written.id})
        return success(
            f'{head[:-1]}, "product": {found.json}}}',
            updated_at=found.updated_at,
            status=201 if written.created else 200,
            warnings=_warnings(written),
            headers={"ETag": etags.etag(found.json.encode())},
        )


class DeltaView(ExtView):
    required_scopes = {"GET": READ}

    @extend_schema(
        operation_id="ext_products_delta",
        parameters=[
            OpenApiParameter("since", str, required=True, description="`meta.updated_at` of the answer before."),
            *_paging(100),
            _FIELDS,
        ],
        responses=serializers.DeltaEnvelopeSerializer,
    )
    def get(self, request: Request) -> HttpResponse:
        """What changed at or after `since`, deleted products included, in the order of change.

        Ask again with `since` set to `meta.updated_at`; fewer products than `page_size` means that was all.
        """
        parameters = request.query_params
        page = read_page(parameters, default=100)
        if page.skip % page.limit:
            raise invalid("skip", _("Must be a multiple of the page size here."))
        names = _names(parameters)
        since = _moment(parameters, "since")
        delta = changes.delta_page(since=since, page=page.number, page_size=page.limit)
        return success(
            f"[{', '.join(_delta_rows(delta, names))}]",
            updated_at=timestamp(delta.next_since),
            total=delta.total,
            page=page.number,
            page_size=page.limit,
            warnings=_unknown(parameters, "since"),
        )


class BatchView(ExtView):
    required_scopes = {"POST": WRITE}

    @extend_schema(
        operation_id="ext_products_batch",
        request=serializers.BatchSerializer,
        responses=serializers.BatchEnvelopeSerializer,
    )
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        """Create or change up to 500 products. Each succeeds or fails alone, and the answer is 200 all the same."""
        body = json_object(request)
        written = writing.upsert(products=_batch(body), provenance=api_provenance(request))
        results = [_result(index, one) for index, one in enumerate(written)]
        failed = [result for result in results if result["status"] == "error"]
        created = sum(result["status"] == "created" for result in results)
        data = {
            "total": len(results),
            "created": created,
            "updated": len(results) - created - len(failed),
            "errors": len(failed),
            "results": results,
        }
        unknown = dict.fromkeys(name for one in written for name in one.unknown)
        return success(
            as_json(data),
            updated_at=timestamp(changes.high_water()),
            total=len(results),
            page_size=len(results),
            errors=[f"{result['ean']}: {result['error']}" for result in failed],
            warnings=ignored(body, ("products",)) + ignored(unknown, ()),
        )


class ProductView(ExtView):
    required_scopes = {"GET": READ, "PUT": WRITE, "PATCH": WRITE}

    @extend_schema(
        operation_id="ext_products_retrieve",
        parameters=[_EAN, _FIELDS, IF_NONE_MATCH],
        responses=serializers.ReadEnvelopeSerializer,
    )
    def get(self, request: Request, ean: str) -> HttpResponse:
        """The product with this EAN."""
        names = _names(request.query_params)
        found = queries.live_product(_key(request, ean), names=names)
        if found is None:
            raise ProductNotFound(request, ean)
        if "fields" in request.query_params:
            return success(found.json, updated_at=found.updated_at)
        tag = {"ETag": etags.etag(found.json.encode())}
        if etags.is_known(request, tag["ETag"]):
            return HttpResponse(status=304, headers=tag)
        return success(found.json, updated_at=found.updated_at, headers=tag)

    @extend_schema(
        operation_id="ext_products_replace",
        parameters=[_EAN, IF_MATCH],
        request=serializers.ExtProductReplaceSerializer,
        responses=serializers.ProductEnvelopeSerializer,
    )
    def put(self, request: Request, ean: str) -> HttpResponse:
        """Set all writable fields; what is absent or null is emptied. The EAN must exist."""
        return self._update(request, ean, writing.replace)

    @extend_schema(
        operation_id="ext_products_change",
        parameters=[_EAN, IF_MATCH],
        request=serializers.ExtProductChangeSerializer,
        responses=serializers.ProductEnvelopeSerializer,
    )
    def patch(self, request: Request, ean: str) -> HttpResponse:
        """Change the fields that are sent and not null. The EAN must exist."""
        return self._update(request, ean, writing.change)

    def _update(self, request: Request, ean: str, write: writing.Write) -> HttpResponse:
        key = _key(request, ean)
        body = json_object(request)
        with transaction.atomic():
            if etags.is_conditional(request):
                found = queries.live_product(key, lock=True)
                if found is None:
                    raise ProductNotFound(request, ean)
                etags.require_match(request, etags.etag(found.json.encode()))
            try:
                written = write(ean=key, body=body, provenance=api_provenance(request))
            except Product.DoesNotExist:
                raise ProductNotFound(request, ean) from None
        assert written.id is not None
        found = queries.product_by_id(written.id)
        return success(
            found.json,
            updated_at=found.updated_at,
            warnings=_warnings(written),
            headers={"ETag": etags.etag(found.json.encode())},
        )


def _key(request: Request, ean: str) -> str:
    """The EAN of an address as products have it; what cannot be one is not found."""
    try:
        return normalise(ean).ean
    except CodeError:
        raise ProductNotFound(request, ean) from None


def _moment(parameters: Mapping[str, str], name: str) -> datetime:
    if name not in parameters:
        raise invalid(name, _("Is required: an ISO 8601 date or time, such as 2026-01-01T00:00:00Z."), "required")
    try:
        return parse_time(parameters[name])
    except ValueError:
        raise invalid(name, _("Must be an ISO 8601 date or time.")) from None


def _names(parameters: Mapping[str, str]) -> Collection[str]:
    """The keys asked for with `fields`."""
    if "fields" not in parameters:
        return queries.COLUMNS
    names = dict.fromkeys(name.strip() for name in parameters["fields"].split(","))
    if unknown := [name for name in names if name not in queries.COLUMNS]:
        known = {"unknown": ", ".join(unknown), "known": ", ".join(queries.COLUMNS)}
        raise invalid("fields", _("Unknown: %(unknown)s. Known: %(known)s.") % known, "invalid_choice")
    return names


def _unknown(parameters: Mapping[str, str], *known: str) -> list[str]:
    return ignored(parameters, {*known, *PAGE_PARAMETERS, "fields"})


def _delta_rows(delta: changes.DeltaPage, names: Collection[str]) -> Iterator[str]:
    """The changed products as elements of a JSON array, in the order of their changes."""
    for removed, run in groupby(delta.rows, key=lambda change: change.removed_ean is not None):
        if removed:
            yield from (as_json(_tombstone(change)) for change in run)
        # one that was removed just now is left out, which the next page tells
        elif rows := queries.products_in_order([change.product_id for change in run], names=names):
            yield rows


def _tombstone(change: changes.Change) -> dict[str, Any]:
    state = {"is_active": False, "status": "archived", "deleted": True, "removed": True}
    return {"id": change.product_id, "ean": change.removed_ean} | state


def _batch(body: Mapping[str, Any]) -> list[Any]:
    products = body.get("products")
    if not isinstance(products, list):
        raise invalid("products", _("A list of products is required."), "required")
    if len(products) > MAX_BATCH:
        limits = {"limit": MAX_BATCH, "count": len(products)}
        raise invalid("products", _("At most %(limit)d products per request, not %(count)d.") % limits, "max_length")
    return products


def _result(index: int, written: Written) -> dict[str, Any]:
    status = "error" if written.errors else "created" if written.created else "updated"
    return {
        "index": index,
        "ean": written.ean,
        "status": status,
        "id": written.id,
        "error": " ".join(sentences(written.errors)) or None,
        "error_details": [error.as_json() for error in written.errors],
        "warnings": written.warnings,
    }


def _warnings(written: Written) -> list[str]:
    return written.warnings + ignored(written.unknown, ())
