"""Which addresses a message can be sent to: the macro's SQL against the table that Python is held to. On Snowflake:
tests/system/test_snowflake_text.py.

Locks out: a local part, a label or an address that is too long for SMTP, and two places that disagree.
"""

import duckdb

from tests.support.addresses import HARD_CASES, deliverable_sql


def test_duckdb_says_what_python_says() -> None:
    sql = f"select address, coalesce({deliverable_sql('duckdb')}, false) from (select unnest(?) as address)"
    assert dict(duckdb.execute(sql, [list(HARD_CASES)]).fetchall()) == HARD_CASES


def test_the_longest_addresses_are_as_long_as_they_say() -> None:
    lengths = {len(address): deliverable for address, deliverable in HARD_CASES.items() if address}
    assert (lengths[254], lengths[255]) == (True, False)
