"""What a dry run would change: counts, and a bounded sample of rows with old and new values."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Brand, Product
from imports import lifecycle
from imports.models import RowDifference
from tests.importing import counts, import_file, start, work
from tests.make import api_client, make_api_key

pytestmark = pytest.mark.django_db

SPREAD, PEN, TAPE, CUP = "3017620422003", "4006381333931", "96385074", "5901234123457"


@pytest.fixture
def client():
    return api_client(make_api_key("imports:read", "imports:write"))


def diff(client, job, **query):
    answer = client.get(f"/api/v1/imports/jobs/{job.pk}/diff", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_each_row_shows_what_it_would_do(client):
    import_file(f"ean,name,price,brand,active\n{SPREAD},Spread,3.50,Acme,1\n{PEN},Pen,1,Acme,1\n{CUP},Cup,1,Acme,1\n")
    job = import_file(
        "ean,name,price,brand,active\n"
        f"{SPREAD},Paste,3.5,New brand,0\n"
        f"{PEN},Pen,1,Acme,1\n"
        f"{TAPE},Tape,2.25,New brand,0\n"
        "12,Bad,x,Acme,1\n",
        dry_run=True,
        missing="archive",
        max_missing_percent=50,
    )
    assert (job.status, counts(job), job.products_deactivated) == ("ready", (4, 1, 1, 1, 1), 1)
    answer = diff(client, job)
    assert answer["counts"] == {"created": 1, "updated": 1, "unchanged": 1, "refused": 1, "deactivated": 1}
    assert (answer["meta"]["total"], answer["meta"]["per_page"]) == (5, 50)
    ids = {p.ean: str(p.pk) for p in Product.objects.all()}
    assert answer["items"] == [
        {
            "row_number": 2,
            "ean": SPREAD,
            "change": "updated",
            "product_id": ids[SPREAD],
            "fields": {
                "name": {"old": "Spread", "new": "Paste"},
                "status": {"old": "active", "new": "inactive"},
                "brand_name": {"old": "Acme", "new": "New brand"},
            },
            "errors": [],
        },
        {"row_number": 3, "ean": PEN, "change": "unchanged", "product_id": None, "fields": {}, "errors": []},
        {
            "row_number": 4,
            "ean": TAPE,
            "change": "created",
            "product_id": None,
            "fields": {
                "name": {"old": None, "new": "Tape"},
                "price": {"old": None, "new": 2.25},
                "status": {"old": None, "new": "inactive"},
                "brand_name": {"old": None, "new": "New brand"},
                "supplier_code": {"old": None, "new": "ACME"},
            },
            "errors": [],
        },
        {
            "row_number": 5,
            "ean": "",
            "change": "refused",
            "product_id": None,
            "fields": {},
            "errors": [
                {"field": "ean", "message": "EAN format invalid (expected 13 digits), got 2", "value": "12"},
                {"field": "price", "message": "is not a number", "value": "x"},
            ],
        },
        {
            "row_number": None,
            "ean": CUP,
            "change": "deactivated",
            "product_id": ids[CUP],
            "fields": {"status": {"old": "active", "new": "archived"}},
            "errors": [],
        },
    ]
    assert not Brand.objects.filter(name="New brand").exists()


def test_it_is_paged_and_filtered(client):
    job = import_file(f"ean,name\n{SPREAD},A\n{PEN},B\n12,C\n", dry_run=True)
    assert [one["ean"] for one in diff(client, job, skip=1, limit=1)["items"]] == [PEN]
    assert [one["row_number"] for one in diff(client, job, change="refused")["items"]] == [4]
    path = f"/api/v1/imports/jobs/{job.pk}/diff"
    assert client.get(path, {"change": "odd"}).json()["errors"][0]["field"] == "change"
    assert client.get(path, {"limit": 201}).status_code == 422


def test_the_sample_is_bounded_the_counts_are_not(client, monkeypatch):
    monkeypatch.setattr(RowDifference, "SAMPLE", 3)
    monkeypatch.setattr("imports.models.ImportJob.default_batch_size", 2)
    import_file("ean,name\n" + "".join(f"{3000000000000 + i:013},P{i}\n" for i in range(8)))
    content = "".join(f"{3000000000000 + i:013},P{i}{'' if i < 4 else 'x'}\n" for i in range(12)) + "1,a\n" * 5
    job = import_file(f"ean,name\n{content}", dry_run=True)
    answer = diff(client, job)
    assert answer["counts"] == {"created": 4, "updated": 4, "unchanged": 4, "refused": 5, "deactivated": 0}
    shown = [one["change"] for one in answer["items"]]
    assert {change: shown.count(change) for change in shown} == dict.fromkeys(
        ("created", "updated", "unchanged", "refused"), 3
    )
    assert all(one["fields"] for one in answer["items"] if one["change"] in ("created", "updated"))


def test_what_was_shown_is_what_is_done_and_is_then_gone(client):
    import_file(f"ean,name\n{SPREAD},Spread\n")
    job = import_file(f"ean,name\n{SPREAD},Paste\n{PEN},Pen\n", dry_run=True)
    lifecycle.control(job, "confirm")
    work(job)
    assert (job.status, counts(job)) == ("completed", (2, 1, 1, 0, 0))
    assert not RowDifference.objects.exists()
    answer = client.get(f"/api/v1/imports/jobs/{job.pk}/diff")
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_state")


def test_a_job_that_is_no_dry_run_keeps_no_differences():
    import_file(f"ean,name\n{SPREAD},Spread\n")
    start(f"ean,name\n{SPREAD},Spread\n")
    assert not RowDifference.objects.exists()


def test_the_number_of_statements_of_a_dry_run_grows_with_its_batches_only():
    def statements(rows: int) -> int:
        content = "ean,name,brand\n" + "".join(f"{rows:05}{i:08},P{i},B{rows}-{i}\n" for i in range(rows)) + "12,x,y\n"
        job = start(content, dry_run=True)
        with CaptureQueriesContext(connection) as queries:
            work(job)
        assert (job.status, RowDifference.objects.filter(job=job).count()) == ("ready", min(rows, 1000) + 1)
        return len(queries)

    assert statements(2000) == statements(3)
