"""A job's file, open for one pass: the table in it and the mapper that reads its rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Self, cast

from imports.cells import DecimalMark
from imports.mapping import EanCheck, EmptyCells, Mapper, MappingError, compile_mapping
from imports.models import ImportJob
from imports.staging import StagedTable
from pim.jobs.errors import PermanentError
from pim.tabular import Position, Table, TableError, open_table


@dataclass(slots=True)
class Source:
    """A job's file, open: its rows and how they are read. A context manager that closes it."""

    file: IO[bytes]
    table: Table
    mapper: Mapper
    rows: Iterator[tuple[int, list[str]]]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.table.close()
        self.file.close()


def open_source(job: ImportJob, *, resume: Position | None = None) -> Source:
    """Open the job's file, or its staged rows, from the start or after the row at which `resume` was taken.

    Raises PermanentError when it cannot be read as a table or its columns cannot be mapped.
    """
    file = job.file.storage.open(job.staged or str(job.file.name), "rb")
    try:
        table = StagedTable(file, resume=resume) if job.staged else _original(job, file, resume)
        mapper = compile_mapping(
            table.columns,
            mapping=job.mapping or None,
            ean_check=cast(EanCheck, job.ean_check),
            empty=cast(EmptyCells, job.empty_cells),
            decimal_mark=cast(DecimalMark, job.decimal_mark) or None,
            constants=job.constants,
            defaults=job.defaults,
        )
        return Source(file, table, mapper, iter(table))
    except (TableError, MappingError) as error:
        file.close()
        raise PermanentError(str(error), category="invalid_data") from error
    except BaseException:
        file.close()
        raise


def _original(job: ImportJob, file: IO[bytes], resume: Position | None) -> Table:
    return open_table(
        file,
        format=job.file_type,
        encoding=job.encoding or None,
        delimiter=job.delimiter or None,
        header=job.has_header,
        sheet=job.sheet or None,
        record_path=job.record_path or None,
        resume=resume,
    )
