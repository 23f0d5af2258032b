"""The OpenAPI document: complete, valid, true to what the API answers; its page loads nothing from elsewhere."""

import re

import pytest
import yaml
from django.urls import include, path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient

from tests.make import api_client, make_brand, make_category, make_product, make_supplier

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema():
    GENERATOR_STATS.reset()
    document = SchemaGenerator(patterns=[path("api/v1/", include("catalog.urls"))]).get_schema(public=True)
    assert not GENERATOR_STATS, GENERATOR_STATS.emit_summary()
    return document


def test_it_is_a_valid_openapi_3_1_document(schema):
    validate_schema(schema)
    assert schema["openapi"].startswith("3.1")


def test_every_route_is_described_without_a_trailing_slash(schema):
    assert {route: sorted(operations) for route, operations in schema["paths"].items()} == {
        "/api/v1/products": ["get", "post"],
        "/api/v1/products/bulk": ["patch", "post"],
        "/api/v1/products/{id}": ["delete", "get", "patch"],
        **{f"/api/v1/{kind}": ["get", "post"] for kind in ("suppliers", "brands", "categories")},
        **{f"/api/v1/{kind}/{{id}}": ["delete", "get", "patch"] for kind in ("suppliers", "brands", "categories")},
    }


def test_errors_scopes_and_credentials_are_described(schema):
    for route, operations in schema["paths"].items():
        for method, operation in operations.items():
            described = set(operation["responses"])
            assert {"401", "403", "422", "429", "503"} <= described
            assert ("404" in described) == ("{id}" in route)
            assert ("409" in described) == (method != "get")
            assert ({"400", "413", "415"} <= described) == (method in ("post", "patch"))
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
            assert operation["security"] == [{"BearerKey": []}, {"HeaderKey": []}, {"StaffSession": []}]
            assert "Required scope: `products:" in operation["description"]
    assert set(schema["components"]["securitySchemes"]) == {"BearerKey", "HeaderKey", "StaffSession"}
    assert schema["paths"]["/api/v1/products"]["get"]["responses"]["429"]["headers"]["Retry-After"]


def test_list_parameters_are_described(schema):
    parameters = {one["name"]: one["schema"] for one in schema["paths"]["/api/v1/products"]["get"]["parameters"]}
    assert set(parameters) == {
        *("skip", "limit", "page", "per_page", "page_size", "sort_by", "sort_order", "fields", "search", "ean"),
        *("is_active", "status", "supplier_id", "supplier_code", "brand_id", "brand_name", "category_id", "has_asin"),
        *("price_min", "price_max", "updated_since"),
    }
    assert parameters["is_active"]["type"] == "boolean"
    assert (parameters["limit"]["maximum"], parameters["limit"]["default"]) == (500, 50)


@pytest.mark.parametrize(
    ("method", "route", "status"),
    [
        ("get", "/api/v1/products", 200),
        ("get", "/api/v1/products/{id}", 200),
        ("post", "/api/v1/products", 201),
        ("patch", "/api/v1/products/{id}", 200),
        ("delete", "/api/v1/products/{id}", 200),
        ("post", "/api/v1/products/bulk", 200),
        ("patch", "/api/v1/products/bulk", 200),
        ("get", "/api/v1/categories", 200),
        ("post", "/api/v1/brands", 201),
        ("post", "/api/v1/brands", 422),
        ("get", "/api/v1/suppliers/{id}", 404),
    ],
)
def test_answers_have_the_shape_described(schema, method, route, status):
    make_product(price="5.00", brand=make_brand(), supplier=make_supplier(), category=make_category())
    product = make_product()
    new = {"ean": "96385074", "name": "Pen", "price": 1.5}
    bodies = {
        ("post", "/api/v1/products"): new,
        ("patch", "/api/v1/products/{id}"): {"price": 2, "category_id": None},
        ("post", "/api/v1/products/bulk"): {"products": [new, {}]},
        ("patch", "/api/v1/products/bulk"): {"products": [{"ean": product.ean, "price": 3}]},
        ("post", "/api/v1/brands"): {"name": "New"} if status == 201 else {},
    }
    body = bodies.get((method, route))
    answer = getattr(api_client(), method)(route.replace("{id}", str(product.pk)), body)
    assert answer.status_code == status
    operation = schema["paths"][route][method]
    described = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    Draft202012Validator(described | {"components": schema["components"]}).validate(answer.json())
    assert answer.json() == {} or "$ref" in str(described) or "properties" in str(described)
    if body and status < 400:
        sent = operation["requestBody"]["content"]["application/json"]["schema"]
        valid = body if "bulk" not in route or method == "patch" else {"products": [new]}
        Draft202012Validator(sent | {"components": schema["components"]}).validate(valid)


def test_the_document_and_its_page_are_public_and_self_contained():
    client = APIClient()
    as_json = client.get("/api/v1/schema?format=json")
    assert as_json.status_code == 200
    assert as_json.json()["openapi"].startswith("3.1")
    assert yaml.safe_load(client.get("/api/v1/schema").content)["info"]["title"] == "PIM API"
    by_accept = client.get("/api/v1/schema/", headers={"Accept": "application/json"})
    assert by_accept.json()["paths"].keys() == as_json.json()["paths"].keys()
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", page.content.decode())
    assert loaded
    assert all(address.startswith("/static/") for address in loaded), loaded
    for address in loaded:
        assert client.get(address).status_code == 200
