"""Accepting and rejecting matches, and what two reviewers at once may do."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from catalog.models import Product, ProductRevision
from code2asin import results
from code2asin.models import Code2AsinLog, MatchResult
from tests.matching import FIRST, SECOND, Api, counters, job_with

TYPED = "B0TYPED001"

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> Api:
    return Api()


class TestDecisions:
    def test_accepting_the_proposal(self, api: Api) -> None:
        job, (result,) = job_with("ambiguous")
        status, answer = api.post(f"jobs/{job.pk}/results/{result.pk}/accept")

        assert status == 200
        assert {
            name: answer[name] for name in ("status", "match_type", "asin", "confidence", "review", "reviewed_by")
        } == {
            "status": "matched",
            "match_type": "manual",
            "asin": FIRST,
            "confidence": 0.8,
            "review": "accepted",
            "reviewed_by": "shop",
        }
        assert answer["matched_at"] is not None
        assert counters(job) == (1, 0, 0)
        revision = ProductRevision.objects.get()
        assert (revision.source, revision.actor, revision.source_id, revision.new) == (
            "match",
            "shop",
            job.pk,
            {"asin": FIRST},
        )
        log = Code2AsinLog.objects.get()
        assert (log.message, log.change_reason, log.previous_asin, log.new_asin) == (
            f"shop accepted {FIRST} for {result.code}",
            "manual",
            None,
            FIRST,
        )

        assert api.post(f"jobs/{job.pk}/results/{result.pk}/accept") == (200, answer)
        assert counters(job) == (1, 0, 0)
        assert Code2AsinLog.objects.count() == ProductRevision.objects.count() == 1

    @pytest.mark.parametrize(
        ("asin", "confidence", "title"), [(SECOND, 0.75, f"Title of {SECOND}"), (TYPED, None, None)]
    )
    def test_accepting_another_asin(self, api: Api, asin: str, confidence: float | None, title: str | None) -> None:
        job, (result,) = job_with("ambiguous")
        status, answer = api.post(f"jobs/{job.pk}/results/{result.pk}/accept", {"asin": asin})

        assert status == 200
        assert (answer["asin"], answer["confidence"], answer["amazon_title"]) == (asin, confidence, title)
        assert Product.objects.get().asin == asin

    @pytest.mark.parametrize("asin", ["B00", "b000000001", "B00000000é", "", 12, "B0000000012"])
    def test_an_ill_formed_asin_is_refused(self, api: Api, asin: Any) -> None:
        job, (result,) = job_with("ambiguous")
        status, answer = api.post(f"jobs/{job.pk}/results/{result.pk}/accept", {"asin": asin})

        assert (status, answer["errors"][0]["field"]) == (422, "asin")
        assert counters(job) == (0, 1, 0)
        assert Product.objects.get().asin is None

    def test_a_code_without_a_proposal_needs_an_asin(self, api: Api) -> None:
        job, (result,) = job_with("unmatched")
        status, answer = api.post(f"jobs/{job.pk}/results/{result.pk}/accept")
        assert (status, answer["errors"][0]["field"]) == (422, "asin")

        assert api.post(f"jobs/{job.pk}/results/{result.pk}/accept", {"asin": TYPED})[0] == 200
        assert counters(job) == (1, 0, 0)
        assert Product.objects.get().asin == TYPED

    def test_confirming_an_automatic_match_writes_nothing_to_the_product(self, api: Api) -> None:
        job, (result,) = job_with("matched")
        status, answer = api.post(f"jobs/{job.pk}/results/{result.pk}/accept")

        assert (status, answer["match_type"], answer["review"], answer["asin"]) == (200, "manual", "accepted", FIRST)
        assert counters(job) == (1, 0, 0)
        assert ProductRevision.objects.count() == 1  # the automatic one

    def test_rejecting_a_proposal(self, api: Api) -> None:
        job, (result,) = job_with("ambiguous")
        status, answer = api.post(f"jobs/{job.pk}/results/{result.pk}/reject")

        assert status == 200
        assert {name: answer[name] for name in ("status", "match_type", "asin", "confidence", "review")} == {
            "status": "unmatched",
            "match_type": None,
            "asin": None,
            "confidence": None,
            "review": "rejected",
        }
        assert len(answer["candidates"]) == 2
        assert counters(job) == (0, 0, 1)
        assert api.post(f"jobs/{job.pk}/results/{result.pk}/reject") == (200, answer)
        assert counters(job) == (0, 0, 1)
        assert Code2AsinLog.objects.count() == 1

    def test_rejecting_an_automatic_match_takes_its_asin_back(self, api: Api) -> None:
        job, (result,) = job_with("matched")
        assert api.post(f"jobs/{job.pk}/results/{result.pk}/reject")[0] == 200

        assert Product.objects.get().asin is None
        assert counters(job) == (0, 0, 1)
        assert Code2AsinLog.objects.get().previous_asin == FIRST

    def test_rejecting_leaves_an_asin_that_came_from_elsewhere(self, api: Api) -> None:
        job, (result,) = job_with("matched")
        Product.objects.update(asin=TYPED)
        assert api.post(f"jobs/{job.pk}/results/{result.pk}/reject")[0] == 200
        assert Product.objects.get().asin == TYPED

    def test_ones_own_decision_can_be_changed_and_brings_the_old_asin_back(self, api: Api) -> None:
        job, (result,) = job_with("ambiguous")
        Product.objects.update(asin=TYPED)
        api.post(f"jobs/{job.pk}/results/{result.pk}/accept", {"asin": SECOND})
        assert Product.objects.get().asin == SECOND
        assert api.post(f"jobs/{job.pk}/results/{result.pk}/reject")[0] == 200
        assert Product.objects.get().asin == TYPED
        assert api.post(f"jobs/{job.pk}/results/{result.pk}/accept")[1]["asin"] == FIRST
        assert counters(job) == (1, 0, 0)

    def test_somebody_elses_decision_stands(self, api: Api) -> None:
        job, (result,) = job_with("ambiguous")
        results.reject(result_id=result.pk, actor="alice")
        result.refresh_from_db()
        status, answer = api.post(f"jobs/{job.pk}/results/{result.pk}/accept")

        assert (status, answer["code"]) == (409, "already_decided")
        assert (
            answer["detail"]
            == f"alice rejected the match of {result.code} on {result.reviewed_at:%Y-%m-%d %H:%M:%S} UTC."
        )
        assert counters(job) == (0, 0, 1)
        assert Product.objects.get().asin is None

    def test_a_deleted_product_and_a_pending_code_cannot_be_decided(self, api: Api) -> None:
        job, (result,) = job_with("ambiguous")
        Product.objects.update(deleted_at="2026-01-01T00:00:00Z")
        assert api.post(f"jobs/{job.pk}/results/{result.pk}/accept")[0] == 409
        assert counters(job) == (0, 1, 0)
        MatchResult.objects.update(status="pending")
        assert api.post(f"jobs/{job.pk}/results/{result.pk}/reject")[0] == 409

    @pytest.mark.parametrize("decision", ["accept", "reject"])
    def test_a_result_of_another_job_is_404(self, api: Api, decision: str) -> None:
        job, _results = job_with("ambiguous")
        other, (result,) = job_with("ambiguous")
        assert api.post(f"jobs/{job.pk}/results/{result.pk}/{decision}")[0] == 404
        assert counters(other) == (0, 1, 0)


@pytest.mark.django_db(transaction=True)
class TestTwoReviewers:
    def test_of_two_contrary_decisions_one_wins(self) -> None:
        for _round in range(10):
            job, (result,) = job_with("ambiguous")
            outcomes = at_once(
                lambda result_id=result.pk: results.accept(result_id=result_id, actor="alice").status,
                lambda result_id=result.pk: results.reject(result_id=result_id, actor="bob").status,
            )

            lost = [one for one in outcomes if isinstance(one, results.AlreadyDecided)]
            assert len(lost) == 1
            result.refresh_from_db()
            assert lost[0].reviewed_by == result.reviewed_by
            accepted = result.review == "accepted"
            assert counters(job) == ((1, 0, 0) if accepted else (0, 0, 1))
            assert Product.objects.get(pk=result.product_id).asin == (FIRST if accepted else None)
            assert Code2AsinLog.objects.filter(job=job).count() == 1

    def test_decisions_on_many_results_of_a_job_keep_its_counters_exact(self) -> None:
        job, made = job_with(*["ambiguous"] * 12)
        ids: list[UUID] = [result.pk for result in made]
        at_once(
            lambda: [results.accept(result_id=one, actor="alice") for one in ids[:4]],
            lambda: [results.reject(result_id=one, actor="bob") for one in ids[4:8]],
            lambda: [results.accept(result_id=one, actor="carol", asin=TYPED) for one in ids[8:]],
        )
        assert counters(job) == (8, 0, 4)


def at_once(*functions: Callable[[], Any]) -> list[Any]:
    """What each function returned or raised, all of them called at the same moment."""
    barrier = threading.Barrier(len(functions))
    outcomes: list[Any] = []

    def call(function: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            outcomes.append(function())
        except Exception as error:
            outcomes.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=call, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
