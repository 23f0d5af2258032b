"""Whatever goes wrong below `/api/v1/ext`, the answer is the envelope, and nothing in it makes a poller skip."""

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from catalog.models import Product
from extapi.views import ExtView
from pim.apikeys.keys import revoke_key
from pim.apikeys.models import ApiKey
from tests.make import ApiClient, api_client, make_api_key, make_product

pytestmark = pytest.mark.django_db

EXT = "/api/v1/ext"
SINCE = "2026-06-18T00:00:00+02:00"
DELTA = f"{EXT}/products/delta"


class Failing(ExtView):
    permission_classes = ()

    def get(self, request: HttpRequest, how: str) -> HttpResponse:
        if how == "database":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise RuntimeError("secret cause")


def outside_drf(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret cause")


urlpatterns = [
    path("api/v1/ext/failing/<str:how>", Failing.as_view()),
    path("api/v1/ext/outside", outside_drf),
]


def envelope(answer, status: int, *, updated_at: str = "1970-01-01T00:00:00Z") -> list[str]:
    """The sentences of an error; its shape is checked."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"success", "data", "meta", "errors", "error_details", "request_id"}
    assert (body["success"], body["data"]) == (False, None)
    assert body["meta"] == {"total": 0, "page": 1, "page_size": 0, "updated_at": updated_at}
    assert body["errors"]
    assert all(isinstance(sentence, str) for sentence in body["errors"])
    assert all(set(detail) == {"field", "code", "message"} for detail in body["error_details"])
    assert body["request_id"] == answer["X-Request-Id"]
    return body["errors"]


@pytest.fixture
def failing(settings):
    settings.ROOT_URLCONF = __name__
    return ApiClient(raise_request_exception=False)


def test_unknown_addresses():
    for address in (EXT, f"{EXT}/", f"{EXT}/nowhere", f"{EXT}/products/a/b", f"{EXT}/products/delta/x"):
        envelope(api_client().get(address), 404)
    assert "success" not in api_client().get("/api/v1/external").json()


def test_no_key_and_every_kind_of_bad_key_get_the_same_answer():
    revoked = make_api_key(name="revoked")
    revoke_key(ApiKey.objects.get(name="revoked").pk)
    good = make_api_key()
    answers = [ApiClient().get(f"{EXT}/status")]
    for secret in ("nonsense", good[:-1], good + "x", revoked):
        for header in ({"X-API-Key": secret}, {"Authorization": f"Bearer {secret}"}):
            answers.append(ApiClient().get(f"{EXT}/status", headers=header))
    for answer in answers:
        assert envelope(answer, 401) == ["A valid API key is required."]
        assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scopes", [("ext:products:read",), ("ext:products:write",), ("products:read",)])
def test_scopes(scopes):
    product = make_product(ean="96385074", name="Pen")
    client = api_client(make_api_key(*scopes))
    single, body = f"{EXT}/products/96385074", {"ean": "96385074", "name": "Ink"}
    reads = [client.get(one) for one in (f"{EXT}/status", f"{EXT}/products", f"{DELTA}?since=2026-01-01", single)]
    writes = [
        client.post(f"{EXT}/products", body),
        client.post(f"{EXT}/products/batch", {"products": [body]}),
        client.put(single, body),
        client.patch(single, body),
    ]
    if "ext:products:read" in scopes:
        assert {answer.status_code for answer in reads} == {200}
    else:
        for answer in reads:
            envelope(answer, 403, updated_at="2026-01-01" if answer is reads[2] else "1970-01-01T00:00:00Z")
    if "ext:products:write" in scopes:
        assert {answer.status_code for answer in writes} == {200}
    else:
        for answer in writes:
            envelope(answer, 403)
        product.refresh_from_db()
        assert product.name == "Pen"


def test_methods():
    client = api_client()
    for method, address in [
        ("delete", f"{EXT}/products/96385074"),
        ("post", f"{EXT}/status"),
        ("get", f"{EXT}/products/batch"),
        ("put", f"{EXT}/products"),
        ("options", f"{EXT}/products"),
    ]:
        answer = getattr(client, method)(address)
        envelope(answer, 405)
        assert answer["Allow"]


@pytest.mark.parametrize("body", [b'{"ean": ', b"[NaN]", b"\xff", b"[" * 200_000, b'{"a": 1, "a": 2}', b""])
@pytest.mark.parametrize("address", [f"{EXT}/products", f"{EXT}/products/batch"])
def test_malformed_json(address, body):
    answer = api_client().generic("POST", address, body, content_type="application/json")
    envelope(answer, 422 if body == b"" else 400)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'{"ean": "\\u0000"}', b'{"name": "\\ud800"}'])
def test_well_formed_nonsense(body):
    envelope(api_client().generic("POST", f"{EXT}/products", body, content_type="application/json"), 422)


def test_media_type_and_size(settings):
    client = api_client()
    envelope(client.post(f"{EXT}/products", "a=1", content_type="text/plain"), 415)
    envelope(client.post(f"{EXT}/products", {"ean": "96385074"}, format="multipart"), 415)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    envelope(client.post(f"{EXT}/products", {"ean": "96385074", "name": "x" * 200}), 413)
    assert not Product.objects.exists()


def test_an_unknown_host_name(settings):
    settings.ALLOWED_HOSTS = ["pim.example.org"]
    envelope(api_client().get(f"{EXT}/status", headers={"Host": "evil.example.org"}), 400)
    assert "success" not in api_client().get("/api/v1/products", headers={"Host": "evil.example.org"}).json()
    page = api_client().get("/healthz", headers={"Host": "evil.example.org"})
    assert (page.status_code, page["Content-Type"].partition(";")[0]) == (400, "text/html")


def test_our_own_failures(failing):
    answer = failing.get(f"{EXT}/failing/other?since=2026-01-01")
    assert envelope(answer, 500, updated_at="2026-01-01") == ["An unexpected error occurred."]
    assert "secret" not in answer.content.decode()
    envelope(failing.get(f"{EXT}/outside"), 500)


@pytest.mark.django_db(transaction=True)
def test_the_database_is_away(failing):
    answer = failing.get(f"{EXT}/failing/database?since=2026-01-01")
    envelope(answer, 503, updated_at="2026-01-01")
    assert int(answer["Retry-After"]) > 0
    connection.close()


@pytest.mark.parametrize("parameters", ["page_size=0", "page_size=-1", "page_size=501", "page_size=x", "page_size="])
def test_bad_pages_are_refused_and_never_clamped(parameters):
    client = api_client()
    envelope(client.get(f"{DELTA}?since=2026-01-01&{parameters}"), 422, updated_at="2026-01-01")
    envelope(client.get(f"{EXT}/products?{parameters}"), 422)


@pytest.mark.parametrize("page", ["0", "-1", "x", "99999999999999999999", "1.5", ""])
def test_bad_page_numbers(page):
    client = api_client()
    envelope(client.get(f"{DELTA}?since={SINCE.replace('+', '%2B')}&page={page}"), 422, updated_at=SINCE)
    envelope(client.get(f"{EXT}/products?page={page}&updated_since=2026-01-01"), 422, updated_at="2026-01-01")


@pytest.mark.parametrize("since", ["x", "", "2026-13-01", "yesterday", "1767225600", "2026-01-01T25:00:00Z"])
def test_bad_since(since):
    client = api_client()
    envelope(client.get(DELTA, {"since": since}), 422, updated_at=since)
    envelope(client.get(f"{EXT}/products", {"updated_since": since}), 422, updated_at=since)


def test_missing_since():
    assert envelope(api_client().get(DELTA), 422)[0].startswith("since: ")


def test_since_is_repeated_whatever_the_error():
    for client, status in ((ApiClient(), 401), (api_client(make_api_key("ext:products:write")), 403)):
        envelope(client.get(DELTA, {"since": SINCE}), status, updated_at=SINCE)
    envelope(api_client().post(f"{DELTA}?since=2026-01-01", {}), 405, updated_at="2026-01-01")
    envelope(api_client().get(f"{DELTA}?since=%00"), 422, updated_at="\x00")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
products = st.dictionaries(
    st.sampled_from(("ean", "name", "title", "status", "is_active", "weight", "brand_name", "category_id", "upc")),
    anything | st.sampled_from(("96385074", "012345678905", "active", 1.5)),
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=products | anything, batch=st.lists(products | anything, max_size=4), query=st.text(max_size=20))
def test_no_request_makes_the_server_fail(db, body, batch, query):
    client = api_client()
    answers = [
        client.post(f"{EXT}/products", body),
        client.post(f"{EXT}/products/batch", {"products": batch}),
        client.put(f"{EXT}/products/96385074", body),
        client.patch(f"{EXT}/products/96385074", body),
        client.get(DELTA, {"since": query, "page": query}),
        client.get(f"{EXT}/products", {"supplier_code": query, "fields": query}),
    ]
    for answer in answers:
        assert answer.status_code < 500
        assert answer.json()["success"] is (answer.status_code < 400)
