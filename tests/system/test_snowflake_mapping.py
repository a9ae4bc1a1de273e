"""A mapped star schema on Snowflake: staging by dbt-snowflake and what Python asks, by the real connector.

Locks out: types that Snowflake calls otherwise, a moment that is read in the session's zone, text keys that become
other numbers than on DuckDB, and a check or a guess that only one engine can answer.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from segmentation_assets.dbt.project import project_dir
from segmentation_assets.rules.load import load_rules, parse_rules
from segmentation_assets.settings import Settings
from segmentation_assets.sources import SourceError, checkup, contract, guess
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBSession
from segmentation_assets.warehouse.snowflake import SnowflakeSession
from tests.support import snowflake_account
from tests.support.snowflake_account import environment, session_on

BEFORE = date(2025, 12, 1)
RULES: dict[str, Any] = {
    "approved_statuses": ["POSTED"],
    "other_statuses": ["DECLINED"],
    "star_schema": {
        "schema": "DWH",
        "time_zone": "Europe/Berlin",
        "tables": {
            "fct_transactions": {
                "from": "F_POSTINGS",
                "columns": {
                    "transaction_key": "POSTING_ID", "customer_key": "CARD", "merchant_category_key": "MCC",
                    "transaction_date": "POSTED_AT", "transaction_amount": "-AMOUNT_CENTS / 100.0",
                    "transaction_status": "STATUS",
                },
            },
            "dim_customer": {"from": "DWH.D_CARD", "columns": {
                "customer_key": "CARD", "customer_id": "CLIENT_NO", "email": "MAIL", "valid_from": "OPENED",
            }},
            "dim_merchant_category": "in_facts",
            "dim_date": "generated",
            "marketing_suppressions": {"from": "OPT_OUT", "columns": {"customer_id": "CLIENT_NO"}},
        },
    },
}  # fmt: skip
# In a database of their own, and one of them a view.
TABLES = (
    "create database lake",
    "create schema lake.dwh",
    "create table lake.dwh.f_postings (posting_id integer, card varchar, mcc varchar, posted_at timestamp_tz,"
    " amount_cents integer, status varchar)",
    # Half an hour before midnight in Berlin, and half an hour after it; a refund; a status that is no spend.
    "insert into lake.dwh.f_postings values"
    " (1, 'K-1', 'Grocery', '2025-11-03 22:30:00+00:00', -1234, 'POSTED'),"
    " (2, 'K-1', 'Grocery', '2025-11-03 23:30:00+00:00', -100, ' posted '),"
    " (3, 'K-2', 'Hotels', '2025-07-03 22:30:00+00:00', 55, 'POSTED'),"
    " (4, 'K-2', null, '2025-07-04 10:00:00+00:00', -999, 'DECLINED')",
    "create table lake.dwh.cards (card varchar, client_no integer, mail varchar, opened integer)",
    "insert into lake.dwh.cards values ('K-1', 7001, 'a@example.com', 20240229), ('K-2', 7002, null, 20250101)",
    "create view lake.dwh.d_card as select * from lake.dwh.cards",
    "create table lake.dwh.opt_out (client_no integer)",
    "insert into lake.dwh.opt_out values (7002)",
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnowflakeSession]:
    """The company's tables, and staging as dbt builds it of them."""
    rules = tmp_path_factory.mktemp("rules") / "rules.yml"
    rules.write_text(yaml.safe_dump(RULES))
    with snowflake_account.account() as variables, session_on(variables, variables["SNOWFLAKE_DATABASE"]) as opened:
        for statement in TABLES:
            opened.execute(statement)
        opened.execute(f"use database {variables['SNOWFLAKE_DATABASE']}")  # making one goes into it
        command = ["dbt", "--month", "2025-11", "run", "--select", "path:models/staging"]
        built = subprocess.run(
            [str(Path(sys.executable).with_name("segmentation")), *command],
            env={
                **environment(variables),
                "SEGMENTATION_RULES": str(rules),
                "SEGMENTATION_SOURCE": "warehouse",
                "SEGMENTATION_SOURCE_DATABASE": "lake",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-1000:]
        yield opened


def star_of(session: SnowflakeSession, **changed: Any) -> StarSchema:
    rules = parse_rules({**load_rules(project_dir()).raw, **RULES, **changed}, "the rules")
    settings = Settings.given(target="snowflake", snowflake_database="segmentation", source_database="lake")
    return StarSchema(session, settings, rules)


def test_staging_is_what_the_mapping_says(session: SnowflakeSession) -> None:
    facts = session.rows(
        "select transaction_key, customer_key, category_key, transaction_date, amount from silver.stg_transactions"
        " order by transaction_key"
    )
    keys = [row["customer_key"] for row in facts]
    assert keys[0] == keys[1] != keys[2]
    assert [(row["transaction_key"], row["category_key"], row["transaction_date"]) for row in facts] == [
        (1, "Grocery", date(2025, 11, 3)), (2, "Grocery", date(2025, 11, 4)), (3, "Hotels", date(2025, 7, 4)),
    ]  # fmt: skip
    assert [Decimal(str(row["amount"])) for row in facts] == [Decimal("12.34"), Decimal("1"), Decimal("-0.55")]
    customers = session.rows(
        "select customer_key, customer_id, email, valid_from, valid_to, is_current from silver.stg_customers"
        " order by customer_id"
    )
    assert [(row["customer_id"], row["email"], row["valid_to"], row["is_current"]) for row in customers] == [
        ("7001", "a@example.com", None, True), ("7002", None, None, True),
    ]  # fmt: skip
    assert [str(row["valid_from"])[:10] for row in customers] == ["2024-02-29", "2025-01-01"]
    assert [row["customer_key"] for row in customers] == [keys[0], keys[2]]
    groups = session.rows("select category_name, category_group from silver.stg_merchant_categories order by 1")
    assert [(row["category_name"], row["category_group"]) for row in groups] == [
        ("Grocery", "necessities"), ("Hotels", "travel"),
    ]  # fmt: skip
    (calendar,) = session.rows("select count(*) as n, min(full_date) as starts from silver.calendar_periods")
    assert (calendar["n"], str(calendar["starts"])[:10]) == (47482, "1970-01-01")


def test_text_keys_are_the_numbers_that_duckdb_gives(session: SnowflakeSession) -> None:
    import duckdb

    (row,) = session.rows("select max(customer_key) as n from silver.stg_customers where customer_id = '7001'")
    with duckdb.connect() as connection:
        other = StarSchema(DuckDBSession(connection), Settings.from_environment(), star_of(session).rules)
        ((number,),) = connection.execute(f"select {other._number_of_text_key(chr(39) + 'K-1' + chr(39))}").fetchall()
    assert row["n"] == number


def test_python_asks_the_same(session: SnowflakeSession) -> None:
    star = star_of(session)
    contract.check(star, BEFORE, [(date(2025, 11, 1), BEFORE)])
    found = checkup.check(star, BEFORE)
    assert found.is_readable, [str(finding) for finding in found.findings]
    assert [(share.name.strip().upper(), share.rows) for share in found.statuses if share.rows > 1] == [("POSTED", 2)]
    assert found.customers["without_address"] == 1
    assert [column.data_type for column in found.columns if column.column == "transaction_date"] == ["timestamp_tz"]
    facts = star.sql("fct_transactions")
    (row,) = session.rows(
        f"select count(*) as n from {facts} where transaction_date >= date '2025-11-04' and transaction_date < date"
        f" '2025-12-01'{star.and_occurred(date(2025, 11, 4), BEFORE)}"
    )
    assert row["n"] == 1
    newest = max(row["occurred_at"] for row in session.rows(f"select occurred_at from {facts}"))
    assert isinstance(newest, datetime)


def test_faults_and_guesses_are_told_there_too(session: SnowflakeSession) -> None:
    tables = {**RULES["star_schema"]["tables"], "dim_customer": {"from": "D_CARDS"}}
    with pytest.raises(
        SourceError,
        match=r"there is no table or view lake\.DWH\.D_CARDS, or role the user's default role may not read it",
    ):
        contract.check(star_of(session, star_schema={**RULES["star_schema"], "tables": tables}), BEFORE)
    guessed = yaml.safe_load(guess.mapping(session, "dwh", "lake"))
    assert guessed["star_schema"]["tables"]["fct_transactions"]["columns"]["transaction_date"] == "POSTED_AT"
    assert guessed["star_schema"]["tables"]["marketing_suppressions"]["from"] == "OPT_OUT"
