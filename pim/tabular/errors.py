"""The one error that reading a table raises."""


class TableError(Exception):
    """The file cannot be read as a table, or not further than `row`."""

    def __init__(self, message: str, *, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row
