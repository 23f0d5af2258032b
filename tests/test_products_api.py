"""Products one by one and in lists, as the public reference prints them and beyond."""

import json
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.filters import filter_products
from catalog.identifiers import FORMAT_MESSAGE
from catalog.models import Brand, Product, ProductRevision, Supplier
from catalog.serializers import PRODUCT_COLUMNS, ProductSerializer, product_json
from pim.apikeys.models import ApiKey
from tests.make import api_client, make_brand, make_category, make_ean, make_product, make_supplier

pytestmark = pytest.mark.django_db

PRODUCTS = "/api/v1/products"
EAN = "3760000000001"  # of the public reference; its check digit is wrong, which is only warned about


@pytest.fixture
def client():
    return api_client()


def refused(answer, status: int = 422) -> list[tuple[str | None, str]]:
    assert answer.status_code == status, answer.content
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


def eans(answer) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [item["ean"] for item in answer.json()["items"]]


# The requests of the reference, as printed, with the answers they print as a subset.


def test_the_printed_create_get_list_update_delete(client):
    created = client.generic(
        "POST",
        PRODUCTS,
        """{
    "ean": "3760000000001",
    "name": "Produit exemple",
    "price": 29.99,
    "cost_price": 18.00,
    "weight": 0.5
  }""",
        content_type="application/json",
    )
    assert created.status_code == 201
    body = created.json()
    printed = {
        "ean": "3760000000001",
        "name": "Produit exemple",
        "price": 29.99,
        "cost_price": 18.00,
        "weight": 0.5,
        "is_active": True,
    }
    assert {key: body[key] for key in printed} == printed
    assert body["created_at"] == body["updated_at"]
    assert body["created_at"].endswith("Z")

    got = client.get(f"{PRODUCTS}/{body['id']}")
    assert got.status_code == 200
    assert got.json() == {key: body[key] for key in PRODUCT_COLUMNS}
    assert got.json()["barcode"] == "3760000000001"

    listed = client.get(f"{PRODUCTS}?skip=0&limit=50&is_active=true")
    assert listed.json() == {
        "items": [got.json()],
        "meta": {
            "total": 1,
            "page": 1,
            "per_page": 50,
            "total_pages": 1,
            "has_next": False,
            "has_previous": False,
        },
    }

    updated = client.generic(
        "PATCH", f"{PRODUCTS}/{body['id']}", '{"price": 24.99, "is_active": true}', content_type="application/json"
    )
    assert updated.status_code == 200
    changed = updated.json()
    assert (changed["id"], changed["price"], changed["is_active"]) == (body["id"], 24.99, True)
    assert changed["updated_at"] > body["updated_at"]
    assert changed["created_at"] == body["created_at"]

    deleted = client.delete(f"{PRODUCTS}/{body['id']}")
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert Product.objects.get().deleted_at is not None
    for answer in (
        client.get(f"{PRODUCTS}/{body['id']}"),
        client.patch(f"{PRODUCTS}/{body['id']}", {"price": 1}),
        client.delete(f"{PRODUCTS}/{body['id']}"),
    ):
        assert answer.status_code == 404
    assert eans(client.get(PRODUCTS)) == []
    assert list(ProductRevision.objects.values_list("action", "new")) == [
        ("created", {"ean": EAN, "name": "Produit exemple", "price": 29.99, "cost_price": 18.0, "weight": 0.5}),
        ("updated", {"price": 24.99}),
        ("deleted", {"deleted": True}),
    ]


def test_the_documented_shape_and_the_fast_one_are_equal():
    product = make_product(
        price="29.99",
        weight="0.500",
        asin="B000000001",
        brand=make_brand(),
        supplier=make_supplier(),
        category=make_category(),
    )
    bare = make_product(status="archived")
    for one in (product, bare):
        row = Product.objects.values(*PRODUCT_COLUMNS.values()).get(pk=one.pk)
        rendered = json.loads(json.dumps(product_json(row), default=str))
        documented = json.loads(json.dumps(ProductSerializer(one).data, default=lambda v: float(v)))
        for key in ("created_at", "updated_at"):
            assert documented.pop(key)[:26].rstrip("Z") == rendered.pop(key).replace(" ", "T")[:26].removesuffix(
                "+00:00"
            )
        assert rendered == documented
        assert list(row) == list(dict.fromkeys(PRODUCT_COLUMNS.values()))


# Creating


def test_create_takes_every_field_and_makes_brand_and_supplier_once(client):
    supplier = make_supplier("Kimex")
    category = make_category()
    sent = {
        "ean": make_ean(),
        "name": "  Support TV  ",
        "barcode": "ABC-1",
        "price": "12.50",
        "cost_price": 3,
        "weight": 1.234,
        "width": 0,
        "height": 99999.99,
        "depth": 0.01,
        "unit_of_measure": "pack",
        "description": " <p>kept as sent</p>\n",
        "short_description": "Short",
        "sku": "REF-1",
        "asin": "b0abcdefg1",
        "upc": "012345678905",
        "gtin": "00012345678905",
        "external_id": 4711,
        "url_slug": "support-tv",
        "image_url": "https://example.org/1.jpg",
        "status": "archived",
        "brand_name": "Kimex",
        "supplier_code": "KIMEX",
        "category_id": str(category.pk).upper(),
    }
    answer = client.post(PRODUCTS, sent)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    brand = Brand.objects.get()
    expected = sent | {
        "name": "Support TV",
        "price": 12.5,
        "cost_price": 3.0,
        "width": 0.0,
        "asin": "B0ABCDEFG1",
        "external_id": "4711",
        "reference": "REF-1",
        "is_active": False,
        "brand_id": str(brand.pk),
        "supplier_id": str(supplier.pk),
        "supplier_code": "Kimex",
        "category_id": str(category.pk),
        "warnings": [],
    }
    del expected["sku"]
    assert {key: body[key] for key in expected} == expected
    assert set(body) == {*expected, "id", "created_at", "updated_at"}
    again = client.post(PRODUCTS, {"ean": make_ean(), "name": "Other", "brand_name": "KIMEX", "supplier_code": "kimex"})
    assert (again.json()["brand_id"], again.json()["supplier_id"]) == (str(brand.pk), str(supplier.pk))
    assert (Brand.objects.count(), Supplier.objects.count()) == (1, 1)
    key = ApiKey.objects.get()
    revision = ProductRevision.objects.filter(product_id=body["id"]).get()
    assert (revision.source, revision.actor, revision.source_id) == ("api", "test", key.pk)


def test_unknown_and_read_only_fields_are_ignored_and_named(client):
    sent = {"ean": "96385074", "name": "Pen", "colour": "red", "id": str(uuid4()), "created_at": "2001-01-01T00:00:00Z"}
    body = client.post(PRODUCTS, sent).json()
    assert body["warnings"] == ["Unknown, ignored: colour", "Unknown, ignored: id", "Unknown, ignored: created_at"]
    product = Product.objects.get()
    assert str(product.pk) != sent["id"]
    assert product.created_at.year > 2001
    patched = client.patch(f"{PRODUCTS}/{product.pk}", {"nmae": "x", "updated_at": "2001-01-01T00:00:00Z"})
    assert patched.json()["warnings"] == ["Unknown, ignored: nmae", "Unknown, ignored: updated_at"]
    assert Product.objects.get().updated_at == product.updated_at


def test_a_live_ean_is_a_conflict_and_a_deleted_one_comes_back_with_its_id(client):
    product = make_product(ean="96385074", name="Old", asin="B000000001", price="5.00")
    answer = client.post(PRODUCTS, {"ean": "96385074", "name": "New"})
    assert refused(answer, 409) == [("ean", "duplicate")]
    assert answer.json()["code"] == "duplicate"
    product.refresh_from_db()
    assert product.name == "Old"
    client.delete(f"{PRODUCTS}/{product.pk}")
    body = client.post(PRODUCTS, {"ean": "96385074", "name": "New"})
    assert body.status_code == 201
    assert (body.json()["id"], body.json()["name"]) == (str(product.pk), "New")
    assert (body.json()["asin"], body.json()["is_active"]) == ("B000000001", True)
    assert ProductRevision.objects.latest("id").action == "restored"
    assert client.get(f"{PRODUCTS}/{product.pk}").status_code == 200


@pytest.mark.parametrize(
    ("sent", "stored", "upc"),
    [
        ("036000291452", "0036000291452", "036000291452"),
        ("00036000291452", "0036000291452", None),
        ("4006 3813-33931", "4006381333931", None),
        (4006381333931, "4006381333931", None),
        ("96385074", "96385074", None),
    ],
)
def test_eans_are_normalised(client, sent, stored, upc):
    body = client.post(PRODUCTS, {"ean": sent, "name": "Pen"}).json()
    assert (body["ean"], body["barcode"], body["upc"], body["warnings"]) == (stored, stored, upc, [])


@pytest.mark.parametrize("sent", ["123", "37600000000011", "abc", "", 12.5, True, [], "3,76E+12"])
def test_what_is_no_ean_is_refused(client, sent):
    answer = client.post(PRODUCTS, {"ean": sent, "name": "Pen"})
    assert refused(answer) == [("ean", "invalid")]
    if isinstance(sent, str):
        assert answer.json()["errors"][0]["message"].startswith(FORMAT_MESSAGE)
    assert not Product.objects.exists()


@pytest.mark.parametrize(("policy", "status", "warnings"), [("off", 201, 0), ("warn", 201, 1), ("reject", 422, None)])
def test_a_wrong_check_digit(client, settings, policy, status, warnings):
    settings.EAN_CHECK = policy
    answer = client.post(PRODUCTS, {"ean": EAN, "name": "Pen"})
    assert answer.status_code == status
    if warnings is None:
        assert refused(answer) == [("ean", "check_digit")]
        assert not Product.objects.exists()
    else:
        assert len(answer.json()["warnings"]) == warnings


def test_every_fault_of_a_body_is_named(client):
    body = {
        "name": " ",
        "price": -0.01,
        "cost_price": 1_000_000,
        "weight": "heavy",
        "width": 1.005,
        "height": 10**20,
        "depth": True,
        "status": "gone",
        "is_active": "maybe",
        "asin": "B00",
        "upc": "12345",
        "gtin": "1" * 15,
        "url_slug": "a b",
        "image_url": "ftp://x/y.jpg",
        "brand_name": "",
        "supplier_code": "x" * 101,
        "description": ["text"],
        "reference": "x" * 101,
        "category_id": "fruit",
    }
    assert dict(refused(client.post(PRODUCTS, body))) == {
        "ean": "required",
        "name": "blank",
        "price": "out_of_range",
        "cost_price": "out_of_range",
        "weight": "invalid",
        "width": "max_decimals",
        "height": "out_of_range",
        "depth": "invalid",
        "status": "invalid_choice",
        "is_active": "invalid",
        "asin": "invalid",
        "upc": "invalid",
        "gtin": "invalid",
        "url_slug": "invalid",
        "image_url": "invalid",
        "brand_name": "blank",
        "supplier_code": "max_length",
        "description": "invalid",
        "reference": "max_length",
        "category_id": "invalid",
    }
    assert not Product.objects.exists()
    assert not Brand.objects.exists()


def test_limits_are_inclusive_and_text_is_never_cut(client):
    body = {"ean": make_ean(), "name": "n" * 255, "price": 999999.99, "weight": 99999.99, "description": "d" * 200_000}
    assert client.post(PRODUCTS, body).json()["price"] == 999999.99
    assert Product.objects.get().name == "n" * 255
    assert refused(client.post(PRODUCTS, body | {"ean": make_ean(), "name": "n" * 256})) == [("name", "max_length")]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"is_active": True}, "active"),
        ({"is_active": "false"}, "inactive"),
        ({"is_active": False, "status": "archived"}, "archived"),
        ({"is_active": True, "status": "active"}, "active"),
        ({"is_active": True, "status": "inactive"}, None),
        ({"is_active": False, "status": "active"}, None),
        ({}, "active"),
    ],
)
def test_is_active_and_status_are_one_thing(client, sent, status):
    answer = client.post(PRODUCTS, {"ean": "96385074", "name": "Pen", **sent})
    if status is None:
        assert refused(answer) == [("is_active", "contradiction")]
        assert not Product.objects.exists()
    else:
        assert (answer.json()["status"], answer.json()["is_active"]) == (status, status == "active")


def test_other_names_of_a_field_must_agree(client):
    answer = client.post(PRODUCTS, {"ean": "96385074", "name": "Pen", "sku": "1", "reference": "2"})
    assert refused(answer) == [("reference", "contradiction")]
    assert client.post(PRODUCTS, {"ean": "96385074", "title": "Pen", "name": "Pen"}).status_code == 201


def test_an_unknown_category_is_refused(client):
    answer = client.post(PRODUCTS, {"ean": "96385074", "name": "Pen", "category_id": str(uuid4()), "brand_name": "B"})
    assert refused(answer) == [("category_id", "not_found")]
    assert not Product.objects.exists()
    assert not Brand.objects.exists()


# Changing


def test_null_clears_what_may_be_empty_and_is_refused_elsewhere(client):
    product = make_product(
        barcode="OWN", price="5.00", reference="R", brand=make_brand(), category=make_category(), asin="B000000001"
    )
    path = f"{PRODUCTS}/{product.pk}"
    nulls = dict.fromkeys(("barcode", "price", "reference", "brand_name", "category_id", "asin", "weight"))
    body = client.patch(path, nulls).json()
    assert {name: body[name] for name in nulls} == nulls | {"barcode": product.ean}
    assert body["brand_id"] is None
    before = Product.objects.values().get()
    for name in ("ean", "name", "status", "is_active"):
        assert refused(client.patch(path, {name: None, "price": 9})) == [(name, "invalid" if name == "ean" else "null")]
    assert Product.objects.values().get() == before


def test_patch_changes_the_ean_when_it_is_free(client):
    product, other, gone = make_product(), make_product(), make_product()
    client.delete(f"{PRODUCTS}/{gone.pk}")
    path = f"{PRODUCTS}/{product.pk}"
    for taken in (other.ean, gone.ean):
        assert refused(client.patch(path, {"ean": taken, "name": "Changed"}), 409) == [("ean", "duplicate")]
    assert Product.objects.values_list("ean", "name").get(pk=product.pk) == (product.ean, product.name)
    body = client.patch(path, {"ean": "036000291452"}).json()
    assert (body["ean"], body["barcode"], body["upc"]) == ("0036000291452", "0036000291452", "036000291452")
    assert client.patch(path, {"ean": "0036000291452"}).status_code == 200


def test_deactivating_leaves_archived_products_archived(client):
    for status, after in (("active", "inactive"), ("inactive", "inactive"), ("archived", "archived")):
        product = make_product(status=status)
        body = client.patch(f"{PRODUCTS}/{product.pk}", {"is_active": False}).json()
        assert (body["status"], body["is_active"]) == (after, False)


def test_a_patch_that_changes_nothing_leaves_no_trace(client):
    product = make_product(price="5.00", brand=make_brand("Acme"), weight="1.000")
    same = {"price": 5, "brand_name": "ACME", "weight": 1.0, "name": product.name, "ean": product.ean}
    for body in (same, {}):
        answer = client.patch(f"{PRODUCTS}/{product.pk}", body)
        assert answer.status_code == 200
    assert not ProductRevision.objects.exists()
    assert Product.objects.get().updated_at == product.updated_at


def test_a_refused_patch_changes_nothing(client):
    product = make_product(price="5.00")
    answer = client.patch(f"{PRODUCTS}/{product.pk}", {"name": "New", "price": -1, "brand_name": "New brand"})
    assert refused(answer) == [("price", "out_of_range")]
    assert Product.objects.values_list("name", "price").get() == (product.name, Decimal("5.00"))
    assert not Brand.objects.exists()
    assert not ProductRevision.objects.exists()


# Lists


def test_filters(client):
    acme, kimex = make_supplier("ACME"), make_supplier("KIMEX")
    brand, category = make_brand("Lumen"), make_category()
    a = make_product(name="Lampe 100% été", supplier=acme, brand=brand, price="10.00", reference="SKU_1")
    b = make_product(name="Lampadaire", supplier=kimex, category=category, price="20.00", asin="B000000001")
    c = make_product(name="Chaise", status="archived", upc="012345678905")
    make_product(name="Lampe", deleted_at="2026-01-01T00:00:00Z")
    Product.objects.filter(pk=c.pk).update(updated_at="2020-01-01T00:00:00Z")
    cases = {
        "search=LAMP": [a, b],
        "search=100%25": [a],
        "search=u_1": [a],
        f"search={b.ean[2:]}": [b],
        "search=345678905": [c],
        "search=_____________________": [],
        "is_active=true": [a, b],
        "is_active=0": [c],
        "status=archived": [c],
        f"supplier_id={acme.pk}": [a],
        f"supplier_id={uuid4()}": [],
        "supplier_code=kimex": [b],
        "brand_name=LUMEN": [a],
        f"brand_id={brand.pk}": [a],
        f"category_id={category.pk}": [b],
        "has_asin=true": [b],
        "has_asin=false": [a, c],
        "price_min=10.01": [b],
        "price_max=10": [a],
        "updated_since=2020-01-01": [a, b, c],
        "updated_since=2020-01-01T00:00:01": [a, b],
        "updated_since=2020-01-01T01:00:01+01:00": [a, b],
        "updated_since=2020-01-01T01:00:00%2B01:00": [a, b, c],
        f"ean={a.ean},{c.ean}": [a, c],
        "search=lamp&is_active=true&price_min=15": [b],
        "search=": [a, b, c],
    }
    for query, products in cases.items():
        answer = client.get(f"{PRODUCTS}?{query}")
        assert eans(answer) == [product.ean for product in products], query
        assert answer.json()["meta"]["total"] == len(products)


def test_an_unknown_parameter_is_named_in_the_answer(client):
    body = client.get(f"{PRODUCTS}?suplier_code=KIMEX").json()
    assert body["warnings"] == ["Unknown, ignored: suplier_code"]


def test_order_is_total_and_defaults_to_the_oldest_first(client):
    products = [  # stored in the order of falling ids
        make_product(id=UUID(int=number), name=name, price=price)
        for number, name, price in ((4, "B", 2), (3, "a", None), (2, "C", 1), (1, "C", 1))
    ]
    Product.objects.update(created_at="2026-01-01T00:00:00Z")
    by_id = sorted(products, key=lambda product: product.pk)
    assert eans(client.get(PRODUCTS)) == [product.ean for product in by_id]
    assert eans(client.get(f"{PRODUCTS}?sort_order=desc")) == [product.ean for product in reversed(by_id)]
    b, a, c2, c1 = (product.ean for product in products)
    assert eans(client.get(f"{PRODUCTS}?sort_by=price")) == [c1, c2, b, a]
    assert eans(client.get(f"{PRODUCTS}?sort_by=price&sort_order=desc")) == [b, c2, c1, a]


def test_pages(client):
    expected = [make_product().ean for _number in range(5)]
    assert eans(client.get(f"{PRODUCTS}?skip=1&limit=2")) == expected[1:3]
    for query in ("page=2&per_page=2", "page=2&page_size=2", "page=2&limit=2", "skip=2&limit=2"):
        answer = client.get(f"{PRODUCTS}?{query}")
        assert eans(answer) == expected[2:4], query
        assert answer.json()["meta"] == {
            "total": 5,
            "page": 2,
            "per_page": 2,
            "total_pages": 3,
            "has_next": True,
            "has_previous": True,
        }
    last = client.get(f"{PRODUCTS}?skip=4&limit=2")
    assert eans(last) == expected[4:]
    assert last.json()["meta"]["has_next"] is False
    beyond = client.get(f"{PRODUCTS}?skip=1000000")
    assert eans(beyond) == []
    assert beyond.json()["meta"]["total"] == 5
    empty = client.get(f"{PRODUCTS}?search=nothing").json()["meta"]
    assert (empty["total"], empty["total_pages"], empty["has_next"]) == (0, 0, False)


def test_fields_trims_the_answer(client):
    product = make_product(price="5.00")
    assert client.get(f"{PRODUCTS}?fields=ean,%20price").json()["items"] == [{"ean": product.ean, "price": 5.0}]
    assert client.get(f"{PRODUCTS}/{product.pk}?fields=is_active").json() == {"is_active": True}


def test_the_number_of_statements_does_not_grow(client):
    client.get(PRODUCTS)
    counts = []
    for number in (1, 40):
        for _number in range(number):
            make_product(brand=make_brand(make_ean()), supplier=make_supplier(make_ean()))
        with CaptureQueriesContext(connection) as captured:
            assert len(eans(client.get(PRODUCTS))) == Product.objects.count()
        counts.append(len(captured) - 1)
    assert counts == [3, 3]  # key, total, page


# The same filters as JSON, for match jobs


def test_filter_products_takes_the_filters_of_the_list():
    a = make_product(price="10.00", supplier=make_supplier("ACME"))
    b = make_product(price="20.00", asin="B000000001", status="archived")
    make_product(deleted_at="2026-01-01T00:00:00Z")
    cases = [
        ({}, [a, b]),
        ({"has_asin": False}, [a]),
        ({"has_asin": "true", "is_active": False}, [b]),
        ({"price_min": 10.5}, [b]),
        ({"supplier_code": "acme", "search": None}, [a]),
        ({"ean": [a.ean, b.ean]}, [a, b]),
        ({"ean": a.ean}, [a]),
    ]
    for selection, products in cases:
        assert list(filter_products(selection).order_by("id")) == products, selection


@pytest.mark.parametrize(
    "selection",
    [
        {"colour": "red"},
        {"_connector": "OR"},
        {"supplier__code": "ACME"},
        {"price__gt": 1},
        {"ean__regex": "^3"},
        {"pk": 1},
        {"supplier_code": ""},
        {"supplier_code": ["ACME"]},
        {"price_min": {"gt": 1}},
        {"is_active": "perhaps"},
        {"supplier_id": "x"},
        {"ean": [1]},
    ],
)
def test_filter_products_refuses_what_the_list_does_not_know(selection):
    with pytest.raises(ValidationError) as refusal:
        filter_products(selection)
    assert list(refusal.value.message_dict) == list(selection)
