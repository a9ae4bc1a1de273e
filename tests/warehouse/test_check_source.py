"""check-source: every planted fault is a line with place, figure and what to do, and a first mapping is guessed.

Locks out: a fault that shows only in the tenth run, one by one; a check that tells customers' ids or addresses; figures
that nobody counted; a guess that its own check refuses.
"""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from segmentation_assets.cli.commands import main
from segmentation_assets.dbt.project import project_dir
from segmentation_assets.rules.load import load_rules, parse_rules
from segmentation_assets.settings import Settings
from segmentation_assets.sources import SourceError, checkup, guess
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBSession

BEFORE = date(2025, 12, 1)
MAPPING = """
schema: dwh
tables:
  fct_transactions:
    from: f_postings
    columns: {transaction_key: id, customer_key: client, merchant_category_key: mcc, transaction_date: posted,
      transaction_amount: cents / 100.0, transaction_status: status}
  dim_customer:
    from: d_client
    columns: {customer_key: sk, customer_id: client_no, email: mail, valid_from: starts, valid_to: ends}
  dim_merchant_category: {from: d_mcc, columns: {category_key: mcc, category_name: descr}}
  dim_date: generated
  marketing_suppressions: {from: opt_out, columns: {customer_id: client_no}}
"""
# A hundred customers, a fact a week each, all in order.
RIGHT = """
create schema dwh;
create table dwh.d_client as
select cast(n as bigint) as sk, 'C' || lpad(cast(n as varchar), 4, '0') as client_no,
    'person' || n || '@example.com' as mail, date '2024-01-01' as starts, cast(null as date) as ends
from range(1, 101) as numbers (n);
create table dwh.d_mcc as select * from (values
    (1, 'Travel'), (2, 'Airlines'), (3, 'Hotels'), (4, 'Grocery'), (5, 'Gas'), (6, 'Utilities'), (7, 'Dining')
) as categories (mcc, descr);
create table dwh.f_postings as
select cast(row_number() over () as bigint) as id, cast(n as bigint) as client,
    cast(1 + (n + week) % 7 as integer) as mcc, cast(date '2025-11-30' - cast(7 * week as integer) as date) as posted,
    cast(1000 + n as bigint) as cents, 'approved' as status
from range(1, 101) as numbers (n), range(0, 60) as weeks (week);
create table dwh.opt_out as select 'C0007' as client_no;
"""
# Statement -> the level, the place, and words of the line that it gives.
FAULTS: dict[str, tuple[str, str, str]] = {
    statement: (level, place, words)
    for statement, level, place, words in (
        (
            "update dwh.f_postings set status = 'POSTED'",
            "error", "fct_transactions.transaction_status",
            "POSTED 100 %: no rule names it; add approved_statuses: [POSTED]",
        ),
        (
            "update dwh.f_postings set status = 'Cleared' where id % 10 = 0",
            "warning", "fct_transactions.transaction_status",
            "Cleared 10 % of the amount: no rule names it; add what counts",
        ),
        (
            "alter table dwh.f_postings drop column cents",
            "error", "fct_transactions.transaction_amount",
            'dwh"."f_postings" has no column cents',
        ),
        (
            "alter table dwh.f_postings alter posted type varchar",
            "error", "fct_transactions.transaction_date",
            "found VARCHAR (posted); write cast(posted as date)",
        ),
        (
            "drop table dwh.d_mcc",
            "error", "dim_merchant_category",
            "there is no table or view",
        ),
        (
            "delete from dwh.d_client where true",
            "error", "dim_customer",
            "has no rows",
        ),
        (
            "insert into dwh.f_postings select null, client, mcc, posted, cents, status from dwh.f_postings limit 3",
            "error", "fct_transactions.transaction_key",
            "NULL in 3 rows",
        ),
        (
            "insert into dwh.f_postings select * from dwh.f_postings limit 40",
            "error", "fct_transactions.transaction_key",
            "40 rows more than there are keys, 40 of them copies of another row: a file",
        ),
        (
            "update dwh.f_postings set client = null where id <= 5",
            "error", "fct_transactions.customer_key",
            "NULL in 5 of 6,000 rows",
        ),
        (
            "update dwh.f_postings set client = client + 1000 where client > 98",
            "error", "fct_transactions.customer_key",
            "2 keys in 120 rows are no key of dim_customer",
        ),
        (
            "update dwh.f_postings set mcc = 99 where id % 20 = 1",
            "warning", "fct_transactions.merchant_category_key",
            "300 rows, 5 % of the spend, are of no category",
        ),
        (
            "update dwh.d_mcc set descr = 'Flights' where mcc = 2",
            "warning", "dim_merchant_category.category_name",
            "category_groups names Airlines, which no category is called",
        ),
        (
            "insert into dwh.d_mcc values (7, 'Bars')",
            "error", "dim_merchant_category.category_key",
            "1 rows more than there are keys",
        ),
        (
            "update dwh.f_postings set posted = date '1900-01-01' where id = 1",
            "warning", "fct_transactions.transaction_date",
            "1 rows before 1970-01-01, the first of 1900-01-01",
        ),
        (
            "update dwh.f_postings set posted = date '9999-12-31' where id = 1",
            "warning", "fct_transactions.transaction_date",
            "the newest fact is of 9999-12-31",
        ),
        (
            "delete from dwh.f_postings where posted > date '2025-11-09'",
            "warning", "fct_transactions.transaction_date",
            "the facts end on 2025-11-09, 21 days before",
        ),
        (
            "insert into dwh.d_client select sk + 500, client_no || ' ', mail, starts, ends from "
            "dwh.d_client where sk = 3",
            "error", "dim_customer.customer_id",
            "1 ids differ from another one in nothing but blanks",
        ),
        (
            "insert into dwh.d_client select sk + 500, lower(client_no), mail, starts, ends from "
            "dwh.d_client where sk = 3",
            "warning", "dim_customer.customer_id",
            "1 ids differ from another one in nothing but capitals",
        ),
        (
            "insert into dwh.d_client select * from dwh.d_client where sk < 3",
            "error", "dim_customer.customer_key",
            "2 rows more than there are keys",
        ),
        (
            "update dwh.d_client set mail = null where sk <= 30",
            "warning", "dim_customer.email",
            "30 of 100 customers have no address",
        ),
        (
            "update dwh.d_client set mail = 'Office@example.com ' where sk in (1, 2, 3)",
            "warning", "dim_customer.email",
            "3 customers share 1 addresses",
        ),
        (
            "insert into dwh.d_client select 600 + n, 'unknown', null, date '2024-01-01', null from range(4)"
            " as numbers (n)",
            "warning", "dim_customer.customer_id",
            "4 rows are nobody's (unknown_customers), more than the 3",
        ),
        (
            "insert into dwh.d_client select sk + 500, client_no, mail, date '2025-01-01', ends from "
            "dwh.d_client where sk < 5",
            "warning", "dim_customer.valid_from",
            "4 versions of 4 customers begin before",
        ),
        (
            "update dwh.d_client set ends = date '2023-01-01' where sk = 9",
            "warning", "dim_customer.valid_to",
            "1 versions end before they begin",
        ),
        (
            "insert into dwh.d_client select 700, 'C9000', 'new@example.com', date '2025-01-01', null",
            "warning", "dim_customer.customer_key",
            "1 customers have no fact at all",
        ),
        (
            "drop table dwh.opt_out",
            "warning", "marketing_suppressions",
            "is not there: no list of customers is made",
        ),
        (
            "insert into dwh.opt_out values ('c0008'), ('X1')",
            "warning", "marketing_suppressions.customer_id",
            "2 of 3 ids (67 %) are no customer's",
        ),
        (
            "update dwh.d_client set client_no = '=cmd' where sk = 4",
            "error", "dim_customer.customer_id",
            "found 1 that begin with =",
        ),
        (
            "update dwh.f_postings set cents = 99999999999999 where id = 1",
            "error", "fct_transactions.transaction_amount",
            "expected amounts below 100,000,000,000",
        ),
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def pristine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(RIGHT)
        yield connection


@pytest.fixture
def company(pristine: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    pristine.execute("begin")
    yield pristine
    pristine.execute("rollback")


def looked_at(connection: duckdb.DuckDBPyConnection, mapping: str = MAPPING) -> checkup.Checkup:
    rules = parse_rules({**load_rules(project_dir()).raw, "star_schema": yaml.safe_load(mapping)}, "the rules")
    star = StarSchema(DuckDBSession(connection), Settings.from_environment(), rules)
    return checkup.check(star, BEFORE)


def test_a_star_schema_without_faults_has_no_line(company: duckdb.DuckDBPyConnection) -> None:
    found = looked_at(company)
    assert (found.findings, found.is_readable) == ([], True)
    assert {(column.table, column.column) for column in found.columns if column.without} == {
        ("dim_customer", "first_name"), ("dim_customer", "last_name"), ("dim_customer", "is_current"),
        ("marketing_suppressions", "reason"), ("marketing_suppressions", "suppressed_at"),
        ("marketing_suppressions", "campaign"), ("marketing_suppressions", "channel"),
        ("marketing_suppressions", "expires_at"),
    }  # fmt: skip


@pytest.mark.parametrize("statement", FAULTS)
def test_a_planted_fault_is_a_line(company: duckdb.DuckDBPyConnection, statement: str) -> None:
    company.execute(statement)
    found = looked_at(company)
    level, place, words = FAULTS[statement]
    lines = [(finding.level, str(finding)) for finding in found.findings]
    assert any(each == level and line.startswith(f"{place}: ") and words in line for each, line in lines), lines
    assert found.is_readable == all(finding.level == "warning" for finding in found.findings)
    assert not any(re.search(r"\w@\w", line) or re.search(r"\bC\d{4}\b", line) for _, line in lines), (
        "ids and addresses are not told"
    )


def test_many_faults_are_told_at_once(company: duckdb.DuckDBPyConnection) -> None:
    planted = [
        statement for statement in FAULTS
        if statement.startswith("update") and "POSTED" not in statement and "1900" not in statement
        and "9999-12" not in statement and "client = null" not in statement
    ]  # fmt: skip
    for statement in planted:
        company.execute(statement)
    places = {f"{finding.table}.{finding.column}".rstrip(".") for finding in looked_at(company).findings}
    assert {FAULTS[statement][1] for statement in planted} <= places


def test_the_figures_are_those_of_sql_by_hand(company: duckdb.DuckDBPyConnection) -> None:
    for statement in (
        "update dwh.f_postings set status = 'declined' where id % 7 = 0",
        "update dwh.f_postings set cents = -cents where id % 50 = 0",
        "update dwh.f_postings set mcc = null where id % 30 = 0",
        "update dwh.d_client set mail = null where sk % 9 = 0",
        "update dwh.d_client set mail = 'a@example.com' where sk % 10 = 5",
    ):
        company.execute(statement)
    found = looked_at(company)

    def by_hand(sql: str) -> list[tuple[Any, ...]]:
        return company.execute(sql).fetchall()

    assert [(share.name, share.rows, share.amount) for share in found.statuses] == [
        (name, rows, float(amount))
        for name, rows, amount in by_hand(
            "select status, count(*), sum(abs(cents)) / 100 from dwh.f_postings group by 1 order by 3 desc"
        )
    ]
    assert [(share.name, share.rows, share.amount) for share in found.categories] == [
        (name, rows, float(amount))
        for name, rows, amount in by_hand(
            "select coalesce(descr, '(unknown)') as name, count(*), sum(abs(cents)) / 100 as amount from dwh.f_postings"
            " left join dwh.d_mcc using (mcc) where status = 'approved' group by 1 order by amount desc, name"
        )
    ]
    assert sum(share.amount_pct for share in found.categories) == pytest.approx(100)
    assert found.customers == {
        "customers": 100, "versions": 100, "without_address": 10, "shared_addresses": 1, "at_shared_addresses": 10,
        "unknown_members": 0,
    }  # fmt: skip
    assert found.facts == {
        "rows": 6000, "first_day": "2024-10-13", "last_day": "2025-11-30", "rows_after_the_last_closed_month": 0,
    }  # fmt: skip


# Three companies' tables, none called as the contract calls them.
GUESSED = {
    "bank": RIGHT.replace("dwh.", '"Bank DWH".').replace("schema dwh", 'schema "Bank DWH"'),
    "shop": """
        create schema shop;
        create table shop.sales as select 'R' || n as receipt_id, 1 + n % 50 as member_id, 'Food' as department,
            cast(strftime(date '2025-11-30' - cast(n % 400 as integer), '%Y%m%d') as integer) as date_key,
            -cast(n % 90 as double) - 0.5 as amount
        from range(5000) as numbers (n);
        create table shop.members as select n as member_id, 'Ann' as firstname, 'm' || n || '@example.com' as e_mail
        from range(1, 51) as numbers (n);
        create table shop.stores as select 1 as store_id, 'Berlin' as city;
    """,
    "phone": """
        create schema phone;
        create table phone."tblTransactions" as select n as "TransactionId", 'A-' || n % 30 as "AccountId",
            timestamptz '2025-11-30 12:00:00+00' - n * interval 2 hour as "CreatedAt",
            cast(n % 70 + 1 as decimal(10, 2)) as "AmountEur", 'completed' as "Status"
        from range(4000) as numbers (n);
        create table phone."tblAccounts" as select 'A-' || n as "AccountId", cast(n as varchar) as "CustomerNumber",
            date '2020-01-01' as "OpenedAt"
        from range(30) as numbers (n);
    """,
}
SCHEMAS = {"bank": "Bank DWH", "shop": "shop", "phone": "phone"}


@pytest.mark.parametrize("name", GUESSED)
def test_a_guessed_mapping_is_one_that_its_check_accepts(name: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(GUESSED[name])
        text = guess.mapping(DuckDBSession(connection), SCHEMAS[name])
        guessed = yaml.safe_load(text)
        assert all(" # " in line for line in text.splitlines() if re.match(r" {8}[a-z_]+: ", line)), "each has a reason"
        rules = parse_rules({**load_rules(project_dir()).raw, **guessed}, name)
        star = StarSchema(DuckDBSession(connection), Settings.from_environment(), rules)
        found = checkup.check(star, BEFORE)
    assert found.is_readable, [str(finding) for finding in found.findings]
    facts = guessed["star_schema"]["tables"]["fct_transactions"]
    if name == "bank":
        assert facts["columns"]["transaction_amount"] == "cents / 100.0"
        assert guessed["star_schema"]["tables"]["marketing_suppressions"]["from"] == "opt_out"
    elif name == "shop":
        assert facts["columns"]["transaction_amount"] == "-amount"
        assert guessed["star_schema"]["tables"]["dim_merchant_category"] == "in_facts"
        assert "suppressions" not in guessed, "that nobody objects, a person says"
    else:
        assert guessed["approved_statuses"] == ["completed"]
        assert guessed["star_schema"]["time_zone"] == "UTC"


def test_a_schema_without_transactions_is_refused() -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema empty; create schema odd; create table odd.stores (store_id integer)")
        with pytest.raises(SourceError, match="no table or view in schema 'empty'"):
            guess.mapping(DuckDBSession(connection), "empty")
        with pytest.raises(SourceError, match=r"No table in schema 'odd' looks like transactions.*There are: stores"):
            guess.mapping(DuckDBSession(connection), "odd")


def test_the_command_writes_a_mapping_and_looks_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "company.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(RIGHT)
    monkeypatch.setenv("SEGMENTATION_DUCKDB_PATH", str(file))
    monkeypatch.setenv("SEGMENTATION_SOURCE", "warehouse")
    assert main(["check-source", "--from", "dwh"]) == 0
    assert "Written to star_schema.yml" in capfd.readouterr().out
    assert main(["check-source", "--from", "dwh"]) == 2, "a file that a person may have corrected is not written again"
    assert "star_schema.yml is there already" in capfd.readouterr().err
    monkeypatch.setenv("SEGMENTATION_RULES", "star_schema.yml")
    with duckdb.connect(str(file)) as connection:
        connection.execute("update dwh.f_postings set status = 'POSTED'")
    assert main(["check-source"]) == 1
    told = capfd.readouterr().out
    assert "POSTED" in told
    assert "No month can be computed before what is marked ERROR (1) is put right." in told
    assert main(["check-source", "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert not found["is_readable"]
    assert found["statuses"][0]["name"] == "POSTED"
    assert {"level", "table", "column", "words", "count"} == set(found["findings"][0])
