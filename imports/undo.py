"""Taking an import back, in batches that end in a checkpoint. Explained in docs/imports.md."""

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from catalog.models import ProductRevision
from catalog.provenance import Provenance
from catalog.reverting import Conflict, revert_products
from imports.listed import drop_list, make_list, read_list
from imports.logs import LogLine, write_log
from imports.models import ImportUndo
from pim.jobs.runner import Lease
from pim.jobs.states import Status

SHOWN = 200  # characters of a value in the log
POISONED = "Undo left this product alone: it stopped the worker several times"

# Each product once, however many rows wrote it.
_WRITTEN = """SELECT product_id FROM catalog_productrevision WHERE source_id = %s
              GROUP BY product_id ORDER BY min(id)"""


def step(undo: ImportUndo, lease: Lease) -> None:
    """Do the undo's next piece of work."""
    if undo.total is None:
        with transaction.atomic():
            total = make_list(undo.pk, product_ids=_WRITTEN, parameters=[undo.job_id])
            lease.checkpoint(
                undo, advance=0, status=Status.PROCESSING, total=total, started_at=Coalesce("started_at", Now())
            )
        return
    with transaction.atomic():
        _batch(undo, undo.total, lease)


def _batch(undo: ImportUndo, total: int, lease: Lease) -> None:
    listed = read_list(undo.pk, after=undo.cursor, size=1 if lease.poisoned else lease.batch_size)
    reverted, conflicts = 0, []
    if lease.poisoned:
        conflicts = [LogLine(None, "product", str(product.product_id), POISONED, "warning") for product in listed]
        left_alone = len(conflicts)
    elif listed:
        found = revert_products(
            source_id=undo.job_id,
            product_ids=[product.product_id for product in listed],
            supplier_id=undo.job.supplier_id,
            provenance=Provenance(ProductRevision.Source.IMPORT, undo.created_by, undo.job_id),
        )
        reverted = found.products
        left_alone = len({conflict.product_id for conflict in found.conflicts})
        conflicts = [_line(conflict) for conflict in found.conflicts]
    else:
        left_alone = 0
    write_log(undo.job_id, conflicts)
    done = undo.cursor + len(listed)
    if done < total:
        lease.checkpoint(
            undo, advance=len(listed), undone=F("undone") + reverted, conflicts=F("conflicts") + left_alone
        )
        return
    drop_list(undo.pk)
    undone, kept = undo.undone + reverted, undo.conflicts + left_alone
    message = f"Undone: {undone} products put back, {kept} with changes that were left alone"
    write_log(undo.job_id, [LogLine(None, None, None, message, "info")])
    lease.checkpoint(undo, advance=len(listed), status=Status.COMPLETED, undone=undone, conflicts=kept)


def _line(conflict: Conflict) -> LogLine:
    """Why something was left alone: who changed it, and when."""
    what = "Undo left this product alone" if conflict.field is None else "Undo left this value alone"
    if conflict.at is None:
        why = "it changed after the import, or its earlier value no longer exists"
    else:
        at = conflict.at.astimezone(timezone.get_current_timezone())
        why = f"changed after the import by {conflict.actor} on {at:%Y-%m-%d %H:%M:%S %Z}"
    value = conflict.ean if conflict.field is None else conflict.value
    return LogLine(
        None, conflict.field or "product", value and value[:SHOWN], f"{what} (EAN {conflict.ean}): {why}", "warning"
    )
