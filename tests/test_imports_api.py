"""`/api/v1/imports/jobs`: the printed requests and answers, controls, logs, preview and refusals."""

import errno
import json
import tempfile
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from catalog.models import Product, Supplier
from imports import lifecycle, undo
from imports.models import ImportJob, ImportUndo
from imports.pipeline import Pipeline
from imports.uploads import ImportUploadHandler
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
    assert [job["id"] for job in client.get(JOBS, {"file_type": "csv", "dry_run": "false"}).json()["items"]] == [
        *(second, first),
    ]
    assert client.get(JOBS, {"file_type": "xml"}).json()["items"] == []
    assert client.get(JOBS, {"file_name": "CATALOG"}).json()["meta"]["total"] == 2
    assert client.get(JOBS, {"created_since": "2099-01-01T00:00:00Z"}).json()["meta"]["total"] == 0
    assert client.get(JOBS, {"created_until": "2099-01-01T00:00:00Z"}).json()["meta"]["total"] == 2
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
        ({"empty_cells": "maybe"}, "empty_cells"),
        ({"decimal_mark": ";"}, "decimal_mark"),
        ({"constants": '{"ean": "3017620422003"}'}, "constants"),
        ({"defaults": '{"colour": "red"}'}, "defaults"),
        ({"missing": "delete"}, "missing"),
        ({"max_missing_percent": "101"}, "max_missing_percent"),
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
    assert answer.json()["detail"] == (
        "The file name must end in .csv, .tsv, .txt, .xlsx, .xlsm, .json, .ndjson, .jsonl, .xml, .rss, or one of them "
        "with .gz or .zip behind it; 'catalog.pdf' has .pdf."
    )
    assert ImportJob.objects.count() == 0


def test_a_file_over_the_limit_is_refused(client, settings):
    settings.IMPORT_MAX_UPLOAD_BYTES = 10
    answer = upload(client)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert ImportJob.objects.count() == 0


def stored(settings) -> list[str]:
    """All files and directories of the media storage that belong to imports or to uploads under way."""
    root = Path(settings.MEDIA_ROOT)
    return sorted(str(path.relative_to(root)) for pattern in ("imports/*", "upload-*") for path in root.glob(pattern))


def test_a_file_over_the_limit_is_refused_before_it_is_read_to_its_end(client, settings):
    settings.IMPORT_MAX_UPLOAD_BYTES = 100_000
    before = stored(settings)

    class Endless:
        """A body that never ends; its announced length is small enough to be let in."""

        head = (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n'
            b"Content-Type: text/csv\r\n\r\nean,name\r\n"
        )
        taken = 0

        def read(self, size: int = -1) -> bytes:
            data = self.head if not self.taken else b"1" * size
            self.taken += len(data)
            return data

        readline = read

    body = Endless()
    extra = {"wsgi.input": body, "CONTENT_LENGTH": "1000000"}
    answer = client.generic("POST", JOBS, b"", content_type="multipart/form-data; boundary=x", **extra)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert body.taken < 300_000
    body.taken = 0
    extra["CONTENT_LENGTH"] = "1148577"  # a megabyte and a byte more than the limit
    answer = client.generic("POST", JOBS, b"", content_type="multipart/form-data; boundary=x", **extra)
    assert (answer.status_code, body.taken) == (413, 0)
    assert (ImportJob.objects.count(), stored(settings)) == (0, before)


def test_what_is_received_is_kept_without_another_copy(settings):
    handler = ImportUploadHandler()
    handler.new_file("file", "feed.csv", "text/csv", None)
    handler.receive_data_chunk(b"ean,name\n3017620422003,Spread\n", 0)
    received = handler.file_complete(30)
    inode = Path(received.temporary_file_path()).stat().st_ino
    job = lifecycle.create_import(file=received, file_name="feed.csv", supplier_code="ACME", created_by="test")
    received.close()
    assert Path(job.file.path).stat().st_ino == inode
    assert Path(job.file.path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("where", ["upload", "storage"])
def test_a_full_disk_answers_507_and_leaves_nothing(client, settings, monkeypatch, where):
    before = stored(settings)
    full = OSError(errno.ENOSPC, "No space left on device")

    class Full(tempfile._TemporaryFileWrapper):
        def write(self, data: bytes) -> int:
            self.file.write(data[:5])
            raise full

    def save_half(self: FileSystemStorage, name: str, content: object) -> str:
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"ean")
        raise full

    if where == "upload":
        monkeypatch.setattr(tempfile, "_TemporaryFileWrapper", Full)
    else:
        monkeypatch.setattr(FileSystemStorage, "_save", save_half)
    answer = upload(client)
    assert (answer.status_code, answer.json()["code"]) == (507, "insufficient_storage")
    assert (ImportJob.objects.count(), Supplier.objects.count(), stored(settings)) == (0, 0, before)


def test_every_option_of_a_job_arrives_and_is_shown(client):
    options = {
        "encoding": "cp1252",
        "delimiter": ";",
        "header": "true",
        "sheet": "Tarif",
        "record_path": "rss/channel/item",
        "ean_check": "reject",
        "empty_cells": "clear",
        "decimal_mark": ",",
        "constants": '{"brand": "Acme"}',
        "defaults": '{"unit_of_measure": "pc"}',
        "missing": "archive",
        "max_missing_percent": "35",
    }
    job = upload(client, **options).json()
    shown = {name: job["has_header" if name == "header" else name] for name in options}
    assert shown == options | {
        "header": True,
        "constants": {"brand_name": "Acme"},
        "defaults": {"unit_of_measure": "pc"},
        "max_missing_percent": 35,
    }


@pytest.mark.parametrize("path", ["errors.csv", "diff", "undo", "retry"])
def test_what_a_job_offers_needs_the_job_and_the_scope(client, path):
    method = "get" if path in ("errors.csv", "diff") else "post"
    assert getattr(client, method)(f"{JOBS}/{uuid4()}/{path}").status_code == 404
    job = upload(client).json()["id"]
    other = api_client(make_api_key("imports:write" if method == "get" else "imports:read"))
    assert getattr(other, method)(f"{JOBS}/{job}/{path}").status_code == 403


def test_an_undo_answers_at_once_and_the_job_tells_how_far_it_is(client):
    job = upload(client).json()
    assert job["undo"] is None
    assert client.post(f"{JOBS}/{job['id']}/undo").status_code == 409
    work(job["id"])
    for _turn in range(2):
        answer = client.post(f"{JOBS}/{job['id']}/undo")
        assert (answer.status_code, answer.json()["status"], answer.json()["undo"]["status"]) == (
            *(202, "completed", "pending"),
        )
    assert Product.objects.live().count() == 2
    found = ImportUndo.objects.get()
    runner.run_slice(ImportUndo, found.pk, undo.step)
    shown = client.get(f"{JOBS}/{job['id']}").json()["undo"]
    expected = {"status": "completed", "total_products": 2, "processed_products": 2, "undone": 2, "conflicts": 0}
    assert {name: shown[name] for name in expected} == expected
    assert Product.objects.live().count() == 0
    answer = client.post(f"{JOBS}/{job['id']}/undo")
    assert (answer.status_code, answer.json()["undo"]["status"]) == (202, "completed")
    assert [job["undo"]["undone"] for job in client.get(JOBS).json()["items"]] == [2]


def test_a_ready_job_takes_other_options_and_checks_again(client):
    job = upload(client, "Code,Titre,Tarif\n3017620422003,Spread,3.50\n", dry_run="true").json()["id"]
    work(job)
    assert client.get(f"{JOBS}/{job}/diff").json()["items"][0]["fields"]["price"] == {"old": None, "new": 3.5}
    before = ImportJob.objects.values().get()
    for body, field in (({"mapping": {"Nowhere": "ean"}}, "mapping"), ({"missing": "odd"}, "missing"), ({}, "mapping")):
        answer = client.patch(f"{JOBS}/{job}", body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert ImportJob.objects.values().get() == before
    answer = client.patch(f"{JOBS}/{job}", {"mapping": {"Code": "ean", "Titre": "name"}, "typo": 1})
    assert (answer.status_code, answer.json()["status"]) == (200, "analyzing")
    assert answer.json()["request_warnings"] == ["Unknown, ignored: typo"]
    work(job)
    assert "price" not in client.get(f"{JOBS}/{job}/diff").json()["items"][0]["fields"]
    client.post(f"{JOBS}/{job}/confirm")
    answer = client.patch(f"{JOBS}/{job}", {"mapping": {}})
    assert (answer.status_code, answer.json()["detail"]) == (409, "Cannot change a job whose status is pending.")


def test_a_suppliers_mapping_is_kept_and_changed(client):
    path = "/api/v1/imports/suppliers/supplier_a/mapping"
    assert client.get(path).status_code == 404
    upload(client, mapping='{"ean": "ean"}', save_mapping="true")
    saved = client.get(path).json()
    assert {name: saved[name] for name in ("mapping", "constants", "defaults")} == {
        "mapping": {"ean": "ean"},
        "constants": {},
        "defaults": {},
    }
    answer = client.put(path, {"mapping": {"Code": "ean"}, "constants": {"brand": "Acme"}})
    assert (answer.status_code, answer.json()["constants"]) == (200, {"brand_name": "Acme"})
    assert client.put(path, {"constants": {"colour": "red"}}).json()["errors"][0]["field"] == "constants"
    assert upload(client).json()["mapping"] == {"Code": "ean"}
    assert client.delete(path).json() == {}
    assert client.get(path).status_code == 404
    assert client.put("/api/v1/imports/suppliers/unknown/mapping", {}).status_code == 404


def test_a_running_job_tells_its_speed_and_the_time_left(client):
    job = upload(client).json()
    assert (job["rows_per_second"], job["seconds_left"]) == (None, None)
    started = timezone.now() - timedelta(seconds=100)
    ImportJob.objects.update(status="processing", total_rows=3000, cursor=1000, started_at=started)
    job = client.get(f"{JOBS}/{job['id']}").json()
    assert (9 < job["rows_per_second"] <= 10, 200 <= job["seconds_left"] < 250) == (True, True)
    ImportJob.objects.update(status="completed")
    job = client.get(f"{JOBS}/{job['id']}").json()
    assert (job["rows_per_second"], job["seconds_left"]) == (None, None)


def test_the_share_of_wrong_check_digits_is_shown(client):
    job = upload(client).json()["id"]
    expected = {"13": {"rows": 2, "wrong": 1, "share": 0.5}}
    assert client.get(f"{JOBS}/{job}/preview").json()["check_digits"] == expected
    work(job)
    assert client.get(f"{JOBS}/{job}").json()["check_digits"] == expected


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
