"""Import and Code2ASIN jobs in the back office: forms that create them, their pages, legal moves only."""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catalog.models import Product, Supplier
from code2asin.models import Code2AsinJob, Code2AsinLog
from imports.models import ImportJob, ImportLog
from tests.back_office import IMPORTS, JOBS, REVIEW, SCRIPT, client_of, import_of, page, post, superuser
from tests.make import make_product, make_supplier
from tests.matching import FIRST, job_with

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    return superuser()


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
        assert offered() == ["retry"]
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
