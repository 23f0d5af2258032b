"""Bulk create and update: per-item results, options, and a number of statements that does not grow."""

from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Brand, Product, ProductRevision, Supplier
from tests.make import api_client, make_category, make_ean, make_product, make_supplier

pytestmark = pytest.mark.django_db

BULK = "/api/v1/products/bulk"
A, B, C = "4006381333931", "96385074", "0036000291452"


@pytest.fixture
def client():
    return api_client()


def counters(answer, *names: str) -> dict:
    assert answer.status_code == 200, answer.content
    return {name: answer.json()[name] for name in names}


def statuses(answer) -> list[str]:
    return [result["status"] for result in answer.json()["results"]]


def faults(answer) -> list[list[tuple[str | None, str]]]:
    return [[(error["field"], error["code"]) for error in result["errors"]] for result in answer.json()["results"]]


def test_the_printed_bulk_create_and_update(client):
    created = client.generic(
        "POST",
        BULK,
        """{
    "products": [
      {"ean": "3760000000001", "name": "Produit A", "price": 10.00},
      {"ean": "3760000000002", "name": "Produit B", "price": 20.00}
    ],
    "skip_duplicates": true
  }""",
        content_type="application/json",
    )
    assert counters(created, "created", "skipped", "errors") == {"created": 2, "skipped": 0, "errors": 0}
    first, second = Product.objects.order_by("ean")
    assert created.json()["results"] == [
        {
            "index": 0,
            "ean": "3760000000001",
            "status": "created",
            "id": str(first.pk),
            "errors": [],
            "warnings": ["3760000000001: EAN check digit is wrong (expected 0, found 1)"],
        },
        {
            "index": 1,
            "ean": "3760000000002",
            "status": "created",
            "id": str(second.pk),
            "errors": [],
            "warnings": ["3760000000002: EAN check digit is wrong (expected 0, found 2)"],
        },
    ]
    updated = client.generic(
        "PATCH",
        BULK,
        """{
    "products": [
      {"ean": "3760000000001", "price": 9.99},
      {"ean": "3760000000002", "is_active": false}
    ]
  }""",
        content_type="application/json",
    )
    assert counters(updated, "updated", "skipped", "errors") == {"updated": 2, "skipped": 0, "errors": 0}
    assert list(Product.objects.order_by("ean").values_list("name", "price", "status")) == [
        ("Produit A", Decimal("9.99"), "active"),
        ("Produit B", 20, "inactive"),
    ]


def test_items_fail_one_by_one(client):
    taken = make_product(ean=A, name="Old")
    category = str(uuid4())
    answer = client.post(
        BULK,
        {
            "products": [
                {"ean": A, "name": "Taken"},
                {"ean": B, "name": "Good", "price": 1, "colour": "red"},
                {"ean": B, "name": "Again"},
                {"ean": C, "price": -1},
                {"name": "No EAN", "colour": "blue"},
                "not an object",
                {"ean": make_ean(), "name": "Lost", "category_id": category},
            ],
            "supplier_code": "KIMEX",
            "suplier_code": "typo",
        },
    )
    assert counters(answer, "created", "skipped", "errors") == {"created": 1, "skipped": 0, "errors": 6}
    assert statuses(answer) == ["error", "created", "error", "error", "error", "error", "error"]
    assert faults(answer) == [
        [("ean", "duplicate")],
        [],
        [("ean", "duplicate")],
        [("price", "out_of_range"), ("name", "required")],
        [("ean", "required")],
        [(None, "invalid")],
        [("category_id", "not_found")],
    ]
    assert answer.json()["warnings"] == ["Unknown, ignored: suplier_code", "Unknown, ignored: colour"]
    taken.refresh_from_db()
    assert taken.name == "Old"
    good = Product.objects.get(ean=B)
    assert (good.name, good.supplier.code) == ("Good", "KIMEX")
    assert Product.objects.count() == 2


def test_skip_duplicates(client):
    taken = make_product(ean=A, name="Old")
    products = [{"ean": A, "name": "Taken"}, {"ean": B, "name": "Good"}, {"ean": B, "name": "Again"}]
    answer = client.post(BULK, {"products": products, "skip_duplicates": True})
    assert counters(answer, "created", "skipped", "errors") == {"created": 1, "skipped": 2, "errors": 0}
    assert statuses(answer) == ["skipped", "created", "skipped"]
    assert answer.json()["results"][0]["id"] == str(taken.pk)
    assert sorted(Product.objects.values_list("name", flat=True)) == ["Good", "Old"]


def test_a_deleted_product_comes_back_as_created(client):
    gone = make_product(ean=A, name="Old", deleted_at="2026-01-01T00:00:00Z")
    answer = client.post(BULK, {"products": [{"ean": A, "name": "New"}]})
    assert answer.json()["created"] == 1
    assert answer.json()["results"][0]["id"] == str(gone.pk)
    gone.refresh_from_db()
    assert (gone.name, gone.deleted_at) == ("New", None)


def test_update_matches_by_ean_and_reports_what_is_missing(client):
    live = make_product(ean=A, price="5.00", reference="R")
    same = make_product(ean=C, name="Same")
    make_product(ean=B, deleted_at="2026-01-01T00:00:00Z")
    products = [
        {"ean": A, "price": 6, "reference": None},
        {"ean": "036000291452", "name": "Same"},
        {"ean": B, "name": "Deleted"},
        {"ean": make_ean(), "name": "Unknown"},
        {"ean": A, "price": 7},
        {"ean": C, "name": None},
        {"price": 1},
    ]
    answer = client.patch(BULK, {"products": products})
    assert counters(answer, "updated", "skipped", "errors") == {"updated": 2, "skipped": 0, "errors": 5}
    assert statuses(answer) == ["updated", "updated", "error", "error", "error", "error", "error"]
    assert [result["id"] for result in answer.json()["results"][:3]] == [str(live.pk), str(same.pk), None]
    assert faults(answer)[2:] == [
        [("ean", "not_found")],
        [("ean", "not_found")],
        [("ean", "duplicate")],
        [("name", "null")],
        [("ean", "required")],
    ]
    live.refresh_from_db()
    assert (live.price, live.reference) == (6, None)
    assert Product.objects.get(ean=C).upc is None
    assert Product.objects.get(ean=B).deleted_at is not None
    assert ProductRevision.objects.count() == 1  # the unchanged one has none

    skipped = client.patch(BULK, {"products": products[2:4], "skip_not_found": True})
    assert counters(skipped, "updated", "skipped", "errors") == {"updated": 0, "skipped": 2, "errors": 0}


def test_a_refused_item_does_not_stop_the_others(client):
    answer = client.patch(BULK, {"products": [{"ean": A, "is_active": None}]})
    assert (answer.status_code, answer.json()["errors"]) == (200, 1)
    assert answer.json()["results"][0]["errors"][0]["field"] == "is_active"


def test_is_active_false_leaves_archived_products_archived(client):
    make_product(ean=A, status="archived")
    make_product(ean=B)
    answer = client.patch(BULK, {"products": [{"ean": A, "is_active": False}, {"ean": B, "is_active": False}]})
    assert answer.json()["updated"] == 2
    assert dict(Product.objects.values_list("ean", "status")) == {A: "archived", B: "inactive"}


@pytest.mark.parametrize("method", ["post", "patch"])
def test_dry_run_reports_and_writes_nothing(client, method):
    make_product(ean=A, name="Old", supplier=make_supplier("ACME"))
    before = list(Product.objects.values())
    products = [{"ean": A, "name": "New", "brand_name": "B"}, {"ean": B, "name": "Fresh", "brand_name": "B"}]
    answer = getattr(client, method)(BULK, {"products": products, "dry_run": True})
    created_or_updated = {"post": ["error", "created"], "patch": ["updated", "error"]}[method]
    assert statuses(answer) == created_or_updated
    assert answer.json()["dry_run"] is True
    assert list(Product.objects.values()) == before
    assert not Brand.objects.exists()
    assert not ProductRevision.objects.exists()


@pytest.mark.parametrize("where", ["body", "query"])
@pytest.mark.parametrize("fault", [{"ean": A, "name": "Taken"}, {"ean": C, "name": "Bad", "price": "x"}])
def test_atomic_writes_all_or_nothing(client, where, fault):
    make_product(ean=A, name="Old")
    options = {"atomic": True} if where == "body" else {}
    path = BULK if where == "body" else f"{BULK}?atomic=true"
    good = {"ean": B, "name": "Good", "brand_name": "Acme", "supplier_code": "KIMEX"}
    answer = client.post(path, {"products": [good, fault], **options})
    assert counters(answer, "created", "skipped", "errors") == {"created": 0, "skipped": 1, "errors": 1}
    assert statuses(answer) == ["skipped", "error"]
    assert faults(answer)[0] == [(None, "atomic")]
    assert answer.json()["results"][0]["id"] is None
    assert list(Product.objects.values_list("ean", "name")) == [(A, "Old")]
    assert not Brand.objects.exists()
    assert not Supplier.objects.exists()
    assert client.post(path, {"products": [good], **options}).json()["created"] == 1


def test_atomic_update_reports_every_error(client):
    make_product(ean=A, price="5.00")
    products = [{"ean": A, "price": 6}, {"ean": B, "price": 1}, {"ean": C, "price": -1}]
    answer = client.patch(BULK, {"products": products, "atomic": True})
    assert counters(answer, "updated", "skipped", "errors") == {"updated": 0, "skipped": 1, "errors": 2}
    assert faults(answer) == [[(None, "atomic")], [("ean", "not_found")], [("price", "out_of_range")]]
    assert Product.objects.get().price == 5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "products"),
        ({"products": {}}, "products"),
        ({"products": [{}] * 1001}, "products"),
        ({"products": [], "dry_run": "perhaps"}, "dry_run"),
        ({"products": [], "atomic": 1}, "atomic"),
        ({"products": [], "supplier_code": ""}, "supplier_code"),
        ({"products": [], "supplier_code": "x" * 101}, "supplier_code"),
    ],
)
def test_a_body_that_is_wrong_as_a_whole_is_refused(client, body, field):
    answer = client.post(BULK, body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_an_empty_list_is_fine(client):
    assert counters(client.post(BULK, {"products": []}), "created", "results") == {"created": 0, "results": []}
    assert counters(client.patch(BULK, {"products": []}), "updated", "results") == {"updated": 0, "results": []}


@pytest.mark.parametrize("mode", ["create", "update"])
def test_a_thousand_products_need_as_many_statements_as_two(client, mode):
    category = str(make_category().pk)
    counts = []
    client.get("/api/v1/products")
    for number in (2, 1000):
        products = [
            {
                "ean": make_ean(),
                "name": f"Product {i}",
                "price": i / 100,
                "brand_name": f"Brand {number} {i % 200}",
                "supplier_code": f"S{number}-{i}",
                "category_id": category,
            }
            for i in range(number)
        ]
        if mode == "update":
            client.post(BULK, {"products": [{"ean": product["ean"], "name": "Old"} for product in products]})
        with CaptureQueriesContext(connection) as captured:
            answer = (client.post if mode == "create" else client.patch)(BULK, {"products": products})
        assert answer.json()[f"{mode}d"] == number
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 18
    assert Product.objects.filter(price__isnull=False).count() == 1002
