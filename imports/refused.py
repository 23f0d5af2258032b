"""The refused rows of an import as a CSV file that can be corrected and imported again."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from imports.models import ImportJob, ImportLog
from imports.source import Source, open_source
from pim.tabular import FlawedRow
from pim.tabular.csv_writer import write_csv
from pim.tabular.formulas import unescape_formula

ADDED = ("row_number", "errors")


def refused_rows(job: ImportJob) -> Iterator[bytes]:
    """The file in chunks: the columns of the job's file, then the row's number in it and what is wrong with it.

    The file is read beside the error log, both as streams. Raises PermanentError, before the first chunk, when it
    cannot be read as a table.
    """
    source = open_source(job)
    columns = list(source.table.columns)
    for name in ADDED:
        while name in columns:
            name += "_"
        columns.append(name)
    return write_csv(columns, _rows(job, source), bom=True)


def _rows(job: ImportJob, source: Source) -> Iterator[list[str | int]]:
    width = len(source.table.columns)
    log = ImportLog.objects.filter(job=job, level=ImportLog.Level.ERROR, row_number__isnull=False).order_by("id")
    lines = log.values_list("row_number", "field", "message").iterator()  # batches log their rows in order
    with source:
        for number, found in groupby(lines, key=itemgetter(0)):
            cells = next((cells for at, cells in source.rows if at == number), None)
            if cells is None:
                raise RuntimeError(f"row {number} is in the log of job {job.pk} but not in its file")
            errors = [f"{field}: {message}" for _number, field, message in found]
            if surplus := cells[width:]:
                errors.append(f"cells beyond the last column: {' | '.join(surplus)}")
            if isinstance(cells, FlawedRow) and cells.unknown:
                unknown = (f"{name}={value}" for name, value in cells.unknown.items())
                errors.append(f"values without a column: {' | '.join(unknown)}")
            # what is defused in the file already is not to be defused twice
            values = [unescape_formula(cell) for cell in cells[:width]]
            yield [*values, *[""] * (width - len(values)), number, "; ".join(errors)]
