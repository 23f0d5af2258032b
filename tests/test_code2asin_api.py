"""The Code2ASIN API: shapes, moves, lists, statistics and scopes."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catalog.models import Product, Supplier
from code2asin import lifecycle
from code2asin.models import Code2AsinJob, Code2AsinLog, MatchResult
from tests.matching import BASE, FIRST, SCOPES, SECOND, Api, job_with, product

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api()


class TestJobs:
    def test_a_created_job_waits_and_counts_its_products(self, api: Api) -> None:
        product(1)
        product(2, status="archived")
        status, job = api.post(
            "jobs",
            {"name": "Q2", "product_filter": {"is_active": True}, "auto_match": "false", "confidence_threshold": 0.9},
        )

        assert status == 201
        assert {name: job[name] for name in ("name", "status", "total_products", "total_codes", "source")} == {
            "name": "Q2",
            "status": "pending",
            "total_products": 1,
            "total_codes": 1,
            "source": "catalog",
        }
        assert (job["auto_match"], job["confidence_threshold"], job["product_filter"]) == (
            False,
            0.9,
            {"is_active": True},
        )
        assert (job["created_by"], job["started_at"], job["progress"]) == ("shop", None, 0.0)
        assert job["created_at"].endswith("Z")
        assert api.get(f"jobs/{job['id']}") == (200, job)

    def test_defaults_and_unknown_fields(self, api: Api) -> None:
        _status, job = api.post("jobs", {"name": "All", "treshold": 1})

        assert (job["auto_match"], job["confidence_threshold"], job["product_filter"]) == (True, 0.85, {})
        assert ["treshold" in warning for warning in job["warnings"]] == [True]

    def test_auto_start(self, api: Api) -> None:
        _status, job = api.post("jobs", {"name": "Now", "auto_start": True})
        assert job["status"] == "processing"
        assert job["started_at"] is not None

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "x" * 256}, "name"),
            ({"name": "a", "confidence_threshold": 1.01}, "confidence_threshold"),
            ({"name": "a", "confidence_threshold": -0.1}, "confidence_threshold"),
            ({"name": "a", "confidence_threshold": "high"}, "confidence_threshold"),
            ({"name": "a", "auto_match": "perhaps"}, "auto_match"),
            ({"name": "a", "product_filter": []}, "product_filter"),
            ({"name": "a", "product_filter": {"colour": "red"}}, "product_filter.colour"),
            ({"name": "a", "product_filter": {"brand__name": "S"}}, "product_filter.brand__name"),
            ({"name": "a", "product_filter": {"_connector": "OR"}}, "product_filter._connector"),
            ({"name": "a", "product_filter": {"is_active": "perhaps"}}, "product_filter.is_active"),
        ],
    )  # fmt: skip
    def test_a_refused_value_is_named_and_nothing_is_created(self, api: Api, body: Any, field: str) -> None:
        status, answer = api.post("jobs", body)
        assert (status, [error["field"] for error in answer["errors"]]) == (422, [field])
        assert not Code2AsinJob.objects.exists()

    def test_the_list_has_both_shapes_and_filters_by_status(self, api: Api) -> None:
        supplier = Supplier.objects.create(code="SUP001")
        for number in range(3):
            lifecycle.create_job(name=str(number), product_filter={"supplier_code": "sup001"}, actor="me")
        job_with("matched", "unmatched")

        status, answer = api.get("jobs", page=2, per_page=1, status="pending")
        assert status == 200
        assert (answer["total"], answer["page"], answer["per_page"]) == (3, 2, 1)
        assert answer["meta"]["has_next"] is True
        assert [(item["name"], item["supplier_code"]) for item in answer["items"]] == [("1", supplier.code)]
        _status, answer = api.get("jobs", skip=0, limit=1, status="completed")
        item = answer["items"][0]
        assert (item["total_codes"], item["successful_conversions"], item["failed_conversions"]) == (2, 1, 1)
        assert api.get("jobs", status="done")[0] == 422

    def test_the_list_costs_the_same_whatever_its_length(self, api: Api) -> None:
        def statements() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert api.get("jobs")[0] == 200
            return len(queries)

        Supplier.objects.create(code="SUP001")
        lifecycle.create_job(name="1", product_filter={"supplier_code": "SUP001"}, actor="me")
        api.get("jobs")
        few = statements()
        for number in range(10):
            lifecycle.create_job(name=str(number), product_filter={"supplier_code": "SUP001"}, actor="me")
        assert statements() == few <= 4

    def test_both_addresses_serve_the_same(self, api: Api) -> None:
        job, _results = job_with("matched")
        assert api.get(f"/code2asin/jobs/{job.pk}") == api.get(f"jobs/{job.pk}")
        assert api.get(f"/code2asin/jobs/{job.pk}/") == api.get(f"jobs/{job.pk}")

    @pytest.mark.parametrize("path", ["jobs/{}", "jobs/{}/logs", "jobs/{}/results", "export/results/{}"])
    def test_an_unknown_job_is_404(self, api: Api, path: str) -> None:
        assert api.get(path.format(uuid4()))[0] == 404
        assert api.get(path.format("1"))[0] == 404


class TestMoves:
    def test_the_life_of_a_job(self, api: Api) -> None:
        job = lifecycle.create_job(name="Life", product_filter={}, actor="me")
        seen = []
        for move in ("start", "start", "pause", "pause", "resume", "resume", "cancel", "cancel"):
            status, answer = api.post(f"jobs/{job.pk}/{move}")
            seen.append((move, status, answer["status"]))
            assert answer["id"] == str(job.pk)

        assert seen == [
            ("start", 200, "processing"),
            ("start", 200, "processing"),
            ("pause", 200, "paused"),
            ("pause", 200, "paused"),
            ("resume", 200, "processing"),
            ("resume", 200, "processing"),
            ("cancel", 200, "cancelled"),
            ("cancel", 200, "cancelled"),
        ]

    @pytest.mark.parametrize(
        ("state", "allowed"),
        [
            ("pending", {"start", "cancel"}),
            ("processing", {"start", "pause", "resume", "cancel"}),
            ("paused", {"pause", "resume", "cancel"}),
            ("completed", set()),
            ("failed", {"retry"}),
            ("cancelled", {"cancel", "retry"}),
        ],
    )
    def test_every_move_from_every_status(self, api: Api, state: str, allowed: set[str]) -> None:
        for move in ("start", "pause", "resume", "cancel", "retry"):
            job, _results = job_with("unmatched", status=state)
            row = Code2AsinJob.objects.filter(pk=job.pk).values()
            before = row.get()
            status, answer = api.post(f"jobs/{job.pk}/{move}")
            if move in allowed:
                assert status == 200, move
            else:
                assert (status, answer["code"]) == (409, "illegal_state")
                assert answer["detail"] == f"Cannot {move} a job whose status is {state}."
                assert row.get() == before

    def test_five_retries_then_a_reset(self, api: Api) -> None:
        job, _results = job_with("unmatched", status="failed")
        for count in range(1, 6):
            status, answer = api.post(f"jobs/{job.pk}/retry")
            assert status == 200
            assert (answer["message"], answer["job_id"], answer["retry_count"], answer["max_retries"]) == (
                "Job marque pour relance",
                str(job.pk),
                count,
                5,
            )
            assert answer["status"] == "processing"
            api.post(f"jobs/{job.pk}/cancel")

        status, answer = api.post(f"jobs/{job.pk}/retry")
        assert (status, answer["code"]) == (409, "illegal_state")
        assert "reset_retry_counter=true" in answer["detail"]
        job.refresh_from_db()
        assert (job.status, job.retry_count) == ("cancelled", 5)

        status, answer = api.post(f"jobs/{job.pk}/retry?reset_retry_counter=perhaps")
        assert (status, answer["errors"][0]["field"]) == (422, "reset_retry_counter")
        status, answer = api.post(f"jobs/{job.pk}/retry?reset_retry_counter=true")
        assert (status, answer["retry_count"]) == (200, 0)
        assert answer["message"] == "Job marque pour relance (compteur reinitialise)"

    def test_the_reset_may_stand_in_the_body(self, api: Api) -> None:
        job, _results = job_with("unmatched", status="failed")
        for options in (
            {"data": {"reset_retry_counter": True}, "format": "json"},
            {"data": "reset_retry_counter=true", "content_type": "application/x-www-form-urlencoded"},
        ):
            Code2AsinJob.objects.update(status="failed", retry_count=5)
            answer = api.client.post(f"{BASE}/jobs/{job.pk}/retry", **options)
            assert (answer.status_code, answer.json()["retry_count"]) == (200, 0)

    def test_deleting(self, api: Api) -> None:
        job, _results = job_with("matched", status="processing")
        Code2AsinLog.objects.create(job=job, level="info", message="x")
        status, answer = api.delete(f"jobs/{job.pk}")
        assert (status, answer["detail"]) == (409, "Cannot delete a job whose status is processing.")
        assert MatchResult.objects.count() == Code2AsinLog.objects.count() == 1

        Code2AsinJob.objects.update(status="paused")
        assert api.delete(f"jobs/{job.pk}") == (200, {})
        assert not Code2AsinJob.objects.exists()
        assert not MatchResult.objects.exists()
        assert Product.objects.get().asin == FIRST
        assert api.delete(f"jobs/{job.pk}")[0] == 404


class TestLogs:
    def test_a_line_carries_both_documented_shapes(self, api: Api) -> None:
        job, (result,) = job_with("ambiguous")
        for level in ("info", "warning", "error"):
            Code2AsinLog.objects.create(
                job=job,
                level=level,
                message=level,
                product_id=result.product_id,
                input_code=result.code,
                code_type="EAN",
            )
        Code2AsinLog.objects.create(job=job, level="info", message="the end")

        status, answer = api.get(f"jobs/{job.pk}/logs", level="warning")
        assert (status, answer["meta"]["total"], answer["meta"]["per_page"]) == (200, 1, 50)
        line = answer["items"][0]
        assert {name: line[name] for name in ("level", "message", "product_id", "input_code", "code_type")} == {
            "level": "warning",
            "message": "warning",
            "product_id": str(result.product_id),
            "input_code": result.code,
            "code_type": "EAN",
        }
        assert [one["asin"] for one in line["api_response"]["candidates"]] == [FIRST, SECOND]
        _status, answer = api.get(f"jobs/{job.pk}/logs", skip=3)
        assert [(one["message"], one["product_id"], one["api_response"]) for one in answer["items"]] == [
            ("the end", None, None)
        ]
        assert api.get(f"jobs/{job.pk}/logs", level="debug")[0] == 422
        assert api.get(f"jobs/{job.pk}/logs", limit=201)[0] == 422


class TestResults:
    def test_items_and_pages(self, api: Api) -> None:
        job, made = job_with("matched", "ambiguous", "unmatched")
        MatchResult.objects.create(job=job, position=4, code="3760000000099")

        status, answer = api.get(f"jobs/{job.pk}/results")
        assert status == 200
        assert [item["id"] for item in answer["items"]] == [str(result.pk) for result in made]
        assert answer["meta"]["total"] == 3
        item = answer["items"][0]
        assert {name: item[name] for name in item if name != "candidates"} == {
            "id": str(made[0].pk),
            "job_id": str(job.pk),
            "product_id": str(made[0].product_id),
            "product_ean": "3760000000001",
            "product_name": "Lampe 1",
            "asin": FIRST,
            "amazon_title": f"Title of {FIRST}",
            "status": "matched",
            "match_type": "exact",
            "confidence": 0.8,
            "match_confidence": 0.8,
            "matched_at": "2026-05-14T09:05:30Z",
            "reason": "",
            "error_class": "",
            "review": "",
            "reviewed_by": "",
            "reviewed_at": None,
        }
        _status, answer = api.get(f"jobs/{job.pk}/results", status="ambiguous")
        assert [one["asin"] for one in answer["items"][0]["candidates"]] == [FIRST, SECOND]
        assert api.get(f"jobs/{job.pk}/results", status="pending")[0] == 422
        assert api.get(f"jobs/{job.pk}/results", limit=101)[0] == 422

    def test_a_page_costs_the_same_whatever_its_length(self, api: Api) -> None:
        def statements(job: Code2AsinJob) -> int:
            with CaptureQueriesContext(connection) as queries:
                assert api.get(f"jobs/{job.pk}/results")[0] == 200
            return len(queries)

        few, many = job_with("matched")[0], job_with(*["ambiguous"] * 20)[0]
        api.get("jobs")
        assert statements(few) == statements(many) <= 5


class TestStatistics:
    def test_nothing_yet(self, api: Api) -> None:
        assert api.get("statistics") == (
            200,
            {
                "total_jobs": 0,
                "completed_jobs": 0,
                "failed_jobs": 0,
                "running_jobs": 0,
                "total_products_matched": 0,
                "match_rate": 0.0,
                "average_confidence": 0.0,
            },
        )

    def test_over_all_jobs(self, api: Api) -> None:
        job_with("matched", "matched", "unmatched")
        job_with("ambiguous", status="failed")
        job_with(status="processing")
        job_with(status="pending")

        assert api.get("statistics")[1] == {
            "total_jobs": 4,
            "completed_jobs": 1,
            "failed_jobs": 1,
            "running_jobs": 1,
            "total_products_matched": 2,
            "match_rate": 0.5,
            "average_confidence": 0.8,
        }


class TestScopes:
    CALLS: tuple[tuple[str, str, set[str]], ...] = (
        ("get", "jobs", {"READ_CODE2ASIN"}),
        ("get", "jobs/{job}", {"READ_CODE2ASIN"}),
        ("get", "jobs/{job}/logs", {"READ_CODE2ASIN"}),
        ("get", "jobs/{job}/results", {"READ_CODE2ASIN"}),
        ("get", "statistics", {"READ_CODE2ASIN"}),
        ("post", "jobs", {"WRITE_CODE2ASIN"}),
        *(("post", f"jobs/{{job}}/{move}", {"WRITE_CODE2ASIN"}) for move in (*lifecycle.MOVES,)),
        ("post", "jobs/{job}/results/{result}/accept", {"WRITE_CODE2ASIN"}),
        ("post", "jobs/{job}/results/{result}/reject", {"WRITE_CODE2ASIN"}),
        ("delete", "jobs/{job}", {"DELETE_CODE2ASIN"}),
        ("get", "export/results/{job}", {"READ_CODE2ASIN"}),
        ("post", "export/results/{job}", {"READ_CODE2ASIN", "WRITE_CODE2ASIN"}),
    )

    @pytest.mark.parametrize(("method", "path", "sufficient"), CALLS)
    def test_each_call_needs_its_scope(self, method: str, path: str, sufficient: set[str]) -> None:
        job, (result,) = job_with("ambiguous")
        address = f"{BASE}/{path.format(job=job.pk, result=result.pk)}"
        for scope in SCOPES:
            status = getattr(Api(scope).client, method)(address).status_code
            assert (status != 403) == (scope in sufficient), scope
        assert getattr(Client(), method)(address).status_code == 401
