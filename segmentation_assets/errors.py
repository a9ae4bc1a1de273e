"""Errors that a person can act on: told as they stand, without a traceback.

UserError
├── SettingsError          a variable of the environment, or .env
├── RulesError             rules/load.py: a rules file
├── UndecidedError         rules/reachability.py: rules whose reach takes too long to find out
├── MonthError             months.py: a month that cannot be asked for
├── SourceError            sources/: the star schema
├── WarehouseError         the database cannot be used as configured
│   └── RefusedLoginError  a server that answered, and let nobody in
├── WarehouseBusyError     somebody else has the DuckDB file open, or writes to the account's tables
├── DbtRunError            dbt/runner.py: a model failed outside of a Dagster asset
└── one per command or step that refuses what was asked:
    NotPublishedError, ObjectionsError, WhatIfError, WhyError,
    AcceptanceError, ExportError, ReportError, ErasureError, AlertAddressError,
    AnotherTickError, DbtCommandError, SemanticViewError,
    HandWrittenCampaignError, ProjectFolderError
"""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """One line (or one per problem) that names the thing, its value and what to do. The same again would not help."""


class SettingsError(UserError):
    """Variables that cannot be used; one line per variable with its value and what to set instead."""


class WarehouseError(UserError):
    """The warehouse cannot be used as configured; one line that names the variable, its value and the fix."""


class RefusedLoginError(WarehouseError):
    """The server answered and refused the sign-in; `is_of_the_secret` where another secret would be let in."""

    def __init__(self, told: str, is_of_the_secret: bool) -> None:
        super().__init__(told)
        self.is_of_the_secret = is_of_the_secret


class WarehouseBusyError(UserError):
    """Something else has the DuckDB file open, or writes to the account's tables; one line to show."""


@contextmanager
def as_failure() -> Iterator[None]:
    """In a Dagster step, the words of a UserError as the step's failure, and no retry."""
    try:
        yield
    except UserError as error:
        import dagster as dg  # half a second, which a command that needs none of it does not wait

        raise dg.Failure(description=str(error), allow_retries=False) from error
