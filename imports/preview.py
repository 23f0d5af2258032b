"""What the first rows of a file would become, without writing anything."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from imports.mapping import RowProblem
from imports.models import ImportJob
from imports.pipeline import CheckDigits
from imports.source import open_source

# Rows looked at for problems: enough to see that a mapping is wrong, few enough to answer at once.
CHECKED_ROWS = 1000


@dataclass(slots=True)
class Preview:
    """rows: the mapped values by field. problems, check_digits: of the first CHECKED_ROWS rows. mapped, ignored:
    columns of the file."""

    rows: list[dict[str, str]] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)
    mapped: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    detected: dict[str, Any] = field(default_factory=dict)
    check_digits: dict[str, dict[str, int]] = field(default_factory=dict)


def preview(job: ImportJob, *, limit: int) -> Preview:
    """The first `limit` acceptable rows. Raises PermanentError when the file or its mapping cannot be used."""
    with open_source(job) as source:
        found = Preview(
            mapped=source.mapper.mapped, ignored=source.mapper.ignored, detected=source.table.detected.as_dict()
        )
        codes = CheckDigits(job.ean_check)
        for number, cells in islice(source.rows, max(limit, CHECKED_ROWS)):
            mapped = source.mapper(number, cells)
            found.problems.extend(mapped.problems)
            codes.add(mapped)
            if mapped.values is not None and len(found.rows) < limit:
                values = {
                    name: value
                    for name, value in zip(source.mapper.fields, mapped.values, strict=True)
                    if isinstance(value, str)
                }
                found.rows.append({"ean": mapped.ean, **values})
        found.check_digits = codes.added_to({})
    return found
