"""How statements are counted that the emulator gets one by one and an account in a block.

Locks out: a count that leaves out more than the block, so that a month looks cheaper than it is.
"""

from typing import Any

from tests.support.recording_emulator import as_an_account_is_asked


def record(*lines: tuple[int, str]) -> list[dict[str, Any]]:
    return [{"asked": "statement", "session": session, "sql": sql} for session, sql in lines]


def test_a_transaction_and_the_drop_behind_it_are_one_statement_and_nothing_else_is_left_out() -> None:
    asked = [
        {"asked": "login", "session": 1},
        *record(
            (1, "create or replace transient table gold.a__dbt_tmp_1 as (select 1)"),
            (1, "BEGIN"),
            (1, "delete from gold.a"),
            (2, "select 1"),
            (1, "insert into gold.a select * from gold.a__dbt_tmp_1"),
            (1, "COMMIT"),
            (1, "drop table if exists gold.a__dbt_tmp_1 cascade"),
            (1, "drop table if exists gold.b__dbt_tmp_1 cascade"),
            (2, "begin transaction"),
            (2, "delete from gold.c"),
            (2, "commit"),
            (2, "select 2"),
            (2, "select comment from _fs_global._fs_information_schema._fs_tables_ext"),
            (2, "drop table if exists gold.c__dbt_tmp_1"),
        ),
    ]
    assert as_an_account_is_asked(asked) == [
        "create or replace transient table gold.a__dbt_tmp_1 as (select 1)",
        "begin ... commit",
        "select 1",
        "drop table if exists gold.b__dbt_tmp_1 cascade",
        "begin ... commit",
        "select 2",
        "drop table if exists gold.c__dbt_tmp_1",
    ]
