"""Text that Snowflake judges as DuckDB and Python do: addresses, spellings, and ids that a spreadsheet would run.

Locks out: a pattern that one engine reads otherwise, a blank that one engine does not trim, and two spellings that are
one status on one engine and two on the other.
"""

from collections.abc import Callable, Iterator

import pytest

from segmentation_assets.sources import formulas
from segmentation_assets.spelling import UNSEEN, code, trimmed
from segmentation_assets.warehouse.snowflake import SnowflakeSession
from tests.support import snowflake_account
from tests.support.addresses import HARD_CASES, deliverable_sql
from tests.support.formula_ids import HARMLESS, RUN
from tests.support.snowflake_account import session_on
from tests.support.spellings import HARD_CASES as SPELLINGS
from tests.support.spellings import SAME_CODE, macro_sql


@pytest.fixture(scope="module")
def session() -> Iterator[SnowflakeSession]:
    with snowflake_account.account() as variables, session_on(variables, variables["SNOWFLAKE_DATABASE"]) as opened:
        yield opened


def test_an_address_is_deliverable_as_python_says(session: SnowflakeSession) -> None:
    session.execute("create or replace schema texts")
    session.execute("create table texts.contacts (address varchar)")
    for address in HARD_CASES:
        session.rows("insert into texts.contacts select cast(? as varchar)", (address,))
    sql = f"select address, coalesce({deliverable_sql('snowflake')}, false) as found from texts.contacts"
    assert {row["address"]: row["found"] for row in session.rows(sql)} == HARD_CASES


@pytest.fixture(scope="module")
def spellings(session: SnowflakeSession) -> list[str]:
    """Every hard case, and one with each of the characters that nobody sees at both ends, in a table, by number."""
    cases = [*SPELLINGS, *(f"{one}x{one}" for one in UNSEEN)]
    session.execute("create or replace schema spelt")
    session.execute("create table spelt.texts (number integer, text varchar)")
    places = ", ".join(["(?, ?)"] * len(cases))
    given = tuple(value for numbered in enumerate(cases) for value in numbered)
    session.rows(f"insert into spelt.texts values {places}", given)
    return cases


@pytest.mark.parametrize(("name", "twin"), [("trimmed", trimmed), ("code", code)])
def test_a_spelling_is_read_as_python_reads_it(
    session: SnowflakeSession, spellings: list[str], name: str, twin: Callable[[str], str]
) -> None:
    rows = session.rows(f"select number, {macro_sql(name, 'text', 'snowflake')} as found from spelt.texts")
    found = {int(row["number"]): row["found"] for row in rows}
    differing = [(text, found[number]) for number, text in enumerate(spellings) if found[number] != twin(text)]
    assert not differing
    assert len(found) == len(spellings)


def test_spellings_of_one_code_are_one_there_too(session: SnowflakeSession, spellings: list[str]) -> None:
    sql = macro_sql("code", "text", "snowflake")
    counted = [
        session.rows(
            f"select count(distinct {sql}) as n from spelt.texts where number in"
            f" ({', '.join(str(number) for number, text in enumerate(spellings) if text in line)})"
        )[0]["n"]
        for line in SAME_CODE
    ]
    assert counted == [1] * len(SAME_CODE)
    (every,) = session.rows(f"select count(distinct {sql}) as n from spelt.texts where number < {len(SPELLINGS)}")
    assert every["n"] == len(SAME_CODE)


def test_ids_that_a_spreadsheet_runs_are_counted(session: SnowflakeSession) -> None:
    session.execute("create or replace schema ids")
    session.execute("create table ids.dim_customer (customer_id varchar)")
    for one in (*RUN, *HARMLESS):
        session.rows("insert into ids.dim_customer select ?", (one,))
    assert formulas.ids_that_run(session, "ids.dim_customer", "customer_id") == len(RUN)
