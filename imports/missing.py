"""Products of the supplier that the file leaves out: listed by the analysis, dealt with after the last row."""

from typing import Any

from django.db import connection, transaction
from django.db.models import F, QuerySet

from catalog.fields import DEACTIVATE
from catalog.models import Product, ProductRevision
from catalog.provenance import Provenance
from catalog.upsert import Mode, Result, Row, upsert_products
from imports import differences
from imports.listed import drop_list, make_list, read_list
from imports.logs import LogLine, write_log
from imports.models import ImportJob
from imports.staging import drop_staged
from pim.jobs.errors import PermanentError
from pim.jobs.runner import Lease
from pim.jobs.states import Status

# The status such a product gets, and the statuses that are left for it.
_POLICIES = {
    ImportJob.Missing.DEACTIVATE: (DEACTIVATE, ["active"], "made inactive"),
    ImportJob.Missing.ARCHIVE: ("archived", ["active", "inactive"], "archived"),
}
_CONCERNED = """SELECT p.id FROM catalog_product p WHERE p.supplier_id = %s AND p.deleted_at IS NULL
                AND p.status = ANY(%s) AND NOT 'status' = ANY(p.locked_fields)"""
# import_code holds the codes of the file, refused rows included, while the analysis lasts
_MISSING = f"{_CONCERNED} AND NOT EXISTS (SELECT FROM import_code c WHERE c.ean = p.ean) ORDER BY p.ean"


def list_missing(job: ImportJob) -> int:
    """List the products that the job's policy concerns and the file leaves out; returns their number.

    Part of the analysis, so a file that leaves out too much is refused before anything is written.
    Raises PermanentError when they are more than `max_missing_percent` of those the policy could concern.
    """
    if job.missing == ImportJob.Missing.IGNORE:
        drop_list(job.pk)  # of an earlier check under another policy
        return 0
    _status, statuses, done = _POLICIES[ImportJob.Missing(job.missing)]
    parameters: list[Any] = [job.supplier_id, statuses]
    missing = make_list(job.pk, product_ids=_MISSING, parameters=parameters)
    if not missing:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({_CONCERNED}) concerned", parameters)  # noqa: S608 - a constant
        (concerned,) = cursor.fetchone()
    if missing * 100 > job.max_missing_percent * concerned:
        raise PermanentError(
            f"The file leaves out {missing} of the supplier's {concerned} products ({missing / concerned:.0%}) that "
            f"would be {done}; at most {job.max_missing_percent} % are allowed. Nothing was written. If the file is "
            "complete, import it again with a higher max_missing_percent.",
            category="invalid_data",
        )
    return missing


def step(job: ImportJob, lease: Lease) -> None:
    """Deal with the next listed products in one transaction that ends in the checkpoint."""
    status, statuses, done = _POLICIES[ImportJob.Missing(job.missing)]
    with transaction.atomic():
        listed = read_list(job.pk, after=job.missing_done, size=1 if lease.poisoned else lease.batch_size)
        products = Product.objects.live().filter(
            pk__in=[product.product_id for product in listed], supplier_id=job.supplier_id, status__in=statuses
        )
        rows = [] if lease.poisoned else _rows(products, status)
        outcomes = upsert_products(
            fields=["status"],
            rows=rows,
            provenance=Provenance(ProductRevision.Source.IMPORT, job.created_by, job.pk),
            mode=Mode.UPDATE,
            dry_run=job.dry_run,
            diff=job.dry_run,
        )
        changed = [row for row in rows if outcomes[row.number].result is Result.UPDATED]
        if lease.poisoned:
            message = "This product stopped the worker several times and was left alone"
            write_log(job.pk, (LogLine(None, "status", str(one.product_id), message, "warning") for one in listed))
        if job.dry_run:
            differences.record_missing(job, rows=changed, outcomes=outcomes)
        else:
            message = f"The product is not in the file: {done}"
            write_log(job.pk, (LogLine(None, "status", row.ean, message, "info") for row in changed))
        last = job.missing_done + len(listed) >= job.missing_total
        finished: dict[str, Any] = {}
        if last and not job.dry_run:
            drop_list(job.pk)
            drop_staged(job)
            finished["staged"] = ""
        lease.checkpoint(
            job,
            advance=0,
            status=(Status.READY if job.dry_run else Status.COMPLETED) if last else None,
            # progress of another kind than rows
            claims_at_cursor=0,
            attempt=0,
            missing_done=job.missing_done + len(listed),
            products_deactivated=F("products_deactivated") + len(changed),
            **finished,
        )


def _rows(products: QuerySet[Product], status: str) -> list[Row]:
    """Numbered below zero: no row of the file names them."""
    eans = products.exclude(locked_fields__contains=["status"]).order_by("ean").values_list("ean", flat=True)
    return [Row(-number, ean, (status,)) for number, ean in enumerate(eans, 1)]
