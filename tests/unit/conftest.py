"""What keeps the unit tests fast: they open no warehouse."""

from typing import Any, NoReturn

import duckdb
import pytest


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("A unit test needs no engine; one that does belongs in tests/warehouse.")

    monkeypatch.setattr(duckdb, "connect", refused)
