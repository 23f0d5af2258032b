"""The OpenAPI document describes the external API as it answers."""

import pytest
from django.urls import include, path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from catalog.editing import delete_product
from catalog.models import Product, ProductRevision
from catalog.provenance import Provenance
from extapi.queries import COLUMNS
from extapi.writing import WRITABLE
from tests.make import ApiClient, api_client, make_brand, make_product

pytestmark = pytest.mark.django_db

EXT = "/api/v1/ext"
EAN = "3760000000001"
PEN = {"ean": EAN, "name": "Pen", "weight": 1.5, "brand_name": "Acme"}


@pytest.fixture(scope="module")
def schema():
    GENERATOR_STATS.reset()
    document = SchemaGenerator(patterns=[path("api/v1/ext/", include("extapi.urls"))]).get_schema(public=True)
    assert not GENERATOR_STATS, GENERATOR_STATS.emit_summary()
    return document


def test_it_is_valid_and_complete(schema):
    validate_schema(schema)
    assert {route: sorted(operations) for route, operations in schema["paths"].items()} == {
        f"{EXT}/status": ["get"],
        f"{EXT}/products": ["get", "post"],
        f"{EXT}/products/delta": ["get"],
        f"{EXT}/products/batch": ["post"],
        f"{EXT}/products/{{ean}}": ["get", "patch", "put"],
    }
    written, read = (schema["components"]["schemas"][name] for name in ("ExtProduct", "ReadProduct"))
    assert set(written["required"]) == set(written["properties"]) == set(read["properties"]) == set(COLUMNS)
    assert "required" not in read
    sent = schema["components"]["schemas"]["ExtProductUpsertRequest"]
    assert set(sent["properties"]) == WRITABLE | {"title"}
    assert sent["required"] == ["ean"]


def test_every_error_is_described_as_the_envelope(schema):
    for route, operations in schema["paths"].items():
        for method, operation in operations.items():
            errors = {status for status in operation["responses"] if int(status) >= 400}
            assert {"401", "403", "422", "429", "503"} <= errors
            assert ({"400", "409", "413", "415"} <= errors) == (method != "get")
            assert ({"404"} <= errors) == ("{ean}" in route)
            assert ({"412"} <= errors) == (method in ("put", "patch"))
            for status in errors:
                described = operation["responses"][status]["content"]["application/json"]["schema"]
                assert described == {"$ref": "#/components/schemas/ErrorEnvelope"}
            headers = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "header"}
            expected = {"put": "If-Match", "patch": "If-Match", "post": "Idempotency-Key"}
            assert headers == (
                {expected[method]} if method != "get" else {"If-None-Match"} if "{ean}" in route else set()
            )


@pytest.mark.parametrize(
    ("method", "address", "route", "body", "status"),
    [
        ("get", "/status", "/status", None, 200),
        ("get", "/products", "/products", None, 200),
        ("get", "/products?fields=ean", "/products", None, 200),
        ("get", "/products/delta?since=2020-01-01&fields=title", "/products/delta", None, 200),
        ("get", f"/products/{EAN}?fields=price", "/products/{ean}", None, 200),
        ("get", "/products?page_size=0", "/products", None, 422),
        ("post", "/products", "/products", {**PEN, "ean": "96385074"}, 201),
        ("post", "/products", "/products", PEN, 200),
        ("post", "/products", "/products", {"ean": "x"}, 422),
        ("post", "/products/batch", "/products/batch", {"products": [PEN, {}, 1]}, 200),
        ("get", "/products/delta?since=2020-01-01", "/products/delta", None, 200),
        ("get", "/products/delta", "/products/delta", None, 422),
        ("get", f"/products/{EAN}", "/products/{ean}", None, 200),
        ("get", "/products/123", "/products/{ean}", None, 404),
        ("put", f"/products/{EAN}", "/products/{ean}", PEN, 200),
        ("patch", f"/products/{EAN}", "/products/{ean}", {"weight": None, "status": "inactive"}, 200),
        ("get", f"/products/{EAN}", "/products/{ean}", "no key", 401),
    ],
)
def test_answers_have_the_shape_described(schema, method, address, route, body, status):
    make_product(ean=EAN, brand=make_brand(), price="5.00")
    gone = make_product(ean="0012345678905")
    delete_product(product_id=gone.pk, provenance=Provenance(ProductRevision.Source.ADMIN, "tests"))
    removed = make_product()
    Product.objects.filter(pk=removed.pk).delete()
    client = ApiClient() if body == "no key" else api_client()
    answer = getattr(client, method)(EXT + address, None if body == "no key" else body)
    assert answer.status_code == status, answer.content
    operation = schema["paths"][EXT + route][method]
    described = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    Draft202012Validator(described | {"components": schema["components"]}).validate(answer.json())
    if isinstance(body, dict) and status < 400 and "batch" not in address:
        sent = operation["requestBody"]["content"]["application/json"]["schema"]
        Draft202012Validator(sent | {"components": schema["components"]}).validate(body)
