"""Tables in files: readers that stream rows with bounded memory and can resume, writers that stream bytes."""

from pim.tabular.base import Detected, Position, Table, TableError, UnreadableRow
from pim.tabular.opening import open_table

__all__ = ["Detected", "Position", "Table", "TableError", "UnreadableRow", "open_table"]
