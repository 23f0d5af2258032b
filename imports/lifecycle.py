"""The life of an import job: created from a file, controlled by moves, confirmed after a dry run, taken back."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import IO, Any, TypedDict, Unpack

from django.conf import settings
from django.core.files import File
from django.db import transaction
from django.db.models.functions import Now

from catalog.references import resolve
from imports.models import ImportJob, ImportLog, ImportUndo, RowDifference, SupplierMapping, upload_path
from imports.pipeline import error_summary
from imports.source import open_source
from imports.staging import drop_staged
from pim.jobs import runner
from pim.jobs.states import IllegalMove, Move, Status, move
from pim.tabular import TableError, detect_format
from pim.tabular.opening import FORMATS_BY_SUFFIX, PACKED

MOVES: dict[str, Move] = {
    m.name: m
    for m in (
        move("pause", [Status.ANALYZING, Status.PENDING, Status.PROCESSING], Status.PAUSED, [Status.PAUSED]),
        move("resume", [Status.PAUSED], None, [Status.ANALYZING, Status.PENDING, Status.PROCESSING]),
        move(
            "cancel",
            [Status.ANALYZING, Status.PENDING, Status.READY, Status.PROCESSING, Status.PAUSED],
            Status.CANCELLED,
            [Status.CANCELLED],
        ),
        move("confirm", [Status.READY], Status.PENDING, [Status.PENDING, Status.PROCESSING]),
        move(
            "retry",
            [Status.FAILED, Status.CANCELLED],
            Status.PENDING,
            [Status.ANALYZING, Status.PENDING, Status.PROCESSING],
        ),
    )
}
UNDOABLE = frozenset({Status.COMPLETED, Status.CANCELLED})

_RECHECK = move("change", [Status.READY, Status.FAILED], Status.ANALYZING)
_ANALYSE_AGAIN = move("retry", [Status.FAILED, Status.CANCELLED], Status.ANALYZING, MOVES["retry"].already)
_UNDO_AGAIN = move("undo", [Status.FAILED], Status.PENDING, [Status.PENDING, Status.PROCESSING, Status.COMPLETED])


class Options(TypedDict, total=False):
    """How a file is read and what its rows may do: columns of `ImportJob`."""

    mapping: Mapping[str, str] | None
    encoding: str
    delimiter: str
    has_header: bool | None
    sheet: str
    record_path: str
    ean_check: str | None
    empty_cells: str
    decimal_mark: str
    constants: Mapping[str, str]
    defaults: Mapping[str, str]
    missing: str
    max_missing_percent: int
    callback_url: str


class UnknownFileType(ValueError):
    """The file's name ends in something that no reader understands; the message lists what is accepted."""


def file_type(file_name: str) -> str | None:
    """The kind of file by its name's ending, None when a compressed file's name does not tell.

    Raises UnknownFileType.
    """
    name = PurePath(file_name.lower())
    compressed = name.suffix in PACKED
    suffix = PurePath(name.stem).suffix if compressed else name.suffix
    if kind := FORMATS_BY_SUFFIX.get(suffix):
        return kind
    if compressed:
        return None
    found = suffix or "no ending"
    raise UnknownFileType(
        f"The file name must end in {', '.join(FORMATS_BY_SUFFIX)}, or one of them with {' or '.join(PACKED)} "
        f"behind it; {file_name!r} has {found}."
    )


def create_import(
    *,
    file: "File[bytes] | IO[bytes]",
    file_name: str,
    supplier_code: str,
    created_by: str,
    dry_run: bool = False,
    save_mapping: bool = False,
    **options: Unpack[Options],
) -> ImportJob:
    """Store the file and its job; workers take it from there. An unknown supplier is created.

    Without a `mapping` the one saved for the supplier is used, together with its constants and defaults where these
    are not given; an empty mapping lets the headers decide. save_mapping: keep this job's for the supplier.
    Raises UnknownFileType. Nothing is kept when the file or the row cannot be written.
    """
    named = file_type(file_name)
    content: File[bytes] = file if isinstance(file, File) else File(file, name=file_name)
    given = {name: value for name, value in options.items() if value is not None}
    job = ImportJob(
        status=Status.ANALYZING,
        file_name=PurePath(file_name).name[:255],
        file_type=_by_content(content, file_name) or named or "csv",
        file_size=content.size,
        dry_run=dry_run,
        created_by=created_by,
        **{"ean_check": settings.EAN_CHECK, **given},
    )
    try:
        job.file.save(file_name, content, save=False)
        with transaction.atomic():
            job.supplier_id = resolve("supplier_code", [supplier_code])[supplier_code]
            if "mapping" not in given and (saved := SupplierMapping.objects.filter(pk=job.supplier_id).first()):
                job.mapping = saved.mapping
                job.constants = given.get("constants", saved.constants)
                job.defaults = given.get("defaults", saved.defaults)
            job.save(force_insert=True)
            if save_mapping:
                _save_mapping(job)
            runner.ring(ImportJob, job.pk)
    except BaseException:
        stored = upload_path(job, file_name)  # also when writing it has failed half-way
        for name in (stored, str(PurePath(stored).parent)):
            job.file.storage.delete(name)
        raise
    job.refresh_from_db()
    return job


def _by_content(content: "File[bytes]", name: str) -> str | None:
    """The kind of file by what is in it; None when the analysis will have to say what is wrong with it."""
    try:
        return detect_format(content, name=name)
    except TableError:
        return None
    finally:
        content.seek(0)


def control(job: ImportJob, name: str) -> bool:
    """Make the move `name` of MOVES; True when it happened, False when the job was already there.

    Resuming a job that is ready confirms it. Raises IllegalMove with nothing changed.
    """
    if name == "resume" and job.status == Status.READY:
        name = "confirm"
    if name == "retry":
        return _retry(job)
    if name != "confirm":
        return runner.apply_move(job, MOVES[name])
    with transaction.atomic():
        confirmed = runner.apply_move(job, MOVES[name], **_fresh_counters(), dry_run=False)
        if confirmed:
            _forget_check(job)
        return confirmed


def _retry(job: ImportJob) -> bool:
    """Go on after the last checkpoint, with all retries."""
    with transaction.atomic():
        current = _locked(job)
        if ImportUndo.objects.filter(job=job).exists():
            raise IllegalMove("retry", "undone")
        # a dry run goes on with its check, and a file that was not read to its end is read again
        again = _ANALYSE_AGAIN if current.total_rows is None or current.dry_run else MOVES["retry"]
        return runner.apply_move(
            job,
            again,
            attempt=0,
            claims_at_cursor=0,
            error_class="",
            error_summary=error_summary(current.field_errors),
            completed_at=None,
            next_run_at=Now(),
        )


def change_options(job: ImportJob, *, save_mapping: bool = False, **options: Unpack[Options]) -> None:
    """Change how the file of a job that is ready is read, and check it again; also of one that failed before any row.

    Raises PermanentError when the file cannot be read that way and IllegalMove, both with nothing changed.
    """
    with transaction.atomic():
        current = _locked(job)
        if current.status == Status.FAILED and current.cursor:
            raise IllegalMove("change", current.status)
        drop_staged(current)
        for name, value in {**options, "staged": ""}.items():
            setattr(current, name, value)
        if current.status in _RECHECK.sources:
            open_source(current).close()
        fresh: dict[str, Any] = {
            **_fresh_counters(),
            **options,
            "staged": "",
            "total_rows": None,
            "missing_total": 0,
            "completed_at": None,
            "error_class": "",
            "error_summary": "",
            "attempt": 0,
            "claims_at_cursor": 0,
            "next_run_at": Now(),
        }
        runner.apply_move(job, _RECHECK, **fresh)
        _forget_check(job)
        ImportLog.objects.filter(job=job).delete()
        if save_mapping:
            _save_mapping(job)


def undo(job: ImportJob, *, requested_by: str) -> bool:
    """Have workers take back what the job wrote; False when that is under way or done. Raises IllegalMove."""
    with transaction.atomic():
        status = _locked(job).status
        if status not in UNDOABLE:
            raise IllegalMove("undo", status)
        undoing, created = ImportUndo.objects.get_or_create(job=job, defaults={"created_by": requested_by})
        if created:
            runner.ring(ImportUndo, undoing.pk)
        else:
            created = runner.apply_move(
                undoing, _UNDO_AGAIN, attempt=0, claims_at_cursor=0, error_summary="", completed_at=None
            )
    job.refresh_from_db()
    return created


def _locked(job: ImportJob) -> ImportJob:
    return ImportJob.objects.select_for_update().get(pk=job.pk)


def _save_mapping(job: ImportJob) -> None:
    SupplierMapping.objects.update_or_create(
        supplier_id=job.supplier_id,
        defaults={
            "mapping": job.mapping,
            "constants": job.constants,
            "defaults": job.defaults,
            "updated_at": Now(),
        },
    )


def _forget_check(job: ImportJob) -> None:
    """Drop what a check found in the rows: the import finds it again."""
    ImportLog.objects.filter(job=job, row_number__isnull=False).delete()
    RowDifference.objects.filter(job=job).delete()


def _fresh_counters() -> dict[str, Any]:
    counters = (
        *("cursor", "failed_rows", "products_created", "products_updated", "products_unchanged"),
        *("products_deactivated", "missing_done", "warnings"),
    )
    return dict.fromkeys(counters, 0) | {
        "position": None,
        "field_errors": {},
        "check_digits": {},
        "started_at": None,
    }
