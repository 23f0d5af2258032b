"""The back office: who may what, API keys shown once, lists of constant cost, both languages."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catalog.models import Product
from pim.apikeys.keys import create_key, verify
from pim.apikeys.models import ApiKey
from tests.back_office import (
    IMPORTS,
    JOBS,
    KEYS,
    PRODUCTS,
    REVIEW,
    client_of,
    import_of,
    page,
    post,
    reviewer,
    superuser,
)
from tests.make import make_brand, make_category, make_product, make_supplier
from tests.matching import FIRST, job_with

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    return superuser()


class TestWho:
    def test_a_reviewer_sees_the_queue_and_nothing_else(self) -> None:
        job, (result, _other) = job_with("ambiguous", "matched")
        imported = import_of("ean;name\n3017620422003;A\n")
        key, _secret = create_key(name="ERP", scopes=["products:read"])
        client = reviewer()

        index = page(client, "/admin/")
        assert set(re.findall(r'href="(/admin/(?:catalog|imports|code2asin|apikeys|auth)[^"]*)"', index)) == {
            "/admin/code2asin/",
            REVIEW,
        }
        assert result.code in page(client, REVIEW)
        assert result.code in page(client, f"{REVIEW}{result.pk}/change/")
        for path in (
            PRODUCTS,
            f"{PRODUCTS}add/",
            f"{PRODUCTS}{result.product_id}/change/",
            f"{PRODUCTS}{result.product_id}/delete/",
            "/admin/catalog/supplier/",
            "/admin/catalog/brand/",
            "/admin/catalog/category/",
            IMPORTS,
            f"{IMPORTS}add/",
            f"{IMPORTS}{imported.pk}/change/",
            JOBS,
            f"{JOBS}add/",
            f"{JOBS}{job.pk}/change/",
            KEYS,
            f"{KEYS}add/",
            f"{KEYS}{key.pk}/change/",
            f"{REVIEW}add/",
            f"{REVIEW}{result.pk}/delete/",
            "/admin/auth/user/",
        ):
            assert client.get(path).status_code == 403, path
        for path in (
            f"{IMPORTS}{imported.pk}/move/cancel/",
            f"{JOBS}{job.pk}/move/cancel/",
            f"{KEYS}{key.pk}/revoke/",
            f"{PRODUCTS}{result.product_id}/delete/",
        ):
            assert client.post(path, {"post": "yes"}).status_code == 403, path
        assert not ApiKey.objects.exclude(revoked_at=None).exists()
        assert Product.objects.live().count() == 3

    def test_staff_without_the_permission_cannot_review(self) -> None:
        _job, (result,) = job_with("ambiguous")
        client = client_of(User.objects.create_user("bob", is_staff=True))

        assert client.get(REVIEW).status_code == 403
        assert client.get(f"{REVIEW}{result.pk}/change/").status_code == 403
        assert client.post(f"{REVIEW}{result.pk}/decide/", {"accept": FIRST}).status_code == 403
        result.refresh_from_db()
        assert result.status == "ambiguous"

    def test_visitors_are_sent_to_the_login(self) -> None:
        for path in (PRODUCTS, IMPORTS, JOBS, REVIEW, KEYS):
            answer = Client().get(path)
            assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={path}")


class TestKeys:
    def test_the_secret_is_shown_once_and_kept_nowhere(self, staff: Client) -> None:
        answer = staff.post(f"{KEYS}add/", {"name": "ERP", "scopes": ["products:read", "imports:write"]})
        (secret,) = re.findall(r"pm_live_\w{8}_\w{46}", answer.content.decode())

        key = ApiKey.objects.get()
        assert verify(secret) == key
        assert (key.name, key.scopes, key.created_by) == ("ERP", ["products:read", "imports:write"], "alice")
        assert "no-store" in answer["Cache-Control"]
        pages = [page(staff, path) for path in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/", "/admin/")]
        kept = [str(Session.objects.get().get_decoded()), str(answer.cookies), *map(repr, LogEntry.objects.values())]
        for text in (*pages, *kept):
            assert secret not in text
            assert secret[17:] not in text
        assert f"pm_live_{key.public_id}…" in pages[0]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"name": ""}, "name"),
            ({"scopes": []}, "scopes"),
            ({"scopes": ["root"]}, "scopes"),
            ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "expires_at"),
        ],
    )
    def test_bad_keys_are_refused(self, staff: Client, fields: dict[str, Any], field: str) -> None:
        answer = staff.post(f"{KEYS}add/", {"name": "ERP", "scopes": ["products:read"]} | fields)
        assert list(answer.context["adminform"].form.errors) == [field]
        assert not ApiKey.objects.exists()

    def test_revoking(self, staff: Client) -> None:
        key, secret = create_key(name="ERP", scopes=["products:read"])
        other, other_secret = create_key(name="Shop", scopes=["products:read"])
        assert post(staff, f"{KEYS}{key.pk}/revoke/") == ["1 key revoked: it is refused from now on."]
        assert (verify(secret), verify(other_secret)) == (None, other)
        chosen = {"action": "revoke_selected", "_selected_action": [str(key.pk), str(other.pk)]}
        assert post(staff, KEYS, chosen) == ["1 key revoked: it is refused from now on."]
        assert verify(other_secret) is None
        assert LogEntry.objects.filter(change_message="Revoked").count() == 2

    def test_nothing_else_of_a_key_can_be_changed(self, staff: Client) -> None:
        key, _secret = create_key(name="ERP", scopes=["products:read"])
        assert staff.post(f"{KEYS}{key.pk}/change/", {"name": "Other"}).status_code == 403
        assert staff.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
        key.refresh_from_db()
        assert key.name == "ERP"


def many_products(count: int) -> None:
    for i in range(count):
        make_product(supplier=make_supplier(f"S{i}"), brand=make_brand(f"B{i}"), category=make_category(f"C{i}"))


def many_imports(count: int) -> None:
    for _ in range(count):
        import_of("ean;name\n3017620422003;A\n")


def many_jobs(count: int) -> None:
    for _ in range(count):
        job_with("matched", "ambiguous")


def many_keys(count: int) -> None:
    for i in range(count):
        create_key(name=f"K{i}", scopes=["products:read"])


@pytest.mark.parametrize(
    ("path", "make"),
    [
        (PRODUCTS, many_products),
        ("/admin/catalog/supplier/", many_products),
        ("/admin/catalog/brand/", many_products),
        ("/admin/catalog/category/", many_products),
        (IMPORTS, many_imports),
        (JOBS, many_jobs),
        (REVIEW, many_jobs),
        (KEYS, many_keys),
    ],
)
def test_lists_cost_the_same_whatever_their_length(staff: Client, path: str, make: Callable[[int], None]) -> None:
    costs = []
    for _ in range(2):
        make(2) if not costs else make_more(make)
        page(staff, path)  # content types and permissions are cached from now on
        with CaptureQueriesContext(connection) as queries:
            page(staff, path)
        costs.append(len(queries))
    assert costs[0] == costs[1] <= 10, costs


def make_more(make: Callable[[int], None]) -> None:
    if make is many_products:
        for i in range(10):
            make_product(supplier=make_supplier(f"T{i}"), brand=make_brand(f"D{i}"), category=make_category(f"E{i}"))
    else:
        make(10)


def test_the_pages_speak_french(staff: Client) -> None:
    _job, (_result,) = job_with("ambiguous")
    for path, text in ((PRODUCTS, "<h1>Produits</h1>"), (REVIEW, "Accepter ce candidat"), (JOBS, "À vérifier")):
        answer = staff.get(path, headers={"accept-language": "fr"})
        assert text in answer.content.decode()


def test_the_french_catalogue_is_complete_and_compiled() -> None:
    folder = Path(settings.BASE_DIR) / "locale" / "fr" / "LC_MESSAGES"
    with (folder / "django.po").open("rb") as file:
        catalog = read_po(file)
    assert [message.id for message in catalog if not message.string or message.fuzzy] == []
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    assert (folder / "django.mo").read_bytes() == compiled.getvalue()


def test_pages_carry_no_inline_script_or_style(staff: Client) -> None:
    job, (result,) = job_with("ambiguous")
    imported = import_of("ean;name\n3017620422003;A\n", dry_run=True)
    for path in (
        f"{JOBS}{job.pk}/change/",
        f"{IMPORTS}{imported.pk}/change/",
        REVIEW,
        f"{REVIEW}{result.pk}/change/",
        f"{PRODUCTS}{result.product_id}/change/",
    ):
        shown = page(staff, path)
        assert not re.search(r"<script(?![^>]*(src=|application/json))|<style| style=| on(click|load|error)=", shown), (
            path
        )
