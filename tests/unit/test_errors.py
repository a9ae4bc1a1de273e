"""Errors that are told to a person, and what a Dagster step makes of them.

Locks out: an error with a sentence for a person that reaches the terminal as a traceback, and a refusal that Dagster
tries again.
"""

import importlib
import pkgutil

import dagster as dg
import pytest

import segmentation_assets
from segmentation_assets import errors
from segmentation_assets.errors import UserError, WarehouseError, as_failure


def own_errors() -> dict[str, type[BaseException]]:
    """Every exception that a module of ours defines."""
    names = [module.name for module in pkgutil.walk_packages(segmentation_assets.__path__, "segmentation_assets.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == module.__name__
    }


def test_every_error_of_ours_is_a_user_error_and_drawn_in_the_tree() -> None:
    found = own_errors()
    assert len(found) >= 14
    assert [name for name, value in found.items() if not issubclass(value, UserError)] == []
    assert [name for name in found if name not in (errors.__doc__ or "")] == []


def test_a_step_fails_in_the_errors_words_and_is_not_tried_again() -> None:
    with pytest.raises(dg.Failure) as failed, as_failure():
        raise WarehouseError("There is no DuckDB file at x: run `make run` first.")
    assert failed.value.description == "There is no DuckDB file at x: run `make run` first."
    assert not failed.value.allow_retries


def test_any_other_error_stays_what_it_is() -> None:
    with pytest.raises(KeyError), as_failure():
        raise KeyError("a mistake of ours")
    with as_failure():
        pass
