"""Suppliers, brands and categories: what products name."""

from uuid import uuid4

import pytest

from catalog.models import Brand, Category, Supplier
from tests.make import api_client, make_api_key, make_brand, make_category, make_product, make_supplier

pytestmark = pytest.mark.django_db

KINDS = [
    ("suppliers", Supplier, "code", "KIMEX"),
    ("brands", Brand, "name", "Lumen"),
    ("categories", Category, "name", "Supports"),
]


@pytest.fixture
def client():
    return api_client()


@pytest.mark.parametrize(("kind", "model", "key", "value"), KINDS)
def test_create_read_change_delete(client, kind, model, key, value):
    path = f"/api/v1/{kind}"
    created = client.post(path, {key: f" {value} ", "colour": "red"})
    assert created.status_code == 201
    body = created.json()
    assert (body[key], body.pop("warnings")) == (value, ["Unknown, ignored: colour"])
    assert client.get(f"{path}/{body['id']}").json() == body
    assert client.get(path).json()["items"] == [body]
    changed = client.patch(f"{path}/{body['id']}", {key: "Other"}).json()
    assert (changed["id"], changed[key], changed["warnings"]) == (body["id"], "Other", [])
    assert changed["updated_at"] > body["updated_at"]
    deleted = client.delete(f"{path}/{body['id']}")
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert not model.objects.exists()
    assert client.delete(f"{path}/{body['id']}").status_code == 404
    assert client.get(f"{path}/{uuid4()}").status_code == 404
    assert client.get(f"{path}/x").status_code == 404


@pytest.mark.parametrize(("kind", "model", "key", "value"), KINDS)
def test_a_name_exists_once_in_whatever_case(client, kind, model, key, value):
    path = f"/api/v1/{kind}"
    client.post(path, {key: value})
    other = client.post(path, {key: "Other"}).json()
    for answer in (
        client.post(path, {key: value.upper()}),
        client.patch(f"{path}/{other['id']}", {key: value.lower()}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "duplicate")
    assert sorted(model.objects.values_list(key, flat=True)) == sorted([value, "Other"])


@pytest.mark.parametrize(("kind", "model", "key", "value"), KINDS)
@pytest.mark.parametrize("bad", ["", "  ", None, "x" * 256, ["a"]])
def test_an_unusable_name_is_refused(client, kind, model, key, value, bad):
    answer = client.post(f"/api/v1/{kind}", {key: bad})
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [key])
    assert client.post(f"/api/v1/{kind}", {}).status_code == 422
    assert not model.objects.exists()


def test_what_products_use_cannot_be_deleted(client):
    supplier, brand, category = make_supplier(), make_brand(), make_category()
    make_product(supplier=supplier, brand=brand, category=category)
    make_product(supplier=supplier, deleted_at="2026-01-01T00:00:00Z")
    for path, count in ((f"suppliers/{supplier.pk}", 2), (f"brands/{brand.pk}", 1), (f"categories/{category.pk}", 1)):
        answer = client.delete(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
        assert answer.json()["detail"] == f"Still used by {count} products, deleted ones included."
    assert (Supplier.objects.count(), Brand.objects.count(), Category.objects.count()) == (1, 1, 1)


def test_search_and_pages(client):
    for code, name in (("ACME", ""), ("KIMEX", "Kimex international"), ("INGRAM", "")):
        make_supplier(code, name=name)
    path = "/api/v1/suppliers"

    def codes(query: str) -> list[str]:
        return [item["code"] for item in client.get(f"{path}?{query}").json()["items"]]

    assert codes("") == ["ACME", "INGRAM", "KIMEX"]
    assert codes("search=INTER") == ["KIMEX"]
    assert codes("skip=1&limit=1") == ["INGRAM"]
    assert client.get(f"{path}?limit=1").json()["meta"]["total_pages"] == 3
    assert client.get(f"{path}?limit=501").status_code == 422


def test_category_tree(client):
    path = "/api/v1/categories"
    top = client.post(path, {"name": "Home", "parent_id": None}).json()
    child = client.post(path, {"name": "Home", "parent_id": top["id"]}).json()
    assert (top["parent_id"], child["parent_id"]) == (None, top["id"])
    assert client.post(path, {"name": "HOME", "parent_id": top["id"]}).status_code == 409
    for parent in (str(uuid4()), "x", 7):
        answer = client.post(path, {"name": "Lost", "parent_id": parent})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "parent_id")
    for parent in (top["id"], child["id"]):
        assert client.patch(f"{path}/{top['id']}", {"parent_id": parent}).status_code == 422
    in_use = client.delete(f"{path}/{top['id']}")
    assert (in_use.status_code, in_use.json()["detail"]) == (
        409,
        "Still used by 1 categories, deleted ones included.",
    )
    renamed = client.patch(f"{path}/{child['id']}", {"name": "Garden"}).json()
    assert (renamed["name"], renamed["parent_id"]) == ("Garden", top["id"])
    assert client.patch(f"{path}/{child['id']}", {"parent_id": None}).json()["parent_id"] is None
    assert Category.objects.filter(parent=None).count() == 2


def test_scopes():
    brand = make_brand()
    reader = api_client(make_api_key("products:read"))
    assert reader.get("/api/v1/brands").status_code == 200
    assert reader.post("/api/v1/brands", {"name": "New"}).status_code == 403
    writer = api_client(make_api_key("products:write"))
    assert writer.delete(f"/api/v1/brands/{brand.pk}").status_code == 403
    assert list(Brand.objects.values_list("name", flat=True)) == ["Kimex"]
