"""API keys: what is stored, what verifies, what a refusal tells, and who may do what."""

import io
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from catalog.models import Product
from pim.apikeys import keys
from pim.apikeys.models import ApiKey, Scope
from tests.make import ApiClient, api_client, make_api_key, make_product

pytestmark = pytest.mark.django_db

PRODUCTS = "/api/v1/products"


@pytest.fixture(autouse=True)
def _peppers_are_read_anew():
    keys.peppers.cache_clear()
    yield
    keys.peppers.cache_clear()


def get(path: str = PRODUCTS, **headers: str):
    return ApiClient().get(path, headers=headers)


def test_a_key_has_a_public_id_a_secret_and_a_checksum_and_only_a_digest_is_stored():
    key, secret = keys.create_key(name="ERP", scopes=["products:read"], created_by="ann")
    assert re.fullmatch(r"pm_live_[0-9A-Za-z]{8}_[0-9A-Za-z]{46}", secret)
    stored = ApiKey.objects.filter(pk=key.pk).values().get()
    assert secret[8:16] == stored["public_id"]
    assert not any(secret[17:57] in str(value) for value in stored.values())
    assert (stored["name"], stored["scopes"], stored["created_by"]) == ("ERP", ["products:read"], "ann")
    assert len(stored["digest"]) == 64
    assert stored["last_used_at"] is None


def test_checksum_is_the_crc32_in_base62():
    # CRC-32 of "123456789" is 0xCBF43926 (the check value of the CRC catalogue) = 3421780262
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for digit in keys.checksum("123456789"):
        number = number * 62 + digits.index(digit)
    assert number == 0xCBF43926


def test_both_headers_are_accepted_and_must_agree():
    secret, other = make_api_key(), make_api_key()
    assert get(Authorization=f"Bearer {secret}").status_code == 200
    assert get(Authorization=f"bearer {secret}").status_code == 200
    assert get(**{"X-API-Key": secret}).status_code == 200
    assert get(**{"X-API-Key": secret, "Authorization": f"Bearer {secret}"}).status_code == 200
    assert get(**{"X-API-Key": secret, "Authorization": f"Bearer {other}"}).status_code == 401
    assert get(**{"X-API-Key": "", "Authorization": f"Bearer {other}"}).status_code == 401


def test_every_refused_key_gets_the_same_answer(django_assert_num_queries):
    secret = make_api_key()
    expired = make_api_key(expires_at=timezone.now() + timedelta(hours=1))
    ApiKey.objects.filter(public_id=expired[8:16]).update(expires_at=timezone.now() - timedelta(seconds=1))
    revoked = make_api_key()
    assert keys.revoke_key(ApiKey.objects.get(public_id=revoked[8:16]).pk)
    body = secret[:-6]
    other_secret = body[:-1] + ("a" if body[-1] != "a" else "b")
    unknown = "pm_live_" + "0" * 8 + "_" + "0" * 40
    refused = {
        "unknown": unknown + keys.checksum(unknown),
        "other secret, right checksum": other_secret + keys.checksum(other_secret),
        "expired": expired,
        "revoked": revoked,
        "altered": secret[:-1] + ("0" if secret[-1] != "0" else "1"),
        "shortened": secret[:-1],
        "not a key": "hunter2",
        "not ASCII": "pm_live_é",
    }
    answers = {
        name: get(**{"Authorization": f"Bearer {text}".encode().decode("latin-1"), "X-Request-Id": "same"})
        for name, text in refused.items()
    }
    answers["none"] = get(**{"X-Request-Id": "same"})
    answers["other scheme"] = get(**{"Authorization": "Basic YTpi", "X-Request-Id": "same"})
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 401)
    assert {answer.content for answer in answers.values()} == {
        b'{"detail":"A valid API key is required.","code":"not_authenticated","errors":[],"request_id":"same"}'
    }
    assert {answer["WWW-Authenticate"] for answer in answers.values()} == {'Bearer realm="api"'}
    with django_assert_num_queries(0):  # the checksum alone rules these out
        for name in ("altered", "shortened", "not a key"):
            get(Authorization=f"Bearer {refused[name]}")


def test_revocation_works_on_the_next_request_and_is_for_good():
    secret = make_api_key()
    key = ApiKey.objects.get(public_id=secret[8:16])
    assert get(Authorization=f"Bearer {secret}").status_code == 200
    assert keys.revoke_key(key.pk)
    first = ApiKey.objects.get(pk=key.pk).revoked_at
    assert get(Authorization=f"Bearer {secret}").status_code == 401
    assert not keys.revoke_key(key.pk)
    assert ApiKey.objects.get(pk=key.pk).revoked_at == first


def test_last_use_is_written_at_most_once_a_minute(django_assert_num_queries):
    secret = make_api_key()
    with django_assert_num_queries(2):
        assert keys.verify(secret) is not None
    key = ApiKey.objects.get()
    assert key.last_used_at is not None
    with django_assert_num_queries(1):
        assert keys.verify(secret) is not None
    assert ApiKey.objects.get().last_used_at == key.last_used_at
    long_ago = timezone.now() - timedelta(seconds=61)
    ApiKey.objects.update(last_used_at=long_ago)
    assert keys.verify(secret) is not None
    assert ApiKey.objects.get().last_used_at > long_ago


def test_a_scope_is_needed_and_without_it_nothing_changes():
    product = make_product(price="5.00")
    client = api_client(make_api_key("products:read", "ext:products:write"))
    assert client.get(PRODUCTS).status_code == 200
    path = f"{PRODUCTS}/{product.pk}"
    answers = [
        client.post(PRODUCTS, {"ean": "96385074", "name": "New"}),
        client.patch(path, {"price": 1}),
        client.delete(path),
        client.post(f"{PRODUCTS}/bulk", {"products": [{"ean": "96385074", "name": "New"}]}),
        client.patch(f"{PRODUCTS}/bulk", {"products": [{"ean": product.ean, "price": 1}]}),
        client.post("/api/v1/brands", {"name": "Acme"}),
    ]
    assert [answer.status_code for answer in answers] == [403] * 6
    assert {answer.json()["code"] for answer in answers} == {"permission_denied"}
    assert list(Product.objects.values_list("ean", "price", "deleted_at")) == [(product.ean, 5, None)]
    write_only = api_client(make_api_key("products:write"))
    assert write_only.get(PRODUCTS).status_code == 403
    assert write_only.delete(path).status_code == 403
    assert api_client(make_api_key("products:delete")).delete(path).status_code == 200


def test_staff_may_use_their_session_within_their_permissions():
    product = make_product(price="5.00")
    path = f"{PRODUCTS}/{product.pk}"
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_product"))
    client = Client()
    client.force_login(reader)
    assert client.get(path).status_code == 200
    assert client.patch(path, {"price": 1}, content_type="application/json").status_code == 403
    client.force_login(User.objects.create_superuser("root"))
    answer = client.patch(path, {"price": 1}, content_type="application/json")
    assert (answer.status_code, answer.json()["price"]) == (200, 1.0)
    revision = product.revisions.get()
    assert (revision.actor, revision.source, revision.source_id) == ("root", "api", None)
    client.force_login(User.objects.create_user("customer"))
    assert client.get(path).status_code == 401


def test_a_session_needs_the_csrf_token():
    product = make_product(price="5.00")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    answer = client.patch(f"{PRODUCTS}/{product.pk}", {"price": 1}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    product.refresh_from_db()
    assert product.price == 5


def test_peppers_rotate_without_breaking_keys(monkeypatch):
    made_before = make_api_key()
    assert ApiKey.objects.get().pepper_id == "0"
    monkeypatch.setenv("PIM_API_KEY_PEPPERS", "1:first-pepper-of-ours,2:second-pepper-of-ours")
    keys.peppers.cache_clear()
    made_after = make_api_key()
    assert ApiKey.objects.get(public_id=made_after[8:16]).pepper_id == "2"
    assert keys.verify(made_after) is not None
    assert keys.verify(made_before) is not None
    # its first use moved the old key to the newest pepper, under which it still works
    assert ApiKey.objects.get(public_id=made_before[8:16]).pepper_id == "2"
    assert keys.verify(made_before) is not None
    monkeypatch.setenv("PIM_API_KEY_PEPPERS", "1:first-pepper-of-ours")
    keys.peppers.cache_clear()
    assert keys.verify(made_after) is None


@pytest.mark.parametrize("text", ["secret", "1:short", "1:first-pepper-of-ours,1:again-pepper-of-ours", "0:x" * 9])
def test_malformed_peppers_stop_with_their_name(monkeypatch, text):
    monkeypatch.setenv("PIM_API_KEY_PEPPERS", text)
    with pytest.raises(ImproperlyConfigured, match="PIM_API_KEY_PEPPERS"):
        keys.peppers()


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("create_api_key", *arguments, stdout=out)
    return out.getvalue()


def test_command_prints_the_secret_alone_on_the_last_line():
    lines = command("ERP", "--scope", "imports:write", "--scope", "products:read", "--expires-days", "30").splitlines()
    key = keys.verify(lines[-1])
    assert key is not None
    assert (key.name, key.scopes) == ("ERP", ["products:read", "imports:write"])
    assert timedelta(days=29) < key.expires_at - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ERP", "--scope", "products:everything"], "products:everything"),
        (["ERP", "--scope", "products:read", "--expires-days", "0"], "future"),
        (["ERP", "--scope", "products:read", "--expires-days", "999999999"], "out of range"),
        (["", "--scope", "products:read"], "name"),
        (["ERP"], "--scope"),
    ],
)
def test_command_refuses_what_makes_no_key(arguments, message):
    with pytest.raises(CommandError, match=message) as refusal:
        command(*arguments)
    if "everything" in message:
        assert all(scope in str(refusal.value) for scope in Scope.values)
    assert not ApiKey.objects.exists()
