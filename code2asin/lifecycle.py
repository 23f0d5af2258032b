"""Creating, moving, retrying and deleting matching jobs. Which move starts from which status is data."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from catalog.filters import filter_products
from catalog.models import Supplier
from code2asin.models import Code2AsinJob, MatchResult
from pim.jobs.backoff import MAX_RETRIES
from pim.jobs.runner import apply_move
from pim.jobs.states import IllegalMove, Move, Status, move

MOVES: dict[str, Move] = {
    m.name: m
    for m in (
        move("start", [Status.PENDING], Status.PROCESSING, [Status.PROCESSING]),
        move("pause", [Status.PROCESSING], Status.PAUSED, [Status.PAUSED]),
        move("resume", [Status.PAUSED], Status.PROCESSING, [Status.PROCESSING]),
        move("retry", [Status.FAILED, Status.CANCELLED], Status.PROCESSING),
        move("cancel", [Status.PENDING, Status.PROCESSING, Status.PAUSED], Status.CANCELLED, [Status.CANCELLED]),
    )
}

# Failures that trying again can cure; a code without an ASIN is an answer, not such a failure.
TRANSIENT = ("network", "api_rate_limit", "unknown")


class RetriesUsedUp(IllegalMove):
    """The job was retried as often as it may be; resetting its counter allows it again."""

    def __init__(self, status: str) -> None:
        super().__init__("retry", status)
        message = _("All %(count)d retries of this job are used; ask again with reset_retry_counter=true.")
        self.args = (message % {"count": MAX_RETRIES},)


def create_job(
    *,
    name: str,
    product_filter: Mapping[str, Any],
    actor: str,
    auto_match: bool = True,
    confidence_threshold: Decimal = Decimal("0.85"),
    callback_url: str = "",
) -> Code2AsinJob:
    """Create a pending job over the products that the filter selects now; the selection is fixed when it starts.

    product_filter: see `filter_products`, which also says what is raised for a filter that is refused.
    """
    total = filter_products(product_filter).count()
    supplier_code = product_filter.get("supplier_code")
    supplier = Supplier.objects.filter(code__iexact=str(supplier_code)).first() if supplier_code else None
    return Code2AsinJob.objects.create(
        name=name,
        product_filter=dict(product_filter),
        supplier=supplier,
        auto_match=auto_match,
        confidence_threshold=confidence_threshold,
        callback_url=callback_url,
        provider=settings.CODE2ASIN_PROVIDER,
        marketplace=settings.AMAZON_MARKETPLACE_ID,
        total_codes=total,
        created_by=actor,
    )


def control(job: Code2AsinJob, name: str) -> bool:
    """Make the move `name` of MOVES; True when it happened, False when the job was already there.

    A pause or cancellation rolls back the batch under way; what is matched stays. A resumed job does not wait for
    the time of its next retry. Raises IllegalMove with nothing changed.
    """
    if name == "retry":
        retry(job)
        return True
    updates: dict[str, Any] = {"next_run_at": Now()} if name in ("start", "resume") else {}
    if name == "start":
        updates["started_at"] = Now()
    return apply_move(job, MOVES[name], **updates)


def retry(job: Code2AsinJob, *, reset_counter: bool = False) -> None:
    """Run a failed or cancelled job again: the codes it had not reached and those that failed for a passing reason.

    Raises IllegalMove, or RetriesUsedUp when the job was retried `MAX_RETRIES` times and the counter is not reset.
    """
    with transaction.atomic():
        # Results before the job, the order in which a review locks them.
        reopened = MatchResult.objects.filter(
            job=job, status=MatchResult.Status.UNMATCHED, error_class__in=TRANSIENT, review=MatchResult.Review.NONE
        ).update(status=MatchResult.Status.PENDING, error_class="", reason="")
        apply_move(
            job,
            MOVES["retry"],
            retry_count=0 if reset_counter else F("retry_count") + 1,
            attempt=0,
            batch_size=0,
            cursor=F("cursor") - reopened,
            unmatched=F("unmatched") - reopened,
            error_class="",
            error_summary="",
            next_run_at=Now(),
            started_at=Coalesce("started_at", Now()),
            completed_at=None,
        )
        if job.retry_count > MAX_RETRIES:
            raise RetriesUsedUp(job.status)


def delete(job: Code2AsinJob) -> None:
    """Remove a job with its results and log; products keep their ASINs. Raises IllegalMove while it is processing."""
    with transaction.atomic():
        # Results before the job, the order in which a review locks them.
        MatchResult.objects.filter(job=job).delete()
        locked = Code2AsinJob.objects.select_for_update().get(pk=job.pk)
        if locked.status == Status.PROCESSING:
            raise IllegalMove("delete", locked.status)
        locked.delete()
