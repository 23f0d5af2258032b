"""A person's word on a match: accept an ASIN or reject what was proposed."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from catalog.editing import edit_product
from catalog.models import Product, ProductRevision
from catalog.provenance import Provenance
from code2asin.models import Code2AsinJob, Code2AsinLog, MatchResult

ASIN = re.compile(r"[A-Z0-9]{10}")
CODE_TYPES = {8: "EAN", 12: "UPC", 13: "EAN", 14: "GTIN"}


class InvalidAsin(ValueError):
    """The ASIN is not ten capital letters and digits, or none was named where the result proposes none."""


class DecisionRefused(Exception):
    """The result's state does not allow the decision; nothing was changed."""


class AlreadyDecided(DecisionRefused):
    """Somebody else has decided otherwise."""

    def __init__(self, result: MatchResult) -> None:
        self.decision: str = result.review
        self.reviewed_by: str = result.reviewed_by
        self.reviewed_at: datetime | None = result.reviewed_at
        facts = {
            "who": result.reviewed_by,
            "asin": result.asin,
            "code": result.code,
            "when": f"{result.reviewed_at:%Y-%m-%d %H:%M:%S} UTC",
        }
        if result.review == MatchResult.Review.ACCEPTED:
            message = _("%(who)s accepted %(asin)s for %(code)s on %(when)s.") % facts
        else:
            message = _("%(who)s rejected the match of %(code)s on %(when)s.") % facts
        super().__init__(message)


def accept(*, result_id: UUID, actor: str, job_id: UUID | None = None, asin: str | None = None) -> MatchResult:
    """Make an ASIN the product's and the result `matched` by hand: the named one, else the proposed one.

    Accepting again changes nothing; one's own decision can be changed. job_id: the job the result must belong to.
    Raises MatchResult.DoesNotExist, InvalidAsin, and DecisionRefused for a code that is not looked up yet, a deleted
    product or, as AlreadyDecided, when somebody else decided otherwise.
    """
    if asin is not None and not ASIN.fullmatch(asin):
        raise InvalidAsin(_("%(asin)s is not an ASIN: ten capital letters and digits are expected.") % {"asin": asin})
    with transaction.atomic():
        result = _locked(result_id, job_id)
        chosen = asin or result.asin or next((c["asin"] for c in result.candidates), None)
        if chosen is None:
            raise InvalidAsin(_("Nothing was found for %(code)s: name the ASIN to accept.") % {"code": result.code})
        if result.review == MatchResult.Review.ACCEPTED and result.asin == chosen:
            return result
        _refuse_others_decision(result, actor)
        candidate: dict[str, Any] = next((c for c in result.candidates if c["asin"] == chosen), {})
        previous = _set_asin(result, actor, lambda current: chosen)
        return _decide(
            result,
            actor,
            f"{actor} accepted {chosen} for {result.code}",
            previous=previous,
            review=MatchResult.Review.ACCEPTED,
            status=MatchResult.Status.MATCHED,
            match_type=MatchResult.MatchType.MANUAL,
            asin=chosen,
            confidence=candidate.get("score"),
            title=candidate.get("title"),
            error_class="",
            matched_at=Now(),
        )


def reject(*, result_id: UUID, actor: str, job_id: UUID | None = None) -> MatchResult:
    """Make the result `unmatched`; when its job or review gave the product this ASIN, what was there before returns.

    Rejecting again changes nothing. Raises what `accept` raises, InvalidAsin excepted.
    """
    with transaction.atomic():
        result = _locked(result_id, job_id)
        if result.review == MatchResult.Review.REJECTED:
            return result
        _refuse_others_decision(result, actor)
        previous = None
        if result.status == MatchResult.Status.MATCHED:
            previous = _set_asin(result, actor, lambda current: _before(result, current))
        return _decide(
            result,
            actor,
            f"{actor} rejected {result.asin or 'every ASIN'} for {result.code}",
            previous=previous,
            review=MatchResult.Review.REJECTED,
            status=MatchResult.Status.UNMATCHED,
            match_type=None,
            asin=None,
            confidence=None,
            title=None,
            matched_at=None,
        )


def _locked(result_id: UUID, job_id: UUID | None) -> MatchResult:
    """The result under a row lock. Everybody locks result, product, job in this order."""
    owned = {} if job_id is None else {"job_id": job_id}
    result = MatchResult.objects.select_for_update(of=("self",)).select_related("product").get(pk=result_id, **owned)
    if result.status == MatchResult.Status.PENDING:
        raise DecisionRefused(_("%(code)s is not looked up yet.") % {"code": result.code})
    return result


def _refuse_others_decision(result: MatchResult, actor: str) -> None:
    if result.review and result.reviewed_by != actor:
        raise AlreadyDecided(result)


def _set_asin(result: MatchResult, actor: str, choose: Callable[[str | None], str | None]) -> str | None:
    """Give the product the ASIN chosen in view of its present one; returns the present one."""
    assert result.product_id is not None
    products = Product.objects.live().select_for_update().filter(pk=result.product_id)
    try:
        current = products.values_list("asin", flat=True).get()
    except Product.DoesNotExist:
        raise DecisionRefused(_("The product of %(code)s is deleted.") % {"code": result.code}) from None
    edit_product(
        product_id=result.product_id,
        values={"asin": choose(current)},
        provenance=Provenance(ProductRevision.Source.MATCH, actor, result.job_id),
    )
    return current


def _before(result: MatchResult, current: str | None) -> str | None:
    """The ASIN the product had before this job gave it the result's; `current` when that was somebody else."""
    if current != result.asin:
        return current
    assert result.product_id is not None
    written = ProductRevision.objects.filter(
        product_id=result.product_id, source_id=result.job_id, new__asin=result.asin
    ).last()
    if written is None or written.old is None:
        return current
    before: str | None = written.old["asin"]
    return before


def _decide(
    result: MatchResult, actor: str, message: str, *, previous: str | None, status: MatchResult.Status, **values: Any
) -> MatchResult:
    """Store the decision, move the job's counters and write the log line."""
    MatchResult.objects.filter(pk=result.pk).update(
        status=status, reason=message, reviewed_by=actor, reviewed_at=Now(), **values
    )
    Code2AsinLog.objects.create(
        job_id=result.job_id,
        level=Code2AsinLog.Level.INFO,
        message=message,
        product_id=result.product_id,
        input_code=result.code,
        code_type=CODE_TYPES[len(result.code)],
        previous_asin=previous,
        new_asin=values["asin"],
        change_reason="manual" if status is MatchResult.Status.MATCHED else "rejected",
        confidence_score=values["confidence"],
    )
    before = result.status
    if before != status:
        Code2AsinJob.objects.filter(pk=result.job_id).update(
            **{before: F(before) - 1, status.value: F(status.value) + 1}
        )
    return MatchResult.objects.select_related("product").get(pk=result.pk)
