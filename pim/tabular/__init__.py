"""Tables in files: readers that stream rows with bounded memory and can resume, writers that stream bytes."""

from pim.tabular.base import Detected, FlawedRow, Position, Table, TableError, UnreadableRow
from pim.tabular.opening import FORMATS, detect_format, open_table

__all__ = [
    "FORMATS",
    "Detected",
    "FlawedRow",
    "Position",
    "Table",
    "TableError",
    "UnreadableRow",
    "detect_format",
    "open_table",
]
