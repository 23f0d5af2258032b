"""Entity tags: reads that are not repeated, writes that do not overwrite what the client has not seen."""

import pytest
from django.db import connection

from catalog.models import Product
from tests.make import api_client, make_brand, make_product

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["/api/v1/products/{id}", "/api/v1/ext/products/{ean}"])
def address(request):
    product = make_product(ean="96385074", name="Pen", brand=make_brand("Acme"), weight="1.5")
    return request.param.format(id=product.pk, ean=product.ean)


def test_a_known_state_is_not_sent_again(address):
    client = api_client()
    tag = client.get(address)["ETag"]
    for names in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get(address, headers={"If-None-Match": names})
        assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", tag)
    assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE catalog_product SET name = 'Pencil'",
        "UPDATE catalog_product SET price = 3",
        "UPDATE catalog_brand SET name = 'Apex'",
    ],
)
def test_whatever_changes_what_is_shown_changes_the_tag(address, change):
    client = api_client()
    tag = client.get(address)["ETag"]
    with connection.cursor() as cursor:
        cursor.execute(change)
    answer = client.get(address, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer["ETag"] != tag


def test_a_part_has_no_tag(address):
    assert "ETag" not in api_client().get(f"{address}?fields=name")


def test_a_write_happens_only_in_the_state_it_names(address):
    client = api_client()
    tag = client.get(address)["ETag"]
    written = client.patch(address, {"name": "Pencil"}, headers={"If-Match": tag})
    assert written.status_code == 200
    assert written["ETag"] == client.get(address)["ETag"] != tag
    refused = client.patch(address, {"name": "Crayon"}, headers={"If-Match": tag})
    assert refused.status_code == 412
    body = refused.json()
    assert (body.get("code") or body["error_details"][0]["code"]) == "precondition_failed"
    assert Product.objects.get().name == "Pencil"
    for names in (f'"other", {written["ETag"]}', "*", f"W/{written['ETag']}"):
        assert client.patch(address, {"name": "Pencil"}, headers={"If-Match": names}).status_code == 200


@pytest.mark.parametrize("names", ['"other"', "", "not quoted"])
def test_a_state_that_is_not_there_refuses(address, names):
    assert api_client().patch(address, {"name": "Pencil"}, headers={"If-Match": names}).status_code == 412
    assert Product.objects.get().name == "Pen"


def test_put_and_delete_take_it_too():
    product = make_product(ean="96385074", name="Pen")
    client = api_client()
    ext, rest = "/api/v1/ext/products/96385074", f"/api/v1/products/{product.pk}"
    stale = {"If-Match": '"stale"'}
    assert client.put(ext, {"name": "Pencil"}, headers=stale).status_code == 412
    assert client.delete(rest, headers=stale).status_code == 412
    assert Product.objects.live().get().name == "Pen"
    tag = client.get(ext)["ETag"]
    assert client.put(ext, {"name": "Pencil"}, headers={"If-Match": tag}).status_code == 200
    tag = client.get(rest)["ETag"]
    assert client.delete(rest, headers={"If-Match": tag}).status_code == 200
    assert not Product.objects.live().exists()


def test_what_is_not_found_stays_not_found():
    client = api_client()
    tag = {"If-Match": "*"}
    assert client.patch("/api/v1/ext/products/96385074", {"name": "x"}, headers=tag).status_code == 404
    assert client.patch("/api/v1/products/00000000-0000-7000-8000-000000000000", {}, headers=tag).status_code == 404


def test_the_answer_to_an_upsert_carries_the_tag_of_the_product():
    client = api_client()
    created = client.post("/api/v1/ext/products", {"ean": "96385074", "name": "Pen"})
    assert created["ETag"] == client.get("/api/v1/ext/products/96385074")["ETag"]
