"""From file to catalogue: analyse once, then batches that end in a checkpoint. Explained in docs/imports.md.

A batch is one transaction: merge, row log and checkpoint stand or fall together, so a process may die anywhere.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

from django.db import DataError, IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from catalog.identifiers import check_digit_fits
from catalog.models import ProductRevision
from catalog.provenance import Provenance
from catalog.upsert import Outcome, Result, Row, upsert_products
from imports import differences, duplicates, missing
from imports.logs import LogLine, write_log
from imports.mapping import Mapped, Mapper, RowProblem
from imports.models import ImportJob, SupersededRow
from imports.source import Source, open_source
from imports.staging import Stage, drop_staged, needs_staging
from pim.jobs.errors import PermanentError
from pim.jobs.runner import Lease
from pim.jobs.states import Status
from pim.tabular import Position, Table, TableError

NAME_REQUIRED = "A new product needs a name: map a column to name and fill it"
POISONED = "This row stopped the worker several times and was skipped; check its content and import it again"


@dataclass(slots=True)
class _Batch:
    """What one batch does: rows to write, problems to log, and the table's position after it."""

    read: int
    position: Position
    fields: tuple[str, ...]
    rows: list[Row]
    problems: list[RowProblem]
    failed: set[int]
    superseded: dict[int, int]
    codes: "CheckDigits"
    outcomes: dict[int, Outcome] = field(default_factory=dict)


class Pipeline:
    """Works on one import job, keeping its file open from batch to batch. Use as a context manager."""

    def __init__(self) -> None:
        self._source: Source | None = None
        self._cursor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def step(self, job: ImportJob, lease: Lease) -> None:
        """Do the job's next piece of work. Raises PermanentError when the file cannot be imported."""
        try:
            if job.status == Status.PENDING:
                with transaction.atomic():
                    lease.checkpoint(job, advance=0, status=Status.PROCESSING, started_at=Coalesce("started_at", Now()))
            elif job.total_rows is None:
                self._analyse(job, lease)
            elif job.cursor == job.total_rows and job.missing_done < job.missing_total:
                missing.step(job, lease)
            else:
                self._batch(job, lease)
        except TableError as error:
            raise PermanentError(str(error), category="invalid_data") from error
        except BaseException:
            self._close()  # what was read but not committed is read again
            raise

    def _analyse(self, job: ImportJob, lease: Lease) -> None:
        """Read the whole file once before anything is written: its form, its rows, EANs that stand in it twice.

        What cannot be resumed at a byte is staged, so the format is parsed only here.
        """
        job.staged = ""
        with ExitStack() as stack:
            source = stack.enter_context(open_source(job))
            finder = stack.enter_context(duplicates.Finder(job, ean_column=source.mapper.ean_index))
            stage = stack.enter_context(Stage(source.table)) if needs_staging(source.table) else None
            for number, cells in source.rows:
                if stage is not None:
                    stage.add(number, cells)
                if finder.add(number, cells):
                    lease.renew(job)
            if stage is not None:
                job.staged = stage.save(job.file.storage, f"imports/{job.pk}/rows-{lease.epoch}.jsonl")
            try:
                self._settle(job, lease, source, finder)
            except BaseException:
                drop_staged(job)
                raise

    def _settle(self, job: ImportJob, lease: Lease, source: Source, finder: duplicates.Finder) -> None:
        """Write down what the analysis has found."""
        if finder.has_duplicates():
            with open_source(job) as again:
                finder.settle(again.rows, again.mapper)
        with transaction.atomic():
            finder.store()
            missing_total = missing.list_missing(job)
            message = _how_it_was_read(source.table, source.mapper)
            write_log(job.pk, [LogLine(None, None, None, message, "info")])
            lease.checkpoint(
                job,
                advance=0,
                status=Status.ANALYZING if job.dry_run else Status.PENDING,
                total_rows=finder.rows,
                missing_total=missing_total,
                staged=job.staged,
                detected=source.table.detected.as_dict(),
                started_at=Now(),
            )

    def _batch(self, job: ImportJob, lease: Lease) -> None:
        """Import (or, in a dry run, check) the next rows in one transaction that ends in the checkpoint."""
        if self._source is None or self._cursor != job.cursor:
            self._close()
            self._source = open_source(job, resume=job.position)
        batch = self._read(job, self._source, 1 if lease.poisoned else lease.batch_size)
        if lease.poisoned:
            batch.problems = [
                RowProblem(number, "row", None, POISONED, "error") for number in {row.number for row in batch.rows}
            ]
            batch.failed |= {row.number for row in batch.rows}
            batch.rows = []
        with transaction.atomic():
            for rows in _rounds(batch.rows):
                self._write(job, batch, rows)
            _checkpoint(job, lease, batch)
        self._cursor = job.cursor + batch.read

    def _read(self, job: ImportJob, source: Source, size: int) -> _Batch:
        mapper, supplier_id = source.mapper, str(job.supplier_id)
        read = list(islice(source.rows, size))
        problems: list[RowProblem] = []
        failed: set[int] = set()
        rows: list[Row] = []
        superseded = _superseded(job, read)
        codes = CheckDigits(job.ean_check)
        for number, cells in read:
            mapped = mapper(number, cells)
            codes.add(mapped)
            problems.extend(mapped.problems)
            if mapped.values is None:
                failed.add(number)
            elif number not in superseded:
                rows.append(Row(number, mapped.ean, (*mapped.values, supplier_id)))
        fields = (*mapper.fields, "supplier_id")
        return _Batch(len(read), source.table.position, fields, rows, problems, failed, superseded, codes)

    def _write(self, job: ImportJob, batch: _Batch, rows: list[Row]) -> None:
        """Merge the rows; when the database refuses them, find the ones it refuses by halving."""
        try:
            with transaction.atomic():
                outcomes = upsert_products(
                    fields=batch.fields,
                    rows=rows,
                    provenance=Provenance(ProductRevision.Source.IMPORT, job.created_by, job.pk),
                    dry_run=job.dry_run,
                    diff=differences.wanted(job),
                    supplier_id=job.supplier_id,
                )
        except (DataError, IntegrityError) as error:
            if len(rows) > 1:
                half = len(rows) // 2
                self._write(job, batch, rows[:half])
                self._write(job, batch, rows[half:])
            else:
                batch.failed.add(rows[0].number)
                batch.problems.append(
                    RowProblem(rows[0].number, "row", None, f"The database refused it: {error}", "error")
                )
            return
        batch.outcomes |= outcomes
        for number, outcome in outcomes.items():
            if outcome.result is Result.NAMELESS:
                batch.failed.add(number)
                batch.problems.append(RowProblem(number, "name", None, NAME_REQUIRED, "error"))

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
        self._source = None
        self._cursor = -1


def _checkpoint(job: ImportJob, lease: Lease, batch: _Batch) -> None:
    results = [outcome.result for outcome in batch.outcomes.values()]
    created = results.count(Result.CREATED) + results.count(Result.RESTORED)
    batch.problems.extend(
        RowProblem(number, "ean", None, f"The same EAN stands again in row {by}; the last row wins", "warning")
        for number, by in batch.superseded.items()
        if number not in batch.failed
    )
    field_errors = dict(job.field_errors)
    first_errors: dict[int, str] = {}
    for problem in batch.problems:
        if problem.level == "error":
            first_errors.setdefault(problem.row, problem.field)
    for name in first_errors.values():
        field_errors[name] = field_errors.get(name, 0) + 1
    batch.problems.sort(key=lambda problem: problem.row)
    write_log(job.pk, (LogLine(*problem) for problem in batch.problems))
    if job.dry_run:
        differences.record(job, fields=batch.fields, rows=batch.rows, outcomes=batch.outcomes, refused=batch.failed)
    done = job.cursor + batch.read
    status = None
    if done >= (job.total_rows or 0) or not batch.read:
        if done != job.total_rows:
            raise PermanentError(
                f"The file changed while it was read: {job.total_rows} rows were announced, {done} found.",
                category="invalid_data",
            )
        if job.missing_done >= job.missing_total:
            status = Status.READY if job.dry_run else Status.COMPLETED
    finished: dict[str, Any] = {}
    if status == Status.COMPLETED:
        drop_staged(job)
        finished["staged"] = ""
    lease.checkpoint(
        job,
        advance=batch.read,
        status=status,
        position=batch.position,
        failed_rows=F("failed_rows") + len(batch.failed),
        products_created=F("products_created") + created,
        products_updated=F("products_updated") + results.count(Result.UPDATED),
        products_unchanged=F("products_unchanged")
        + batch.read
        - len(batch.failed)
        - created
        - results.count(Result.UPDATED),
        warnings=F("warnings") + sum(problem.level == "warning" for problem in batch.problems),
        check_digits=batch.codes.added_to(job.check_digits),
        field_errors=field_errors,
        error_summary=error_summary(field_errors),
        **finished,
    )


class CheckDigits:
    """How many codes of each length there are, and how many of them have a wrong check digit."""

    def __init__(self, ean_check: str) -> None:
        self._silent = ean_check == ImportJob.EanCheck.OFF
        self._rows: Counter[int] = Counter()
        self._wrong: Counter[int] = Counter()

    def add(self, mapped: Mapped) -> None:
        ean = mapped.ean
        if ean:
            self._rows[len(ean)] += 1
            # a wrong one has a problem, unless problems of this kind are not reported
            if (mapped.problems or self._silent) and not check_digit_fits(ean):
                self._wrong[len(ean)] += 1

    def added_to(self, earlier: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
        """{"13": {"rows": 1000, "wrong": 3}, …}, together with what was counted before."""
        lengths = sorted({*map(int, earlier), *self._rows})
        counted: dict[str, dict[str, int]] = {}
        for length in lengths:
            before = earlier.get(str(length), {})
            counted[str(length)] = {
                "rows": before.get("rows", 0) + self._rows[length],
                "wrong": before.get("wrong", 0) + self._wrong[length],
            }
        return counted


def error_summary(field_errors: dict[str, int]) -> str:
    """ "5 rows failed EAN validation": one sentence a field, the most frequent first."""
    worst_first = sorted(field_errors.items(), key=lambda item: (-item[1], item[0]))
    label = {"ean": "EAN"}
    return "; ".join(
        f"{count} row{'s' if count != 1 else ''} failed {label.get(name, name)} validation"
        for name, count in worst_first
    )


def _rounds(rows: list[Row]) -> Iterator[list[Row]]:
    """The rows in order, parted so that no EAN stands twice in a part; nearly always one part."""
    while rows:
        seen: set[str] = set()
        now: list[Row] = []
        later: list[Row] = []
        for row in rows:
            (later if row.ean in seen else now).append(row)
            seen.add(row.ean)
        yield now
        rows = later


def _superseded(job: ImportJob, read: list[tuple[int, list[str]]]) -> dict[int, int]:
    if not read:
        return {}
    rows = SupersededRow.objects.filter(job=job, row_number__range=(read[0][0], read[-1][0]))
    return dict(rows.values_list("row_number", "by_row"))


def _how_it_was_read(table: Table, mapper: Mapper) -> str:
    mapped = ", ".join(f"{column} → {name}" for column, name in mapper.mapped.items())
    ignored = f"; columns ignored: {', '.join(mapper.ignored)}" if mapper.ignored else ""
    return f"Read as {table.detected.describe()}; columns: {mapped}{ignored}"
