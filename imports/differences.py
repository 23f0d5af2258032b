"""What a dry run would change: a bounded sample of rows with old and new values."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db import connection

from catalog.references import REFERENCES
from catalog.upsert import Outcome, Result, Row
from imports.models import ImportJob, RowDifference

Change = RowDifference.Change

_CHANGES = {
    Result.CREATED: Change.CREATED,
    Result.RESTORED: Change.CREATED,
    Result.UPDATED: Change.UPDATED,
    Result.UNCHANGED: Change.UNCHANGED,
}
_FIELDS = {reference.column: reference for reference in REFERENCES.values()}


def wanted(job: ImportJob) -> bool:
    """Whether there is room for more rows that create or update a product."""
    return job.dry_run and min(job.products_created, job.products_updated) < RowDifference.SAMPLE


def record(
    job: ImportJob,
    *,
    fields: Sequence[str],
    rows: Sequence[Row],
    outcomes: Mapping[int, Outcome],
    refused: Collection[int],
) -> None:
    """Keep what the rows of a batch would do, as far as there is room for their kind."""
    room = {
        Change.CREATED: RowDifference.SAMPLE - job.products_created,
        Change.UPDATED: RowDifference.SAMPLE - job.products_updated,
        Change.UNCHANGED: RowDifference.SAMPLE - job.products_unchanged,
    }
    kept: list[tuple[Change, Row]] = []
    for row in rows:
        change = _CHANGES.get(outcomes[row.number].result) if row.number in outcomes else None
        if change is not None and room[change] > 0:
            room[change] -= 1
            kept.append((change, row))
    shown = _with_names([outcomes[row.number] for _change, row in kept])
    found = []
    for (change, row), values in zip(kept, shown, strict=True):
        for field, pair in values.items():
            if pair["new"] is None and field in fields:  # a brand or category that does not exist yet
                value = row.values[fields.index(field)]
                pair["new"] = value if isinstance(value, str) else None
        found.append(_difference(job, change, row, outcomes, values))
    room_for_refused = max(0, RowDifference.SAMPLE - job.failed_rows)
    found += [
        RowDifference(job=job, change=Change.REFUSED, row_number=number, fields={})
        for number in sorted(refused)[:room_for_refused]
    ]
    RowDifference.objects.bulk_create(sorted(found, key=lambda one: one.row_number or 0))


def record_missing(job: ImportJob, *, rows: Sequence[Row], outcomes: Mapping[int, Outcome]) -> None:
    """The same for products that the file leaves out."""
    kept = rows[: max(0, RowDifference.SAMPLE - job.products_deactivated)]
    shown = _with_names([outcomes[row.number] for row in kept])
    RowDifference.objects.bulk_create(
        [_difference(job, Change.DEACTIVATED, row, outcomes, values) for row, values in zip(kept, shown, strict=True)]
    )


def _difference(
    job: ImportJob, change: Change, row: Row, outcomes: Mapping[int, Outcome], values: dict[str, Any]
) -> RowDifference:
    return RowDifference(
        job=job,
        change=change,
        row_number=row.number if row.number > 0 else None,
        ean=row.ean,
        product_id=outcomes[row.number].id,
        fields=values,
    )


def _with_names(outcomes: Sequence[Outcome]) -> list[dict[str, dict[str, Any]]]:
    """{field: {old, new}} of each, names of brands and the like in place of their ids (None where there is none)."""
    names = _names(outcomes)
    shown = []
    for outcome in outcomes:
        old = outcome.old or {}
        values: dict[str, dict[str, Any]] = {}
        for column, new in (outcome.new or {}).items():
            if column == "ean":
                continue
            if reference := _FIELDS.get(column):
                values[reference.field] = {"old": names.get(old.get(column)), "new": names.get(new)}
            else:
                values[column] = {"old": old.get(column), "new": new}
        shown.append(values)
    return shown


def _names(outcomes: Iterable[Outcome]) -> dict[Any, str]:
    """The names behind all ids in these values: a statement a kind."""
    ids: dict[str, set[str]] = {}
    for outcome in outcomes:
        for values in (outcome.old or {}, outcome.new or {}):
            for column in values.keys() & _FIELDS.keys():
                if values[column] is not None:
                    ids.setdefault(column, set()).add(values[column])
    names: dict[Any, str] = {}
    with connection.cursor() as cursor:
        for column, wanted_ids in ids.items():
            reference = _FIELDS[column]
            cursor.execute(
                f"SELECT id::text, {reference.key} FROM {reference.table}"  # noqa: S608 - names are constants
                " WHERE id = ANY(%s::uuid[])",
                [list(wanted_ids)],
            )
            names.update(cursor.fetchall())
    return names
