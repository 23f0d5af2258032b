"""Whatever goes wrong, the answer is JSON of one shape, with the right status."""

import json

import pytest
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.models import Brand, Product
from catalog.payload import WRITABLE
from catalog.views import LIST_PARAMETERS
from pim.api.errors import FieldError, describe, flatten
from pim.api.parsers import MAX_DEPTH
from pim.jobs.states import IllegalMove
from tests.make import ApiClient, api_client, make_product

pytestmark = pytest.mark.django_db

PRODUCTS = "/api/v1/products"
KEYS = {"detail", "code", "errors", "request_id"}


class Failing(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (MultiPartParser,)

    def get(self, request: Request, how: str) -> Response:
        match how:
            case "database":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            case "move":
                raise IllegalMove("pause", "completed")
            case "unique":
                Brand.objects.create(name="Acme")
                Brand.objects.create(name="ACME")
            case "form":
                raise DjangoValidationError({"brand": ["Unknown brand."]})
        raise RuntimeError("secret cause")


def outside_drf(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret cause")


urlpatterns = [path("api/failing/<str:how>", Failing.as_view()), path("code2asin/failing", outside_drf)]


@pytest.fixture
def failing(settings):
    settings.ROOT_URLCONF = __name__
    return ApiClient(raise_request_exception=False)


def problem(answer, status: int) -> dict:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"].startswith("application/json")
    body = answer.json()
    assert set(body) == KEYS
    assert body["request_id"] == answer["X-Request-Id"]
    return body


def fields(body: dict) -> list[tuple[str | None, str]]:
    return [(error["field"], error["code"]) for error in body["errors"]]


def test_unknown_address_and_method():
    client = api_client()
    assert problem(client.get("/api/v1/nowhere"), 404)["code"] == "not_found"
    assert problem(client.get("/code2asin/nowhere/at/all"), 404)["code"] == "not_found"
    assert problem(client.get(f"{PRODUCTS}/not-a-uuid"), 404)["code"] == "not_found"
    assert problem(client.put(PRODUCTS, {}), 405)["code"] == "method_not_allowed"
    assert problem(ApiClient().put(PRODUCTS, {}), 401)["code"] == "not_authenticated"


def test_a_trailing_slash_is_the_same_address_and_never_redirects():
    client = api_client()
    assert client.get(PRODUCTS + "/").status_code == 200
    assert client.post(PRODUCTS + "/", {"ean": "96385074", "name": "Pen"}).status_code == 201
    assert problem(client.get(PRODUCTS + "//"), 404)["code"] == "not_found"


def test_request_id_is_the_clients_when_well_formed():
    client = api_client()
    answer = client.get("/api/v1/nowhere", headers={"X-Request-Id": "trace-42/a.b:c"})
    assert problem(answer, 404)["request_id"] == "trace-42/a.b:c"
    for bad in ("", "a b", "x" * 129, "<script>", "é"):
        answer = client.get(PRODUCTS, headers={"X-Request-Id": bad.encode().decode("latin-1")})
        assert len(answer["X-Request-Id"]) == 32
    assert client.get("/healthz")["X-Request-Id"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"ean": ', "not valid JSON"),
        (b" ", "not valid JSON"),
        (b'{"price": NaN}', "NaN"),
        (b'{"price": -Infinity}', "Infinity"),
        (b'{"price": 1e999}', "too large"),
        (b'{"price": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b'{"ean": "1", "ean": "2"}', "twice"),
        (b"[" * 200_000, "nested"),
        (b'{"a": ' * 200_000 + b"1" + b"}" * 200_000, "nested"),
        (b'{"a": ' * MAX_DEPTH + b"[]" + b"}" * MAX_DEPTH, "nested"),
        (b'{"name": "\xe9"}', "UTF-8"),
        ('{"name": "é"}'.encode("utf-16"), "UTF-8"),
    ],
)
def test_malformed_json_is_400(body, message):
    answer = api_client().generic("POST", PRODUCTS, body, content_type="application/json")
    error = problem(answer, 400)
    assert error["code"] == "malformed_request"
    assert message in error["detail"]
    assert not Product.objects.exists()


def test_json_may_start_with_a_byte_order_mark_and_hold_any_real_character():
    name = "\N{GRINNING FACE} é"
    body = b"\xef\xbb\xbf" + json.dumps({"ean": "96385074", "name": name}).encode()
    answer = api_client().generic("POST", PRODUCTS, body, content_type="application/json")
    assert (answer.status_code, answer.json()["name"]) == (201, name)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (rb'{"ean": "96385074", "name": "a\u0000b"}', "name"),
        (rb'{"ean": "96385074", "name": "a\ud800b"}', "name"),
        (rb'{"ean": "96385074", "name": "a", "x": {"y": ["\uDC00"]}}', "x.y[0]"),
        (rb'{"ean": "96385074", "name": "a", "k\u0000": 1}', None),
        (rb'{"products": [{"ean": "1"}, {"name": "\u0000"}]}', "products[1].name"),
    ],
)
def test_what_postgresql_cannot_store_is_422(body, field):
    answer = api_client().generic("POST", PRODUCTS, body, content_type="application/json")
    assert fields(problem(answer, 422)) == [(field, "invalid")]
    assert not Product.objects.exists()


@pytest.mark.parametrize("body", [[], "text", 1, None, True])
def test_a_body_that_is_no_object_is_422(body):
    answer = api_client().generic("POST", PRODUCTS, json.dumps(body), content_type="application/json")
    assert fields(problem(answer, 422)) == [(None, "invalid")]


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/xml", ""])
def test_another_media_type_is_415(content_type):
    answer = api_client().generic("POST", PRODUCTS, b'{"ean": "96385074"}', content_type=content_type)
    assert problem(answer, 415)["code"] == "unsupported_media_type"


def test_a_body_beyond_the_limit_is_413(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    body = {"ean": "96385074", "name": "Pen", "description": "x" * 1000}
    assert problem(api_client().post(PRODUCTS, body), 413)["code"] == "payload_too_large"
    assert not Product.objects.exists()


@pytest.mark.parametrize(
    "query",
    [
        "skip=-1",
        f"skip={10**20}",
        "skip=1e3",
        "skip=",
        "skip=٣",
        "skip=2147483648",
        "limit=0",
        "limit=501",
        "limit=-5",
        "limit=x",
        f"limit={'9' * 60}",
        "page=0",
        f"page={10**20}",
        "per_page=501",
        "page_size=501",
        "page=2&skip=10",
        "limit=10&per_page=20",
        "search=%00",
        "x%00y=1",
        "is_active=maybe",
        "supplier_id=7",
        "status=gone",
        "price_min=cheap",
        "price_max=NaN",
        "updated_since=yesterday",
        "sort_by=id",
        "sort_order=up",
        "fields=name,deleted_at",
    ],
)
def test_a_bad_query_parameter_is_422_and_named(query):
    body = problem(api_client().get(f"{PRODUCTS}?{query}"), 422)
    assert body["code"] == "validation_error"
    assert body["errors"][0]["field"] in query.replace("%00", "")


@pytest.mark.django_db(transaction=True)
def test_database_away_is_503_with_retry_after(failing):
    answer = failing.get("/api/failing/database")
    assert problem(answer, 503)["code"] == "unavailable"
    assert answer["Retry-After"] == "5"
    connection.close()  # its server process is gone


def test_an_unexpected_failure_is_a_500_that_tells_no_secret(failing):
    for address in ("/api/failing/other", "/code2asin/failing"):
        answer = failing.get(address)
        assert problem(answer, 500)["code"] == "internal_error"
        assert b"secret" not in answer.content


def test_illegal_move_and_duplicate_key_are_409(failing):
    body = problem(failing.get("/api/failing/move"), 409)
    assert (body["code"], body["detail"]) == ("illegal_state", "Cannot pause a job whose status is completed.")
    assert problem(failing.get("/api/failing/unique"), 409)["code"] == "duplicate"


def test_djangos_validation_errors_are_422(failing):
    assert fields(problem(failing.get("/api/failing/form"), 422)) == [("brand", "invalid")]


def test_nested_errors_become_paths():
    class Inner(serializers.Serializer):
        price = serializers.IntegerField()
        tags = serializers.ListField(child=serializers.CharField(max_length=2), required=False)

    class Outer(serializers.Serializer):
        products = Inner(many=True)

    outer = Outer(data={"products": [{"price": 1}, {}, 5, {"price": "x", "tags": ["ab", "abc"]}]})
    assert not outer.is_valid()
    assert [(error.field, error.code) for error in flatten(outer.errors)] == [
        ("products[1].price", "required"),
        ("products[2]", "invalid"),
        ("products[3].price", "invalid"),
        ("products[3].tags[1]", "max_length"),
    ]


def test_the_sentence_names_the_first_field_and_how_many_more():
    error = describe(serializers.ValidationError({"name": ["Too long."], "price": ["Too low."]}))
    assert error.detail == "name: Too long. (and 1 more)"
    assert error.errors[0] == FieldError("name", "invalid", "Too long.")
    assert describe(RuntimeError()) is None


def test_messages_are_english_unless_asked_otherwise():
    assert problem(ApiClient().get(PRODUCTS), 401)["detail"] == "A valid API key is required."


def test_options_describes_and_head_reads():
    client = api_client()
    make_product()
    assert client.options(PRODUCTS).status_code == 200
    assert client.head(PRODUCTS).status_code == 200
    assert ApiClient().options(PRODUCTS).status_code == 401


def test_any_accept_header_gets_json():
    client = api_client()
    for accept in ("text/html", "application/xml", "nonsense", "*/*"):
        answer = client.get(PRODUCTS, headers={"Accept": accept})
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


names = st.sampled_from(
    [*WRITABLE, "products", "atomic", "dry_run", "skip_duplicates", "skip_not_found", "sku", "x", "code", "parent_id"]
)
numbers = st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30) | st.sampled_from(
    ["96385074", "active", "true", "1e5", "=1", str(2**63)]
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | texts, inner, max_size=4),
    max_leaves=12,
)
bodies = values | st.dictionaries(names, values, max_size=8)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=bodies, query=st.dictionaries(st.sampled_from(sorted(LIST_PARAMETERS)), texts, max_size=3))
def test_no_body_and_no_query_makes_the_server_fail(fuzzed, body, query):
    client, product = fuzzed
    one = f"{PRODUCTS}/{product.pk}"
    answers = [
        client.get(PRODUCTS, query),
        client.post(PRODUCTS, body),
        client.patch(one, body),
        client.post(f"{PRODUCTS}/bulk", body),
        client.patch(f"{PRODUCTS}/bulk", {"products": [body, {"ean": product.ean, "name": body}]}),
        *(client.post(f"/api/v1/{kind}", body) for kind in ("suppliers", "brands", "categories")),
    ]
    for answer in answers:
        assert answer.status_code in (200, 201, 409, 422), (answer.status_code, answer.content)
        if answer.status_code >= 400:
            assert set(answer.json()) == KEYS


@pytest.fixture
def fuzzed():
    return api_client(), make_product()
