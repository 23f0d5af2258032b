"""Rows of a file to product values: columns mapped once per job, cells read by compiled functions. Pure."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from catalog.fields import ALIASES, FIELDS, KEEP
from catalog.identifiers import CodeError, Ean, normalise
from imports.cells import CellError, Converter, DecimalMark, Value, code_text, converter
from imports.columns import MAPPABLE, MappingError, Source, map_columns
from pim.tabular.base import FlawedRow, UnreadableRow

__all__ = ["KEEP", "Mapped", "Mapper", "MappingError", "RowProblem", "compile_mapping"]

EanCheck = Literal["off", "warn", "reject"]
EmptyCells = Literal["keep", "clear"]

SHOWN = 200  # characters of a value in a problem
MESSAGE = 500  # characters of a list of names in a message


class RowProblem(NamedTuple):
    """What is wrong with one cell (or, with field "row", with the whole row). value: as in the file, shortened."""

    row: int
    field: str
    value: str | None
    message: str
    level: Literal["error", "warning"]


class Mapped(NamedTuple):
    """One row, read. values: in the order of `Mapper.fields`, None when the row is refused."""

    ean: str
    values: Sequence[Value] | None
    problems: Sequence[RowProblem]


def compile_mapping(
    columns: Sequence[str],
    *,
    mapping: Mapping[str, str] | None = None,
    ean_check: EanCheck = "warn",
    empty: EmptyCells = "keep",
    decimal_mark: DecimalMark | None = None,
    constants: Mapping[str, str] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> "Mapper":
    """Decide what each column means and compile how its cells are read.

    mapping: {file column: field}, or None to go by the headers. ean_check: what a wrong check digit means.
    empty: whether an empty cell leaves a field as it is or clears it; fields that cannot be empty are always left.
    decimal_mark: where known; else a number that can be read in two ways is an error.
    constants: {field: text} for all rows, whatever the file says. defaults: {field: text} for rows whose cell is empty
    or that have no such column. Both are read as cells are.
    Raises MappingError.
    """
    fixed = _fixed_values(constants or {}, "constant")
    fallback = _fixed_values(defaults or {}, "default")
    sources = {field: source for field, source in map_columns(columns, mapping).items() if field not in fixed}
    converters = {
        field: converter(
            FIELDS[field],
            empty=fallback.get(field, None if empty == "clear" and FIELDS[field].nullable else KEEP),
            factor=source.factor,
            decimal_mark=decimal_mark,
        )
        for field, source in sources.items()
        if field != "ean"
    }
    for field, value in (fallback | fixed).items():
        converters.setdefault(field, _constant(value))
    return Mapper(columns, sources, converters, ean_check)


def _fixed_values(texts: Mapping[str, str], kind: str) -> dict[str, Value]:
    values = {}
    for name, text in texts.items():
        field = ALIASES.get(name, name)
        if field == "ean" or field not in MAPPABLE:
            raise MappingError(f"No {kind} can be given for {name!r}. Fields: {', '.join(MAPPABLE[1:])}")
        try:
            values[field] = converter(FIELDS[field], empty=KEEP)(text)
        except CellError as error:
            raise MappingError(f"The {kind} {text[:SHOWN]!r} for {name!r} {error}") from error
    return values


def _constant(value: Value) -> Converter:
    return lambda _cell: value


class Mapper:
    """Call it with a row's number and cells. A refused row lists every problem it has.

    fields: what `Mapped.values` holds. The EAN is apart; `is_active` is merged into `status` (DEACTIVATE when
    false); `upc` is always there, because a 12-digit EAN gives one.
    mapped: {column: field}. ignored: the columns without a field. ean_index: the column of the EAN.
    """

    def __init__(
        self,
        columns: Sequence[str],
        sources: Mapping[str, Source],
        converters: Mapping[str, Converter],
        ean_check: EanCheck,
    ) -> None:
        self.mapped = {columns[source.index]: field for field, source in sources.items()}
        self.ignored = [column for column in columns if column not in self.mapped]
        self.ean_index = sources["ean"].index
        self._width = len(columns)
        self._ean_check = ean_check
        self._fields = {source.index: field for field, source in sources.items()}
        # a constant looks at no cell, so any will do
        cells = {field: sources[field].index if field in sources else 0 for field in converters}
        self._cells = [(cells[field], field, convert) for field, convert in converters.items()]
        apart = ("upc", "status", "is_active")
        plain = [field for field in converters if field not in apart]
        self._plain = [(cells[field], converters[field]) for field in plain]
        self._upc, self._status, self._active = (
            (cells[field], converters[field]) if field in converters else None for field in apart
        )
        self._has_status = self._status is not None or self._active is not None
        self.fields: tuple[str, ...] = (*plain, "upc", *(("status",) if self._has_status else ()))

    def __call__(self, row: int, cells: Sequence[str]) -> Mapped:
        if len(cells) != self._width:
            return _refused(row, cells, self._width)
        if cells.__class__ is FlawedRow:
            return self._flawed(row, cells)
        try:
            ean = _read_ean(cells[self.ean_index])
            values = [convert(cells[index]) for index, convert in self._plain]
            upc: Value = KEEP if self._upc is None else self._upc[1](cells[self._upc[0]])
            values.append(ean.upc if ean.upc and not isinstance(upc, str) else upc)
            if self._has_status:
                values.append(self._read_status(cells))
        except CellError:
            return Mapped("", None, self._errors(row, cells))
        if ean.warning is None:
            return Mapped(ean.ean, values, ())
        problem = self._ean_problem(row, cells, ean)
        if problem is None:
            return Mapped(ean.ean, values, ())
        return Mapped(ean.ean, None if problem.level == "error" else values, (problem,))

    def _flawed(self, row: int, cells: FlawedRow) -> Mapped:
        """The row without what could not be read: refused when a field needs it, else with a warning."""
        mapped = self(row, list(cells))
        unreadable = {self._fields[index]: index for index in cells.unreadable if index in self._fields}
        problems = [problem for problem in mapped.problems if problem.field not in unreadable]
        problems += [
            RowProblem(row, field, _shown(cells[index]), cells.unreadable[index], "error")
            for field, index in unreadable.items()
        ]
        if cells.unknown:
            names = ", ".join(map(repr, cells.unknown))
            message = (
                f"not imported, because it is in no column: {names[:MESSAGE]}. Columns are the names that the first "
                "records of the file use; put a record with all names first"
            )
            problems.append(RowProblem(row, "row", _shown(" | ".join(cells.unknown.values())), message, "warning"))
        if unreadable:
            return Mapped("", None, problems)
        return Mapped(mapped.ean, mapped.values, problems)

    def _read_status(self, cells: Sequence[str]) -> Value:
        status = KEEP if self._status is None else self._status[1](cells[self._status[0]])
        active = KEEP if self._active is None else self._active[1](cells[self._active[0]])
        if not isinstance(active, str):
            return status
        if not isinstance(status, str):
            return active
        if (active == "active") != (status == "active"):
            raise CellError("contradicts the cell that says whether the product is active")
        return status

    def _ean_problem(self, row: int, cells: Sequence[str], ean: Ean) -> RowProblem | None:
        if not ean.check_digit_ok and self._ean_check == "off":
            return None
        level: Literal["error", "warning"] = (
            "error" if not ean.check_digit_ok and self._ean_check == "reject" else "warning"
        )
        return RowProblem(row, "ean", _shown(cells[self.ean_index]), ean.warning or "", level)

    def _errors(self, row: int, cells: Sequence[str]) -> list[RowProblem]:
        """Every problem of a refused row: the quick pass stops at the first one."""
        problems = []
        try:
            ean = _read_ean(cells[self.ean_index])
        except CellError as error:
            problems.append(RowProblem(row, "ean", _shown(cells[self.ean_index]), str(error), "error"))
        else:
            if ean.warning and (problem := self._ean_problem(row, cells, ean)):
                problems.append(problem)
        unread = set()
        for index, field, convert in self._cells:
            try:
                convert(cells[index])
            except CellError as error:
                unread.add(field)
                problems.append(RowProblem(row, field, _shown(cells[index]), str(error), "error"))
        if self._status is not None and not unread & {"status", "is_active"}:
            try:
                self._read_status(cells)
            except CellError as error:
                problems.append(RowProblem(row, "status", _shown(cells[self._status[0]]), str(error), "error"))
        return problems


def _read_ean(cell: str) -> Ean:
    try:
        return normalise(cell)
    except CodeError as error:
        text = code_text(cell)
        if not text:
            raise CellError("EAN is missing") from error
        if text == cell:
            raise CellError(str(error)) from error
    try:
        return normalise(text)
    except CodeError as error:
        raise CellError(str(error)) from error


def _refused(row: int, cells: Sequence[str], width: int) -> Mapped:
    """A row whose cells cannot be told apart."""
    if isinstance(cells, UnreadableRow):
        return Mapped("", None, (RowProblem(row, "row", None, cells.reason, "error"),))
    message = f"row has {len(cells)} cells, header has {width}; put cells that contain the delimiter in quotes"
    return Mapped("", None, (RowProblem(row, "row", _shown(" | ".join(cells)), message, "error"),))


def _shown(cell: str) -> str:
    """A cell as a log can store it."""
    return cell[:SHOWN].replace("\0", "\ufffd").encode(errors="replace").decode()
