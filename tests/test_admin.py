"""The back office: who may what, edits that leave history, uploads, job pages, reviews, and keys shown once."""

import io
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catalog.models import Category, Product, ProductRevision, Supplier
from code2asin import results
from code2asin.models import Code2AsinJob, Code2AsinLog
from imports import lifecycle
from imports.models import ImportJob, ImportLog
from imports.pipeline import Pipeline
from pim.apikeys.keys import create_key, verify
from pim.apikeys.models import ApiKey
from pim.jobs import runner
from tests.make import make_brand, make_category, make_product, make_supplier
from tests.matching import FIRST, SECOND, candidate, job_with

pytestmark = pytest.mark.django_db

PRODUCTS = "/admin/catalog/product/"
IMPORTS = "/admin/imports/importjob/"
JOBS = "/admin/code2asin/code2asinjob/"
REVIEW = "/admin/code2asin/review/"
KEYS = "/admin/apikeys/apikey/"
SCRIPT = "<script>alert('x')</script>"


@pytest.fixture
def staff() -> Client:
    return client_of(User.objects.create_superuser("alice", password="a"))


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def reviewer(name: str = "claire") -> Client:
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name="ASIN reviewer"))
    return client_of(user)


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


def post(client: Client, path: str, data: Any = None) -> list[str]:
    """Post, follow the redirect, and return the messages shown there."""
    answer = client.post(path, data or {}, follow=True)
    assert answer.status_code == 200, (path, answer.status_code)
    return [str(message) for message in answer.context["messages"]]


def form_of(client: Client, product: Product) -> dict[str, Any]:
    """What a browser would post from the product's page when nothing is touched."""
    form = client.get(f"{PRODUCTS}{product.pk}/change/").context["adminform"].form
    data = {}
    for field in form:
        value = field.value()
        data[field.html_name] = "" if value is None else value
        data[field.html_initial_name] = "" if field.initial is None else field.initial
    return data


def new_product(**fields: str) -> dict[str, str]:
    return {"ean": "3017620422003", "name": "Pâte à tartiner", "status": "active"} | fields


def import_of(content: str, **options: Any) -> ImportJob:
    job = lifecycle.create_import(
        file=io.BytesIO(content.encode()), file_name="feed.csv", supplier_code="ACME", created_by="test", **options
    )
    with Pipeline() as pipeline:
        runner.run_slice(ImportJob, job.pk, pipeline.step)
    job.refresh_from_db()
    return job


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


class TestProducts:
    def test_an_edit_saves_only_what_was_changed_and_leaves_a_revision(self, staff: Client) -> None:
        product = make_product(price=Decimal("9.90"), description="one\ntwo", brand=make_brand())
        data = form_of(staff, product)
        Product.objects.filter(pk=product.pk).update(price=Decimal("5.00"))  # an import, while the page was open

        post(staff, f"{PRODUCTS}{product.pk}/change/", data | {"name": "New name", "weight": "0.250"})

        product.refresh_from_db()
        assert (product.name, product.price, product.weight) == ("New name", Decimal("5.00"), Decimal("0.250"))
        assert product.description == "one\ntwo"
        revision = ProductRevision.objects.get()
        assert (revision.source, revision.actor, revision.action) == ("admin", "alice", "updated")
        assert (revision.old, revision.new) == (
            {"name": f"Product {product.ean}", "weight": None},
            {"name": "New name", "weight": 0.25},
        )

    def test_saving_without_a_change_leaves_nothing(self, staff: Client) -> None:
        product = make_product(description="one\r\ntwo  ", brand=make_brand(), supplier=make_supplier())
        post(staff, f"{PRODUCTS}{product.pk}/change/", form_of(staff, product))

        assert not ProductRevision.objects.exists()
        assert Product.objects.values_list("updated_at", "description").get() == (product.updated_at, "one\r\ntwo  ")

    def test_adding(self, staff: Client) -> None:
        supplier = make_supplier()
        post(staff, f"{PRODUCTS}add/", new_product(supplier=str(supplier.pk), price="3.50", asin="B000000001"))

        product = Product.objects.get()
        assert (product.ean, product.barcode, product.name) == ("3017620422003", "3017620422003", "Pâte à tartiner")
        assert (product.supplier, product.price, product.asin) == (supplier, Decimal("3.50"), "B000000001")
        revision = ProductRevision.objects.get()
        assert (revision.product_id, revision.action, revision.source, revision.actor) == (
            product.pk,
            "created",
            "admin",
            "alice",
        )
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.is_addition()) == (str(product.pk), True)

    @pytest.mark.parametrize(
        ("fields", "field", "message"),
        [
            ({"ean": "30176204220"}, "ean", "EAN format invalid (expected 13 digits), got 11"),
            ({"ean": "4006381333931"}, "ean", "A product with this EAN exists."),
            ({"name": ""}, "name", "This field is required."),
            ({"price": "-1"}, "price", "Ensure this value is greater than or equal to 0."),
            ({"price": "1000000"}, "price", "Ensure that there are no more than 6 digits before the decimal point."),
            ({"weight": "99999.995"}, "weight", "Ensure this value is less than or equal to 99999.99."),
            ({"asin": "b00"}, "asin", "An ASIN is ten capital letters and digits."),
            ({"upc": "123"}, "upc", "Digits only, this many: 12."),
            ({"image_url": "javascript:alert(1)"}, "image_url", "The address must begin with http:// or https://."),
        ],
    )
    def test_bad_values_are_refused_at_their_field(
        self, staff: Client, fields: dict[str, str], field: str, message: str
    ) -> None:
        make_product(ean="4006381333931")
        answer = staff.post(f"{PRODUCTS}add/", new_product(**fields))

        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors[field][0] == message
        assert Product.objects.count() == 1
        assert not ProductRevision.objects.exists()

    def test_a_wrong_check_digit_is_a_warning(self, staff: Client) -> None:
        shown = post(staff, f"{PRODUCTS}add/", new_product(ean="3760000000001"))
        assert "EAN check digit is wrong (expected 0, found 1)" in shown
        assert Product.objects.get().ean == "3760000000001"

    def test_a_wrong_check_digit_is_an_error_where_it_is_configured(self, staff: Client, settings: Any) -> None:
        settings.EAN_CHECK = "reject"
        staff.post(f"{PRODUCTS}add/", new_product(ean="3760000000001"))
        assert not Product.objects.exists()

    def test_deleting_hides_and_adding_again_brings_back(self, staff: Client) -> None:
        product = make_product(ean="3017620422003", name="Old")
        assert product.name in page(staff, PRODUCTS)
        post(staff, f"{PRODUCTS}{product.pk}/delete/", {"post": "yes"})

        product.refresh_from_db()
        assert product.deleted_at is not None
        assert ProductRevision.objects.values_list("action", "source", "actor").get() == ("deleted", "admin", "alice")
        assert ">3017620422003<" not in page(staff, PRODUCTS)
        assert ">3017620422003<" in page(staff, f"{PRODUCTS}?deleted=yes")
        assert 'name="_save"' not in page(staff, f"{PRODUCTS}{product.pk}/change/")
        assert staff.post(f"{PRODUCTS}{product.pk}/change/", new_product(name="No")).status_code == 403

        shown = post(staff, f"{PRODUCTS}add/", new_product(name="New"))
        product.refresh_from_db()
        assert (product.deleted_at, product.name) == (None, "New")
        assert "This EAN had been deleted: the product is back, with its history." in shown
        assert ProductRevision.objects.order_by("-id").first().action == "restored"

    def test_deleting_and_restoring_several(self, staff: Client) -> None:
        products = [make_product() for _ in range(3)]
        chosen = {"_selected_action": [str(p.pk) for p in products[:2]]}
        post(staff, PRODUCTS, {"action": "delete_selected", "post": "yes"} | chosen)
        assert set(Product.objects.live()) == {products[2]}
        assert ProductRevision.objects.filter(action="deleted", actor="alice").count() == 2

        shown = post(staff, f"{PRODUCTS}?deleted=yes", {"action": "restore_selected"} | chosen)
        assert shown == ["2 products are back."]
        assert Product.objects.live().count() == 3
        assert ProductRevision.objects.filter(action="restored", actor="alice").count() == 2

    def test_search_and_filters(self, staff: Client) -> None:
        acme = make_supplier("ACME")
        lamp = make_product(name="Lampe de bureau", reference="REF-42", supplier=acme, asin="B000000001")
        desk = make_product(name="Bureau en chêne", status="inactive")

        def found(query: str) -> set[str]:
            return {p.name for p in staff.get(f"{PRODUCTS}?{query}").context["cl"].result_list}

        assert found("q=BUREAU") == {lamp.name, desk.name}
        assert found("q=bureau+ref-42") == {lamp.name}
        assert found(f"q={desk.ean[2:]}") == {desk.name}
        assert found("status__exact=inactive") == {desk.name}
        assert found("asin=yes") == {lamp.name}
        assert found("asin=no") == {desk.name}
        assert found(f"supplier__id__exact={acme.pk}") == {lamp.name}
        assert 'href="https://www.amazon.fr/dp/B000000001"' in page(staff, PRODUCTS)

    def test_history_shows_who_what_and_through_what(self, staff: Client) -> None:
        job = import_of("ean;name;brand\n3017620422003;First;Acme\n")
        product = Product.objects.get()
        post(staff, f"{PRODUCTS}{product.pk}/change/", form_of(staff, product) | {"name": f"Second {SCRIPT}"})
        shown = page(staff, f"{PRODUCTS}{product.pk}/change/")

        assert f'<a href="{IMPORTS}{job.pk}/change/">import job</a>' in shown
        assert "<del>First</del>" in shown
        assert "<ins>Acme</ins>" in shown
        assert "<ins>Second &lt;script&gt;" in shown
        assert SCRIPT not in shown

    def test_history_pages(self, staff: Client) -> None:
        product = make_product()
        ProductRevision.objects.bulk_create(
            ProductRevision(
                product=product, action="updated", source="api", actor="erp", old={"price": i}, new={"price": i + 1}
            )
            for i in range(40)
        )
        first = page(staff, f"{PRODUCTS}{product.pk}/change/")
        assert (first.count("<del>"), "<ins>40</ins>" in first) == (30, True)
        older = page(staff, f"{PRODUCTS}{product.pk}/change/" + re.search(r"\?before=\d+", first)[0])
        assert (older.count("<del>"), "<del>0</del>" in older) == (10, True)


class TestReferences:
    def test_counts_link_to_the_products(self, staff: Client) -> None:
        supplier = make_supplier("ACME")
        for deleted_at in (None, None, "2026-01-01T00:00Z"):
            make_product(supplier=supplier, deleted_at=deleted_at)
        assert f'<a href="{PRODUCTS}?supplier__id__exact={supplier.pk}">2</a>' in page(
            staff, "/admin/catalog/supplier/"
        )

    def test_what_products_use_cannot_be_deleted(self, staff: Client) -> None:
        used, unused = make_supplier("USED"), make_supplier("UNUSED")
        make_product(supplier=used)
        assert staff.post(f"/admin/catalog/supplier/{used.pk}/delete/", {"post": "yes"}).status_code == 403
        post(staff, f"/admin/catalog/supplier/{unused.pk}/delete/", {"post": "yes"})
        assert set(Supplier.objects.all()) == {used}

    def test_a_category_cannot_stand_below_itself(self, staff: Client) -> None:
        top = make_category("Top")
        below = make_category("Below", parent=top)
        answer = staff.post(f"/admin/catalog/category/{top.pk}/change/", {"name": "Top", "parent": str(below.pk)})
        assert answer.context["adminform"].form.errors == {"parent": ["A category cannot stand below itself."]}
        assert Category.objects.get(name="Top").parent is None


class TestImports:
    def upload(self, client: Client, content: bytes = b"Code;Nom\n3017620422003;A\n", **fields: Any) -> Any:
        data = {"file": SimpleUploadedFile("feed.csv", content), "supplier_code": "NEW", "ean_check": "warn"}
        return client.post(f"{IMPORTS}add/", data | fields)

    def test_an_upload_makes_a_job_and_goes_to_its_page(self, staff: Client) -> None:
        answer = self.upload(staff, mapping="Code = ean\nNom = title", delimiter=";", has_header="yes", dry_run="on")

        job = ImportJob.objects.get()
        assert (answer.status_code, answer["Location"]) == (302, f"{IMPORTS}{job.pk}/change/")
        assert (job.status, job.file_name, job.supplier.code, job.created_by) == (
            "analyzing",
            "feed.csv",
            "NEW",
            "alice",
        )
        assert (job.dry_run, job.delimiter, job.has_header, job.encoding) == (True, ";", True, "")
        assert job.mapping == {"Code": "ean", "Nom": "title"}
        with job.file.open("rb") as stored:
            assert stored.read() == b"Code;Nom\n3017620422003;A\n"

    @pytest.mark.parametrize(
        ("fields", "field", "message"),
        [
            ({"file": SimpleUploadedFile("feed.pdf", b"x")}, "file", "The file name must end in"),
            ({"mapping": "Code"}, "mapping", "Line 1 is not of the form: column = field."),
            ({"mapping": "Code = eam"}, "mapping", "Line 1: there is no field “eam”."),
            ({"mapping": "A = ean\nA = name"}, "mapping", "Line 2: the column “A” was mapped before."),
            ({"encoding": "utf-99"}, "encoding", "There is no encoding of this name."),
            ({"supplier_code": ""}, "supplier_code", "This field is required."),
        ],
    )
    def test_a_bad_upload_is_refused(self, staff: Client, fields: dict[str, Any], field: str, message: str) -> None:
        answer = self.upload(staff, **fields)
        assert answer.context["adminform"].form.errors[field][0].startswith(message)
        assert not ImportJob.objects.exists()
        assert not Supplier.objects.exists()

    def test_the_page_tells_what_happened(self, staff: Client) -> None:
        job = import_of(f"ean;name;price\n3017620422003;{SCRIPT};1\n4006381333931;B;{SCRIPT}\n3760000000001;C;2\n")
        shown = page(staff, f"{IMPORTS}{job.pk}/change/")

        tiles = {tile.label: tile.value for tile in staff.get(f"{IMPORTS}{job.pk}/change/").context["tiles"]}
        assert tiles == {
            "Rows": "3",
            "Created": "2",
            "Updated": "0",
            "Unchanged": "0",
            "Refused": "1",
            "Warnings": "1",
        }
        assert "1 row failed price validation" in shown
        assert "EAN check digit is wrong" in shown
        assert "move/" not in shown  # a completed job can do nothing any more
        assert "data-running" not in shown
        only_errors = page(staff, f"{IMPORTS}{job.pk}/change/?level=error")
        assert "EAN check digit is wrong" not in only_errors
        preview = page(staff, f"{IMPORTS}{job.pk}/change/?tab=preview")
        assert "3017620422003" in preview
        assert "by the headers" in page(staff, f"{IMPORTS}{job.pk}/change/?tab=configuration")
        for text in (shown, only_errors, preview):
            assert SCRIPT not in text

    def test_the_log_pages(self, staff: Client) -> None:
        job = import_of("ean;name\n3017620422003;A\n")
        ImportLog.objects.filter(job=job).delete()
        ImportLog.objects.bulk_create(ImportLog(job=job, level="info", message=f"line {i}.") for i in range(70))
        first = page(staff, f"{IMPORTS}{job.pk}/change/")
        assert ("line 49." in first, "line 50." in first) == (True, False)
        rest = page(staff, f"{IMPORTS}{job.pk}/change/" + re.search(r"\?after=\d+", first)[0])
        assert ("line 49." in rest, "line 69." in rest) == (False, True)

    def test_only_legal_moves_are_offered_and_made(self, staff: Client) -> None:
        job = import_of("ean;name\n3017620422003;A\n", dry_run=True)

        def offered() -> list[str]:
            return re.findall(r"move/(\w+)/", page(staff, f"{IMPORTS}{job.pk}/change/"))

        assert (job.status, offered()) == ("ready", ["confirm", "cancel"])
        assert not Product.objects.exists()
        assert post(staff, f"{IMPORTS}{job.pk}/move/pause/") == [
            "“Pause” is not possible: the job is ready. Nothing was changed."
        ]
        job.refresh_from_db()
        assert job.status == "ready"

        assert post(staff, f"{IMPORTS}{job.pk}/move/confirm/") == ["The job is now pending."]
        assert "data-running" in page(staff, f"{IMPORTS}{job.pk}/change/")
        assert post(staff, f"{IMPORTS}{job.pk}/move/pause/") == ["The job is now paused."]
        assert offered() == ["resume", "cancel"]
        assert post(staff, f"{IMPORTS}{job.pk}/move/cancel/") == ["The job is now cancelled."]
        assert offered() == []
        assert [entry.change_message for entry in LogEntry.objects.order_by("id")] == [
            "Confirm and import",
            "Pause",
            "Cancel the job",
        ]

    def test_moves_need_post_and_the_page_takes_none(self, staff: Client) -> None:
        job = import_of("ean;name\n3017620422003;A\n", dry_run=True)
        assert staff.get(f"{IMPORTS}{job.pk}/move/cancel/").status_code == 405
        assert staff.post(f"{IMPORTS}{job.pk}/move/explode/").status_code == 404
        assert staff.post(f"{IMPORTS}{job.pk}/change/", {"status": "completed"}).status_code == 405
        assert staff.post(f"{IMPORTS}{job.pk}/delete/", {"post": "yes"}).status_code == 403
        job.refresh_from_db()
        assert job.status == "ready"

    def test_who_may_only_look_gets_no_buttons(self) -> None:
        job = import_of("ean;name\n3017620422003;A\n", dry_run=True)
        user = User.objects.create_user("viewer", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_importjob"))
        client = client_of(user)
        assert "move/" not in page(client, f"{IMPORTS}{job.pk}/change/")
        assert client.post(f"{IMPORTS}{job.pk}/move/cancel/").status_code == 403
        assert client.get(f"{IMPORTS}add/").status_code == 403


class TestJobs:
    def test_creating_selects_products(self, staff: Client) -> None:
        supplier = make_supplier("ACME")
        make_product(supplier=supplier)
        make_product(supplier=supplier, asin=FIRST)
        make_product()
        answer = staff.post(
            f"{JOBS}add/",
            {
                "name": "Lamps",
                "supplier": str(supplier.pk),
                "status": "active",
                "has_asin": "false",
                "auto_match": "on",
                "threshold": "92.5",
            },
        )
        job = Code2AsinJob.objects.get()
        assert answer["Location"] == f"{JOBS}{job.pk}/change/"
        assert (job.status, job.total_codes, job.auto_match, job.created_by) == ("pending", 1, True, "alice")
        assert job.confidence_threshold == Decimal("0.925")
        assert job.product_filter == {"supplier_code": "ACME", "status": "active", "has_asin": False}
        assert "92.5 %" in page(staff, f"{JOBS}{job.pk}/change/?tab=configuration")

    def test_a_threshold_above_100_percent_is_refused(self, staff: Client) -> None:
        answer = staff.post(f"{JOBS}add/", {"name": "Lamps", "threshold": "101"})
        assert "threshold" in answer.context["adminform"].form.errors
        assert not Code2AsinJob.objects.exists()

    def test_figures_results_and_log(self, staff: Client) -> None:
        job, made = job_with("matched", "ambiguous", "unmatched")
        Product.objects.filter(pk=made[0].product_id).update(name=SCRIPT)
        Code2AsinLog.objects.create(job=job, level="warning", message=SCRIPT, input_code=made[1].code)
        shown = staff.get(f"{JOBS}{job.pk}/change/")
        assert {tile.label: tile.value for tile in shown.context["tiles"]} == {
            "Codes": "3",
            "With ASIN": "1",
            "To review": "1",
            "Not found": "1",
            "Exact matches": "1",
            "Partial and fuzzy matches": "0",
            "Decided by a person": "0",
            "Average confidence": "80%",
        }
        text = shown.content.decode()
        assert f'href="{REVIEW}?job={job.pk}">Review 1 doubtful match</a>' in text
        assert 'href="https://www.amazon.fr/dp/B000000001"' in text
        only = page(staff, f"{JOBS}{job.pk}/change/?tab=results&status=unmatched")
        assert (made[2].code in only, made[0].code in only) == (True, False)
        logs = page(staff, f"{JOBS}{job.pk}/change/?tab=logs")
        assert made[1].code in logs
        assert SCRIPT not in text + logs

    def test_moves(self, staff: Client) -> None:
        job, _made = job_with("matched", status="failed")
        assert post(staff, f"{JOBS}{job.pk}/move/start/") == [
            "“Start” is not possible: the job is failed. Nothing was changed."
        ]
        assert post(staff, f"{JOBS}{job.pk}/move/retry/") == ["The job is now processing."]
        assert post(staff, f"{JOBS}{job.pk}/move/pause/") == ["The job is now paused."]
        assert post(staff, f"{JOBS}{job.pk}/move/resume/") == ["The job is now processing."]
        assert post(staff, f"{JOBS}{job.pk}/move/cancel/") == ["The job is now cancelled."]

    def test_a_person_may_retry_beyond_the_limit_of_machines(self, staff: Client) -> None:
        job, _made = job_with("matched", status="failed")
        Code2AsinJob.objects.filter(pk=job.pk).update(retry_count=5)
        assert post(staff, f"{JOBS}{job.pk}/move/retry/") == ["The job is now processing."]
        job.refresh_from_db()
        assert job.retry_count == 0


class TestReview:
    def test_our_product_stands_beside_every_candidate(self) -> None:
        _job, (result,) = job_with("ambiguous")
        Product.objects.filter(pk=result.product_id).update(
            name=f"Lampe bleue {SCRIPT}",
            image_url="javascript:alert(1)",
            brand=make_brand("Kimex"),
            price=Decimal("12.50"),
            reference="REF-1",
            supplier=make_supplier("ACME"),
        )
        best = candidate(FIRST, 0.8) | {
            "title": f"Lampe rouge {SCRIPT}",
            "brand": "Autre",
            "image": "https://images.example/a.jpg",
            "features": {"brand": "conflict", "pack_ours": 1, "pack_theirs": 6},
            "reasons": ["EAN is listed: +0.92", "pack size 6 against 1: capped at 0.50", "title similarity: no change"],
        }
        result.candidates = [best, candidate(SECOND, 0.75)]
        result.reason = "2 candidates are equally good"
        result.save()
        shown = page(reviewer(), REVIEW)

        assert SCRIPT not in shown
        assert "javascript:" not in shown
        for text in ("Kimex", "12.50", "REF-1", "ACME", result.code, "2 candidates are equally good", "1 of 1 left"):
            assert text in shown
        assert '<img src="https://images.example/a.jpg"' in shown
        assert shown.count('referrerpolicy="no-referrer"') == 1
        assert "<mark>rouge</mark>" in shown
        assert "<mark>Lampe</mark>" not in shown
        assert '<span class="pim-badge pim-bad">Autre</span>' in shown
        assert '<span class="pim-badge pim-bad">6 · ours: 1</span>' in shown
        assert re.findall(r'aria-hidden="true">(.)</span><span>(.*?)<', shown) == [
            ("+", "EAN is listed: +0.92"),
            ("–", "pack size 6 against 1: capped at 0.50"),
            ("·", "title similarity: no change"),
        ]
        assert re.findall(r'name="accept" value="(\w+)" data-key="(\d)"', shown) == [(FIRST, "1"), (SECOND, "2")]
        assert 'href="https://www.amazon.fr/dp/B000000002"' in shown

    def test_accepting_gives_the_asin_and_goes_to_the_next(self) -> None:
        job, (first, second) = job_with("ambiguous", "ambiguous")
        client = reviewer()
        answer = client.post(f"{REVIEW}{first.pk}/decide/", {"accept": SECOND, "job": str(job.pk)})

        assert answer["Location"] == f"{REVIEW}?job={job.pk}&after={first.pk}"
        assert client.get(answer["Location"]).context["result"] == second
        first.refresh_from_db()
        assert (first.status, first.asin, first.reviewed_by) == ("matched", SECOND, "claire")
        revision = ProductRevision.objects.get()
        assert (revision.source, revision.actor, revision.new) == ("match", "claire", {"asin": SECOND})
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.user.get_username()) == (str(first.pk), "claire")
        assert entry.change_message == (
            f"Accepted {SECOND} for {first.code} ({first.product.name}). Shown: {FIRST} 80 %, {SECOND} 75 %."
        )

    def test_rejecting_all(self) -> None:
        _job, (result,) = job_with("ambiguous")
        client = reviewer()
        shown = post(client, f"{REVIEW}{result.pk}/decide/", {"reject": "1"})
        assert shown[0].startswith(f"All candidates of {result.code} rejected.")
        result.refresh_from_db()
        assert (result.status, result.review, result.product.asin) == ("unmatched", "rejected", None)
        assert LogEntry.objects.get().change_message.startswith(f"Rejected all candidates for {result.code}")
        assert "Nothing is waiting for a decision." in page(client, REVIEW)

    def test_another_asin_may_be_typed(self) -> None:
        _job, (result,) = job_with("ambiguous")
        client = reviewer()
        assert post(client, f"{REVIEW}{result.pk}/decide/", {"accept": "B0-WRONG"}) == [
            "B0-WRONG is not an ASIN: ten capital letters and digits are expected."
        ]
        assert post(client, f"{REVIEW}{result.pk}/decide/", {}) == ["Nothing was decided: name an ASIN or reject."]
        result.refresh_from_db()
        assert result.status == "ambiguous"
        assert not LogEntry.objects.exists()
        post(client, f"{REVIEW}{result.pk}/decide/", {"accept": "b0typed001"})
        result.refresh_from_db()
        assert (result.status, result.asin) == ("matched", "B0TYPED001")

    def test_of_two_reviewers_the_second_learns_who_decided(self) -> None:
        _job, (result, other) = job_with("ambiguous", "ambiguous")
        claire, bruno = reviewer("claire"), reviewer("bruno")
        post(claire, f"{REVIEW}{result.pk}/decide/", {"accept": FIRST})

        answer = bruno.post(f"{REVIEW}{result.pk}/decide/", {"accept": SECOND}, follow=True)
        (message,) = answer.context["messages"]
        assert str(message).startswith(f"claire accepted a candidate for {result.code} on ")
        assert str(message).endswith("Your decision was not saved.")
        assert answer.context["result"] == other
        result.refresh_from_db()
        assert (result.asin, result.reviewed_by) == (FIRST, "claire")
        assert LogEntry.objects.count() == 1
        assert 'name="accept"' not in page(bruno, f"{REVIEW}{result.pk}/change/")
        assert 'name="accept"' in page(claire, f"{REVIEW}{result.pk}/change/")

    def test_skipping_goes_on_and_comes_round(self) -> None:
        _job, made = job_with("ambiguous", "matched", "ambiguous")
        client = reviewer()
        first = client.get(REVIEW)
        assert (first.context["result"], first.context["position"], first.context["left"]) == (made[0], 1, 2)
        second = client.get(first.context["skip_page"])
        assert (second.context["result"], second.context["position"]) == (made[2], 2)
        again = client.get(second.context["skip_page"], follow=True)
        assert again.context["result"] == made[0]
        assert [str(m) for m in again.context["messages"]] == [
            "That was the end of the queue; here are the matches you skipped."
        ]

    def test_filters_by_job_and_supplier(self) -> None:
        _one, (first,) = job_with("ambiguous")
        two, (second,) = job_with("ambiguous")
        Product.objects.filter(pk=second.product_id).update(supplier=make_supplier("ACME"))
        client = reviewer()
        assert client.get(f"{REVIEW}?job={two.pk}").context["result"] == second
        assert client.get(f"{REVIEW}?supplier=acme").context["result"] == second
        assert client.get(REVIEW).context["result"] == first
        for query in ("job=nonsense", f"job={first.pk}", "supplier=nobody", "after=x"):
            assert client.get(f"{REVIEW}?{query}").status_code == 404

    def test_a_deleted_product_can_only_be_rejected(self) -> None:
        _job, (result,) = job_with("ambiguous")
        Product.objects.filter(pk=result.product_id).update(deleted_at="2026-01-01T00:00Z")
        client = reviewer()
        assert "This product is deleted: reject." in page(client, REVIEW)
        assert post(client, f"{REVIEW}{result.pk}/decide/", {"accept": FIRST}) == [
            f"The product of {result.code} is deleted.",
            "That was the end of the queue; here are the matches you skipped.",
        ]
        post(client, f"{REVIEW}{result.pk}/decide/", {"reject": "1"})
        result.refresh_from_db()
        assert result.review == "rejected"

    def test_a_decision_and_its_log_entry_stand_or_fall_together(self, staff: Client) -> None:
        _job, (result,) = job_with("ambiguous")
        results.accept(result_id=result.pk, asin=FIRST, actor="alice")
        with pytest.raises(results.AlreadyDecided):
            results.reject(result_id=result.pk, actor="bruno")
        assert not LogEntry.objects.exists()


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


def test_a_job_page_costs_the_same_whatever_its_length(staff: Client) -> None:
    costs = []
    for length in (1, 30):
        job, _made = job_with(*["matched"] * length)
        Code2AsinLog.objects.bulk_create(Code2AsinLog(job=job, level="info", message="x") for _ in range(length))
        for tab in ("results", "logs", "configuration"):
            path = f"{JOBS}{job.pk}/change/?tab={tab}"
            page(staff, path)
            with CaptureQueriesContext(connection) as queries:
                page(staff, path)
            costs.append(len(queries))
    assert costs[:3] == costs[3:]
    assert max(costs) <= 8


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
