"""Errors that are told to a person in one line."""


class WarehouseError(Exception):
    """The warehouse cannot be used as configured; one line that names the variable, its value and the fix."""


class WarehouseBusyError(Exception):
    """Something else has the DuckDB file open; one line to show."""
