"""`/api/v1/ext/products`: the printed requests and answers, and what each way of writing does to each field."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from urllib.parse import unquote
from uuid import UUID

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from catalog import changes
from catalog.editing import delete_product
from catalog.models import Brand, Product, ProductRevision, Supplier
from catalog.provenance import Provenance
from extapi.queries import COLUMNS
from extapi.serializers import ExtProductSerializer
from extapi.writing import WRITABLE
from tests.make import api_client, make_api_key, make_brand, make_category, make_ean, make_product, make_supplier

pytestmark = pytest.mark.django_db

EXT = "/api/v1/ext"
PRODUCTS = f"{EXT}/products"
EAN = "3760000000001"
UNKNOWN = {"ean": "96385074"}

FULL = {
    "name": "Pen",
    "brand_name": "Acme",
    "description": "<p>Long</p>",
    "short_description": "Short",
    "reference": "R-1",
    "supplier_code": "KIMEX",
    "asin": "B000000001",
    "upc": "012345678905",
    "gtin": "00012345678905",
    "status": "inactive",
    "weight": 1.25,
    "width": 2,
    "height": 3.5,
    "depth": 4,
    "unit_of_measure": "pack",
    "external_id": "E-1",
    "url_slug": "pen-1",
}


@pytest.fixture
def client():
    client = api_client("unused")
    client.credentials(HTTP_X_API_KEY=make_api_key("ext:products:read", "ext:products:write", name="ERP Sync Key"))
    return client


def data(answer, status: int = 200):
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/json"
    body = answer.json()
    assert set(body) - {"warnings"} == {"success", "data", "meta", "errors"}
    assert body["success"] is True
    assert set(body["meta"]) == {"total", "page", "page_size", "updated_at"}
    return body["data"]


def refused(answer, status: int = 422) -> list[tuple[str | None, str]]:
    assert answer.status_code == status, answer.content
    body = answer.json()
    assert (body["success"], body["data"], len(body["errors"])) == (False, None, len(body["error_details"]))
    return [(detail["field"], detail["code"]) for detail in body["error_details"]]


def only_one() -> Product:
    return Product.objects.select_related("brand", "supplier").get()


def delete(product: Product) -> None:
    delete_product(product_id=product.pk, provenance=Provenance(ProductRevision.Source.ADMIN, "tests"))


# --- as printed ---


def test_status(client):
    answer = client.get(f"{EXT}/status")
    status = data(answer)
    assert {name: status[name] for name in ("status", "version", "api_key_name", "api_key_scopes")} == {
        "status": "ok",
        "version": "1.0",
        "api_key_name": "ERP Sync Key",
        "api_key_scopes": ["ext:products:read", "ext:products:write"],
    }
    assert len(status["timestamp"]) == len("2026-06-19T10:00:00Z")
    assert {k: answer.json()["meta"][k] for k in ("total", "page", "page_size")} == {
        "total": 1,
        "page": 1,
        "page_size": 1,
    }


def test_create_then_upsert_as_printed(client):
    sent = {
        "ean": EAN,
        "name": "Support TV mural fixe 37-75 pouces",
        "brand_name": "KIMEX",
        "supplier_code": "KIMEX",
        "weight": 1.5,
        "status": "active",
    }
    answer = client.post(PRODUCTS, sent)
    created = data(answer, 201)
    assert set(created) == {"created", "ean", "id", "product"}
    assert (created["created"], created["ean"]) == (True, EAN)
    product = created["product"]
    assert product["id"] == created["id"] == str(only_one().pk)
    assert product["title"] == product["name"] == sent["name"]
    assert {name: product[name] for name in sent if name != "name"} == {k: v for k, v in sent.items() if k != "name"}
    assert answer.json()["meta"] == {"total": 1, "page": 1, "page_size": 1, "updated_at": product["updated_at"]}

    updated = data(client.post(PRODUCTS, {"ean": EAN, "weight": 1.6}), 200)
    assert (updated["created"], updated["id"]) == (False, created["id"])
    assert updated["product"] == product | {"weight": 1.6, "updated_at": updated["product"]["updated_at"]}


def test_batch_as_printed(client):
    make_product(ean="3760000000002", name="Old")
    sent = [
        {"ean": EAN, "name": "Produit A", "brand_name": "KIMEX"},
        {"ean": "3760000000002", "name": "Produit B", "brand_name": "KIMEX"},
    ]
    answer = client.post(f"{PRODUCTS}/batch", {"products": sent})
    result = data(answer)
    assert {name: result[name] for name in ("total", "created", "updated", "errors")} == {
        "total": 2,
        "created": 1,
        "updated": 1,
        "errors": 0,
    }
    ids = dict(Product.objects.values_list("ean", "id"))
    assert [(one["ean"], one["status"], one["id"]) for one in result["results"]] == [
        (EAN, "created", str(ids[EAN])),
        ("3760000000002", "updated", str(ids["3760000000002"])),
    ]
    meta = answer.json()["meta"]
    assert (meta["total"], meta["page"], meta["page_size"], answer.json()["errors"]) == (2, 1, 2, [])
    assert Brand.objects.count() == 1


def test_put_and_patch_as_printed(client):
    product = make_product(ean=EAN, name="Support", weight="1.5", reference="R", price="9.90")
    sent = {
        "ean": EAN,
        "name": "Support TV mural fixe — édition 2026",
        "brand_name": "KIMEX",
        "weight": 1.6,
        "status": "active",
    }
    replaced = data(client.put(f"{PRODUCTS}/{EAN}", sent))
    assert (replaced["id"], replaced["ean"], replaced["title"]) == (str(product.pk), EAN, sent["name"])
    assert (replaced["reference"], replaced["price"]) == (None, 9.9)
    changed = data(client.patch(f"{PRODUCTS}/{EAN}", {"status": "inactive", "weight": 1.6}))
    assert (changed["status"], changed["is_active"], changed["weight"], changed["title"]) == (
        "inactive",
        False,
        1.6,
        sent["name"],
    )


def test_get_and_list_as_printed(client):
    product = make_product(
        ean=EAN,
        name="Support TV mural fixe",
        weight="1.5",
        brand=make_brand("KIMEX"),
        created_at="2026-03-01T08:00:00Z",
        updated_at="2026-06-19T09:30:00Z",
    )
    printed = {
        "id": str(product.pk),
        "ean": EAN,
        "title": "Support TV mural fixe",
        "brand_name": "KIMEX",
        "status": "active",
        "is_active": True,
        "weight": 1.5,
        "created_at": "2026-03-01T08:00:00Z",
        "updated_at": "2026-06-19T09:30:00Z",
    }
    single = client.get(f"{PRODUCTS}/{EAN}")
    assert data(single).items() >= printed.items()
    assert single.json()["meta"] == {"total": 1, "page": 1, "page_size": 1, "updated_at": "2026-06-19T09:30:00Z"}
    answer = client.get(f"{PRODUCTS}?page=1&page_size=100")
    assert data(answer) == [data(single)]
    assert {k: answer.json()["meta"][k] for k in ("total", "page", "page_size")} == {
        "total": 1,
        "page": 1,
        "page_size": 100,
    }


# --- reading ---


def test_the_json_of_the_database_is_that_of_the_serializer(client):
    make_product(
        ean=EAN,
        brand=make_brand(),
        supplier=make_supplier(),
        category=make_category(),
        price="1.10",
        weight="2.000",
        description='a "quoted" \\ line\n\u2028 é \U0001f600',
    )
    make_product(status="archived")
    for product in data(client.get(PRODUCTS)):
        row = Product.objects.select_related("brand", "supplier").get(pk=product["id"])
        row.deleted = False
        values = ExtProductSerializer(row).data
        shown = {name: float(value) if isinstance(value, Decimal) else value for name, value in values.items()}
        assert product.keys() == shown.keys()
        assert {name: value for name, value in product.items() if value != shown[name]} == {}
        assert isinstance(product["weight"], int | float | None)


def test_any_form_of_the_ean_finds_the_product(client):
    make_product(ean="0012345678905")
    for form in ("0012345678905", "012345678905", "00012345678905", "0-012345-678905"):
        assert data(client.get(f"{PRODUCTS}/{form}"))["ean"] == "0012345678905"


@pytest.mark.parametrize("segment", ["123", "x", "3760000000099", "%27", "delta2", "products", "é", "a%20b"])
def test_any_segment_gives_the_printed_sentence(client, segment):
    answer = client.get(f"{PRODUCTS}/{segment}")
    assert refused(answer, 404) == [(None, "not_found")]
    assert answer.json()["errors"] == [f"Produit avec EAN '{unquote(segment)}' introuvable."]


def test_the_sentence_follows_the_language_that_is_asked_for(client):
    def sentence(language: str) -> str:
        return client.get(f"{PRODUCTS}/123", headers={"Accept-Language": language}).json()["errors"][0]

    assert sentence("*") == "Produit avec EAN '123' introuvable."
    assert sentence("en") == "There is no product with the EAN '123'."


def test_pages_walk_the_live_products_in_order(client):
    products = [make_product(supplier=None) for _ in range(5)]
    delete(products[2])
    expected = [product.ean for product in products if product != products[2]]
    pages = [client.get(f"{PRODUCTS}?page={page}&page_size=3&fields=ean") for page in (1, 2, 3)]
    assert [one["ean"] for page in pages for one in data(page)] == expected
    assert [len(data(page)) for page in pages] == [3, 1, 0]
    assert [page.json()["meta"]["total"] for page in pages] == [4, 4, 4]


def test_totals_are_exact_whether_or_not_changes_are_stamped(client):
    def total(**parameters: object) -> int:
        return client.get(PRODUCTS, {"page_size": 1} | parameters).json()["meta"]["total"]

    products = [make_product(supplier=None) for _ in range(3)]
    for expected in (3, 2, 1):
        assert total() == expected
        changes.drain()
        assert [total(), total()] == [expected] * 2
        assert total(updated_since="2020-01-01") == 3
        delete(products.pop())
    supplier = make_supplier("KIMEX")
    Product.objects.update(supplier=supplier, deleted_at=None)
    changes.drain()
    assert (total(supplier_code="KIMEX"), total(supplier_code="NOBODY"), total()) == (3, 0, 3)


def test_the_supplier_filter_ignores_case(client):
    mine = make_product(supplier=make_supplier("KIMEX"))
    make_product(supplier=make_supplier("INGRAM"))
    make_product()
    answer = client.get(f"{PRODUCTS}?supplier_code=kimex")
    assert [one["ean"] for one in data(answer)] == [mine.ean]
    assert answer.json()["meta"]["total"] == 1
    assert data(client.get(f"{PRODUCTS}?supplier_code=nobody")) == []


def test_unknown_parameters_are_named(client):
    answer = client.get(f"{PRODUCTS}?colour=red&page=1")
    assert data(answer) == []
    assert answer.json()["warnings"] == ["Unknown, ignored: colour"]


def test_fields_trim_the_answer(client):
    make_product(ean=EAN, name="Pen")
    assert data(client.get(f"{PRODUCTS}?fields=ean,title")) == [{"ean": EAN, "title": "Pen"}]
    assert data(client.get(f"{PRODUCTS}/{EAN}?fields=title")) == {"title": "Pen"}
    assert refused(client.get(f"{PRODUCTS}?fields=ean,secret")) == [("fields", "invalid_choice")]


def test_a_page_costs_the_same_whatever_its_size(client):
    for _ in range(20):
        make_product(brand=None)
    client.get(PRODUCTS)
    for size in (1, 20):
        with CaptureQueriesContext(connection) as queries:
            client.get(f"{PRODUCTS}?page_size={size}")
        assert len(queries) <= 3  # the key, the page, the total


# --- writing ---


def test_every_field_is_written_by_each_method(client):
    category = str(make_category().pk)
    body = FULL | {"category_id": category}
    assert set(body) | {"ean", "is_active"} == WRITABLE
    assert len(WRITABLE) == 20
    created = data(client.post(PRODUCTS, body | {"ean": EAN}), 201)["product"]
    assert created.items() >= body.items()
    blank = data(client.put(f"{PRODUCTS}/{EAN}", {"name": "Pen"}))
    assert {name for name in body if blank[name] is not None} == {"name", "status"}
    assert data(client.patch(f"{PRODUCTS}/{EAN}", body)).items() >= body.items()
    assert data(client.put(f"{PRODUCTS}/{EAN}", body)).items() >= body.items()
    assert only_one().weight == Decimal("1.25")


def test_put_empties_what_is_absent_except_what_it_may_not_write(client):
    protected = {"price": "9.90", "cost_price": "5.00", "barcode": "B-1", "image_url": "https://x.example/a.jpg"}
    make_product(ean=EAN, status="archived", brand=make_brand(), description="d", **protected)
    sent = {"name": "New", "description": None, "price": 1, "cost_price": 1, "barcode": "x", "image_url": None}
    answer = client.put(f"{PRODUCTS}/{EAN}", sent)
    product = data(answer)
    assert (product["name"], product["status"], product["brand_name"], product["description"]) == (
        "New",
        "active",
        None,
        None,
    )
    stored = only_one()
    assert {name: str(getattr(stored, name)) for name in protected} == protected
    assert sorted(answer.json()["warnings"]) == sorted(
        f"Unknown, ignored: {name}" for name in ("price", "cost_price", "barcode", "image_url")
    )


@pytest.mark.parametrize("body", [{}, {"name": None}, {"weight": 1}, {"name": ""}, {"title": None}])
def test_put_needs_a_name(client, body):
    make_product(ean=EAN, name="Pen", weight="2")
    assert [field for field, _code in refused(client.put(f"{PRODUCTS}/{EAN}", body))] == ["name"]
    assert only_one().weight == 2


def test_null_leaves_alone_and_an_empty_text_is_a_value(client):
    for method, address in ((client.post, PRODUCTS), (client.patch, f"{PRODUCTS}/{EAN}")):
        client.post(PRODUCTS, FULL | {"ean": EAN})
        before = data(client.get(f"{PRODUCTS}/{EAN}"))
        nothing = dict.fromkeys(WRITABLE - {"ean"}) | {"title": None, "ean": EAN}
        answer = data(method(address, nothing))
        assert answer.get("product", answer) == before
        empty = data(method(address, {"ean": EAN, "description": "", "reference": "", "unit_of_measure": ""}))
        product = empty.get("product", empty)
        assert (product["description"], product["reference"], product["unit_of_measure"]) == ("", "", "")
    assert refused(client.patch(f"{PRODUCTS}/{EAN}", {"name": ""})) == [("name", "blank")]


@pytest.mark.parametrize(
    ("stored", "sent", "status"),
    [
        ("active", {"is_active": False}, "inactive"),
        ("archived", {"is_active": False}, "archived"),
        ("archived", {"is_active": True}, "active"),
        ("inactive", {"is_active": "true"}, "active"),
        ("active", {"status": "archived", "is_active": False}, "archived"),
        ("active", {"status": "inactive"}, "inactive"),
    ],
)
def test_activity_and_status_are_one_thing(client, stored, sent, status):
    make_product(ean=EAN, status=stored)
    product = data(client.patch(f"{PRODUCTS}/{EAN}", sent))
    assert (product["status"], product["is_active"]) == (status, status == "active")


@pytest.mark.parametrize(
    ("sent", "field", "code"),
    [
        ({"status": "active", "is_active": False}, "is_active", "contradiction"),
        ({"status": "archived", "is_active": True}, "is_active", "contradiction"),
        ({"name": "A", "title": "B"}, "name", "contradiction"),
        ({"status": "gone"}, "status", "invalid_choice"),
        ({"weight": -1}, "weight", "out_of_range"),
        ({"weight": "heavy"}, "weight", "invalid"),
        ({"asin": "short"}, "asin", "invalid"),
        ({"category_id": "00000000-0000-7000-8000-000000000000"}, "category_id", "not_found"),
        ({"name": "x" * 256}, "name", "max_length"),
        ({"ean": "3760000000002"}, "ean", "contradiction"),
    ],
)
def test_what_is_wrong_is_refused_whole(client, sent, field, code):
    make_product(ean=EAN, name="Pen")
    assert refused(client.patch(f"{PRODUCTS}/{EAN}", {"reference": "R"} | sent)) == [(field, code)]
    assert refused(client.put(f"{PRODUCTS}/{EAN}", {"name": "Pen", "reference": "R"} | sent)) == [(field, code)]
    if field != "ean":
        assert refused(client.post(PRODUCTS, {"ean": EAN, "reference": "R"} | sent)) == [(field, code)]
    assert (only_one().name, only_one().reference) == ("Pen", None)


def test_the_alias_of_the_name(client):
    assert data(client.post(PRODUCTS, UNKNOWN | {"title": "Pen"}), 201)["product"]["name"] == "Pen"
    assert data(client.post(PRODUCTS, UNKNOWN | {"title": "Ink", "name": "Ink"}))["product"]["title"] == "Ink"
    assert data(client.patch(f"{PRODUCTS}/96385074", {"title": "Quill", "name": None}))["name"] == "Quill"


def test_a_new_product_needs_an_ean_and_a_name(client):
    assert refused(client.post(PRODUCTS, UNKNOWN)) == [("name", "required")]
    assert refused(client.post(PRODUCTS, {"name": "Pen"})) == [("ean", "required")]
    assert refused(client.post(PRODUCTS, {"ean": None, "name": "Pen"})) == [("ean", "required")]
    assert refused(client.post(PRODUCTS, {"ean": "123ABC7890", "name": "Pen"})) == [("ean", "invalid")]
    assert not Product.objects.exists()


@pytest.mark.parametrize("method", ["put", "patch"])
def test_put_and_patch_create_nothing(client, method):
    answer = getattr(client, method)(f"{PRODUCTS}/96385074", {"name": "Pen", "brand_name": "New"})
    assert refused(answer, 404) == [(None, "not_found")]
    assert answer.json()["errors"] == ["Produit avec EAN '96385074' introuvable."]
    assert not Product.objects.exists()
    assert not Brand.objects.exists()


def test_the_ean_of_the_body_may_be_written_otherwise(client):
    make_product(ean="0012345678905")
    assert data(client.patch(f"{PRODUCTS}/012345678905", {"ean": "00012345678905", "weight": 1}))["weight"] == 1


def test_a_upc_is_kept_by_a_new_product_only(client):
    assert data(client.post(PRODUCTS, {"ean": "012345678905", "name": "Pen"}), 201)["product"]["upc"] == "012345678905"
    client.patch(f"{PRODUCTS}/0012345678905", {"upc": "999999999999"})
    assert data(client.post(PRODUCTS, {"ean": "012345678905", "weight": 1}))["product"]["upc"] == "999999999999"


def test_brands_and_suppliers_are_found_in_any_case(client):
    brand, supplier = make_brand("Kimex"), make_supplier("INGRAM")
    data(client.post(PRODUCTS, UNKNOWN | {"name": "Pen", "brand_name": "KIMEX", "supplier_code": "ingram"}), 201)
    assert (only_one().brand, only_one().supplier) == (brand, supplier)
    data(client.patch(f"{PRODUCTS}/96385074", {"brand_name": "New", "supplier_code": "NEW"}))
    assert (Brand.objects.count(), Supplier.objects.count()) == (2, 2)


def test_a_deleted_product_is_gone_until_it_is_created_again(client):
    product = make_product(ean=EAN, name="Old", reference="R", status="archived")
    delete(product)
    assert client.get(f"{PRODUCTS}/{EAN}").status_code == 404
    assert client.patch(f"{PRODUCTS}/{EAN}", {"name": "x"}).status_code == 404
    assert client.put(f"{PRODUCTS}/{EAN}", {"name": "x"}).status_code == 404
    assert refused(client.post(PRODUCTS, {"ean": EAN})) == [("name", "required")]
    assert only_one().deleted_at is not None
    revived = data(client.post(PRODUCTS, {"ean": EAN, "name": "New"}), 201)
    assert (revived["created"], revived["id"]) == (True, str(product.pk))
    shown = {name: revived["product"][name] for name in ("name", "reference", "status", "deleted")}
    assert shown == {"name": "New", "reference": "R", "status": "active", "deleted": False}


def test_system_fields_are_never_applied(client):
    sent = {"id": "00000000-0000-7000-8000-000000000000", "created_at": "2000-01-01", "updated_at": "2000-01-01"}
    created = data(client.post(PRODUCTS, sent | UNKNOWN | {"name": "Pen", "deleted": True, "deleted_at": None}), 201)
    product = created["product"]
    assert product["id"] != sent["id"]
    assert product["created_at"] > "2020"
    assert product["deleted"] is False


def test_an_unchanged_write_changes_nothing(client):
    data(client.post(PRODUCTS, FULL | {"ean": EAN}), 201)
    before = client.get(f"{PRODUCTS}/{EAN}").content
    for _ in range(2):
        data(client.post(PRODUCTS, FULL | {"ean": EAN}))
        data(client.patch(f"{PRODUCTS}/{EAN}", FULL))
        data(client.put(f"{PRODUCTS}/{EAN}", FULL))
    assert client.get(f"{PRODUCTS}/{EAN}").content == before
    assert ProductRevision.objects.count() == 1


def test_the_key_is_the_author(client):
    data(client.post(PRODUCTS, UNKNOWN | {"name": "Pen"}), 201)
    revision = ProductRevision.objects.get()
    assert (revision.actor, revision.source) == ("ERP Sync Key", "api")
    assert isinstance(revision.source_id, UUID)


@pytest.mark.django_db(transaction=True)
def test_of_two_clients_that_create_one_product_one_is_told_so():
    secret = make_api_key()

    def post(number: int) -> int:
        try:
            body = {"ean": EAN, "name": f"Name {number}", "brand_name": "Same", "supplier_code": "SAME"}
            return api_client(secret).post(PRODUCTS, body).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(post, range(6))) == [200] * 5 + [201]
    assert Product.objects.count() == Brand.objects.count() == Supplier.objects.count() == 1


# --- batches ---


def test_items_of_a_batch_are_independent(client):
    live = make_product(ean=EAN, name="Old")
    sent = [
        {"ean": EAN, "weight": 2},
        {"ean": "x", "name": "Bad"},
        {"ean": "96385074"},
        {"ean": "3760000000002", "name": "New", "weight": -1},
        {"ean": "3760000000003", "name": "New", "colour": "red"},
        "text",
    ]
    answer = client.post(f"{PRODUCTS}/batch", {"products": sent, "mode": "fast"})
    result = data(answer)
    assert (result["total"], result["created"], result["updated"], result["errors"]) == (6, 1, 1, 4)
    assert [(one["index"], one["ean"], one["status"]) for one in result["results"]] == [
        (0, EAN, "updated"),
        (1, "x", "error"),
        (2, "96385074", "error"),
        (3, "3760000000002", "error"),
        (4, "3760000000003", "created"),
        (5, "", "error"),
    ]
    assert result["results"][0]["id"] == str(live.pk)
    assert answer.json()["errors"] == [
        f"{one['ean']}: {one['error']}" for one in result["results"] if one["status"] == "error"
    ]
    assert result["results"][3]["error_details"] == [
        {"field": "weight", "code": "out_of_range", "message": "Must be from 0 to 99999.99."}
    ]
    assert answer.json()["warnings"] == ["Unknown, ignored: mode", "Unknown, ignored: colour"]
    assert sorted(Product.objects.values_list("ean", flat=True)) == [EAN, "3760000000003"]


def test_an_ean_that_stands_several_times_is_written_in_order(client):
    sent = [
        {"ean": "96385074", "weight": 1},
        {"ean": "96385074", "name": "First", "weight": 2, "reference": "R"},
        {"ean": "96385074", "name": "Second", "weight": None},
        {"ean": "96385074", "is_active": False},
    ]
    result = data(client.post(f"{PRODUCTS}/batch", {"products": sent}))
    assert [one["status"] for one in result["results"]] == ["error", "created", "updated", "updated"]
    product = only_one()
    assert (product.name, product.weight, product.reference, product.status) == ("Second", 2, "R", "inactive")


def test_a_batch_has_at_most_500_products(client):
    sent = [{"ean": make_ean(), "name": "Pen"} for _ in range(501)]
    assert refused(client.post(f"{PRODUCTS}/batch", {"products": sent})) == [("products", "max_length")]
    assert not Product.objects.exists()
    assert data(client.post(f"{PRODUCTS}/batch", {"products": []}))["total"] == 0
    for body in ({}, {"products": None}, {"products": {"ean": EAN}}):
        assert refused(client.post(f"{PRODUCTS}/batch", body)) == [("products", "required")]
    assert refused(client.generic("POST", f"{PRODUCTS}/batch", b"[]", content_type="application/json"))


def test_a_batch_costs_a_constant_number_of_statements(client):
    def statements(count: int) -> int:
        known = [{"ean": make_product().ean, "name": "New", "weight": 1, "brand_name": "Acme"} for _ in range(count)]
        new = [{"ean": make_ean(), "name": "New", "supplier_code": "S", "brand_name": "Beta"} for _ in range(count)]
        with CaptureQueriesContext(connection) as queries:
            result = data(client.post(f"{PRODUCTS}/batch", {"products": known + new}))
        assert (result["created"], result["updated"], result["errors"]) == (count, count, 0)
        return len(queries)

    statements(1)  # makes brands, supplier and the staging table
    assert statements(2) == statements(250) <= 14


def test_the_shape_of_a_product_is_complete():
    assert set(ExtProductSerializer().fields) == set(COLUMNS)
