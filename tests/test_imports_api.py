"""`/api/v1/imports/jobs`: the printed requests and answers, controls, logs, preview and refusals."""

import json
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from catalog.models import Product, Supplier
from imports.models import ImportJob
from imports.pipeline import Pipeline
from pim.apikeys.models import Scope
from pim.jobs import runner
from tests.make import api_client, make_api_key

pytestmark = pytest.mark.django_db

JOBS = "/api/v1/imports/jobs"
CATALOG = "ean,name,price\n3760000000001,Produit exemple,29.99\n123ABC7890,Faux,1\n3017620422003,Spread,3.50\n"


@pytest.fixture
def client():
    return api_client(make_api_key("imports:read", "imports:write"))


def upload(client, content: str = CATALOG, *, name: str = "catalog.csv", **form):
    file = SimpleUploadedFile(name, content.encode(), content_type="text/csv")
    return client.post(JOBS, {"file": file, "supplier_code": "SUPPLIER_A"} | form, format="multipart")


def work(job_id: str) -> None:
    with Pipeline() as pipeline:
        runner.run_slice(ImportJob, job_id, pipeline.step)


def test_an_upload_answers_at_once_and_the_job_tells_what_became_of_it(client):
    answer = upload(client)
    assert answer.status_code == 201
    job = answer.json()
    assert {k: job[k] for k in ("status", "file_name", "file_type", "supplier_code", "dry_run", "total_rows")} == {
        "status": "analyzing",
        "file_name": "catalog.csv",
        "file_type": "csv",
        "supplier_code": "SUPPLIER_A",
        "dry_run": False,
        "total_rows": None,
    }
    work(job["id"])
    after = client.get(f"{JOBS}/{job['id']}").json()
    expected = {
        "id": job["id"],
        "file_name": "catalog.csv",
        "file_type": "csv",
        "file_size": len(CATALOG),
        "status": "completed",
        "total_rows": 3,
        "successful_rows": 2,
        "failed_rows": 1,
        "products_created": 2,
        "products_updated": 0,
        "products_unchanged": 0,
        "progress": 1.0,
        "error_summary": "1 row failed EAN validation",
        "created_by": "test",
    }
    assert {key: after[key] for key in expected} == expected
    assert after["started_at"] <= after["completed_at"]
    assert after["completed_at"].endswith("Z")


def test_the_log_names_row_field_value_and_reason(client):
    job = upload(client).json()["id"]
    work(job)
    answer = client.get(f"{JOBS}/{job}/logs", {"level": "error"}).json()
    (line,) = answer["items"]
    assert {k: line[k] for k in ("row_number", "level", "field", "message", "value")} == {
        "row_number": 3,
        "level": "error",
        "field": "ean",
        "message": "EAN format invalid (expected 13 digits)",
        "value": "123ABC7890",
    }
    assert answer["meta"] == {
        "total": 1,
        "page": 1,
        "per_page": 50,
        "total_pages": 1,
        "has_next": False,
        "has_previous": False,
    }
    levels = [line["level"] for line in client.get(f"{JOBS}/{job}/logs").json()["items"]]
    assert sorted(levels) == ["error", "info", "warning"]


def test_the_preview_shows_mapped_rows_and_problems_without_writing(client):
    job = upload(client).json()["id"]
    answer = client.get(f"{JOBS}/{job}/preview", {"limit": 1})
    assert answer.status_code == 200
    body = answer.json()
    assert body["total_rows"] is None
    assert body["preview"] == [{"ean": "3760000000001", "name": "Produit exemple", "price": 29.99}]
    assert [(e["row_number"], e["field"], e["level"]) for e in body["validation_errors"]] == [
        (2, "ean", "warning"),
        (3, "ean", "error"),
    ]
    assert body["columns"] == {"ean": "ean", "name": "name", "price": "price"}
    assert Product.objects.count() == 0


def test_a_mapping_and_a_boolean_arrive_as_form_text(client):
    content = "Code,Titre,Prix HT\n3017620422003,Spread,3.50\n"
    job = upload(
        client, content, mapping=json.dumps({"Code": "ean", "Titre": "name", "Prix HT": "price"}), dry_run="true"
    ).json()
    assert (job["dry_run"], job["mapping"]) == (True, {"Code": "ean", "Titre": "name", "Prix HT": "price"})
    work(job["id"])
    assert client.get(f"{JOBS}/{job['id']}").json()["status"] == "ready"
    assert Product.objects.count() == 0
    assert client.post(f"{JOBS}/{job['id']}/confirm").status_code == 200
    work(job["id"])
    assert str(Product.objects.get().price) == "3.50"


def test_moves_are_idempotent_and_an_illegal_one_names_the_status(client):
    job = upload(client).json()["id"]
    for _turn in range(2):
        answer = client.post(f"{JOBS}/{job}/pause")
        assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, job, "paused")
    for _turn in range(2):
        answer = client.post(f"{JOBS}/{job}/resume")
        assert (answer.status_code, answer.json()["status"]) == (200, "analyzing")
    for _turn in range(2):
        answer = client.post(f"{JOBS}/{job}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    answer = client.post(f"{JOBS}/{job}/resume")
    assert answer.status_code == 409
    assert answer.json()["detail"] == "Cannot resume a job whose status is cancelled."


@pytest.mark.parametrize("move", ["pause", "resume", "cancel", "confirm"])
def test_a_completed_job_refuses_every_move(client, move):
    job = upload(client).json()["id"]
    work(job)
    before = ImportJob.objects.values().get(pk=job)
    answer = client.post(f"{JOBS}/{job}/{move}")
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_state")
    assert ImportJob.objects.values().get(pk=job) == before


def test_the_list_is_filtered_and_paged(client):
    first, second = upload(client).json()["id"], upload(client, supplier_code="B").json()["id"]
    client.post(f"{JOBS}/{first}/cancel")
    answer = client.get(JOBS).json()
    assert ([job["id"] for job in answer["items"]], answer["meta"]["total"]) == ([second, first], 2)
    assert [job["id"] for job in client.get(JOBS, {"status": "cancelled"}).json()["items"]] == [first]
    assert [job["id"] for job in client.get(JOBS, {"supplier_code": "b"}).json()["items"]] == [second]
    assert client.get(JOBS, {"status": "nonsense"}).status_code == 422
    assert client.get(JOBS, {"limit": 501}).status_code == 422


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"supplier_code": ""}, "supplier_code"),
        ({"supplier_code": "x" * 101}, "supplier_code"),
        ({"mapping": "{not json"}, "mapping"),
        ({"mapping": "[1]"}, "mapping"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"encoding": "klingon"}, "encoding"),
        ({"delimiter": "ab"}, "delimiter"),
        ({"ean_check": "maybe"}, "ean_check"),
        ({"file": "not a file"}, "file"),
    ],
)
def test_a_bad_form_is_refused_by_field_and_leaves_nothing(client, form, field):
    answer = upload(client, **form)
    assert answer.status_code == 422
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert (ImportJob.objects.count(), Supplier.objects.count()) == (0, 0)


def test_a_file_of_an_unknown_type_is_refused(client):
    answer = upload(client, name="catalog.pdf")
    assert answer.status_code == 415
    assert answer.json()["detail"] == "The file name must end in .csv; 'catalog.pdf' has .pdf."
    assert ImportJob.objects.count() == 0


def test_a_file_over_the_limit_is_refused(client, settings):
    settings.IMPORT_MAX_UPLOAD_BYTES = 10
    answer = upload(client)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert ImportJob.objects.count() == 0


def test_an_empty_file_is_accepted_and_the_job_says_what_is_wrong(client):
    answer = upload(client, "")
    if answer.status_code == 201:
        work(answer.json()["id"])
        job = client.get(f"{JOBS}/{answer.json()['id']}").json()
        assert (job["status"], "empty" in job["error_summary"]) == ("failed", True)
    else:
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "file")


def test_a_job_that_does_not_exist_is_not_found(client):
    for path in (f"{JOBS}/{uuid4()}", f"{JOBS}/nonsense", f"{JOBS}/{uuid4()}/logs", f"{JOBS}/{uuid4()}/preview"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_scopes_decide_who_may_read_and_who_may_start(client):
    job = upload(client).json()["id"]
    reader, writer = api_client(make_api_key("imports:read")), api_client(make_api_key("imports:write"))
    other = api_client(make_api_key(*(scope for scope in Scope.values if not scope.startswith("imports:"))))
    assert [c.get(f"{JOBS}/{job}").status_code for c in (reader, writer, other)] == [200, 403, 403]
    assert upload(reader).status_code == 403
    assert reader.post(f"{JOBS}/{job}/cancel").status_code == 403
    assert ImportJob.objects.get().status == "analyzing"
    assert writer.post(f"{JOBS}/{job}/cancel").status_code == 200
