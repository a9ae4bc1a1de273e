"""The checks that `make test-snowflake` runs on an account, against the emulator as far as it can answer them.

Locks out: a check that is wrong itself, which nobody would see before an account is at hand, and a gap of the emulator
that has closed without anybody taking it off the list.
"""

import re
from collections.abc import Iterator

import pytest

from tests.support import snowflake_account
from tests.support.account_checks import CHECKS, GAPS, Place
from tests.support.snowflake_account import emulator, session_on


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with emulator() as variables:
        with session_on(variables) as session:
            for schema in ("gold", "silver"):
                session.execute(f"create schema {schema}")
        yield Place(variables)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_holds_on_the_emulator_or_is_beyond_it(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has tables of its own: a transaction that one of them leaves open blocks no other."""
    if name not in GAPS:
        assert CHECKS[name](place)
        return
    monkeypatch.setattr(snowflake_account, "STATEMENT_SECONDS", 3)  # what is never answered is asked again until then
    with pytest.raises(Exception, match=re.escape(GAPS[name])):
        CHECKS[name](place)
