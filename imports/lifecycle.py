"""The life of an import job: created from a file, controlled by moves, confirmed after a dry run."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import IO, Any

from django.conf import settings
from django.core.files import File
from django.db import transaction

from catalog.references import resolve
from imports.models import ImportJob, ImportLog
from pim.jobs import runner
from pim.jobs.states import Move, Status, move

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
    )
}


class UnknownFileType(ValueError):
    """The file's name ends in something that no reader understands; the message lists what is accepted."""


def file_type(file_name: str) -> str:
    """The kind of file by its name's ending. Raises UnknownFileType."""
    suffix = PurePath(file_name).suffix.lower().lstrip(".")
    if suffix not in ImportJob.FileType.values:
        accepted = ", ".join(f".{value}" for value in ImportJob.FileType.values)
        found = f".{suffix}" if suffix else "no ending"
        raise UnknownFileType(f"The file name must end in {accepted}; {file_name!r} has {found}.")
    return suffix


def create_import(
    *,
    file: "File[bytes] | IO[bytes]",
    file_name: str,
    supplier_code: str,
    created_by: str,
    dry_run: bool = False,
    mapping: Mapping[str, str] | None = None,
    encoding: str = "",
    delimiter: str = "",
    has_header: bool | None = None,
    ean_check: str | None = None,
) -> ImportJob:
    """Store the file and its job; workers take it from there. An unknown supplier is created.

    Raises UnknownFileType. Nothing is kept when the file or the row cannot be written.
    """
    kind = file_type(file_name)
    content: File[bytes] = file if isinstance(file, File) else File(file, name=file_name)
    job = ImportJob(
        status=Status.ANALYZING,
        file_name=PurePath(file_name).name[:255],
        file_type=kind,
        file_size=content.size,
        dry_run=dry_run,
        mapping=dict(mapping or {}),
        encoding=encoding,
        delimiter=delimiter,
        has_header=has_header,
        ean_check=ean_check or settings.EAN_CHECK,
        created_by=created_by,
    )
    job.file.save(file_name, content, save=False)
    try:
        with transaction.atomic():
            job.supplier_id = resolve("supplier_code", [supplier_code])[supplier_code]
            job.save(force_insert=True)
            runner.ring(ImportJob, job.pk)
    except BaseException:
        job.file.delete(save=False)
        raise
    job.refresh_from_db()
    return job


def control(job: ImportJob, name: str) -> bool:
    """Make the move `name` of MOVES; True when it happened, False when the job was already there.

    Resuming a job that is ready confirms it. Raises IllegalMove with nothing changed.
    """
    if name == "resume" and job.status == Status.READY:
        name = "confirm"
    if name != "confirm":
        return runner.apply_move(job, MOVES[name])
    with transaction.atomic():
        confirmed = runner.apply_move(job, MOVES[name], **_fresh_counters(), dry_run=False)
        if confirmed:
            ImportLog.objects.filter(job=job, row_number__isnull=False).delete()
        return confirmed


def _fresh_counters() -> dict[str, Any]:
    counters = ("cursor", "failed_rows", "products_created", "products_updated", "products_unchanged", "warnings")
    return dict.fromkeys(counters, 0) | {"position": None, "field_errors": {}, "started_at": None}
