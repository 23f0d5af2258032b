"""A matching job's work: fix the selection once, then look up, score and settle codes in batches (docs/code2asin.md).

The marketplace is asked outside of any transaction; what came of it is written in one short transaction that ends
in the checkpoint, so a process may die anywhere.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from catalog.filters import filter_products
from catalog.identifiers import gtin14
from catalog.models import Product, ProductRevision
from catalog.provenance import Provenance
from catalog.upsert import Mode, Row, upsert_products
from code2asin.models import Code2AsinJob, Code2AsinLog, MatchResult
from code2asin.providers import sp_api
from code2asin.providers.base import Lookup, Provider
from code2asin.results import CODE_TYPES
from code2asin.scoring import Evidence, OurProduct, Scored, decide, match_type, score
from pim.jobs.errors import Category, PermanentError
from pim.jobs.runner import Lease
from pim.jobs.states import Status

PROVIDERS: dict[str, Callable[[], Provider]] = {sp_api.SpApi.name: sp_api.from_settings}

# An ASIN is looked for by exact identifier, by normalised identifier and by title.
NOT_FOUND = "No ASIN found for EAN {code} after 3 attempts"
NOTHING_SELECTED = "No product matches the filter of this job: there is nothing to look up"
POISONED = "Looking up {code} stopped the worker several times, so it was skipped"
DELETED = "The product was deleted while the job ran"


class _Code(NamedTuple):
    """A code to settle and what we know of its product, in the order `_next_codes` selects it."""

    id: UUID
    position: int
    code: str
    product_id: UUID
    name: str
    brand: str | None
    reference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a code came to. message: for the log. previous: the ASIN its product had; known for matches only."""

    code: _Code
    status: MatchResult.Status
    reason: str
    message: str
    match_type: str | None = None
    asin: str | None = None
    confidence: float | None = None
    title: str | None = None
    candidates: tuple[dict[str, Any], ...] = ()
    error_class: str = ""
    previous: str | None = None


class Matching:
    """Works on one matching job for one slice, keeping the connection to the marketplace from batch to batch."""

    def __init__(self) -> None:
        self._provider: Provider | None = None

    def step(self, job: Code2AsinJob, lease: Lease) -> None:
        """Do the job's next piece of work. Raises what the provider raises when the look-up as a whole failed."""
        if not job.staged:
            _stage(job, lease)
            return
        codes = _next_codes(job, lease.batch_size)
        if not codes:
            _complete(job, lease)
        elif lease.poisoned:  # then the batch is one code
            _write(job, lease, [_failed(codes[0], "unknown", POISONED.format(code=codes[0].code))])
        else:
            started = time.monotonic()
            lookups = self._open(job).lookup([c.code for c in codes], pause_check=lambda: lease.renew(job))
            milliseconds = round((time.monotonic() - started) * 1000 / len(codes))
            outcomes = [_settle(job, code, lookups[gtin14(code.code)]) for code in codes]
            _write(job, lease, outcomes, milliseconds=milliseconds)

    def _open(self, job: Code2AsinJob) -> Provider:
        if self._provider is None:
            if job.provider not in PROVIDERS:
                raise PermanentError(
                    f"The job's provider {job.provider!r} does not exist; there are: {', '.join(PROVIDERS)}",
                    category="unknown",
                )
            provider = PROVIDERS[job.provider]()
            if provider.marketplace != job.marketplace:
                raise PermanentError(
                    f"The job was made for marketplace {job.marketplace}, but {provider.marketplace} is set up; "
                    "set it back or create a new job",
                    category="unknown",
                )
            self._provider = provider
        return self._provider


def _stage(job: Code2AsinJob, lease: Lease) -> None:
    """Make a pending result of every selected product, in EAN order: one statement, whatever the number."""
    selection, parameters = filter_products(job.product_filter).order_by().values("id", "ean").query.sql_with_params()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_STAGE.format(selection=selection), [job.pk, *parameters])
            total = cursor.rowcount
        status = None
        if not total:
            status = Status.COMPLETED
            _log_job(job, Code2AsinLog.Level.WARNING, NOTHING_SELECTED)
        lease.checkpoint(job, advance=0, status=status, staged=True, total_codes=total)


# Result ids as `pim.ids.uuid7s` makes them (time, then position), so the review queue is in order of time and EAN.
_STAGE = """
    INSERT INTO code2asin_matchresult
        (id, job_id, position, product_id, code, status, candidates, error_class, reason, review, reviewed_by)
    SELECT
        (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
         || to_hex(28672 | (n >> 14 & 4095)) || to_hex(32768 | (n & 16383))
         || right(gen_random_uuid()::text, 12))::uuid,
        %s, n, id, ean, 'pending', '[]', '', '', '', ''
    FROM (SELECT id, ean, row_number() OVER (ORDER BY ean) AS n FROM ({selection}) AS selection(id, ean)) AS numbered
"""


def _next_codes(job: Code2AsinJob, size: int) -> list[_Code]:
    rows = MatchResult.objects.filter(job=job, status=MatchResult.Status.PENDING).order_by("position")
    columns = ("id", "position", "code", "product_id", "product__name", "product__brand__name", "product__reference")
    return [_Code(*row) for row in rows.values_list(*columns)[:size]]


def _complete(job: Code2AsinJob, lease: Lease) -> None:
    settled = job.matched + job.ambiguous + job.unmatched
    if settled != job.total_codes:
        raise PermanentError(f"{settled} codes are settled, {job.total_codes} were selected", category="unknown")
    with transaction.atomic():
        counts = f"{job.matched} matched, {job.ambiguous} to review, {job.unmatched} unmatched"
        _log_job(job, Code2AsinLog.Level.INFO, f"Completed: {counts}")
        lease.checkpoint(job, advance=0, status=Status.COMPLETED, error_class="", error_summary="")


def _settle(job: Code2AsinJob, code: _Code, lookup: Lookup) -> _Outcome:
    """Score what the marketplace knows of a code and decide."""
    if lookup.error is not None:
        return _failed(code, lookup.error.category, lookup.error.message)
    ours = OurProduct(code=code.code, title=code.name, brand=code.brand, part_number=code.reference)
    scored = [score(ours, item, evidence=Evidence.LISTED) for item in lookup.listed]
    scored += [score(ours, item, evidence=Evidence.RETURNED) for item in lookup.unlisted]
    decision = decide(scored, threshold=float(job.confidence_threshold), auto_match=job.auto_match)
    candidates = tuple(_candidate(scored) for scored in decision.candidates)
    if decision.best is None:
        message = NOT_FOUND.format(code=code.code)
        return replace(_failed(code, "invalid_data", message), candidates=candidates)
    asin, confidence = decision.best.item.asin, decision.confidence
    if decision.status == "matched":
        message = f"{code.code} is {asin}: {decision.reason}"
    else:
        message = f"{code.code} may be {asin}: {decision.reason} ({'; '.join(decision.best.reasons)})"
    return _Outcome(
        code=code,
        status=MatchResult.Status(decision.status),
        reason=decision.reason,
        message=message,
        match_type=decision.match_type,
        asin=asin,
        confidence=confidence,
        title=decision.best.item.title,
        candidates=candidates,
    )


def _failed(code: _Code, category: Category, message: str) -> _Outcome:
    return _Outcome(
        code=code, status=MatchResult.Status.UNMATCHED, reason=message, message=message, error_class=category
    )


def _candidate(scored: Scored) -> dict[str, Any]:
    item = scored.item
    return {
        "asin": item.asin,
        "title": item.title,
        "brand": item.brand,
        "image": item.image,
        "score": scored.score,
        "match_type": match_type(scored),
        "features": dict(scored.features),
        "reasons": list(scored.reasons),
        "vetoes": list(scored.vetoes),
    }


def _write(job: Code2AsinJob, lease: Lease, outcomes: Sequence[_Outcome], *, milliseconds: int | None = None) -> None:
    """One transaction of a constant number of statements: products, results, log, checkpoint."""
    with transaction.atomic():
        outcomes = _write_products(job, outcomes)
        _write_results(outcomes)
        Code2AsinLog.objects.bulk_create(_log(job, outcome, milliseconds) for outcome in outcomes)
        statuses = [outcome.status for outcome in outcomes]
        lease.checkpoint(
            job,
            advance=len(outcomes),
            matched=F("matched") + statuses.count(MatchResult.Status.MATCHED),
            ambiguous=F("ambiguous") + statuses.count(MatchResult.Status.AMBIGUOUS),
            unmatched=F("unmatched") + statuses.count(MatchResult.Status.UNMATCHED),
            error_summary="",
        )


def _write_products(job: Code2AsinJob, outcomes: Sequence[_Outcome]) -> list[_Outcome]:
    """Give matched products their ASIN; a product that has another one, or is gone, changes its outcome instead."""
    matched = [o.code.product_id for o in outcomes if o.status is MatchResult.Status.MATCHED]
    if not matched:
        return list(outcomes)
    # Locked in EAN order, like every writer of many products.
    products = Product.objects.live().filter(pk__in=matched).order_by("ean").select_for_update()
    asins = dict(products.values_list("id", "asin"))
    final = [_against_product(o, asins) if o.status is MatchResult.Status.MATCHED else o for o in outcomes]
    upsert_products(
        fields=["asin"],
        rows=[
            Row(o.code.position, o.code.code, [o.asin])
            for o in final
            if o.status is MatchResult.Status.MATCHED and o.previous is None
        ],
        provenance=Provenance(ProductRevision.Source.MATCH, job.created_by, job.pk),
        mode=Mode.UPDATE,
    )
    return final


def _against_product(outcome: _Outcome, asins: dict[UUID, str | None]) -> _Outcome:
    """A match seen against what its product is now. asins: of the live products."""
    if outcome.code.product_id not in asins:
        failed = _failed(outcome.code, "invalid_data", f"{outcome.code.code}: {DELETED}")
        return replace(failed, candidates=outcome.candidates)
    current = asins[outcome.code.product_id]
    if current is None or current == outcome.asin:
        return replace(outcome, previous=current)
    reason = f"the product already has ASIN {current}: a person must choose"
    message = f"{outcome.code.code} may be {outcome.asin}: {reason}"
    return replace(outcome, status=MatchResult.Status.AMBIGUOUS, reason=reason, message=message, previous=current)


def _write_results(outcomes: Sequence[_Outcome]) -> None:
    values = [
        {
            "id": str(o.code.id),
            "status": o.status.value,
            "match_type": o.match_type,
            "asin": o.asin,
            "confidence": o.confidence,
            "title": o.title,
            "candidates": o.candidates,
            "error_class": o.error_class,
            "reason": o.reason,
        }
        for o in outcomes
    ]
    with connection.cursor() as cursor:
        cursor.execute(_RESULTS, [json.dumps(values)])


_RESULTS = """
    UPDATE code2asin_matchresult AS result
    SET status = new.status, match_type = new.match_type, asin = new.asin, confidence = new.confidence,
        title = new.title, candidates = new.candidates, error_class = new.error_class, reason = new.reason,
        matched_at = CASE WHEN new.status = 'matched' THEN statement_timestamp() END
    FROM jsonb_to_recordset(%s) AS new(
        id uuid, status text, match_type text, asin text, confidence float8, title text, candidates jsonb,
        error_class text, reason text)
    WHERE result.id = new.id
"""

_LEVELS = {
    MatchResult.Status.MATCHED: Code2AsinLog.Level.INFO,
    MatchResult.Status.AMBIGUOUS: Code2AsinLog.Level.WARNING,
    MatchResult.Status.UNMATCHED: Code2AsinLog.Level.ERROR,
}


def _log(job: Code2AsinJob, outcome: _Outcome, milliseconds: int | None) -> Code2AsinLog:
    matched = outcome.status is MatchResult.Status.MATCHED
    return Code2AsinLog(
        job=job,
        level=_LEVELS[outcome.status],
        message=outcome.message,
        product_id=outcome.code.product_id,
        input_code=outcome.code.code,
        code_type=CODE_TYPES[len(outcome.code.code)],
        previous_asin=outcome.previous,
        new_asin=outcome.asin if matched else None,
        change_reason=("initial" if outcome.previous is None else "confirmed") if matched else None,
        confidence_score=outcome.confidence,
        processing_time_ms=milliseconds,
    )


def _log_job(job: Code2AsinJob, level: Code2AsinLog.Level, message: str) -> None:
    Code2AsinLog.objects.create(job=job, level=level, message=message)
