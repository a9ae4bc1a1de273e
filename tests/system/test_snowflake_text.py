"""Text that Snowflake judges as DuckDB and Python do: addresses, and ids that a spreadsheet would run.

Locks out: a pattern that one engine reads otherwise, and a blank that one engine does not trim.
"""

from collections.abc import Iterator

import pytest

from segmentation_assets.sources import formulas
from segmentation_assets.warehouse.snowflake import SnowflakeSession
from tests.support import snowflake_account
from tests.support.addresses import HARD_CASES, deliverable_sql
from tests.support.formula_ids import HARMLESS, RUN
from tests.support.snowflake_account import session_on


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


def test_ids_that_a_spreadsheet_runs_are_counted(session: SnowflakeSession) -> None:
    session.execute("create or replace schema ids")
    session.execute("create table ids.dim_customer (customer_id varchar)")
    for one in (*RUN, *HARMLESS):
        session.rows("insert into ids.dim_customer select ?", (one,))
    assert formulas.ids_that_run(session, "ids.dim_customer", "customer_id") == len(RUN)
