"""What the tests of Code2ASIN share: a client of its API, and jobs whose codes are settled already."""

from typing import Any

from catalog.models import Product, ProductRevision
from code2asin.models import Code2AsinJob, MatchResult
from tests.make import api_client, make_api_key

BASE = "/api/v1/code2asin"
SCOPES = ("READ_CODE2ASIN", "WRITE_CODE2ASIN", "DELETE_CODE2ASIN")
FIRST, SECOND = "B000000001", "B000000002"


class Api:
    """A client with a key of these scopes (all of Code2ASIN's when none is named); answers are (status, JSON)."""

    def __init__(self, *scopes: str, name: str = "shop") -> None:
        self.client = api_client(make_api_key(*(scopes or SCOPES), name=name))

    def get(self, path: str, **parameters: Any) -> tuple[int, Any]:
        return self._answer("get", path, parameters)

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        return self._answer("post", path, body)

    def delete(self, path: str) -> tuple[int, Any]:
        return self._answer("delete", path)

    def _answer(self, method: str, path: str, *data: Any) -> tuple[int, Any]:
        answer = getattr(self.client, method)(path if path.startswith("/") else f"{BASE}/{path}", *data)
        return answer.status_code, answer.json()


def product(number: int, **fields: Any) -> Product:
    return Product.objects.create(**({"ean": f"{3760000000000 + number}", "name": f"Lampe {number}"} | fields))


def candidate(asin: str, score: float) -> dict[str, Any]:
    return {
        "asin": asin,
        "title": f"Title of {asin}",
        "brand": None,
        "image": None,
        "score": score,
        "match_type": "exact",
        "features": {},
        "reasons": [],
        "vetoes": [],
    }


def job_with(*statuses: str, status: str = "completed") -> tuple[Code2AsinJob, list[MatchResult]]:
    """A job with one settled result per status; an ambiguous one has the candidates FIRST and SECOND."""
    counters = {name: statuses.count(name) for name in ("matched", "ambiguous", "unmatched")}
    job = Code2AsinJob.objects.create(
        name="Lamps",
        provider="sp_api",
        marketplace="A13V1IB3VIYZZH",
        status=status,
        staged=True,
        total_codes=len(statuses),
        cursor=len(statuses),
        **counters,
    )
    made = []
    for position, outcome in enumerate(statuses, start=1):
        lamp = product(Product.objects.count() + 1, asin=FIRST if outcome == "matched" else None)
        found = outcome in ("matched", "ambiguous")
        made.append(
            MatchResult.objects.create(
                job=job,
                position=position,
                product=lamp,
                code=lamp.ean,
                status=outcome,
                match_type="exact" if found else None,
                asin=FIRST if found else None,
                confidence=0.8 if found else None,
                title=f"Title of {FIRST}" if found else None,
                candidates=[candidate(FIRST, 0.8), candidate(SECOND, 0.75)] if found else [],
                error_class="" if found else "invalid_data",
                matched_at="2026-05-14T09:05:30Z" if outcome == "matched" else None,
            )
        )
        if outcome == "matched":
            ProductRevision.objects.create(
                product=lamp, action="updated", source="match", source_id=job.pk, actor=job.name,
                old={"asin": None}, new={"asin": FIRST},
            )  # fmt: skip
    return job, made


def counters(job: Code2AsinJob) -> tuple[int, int, int]:
    job.refresh_from_db()
    return job.matched, job.ambiguous, job.unmatched
