"""`Idempotency-Key`: the same request again gives the same answer and is not carried out again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections
from django.urls import path
from django.utils import timezone
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.models import Brand, Product, ProductRevision
from imports.models import ImportJob
from pim.api.idempotency import LIFETIME, idempotent
from pim.api.models import IdempotentAnswer
from tests.make import api_client, make_api_key

pytestmark = pytest.mark.django_db

PRODUCTS = "/api/v1/products"
EXT = "/api/v1/ext/products"
PEN = {"ean": "96385074", "name": "Pen"}


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


class Fragile(APIView):
    """Creates a brand and fails when it is told to."""

    permission_classes = (AllowAny,)
    parser_classes = (MultiPartParser,)

    @idempotent
    def post(self, request: Request) -> Response:
        Brand.objects.create(name=request.data["name"])
        if "fail" in request.query_params:
            raise RuntimeError
        if "refuse" in request.query_params:
            return Response({"detail": "no"}, status=409)
        return Response({"size": sum(file.size for file in request.FILES.values())}, status=201)


urlpatterns = [path("api/fragile", Fragile.as_view())]


@pytest.fixture
def fragile(settings):
    settings.ROOT_URLCONF = __name__
    client = api_client()
    client.raise_request_exception = False

    def post(query: str = "", text: str = "k", **data: object) -> Response:
        return client.post(f"/api/fragile{query}", {"name": "Acme", **data}, format="multipart", headers=key(text))

    return post


@pytest.mark.parametrize(("address", "status"), [(PRODUCTS, 201), (EXT, 201)])
def test_a_repetition_is_answered_and_not_carried_out(address, status):
    client = api_client()
    first = client.post(address, PEN, headers=key("a-1"))
    again = client.post(address, PEN, headers=key("a-1"))
    assert (first.status_code, again.status_code) == (status, status)
    assert again.content == first.content
    assert again["Content-Type"] == first["Content-Type"]
    assert again.get("ETag") == first.get("ETag")
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert ProductRevision.objects.count() == 1


def test_bulk_and_batch_are_covered():
    client = api_client()
    for address in (f"{PRODUCTS}/bulk", f"{EXT}/batch"):
        first = client.post(address, {"products": [PEN]}, headers=key(address))
        again = client.post(address, {"products": [PEN]}, headers=key(address))
        assert first.status_code == 200
        assert again.content == first.content
        assert again["Idempotency-Replayed"] == "true"


def test_the_first_answer_stands_whatever_happened_since():
    client = api_client()
    first = client.post(EXT, PEN, headers=key("k"))
    client.patch(f"{EXT}/96385074", {"name": "Pencil"})
    again = client.post(EXT, PEN, headers=key("k"))
    assert again.content == first.content
    assert Product.objects.get().name == "Pencil"


@pytest.mark.parametrize("address", [PRODUCTS, EXT])
def test_another_request_under_the_same_key_is_a_conflict(address):
    client = api_client()
    client.post(address, PEN, headers=key("k"))
    answer = client.post(address, PEN | {"name": "Pencil"}, headers=key("k"))
    assert answer.status_code == 409
    error = answer.json()
    code = error["error_details"][0]["code"] if address == EXT else error["code"]
    assert code == "idempotency_key_reused"
    assert Product.objects.get().name == "Pen"


def test_the_address_belongs_to_the_request():
    client = api_client()
    assert client.post(EXT, PEN, headers=key("k")).status_code == 201
    assert client.post(PRODUCTS, PEN, headers=key("k")).status_code == 409


def test_keys_of_different_callers_have_nothing_to_do_with_each_other():
    assert api_client().post(EXT, PEN, headers=key("k")).status_code == 201
    assert api_client().post(EXT, PEN, headers=key("k")).status_code == 200
    assert IdempotentAnswer.objects.count() == 2


def test_a_refused_request_leaves_the_key_free():
    client = api_client()
    assert client.post(EXT, {"ean": "96385074"}, headers=key("k")).status_code == 422
    assert client.post(EXT, PEN, headers=key("k")).status_code == 201
    malformed = client.generic("POST", EXT, b"{", content_type="application/json", headers=key("m"))
    assert malformed.status_code == 400
    assert IdempotentAnswer.objects.count() == 1


def test_a_key_is_no_way_around_scopes():
    writer = make_api_key()
    assert api_client(writer).post(EXT, PEN, headers=key("k")).status_code == 201
    assert api_client(make_api_key("ext:products:read")).post(EXT, PEN, headers=key("k")).status_code == 403


@pytest.mark.parametrize("text", ["", " ", "x" * 256, "with blank", "é".encode().decode("latin-1")])
def test_an_unusable_key_is_refused(text):
    answer = api_client().post(PRODUCTS, PEN, headers=key(text))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert not Product.objects.exists()


def test_keys_expire_and_are_swept():
    client = api_client()
    for number in range(25):
        client.post(EXT, {"ean": f"{9638507400000 + number}", "name": "x"}, headers=key(f"old-{number}"))
    IdempotentAnswer.objects.update(created_at=timezone.now() - LIFETIME - timedelta(seconds=1))
    assert client.post(EXT, {"ean": "9638507400000", "name": "y"}, headers=key("old-0")).status_code == 200
    assert client.post(EXT, PEN, headers=key("new")).status_code == 201
    assert sorted(IdempotentAnswer.objects.values_list("key", flat=True)) == ["new", "old-0"]


def test_a_failure_leaves_neither_work_nor_answer(fragile):
    assert fragile("?fail").status_code == 500
    assert not Brand.objects.exists()
    assert not IdempotentAnswer.objects.exists()
    assert fragile().status_code == 201
    assert fragile().status_code == 201
    assert Brand.objects.count() == 1


def test_files_count_by_name_and_content(fragile):
    def pen(content: bytes = b"ean;name\n", name: str = "pens.csv") -> SimpleUploadedFile:
        return SimpleUploadedFile(name, content)

    first = fragile(file=pen())
    assert (first.status_code, first.json()) == (201, {"size": 9})
    again = fragile(file=pen())  # with another boundary between the parts
    assert (again.status_code, again["Idempotency-Replayed"]) == (201, "true")
    assert fragile(file=pen(b"other")).status_code == 409
    assert fragile(file=pen(name="pencils.csv")).status_code == 409
    assert fragile(file=pen(), more="x").status_code == 409
    assert Brand.objects.count() == 1


def test_an_import_is_started_once():
    client = api_client()

    def upload(content: bytes) -> Response:
        file = SimpleUploadedFile("catalog.csv", content)
        form = {"file": file, "supplier_code": "ACME"}
        return client.post("/api/v1/imports/jobs", form, format="multipart", headers=key("k"))

    first, again = upload(b"ean,name\n96385074,Pen\n"), upload(b"ean,name\n96385074,Pen\n")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert upload(b"ean,name\n96385074,Ink\n").status_code == 409
    assert ImportJob.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_simultaneous_repetitions_are_carried_out_once():
    secret = make_api_key()

    def post(_number: int) -> tuple[int, str | None]:
        try:
            answer = api_client(secret).post(f"{EXT}/batch", {"products": [PEN]}, headers=key("k"))
            return answer.status_code, answer.get("Retry-After")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert set(answers) <= {(200, None), (409, "1")}
    assert (200, None) in answers
    assert ProductRevision.objects.count() == 1
    assert IdempotentAnswer.objects.count() == 1
