"""Whatever a company calls, types, signs and leaves out: the mapped star schema has the canonical one's rows.

Locks out: two ways of being different that are right alone and wrong together.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import duckdb
import hypothesis
import pytest
from hypothesis import strategies as st

from segmentation_assets.dbt.project import project_dir
from segmentation_assets.rules.load import load_rules, parse_rules
from segmentation_assets.settings import Settings
from segmentation_assets.sources import checkup, contract, guess
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBSession
from tests.support import portfolios

BEFORE = date(2025, 12, 1)
# How the company has it -> (SQL that makes it of the canonical column, SQL that a mapping says).
AMOUNTS = {
    "decimal": ("transaction_amount", "{}"),
    "cents": ("cast(transaction_amount * 100 as bigint)", "{} / 100.0"),
    "double": ("cast(transaction_amount as double)", "{}"),
    "negative": ("-transaction_amount", "-{}"),
    "negative cents": ("cast(-transaction_amount * 100 as integer)", "-{} / 100.0"),
    "thousands": ("cast(transaction_amount as decimal(18, 5)) / 1000", "{} * 1000"),
}
DAYS = {
    "date": "transaction_date",
    "timestamp": "cast(transaction_date as timestamp) + interval '23 hours 59 minutes 59 seconds'",
    "zoned": "timezone('{zone}', cast(transaction_date as timestamp) + interval '{minutes} minutes')",
    "number": "cast(strftime(transaction_date, '%Y%m%d') as integer)",
    "decimal number": "cast(strftime(transaction_date, '%Y%m%d') as decimal(38, 0))",
}
KEYS = {
    "number": "{}",
    "text": "cast({} as varchar)",
    "padded": "'K' || lpad(cast({} as varchar), 12, '0')",
    "small": "cast({} as hugeint)",
}
STATUSES = {"same": "transaction_status", "shouted": "' ' || upper(transaction_status)", "approved only": ""}
CATEGORIES = ("table", "text key", "in facts", "none")
ZONES = ("Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Pacific/Kiritimati", "Asia/Kathmandu", "UTC")


@pytest.fixture(scope="module")
def canonical() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'America/New_York'")  # a session's zone makes no day
        portfolios.threshold_portfolio(date(2025, 11, 1)).load(connection)
        yield connection


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "schema": draw(st.sampled_from(["dwh", "Dwh 2", "öffentlich"])),
        "as_views": draw(st.booleans()),
        "amount": draw(st.sampled_from(sorted(AMOUNTS))),
        "day": draw(st.sampled_from(sorted(DAYS))),
        "minutes": draw(st.integers(0, 24 * 60 - 1)),
        "zone": draw(st.sampled_from(ZONES)),
        "facts_key": draw(st.sampled_from(["number", "text", "small"])),
        "customers_key": draw(st.sampled_from(sorted(KEYS))),
        "transaction_key": draw(st.sampled_from(sorted(KEYS))),
        "status": draw(st.sampled_from(sorted(STATUSES))),
        "category": draw(st.sampled_from(CATEGORIES)),
        "history": draw(st.booleans()),
        "addresses": draw(st.booleans()),
        "calendar": draw(st.booleans()),
        "names": draw(st.sampled_from(["same", "renamed", "quoted"])),
    }


def company(connection: duckdb.DuckDBPyConnection, shape: dict[str, Any]) -> dict[str, Any]:
    """Makes the company's tables; the mapping that says so."""
    schema = '"' + shape["schema"] + '"'
    connection.execute(f"drop schema if exists {schema} cascade; create schema {schema}")
    if shape["customers_key"] == "padded":
        shape["facts_key"] = "padded"

    def called(column: str) -> str:
        return {"same": column, "renamed": f"x_{column}", "quoted": f'"The {column}"'}[shape["names"]]

    def make(name: str, columns: dict[str, str], source: str) -> None:
        selected = ", ".join(f"{sql} as {called(column)}" for column, sql in columns.items())
        kind = "view" if shape["as_views"] else "table"
        connection.execute(f'create {kind} {schema}."T {name}" as select {selected} from {source}')

    def mapped(name: str, columns: dict[str, str]) -> dict[str, Any]:
        return {"from": f'"T {name}"', "columns": columns}

    on_amount, mapped_amount = AMOUNTS[shape["amount"]]
    day = DAYS[shape["day"]].format(zone=shape["zone"], minutes=shape["minutes"])
    facts = {
        "transaction_key": KEYS[shape["transaction_key"]].format("transaction_key"),
        "customer_key": KEYS[shape["facts_key"]].format("customer_key"),
        "transaction_date": day,
        "transaction_amount": on_amount,
    }
    fact_columns = {column: called(column) for column in facts}
    fact_columns["transaction_amount"] = mapped_amount.format(called("transaction_amount"))
    source = "gold.fct_transactions"
    if shape["status"] == "approved only":
        source += " where transaction_status = 'approved'"
    else:
        facts["transaction_status"] = STATUSES[shape["status"]]
        fact_columns["transaction_status"] = called("transaction_status")
    if shape["category"] in ("table", "text key"):
        facts["merchant_category_key"] = "merchant_category_key"
        fact_columns["merchant_category_key"] = called("merchant_category_key")
    elif shape["category"] == "in facts":
        facts["merchant_category_key"] = (
            "(select category_name from gold.dim_merchant_category where category_key = merchant_category_key)"
        )
        fact_columns["merchant_category_key"] = called("merchant_category_key")
    make("facts", facts, source)
    tables: dict[str, Any] = {"fct_transactions": mapped("facts", fact_columns)}

    people = {"customer_key": KEYS[shape["customers_key"]].format("customer_key"), "customer_id": "customer_id"}
    if shape["addresses"]:
        people |= {"first_name": "first_name", "last_name": "last_name", "email": "email"}
    if shape["history"]:
        people |= {"valid_from": "valid_from", "valid_to": "cast(valid_to as timestamp)"}
        people |= {"is_current": "case when is_current then 'J' else 'N' end"}
    make("people", people, "gold.dim_customer")
    people_columns = {column: called(column) for column in people}
    if shape["history"]:
        people_columns["is_current"] += " = 'J'"
    tables["dim_customer"] = mapped("people", people_columns)
    if shape["category"] in ("table", "text key"):
        key = "cast(category_key as varchar)" if shape["category"] == "text key" else "category_key"
        make("categories", {"category_key": key, "category_name": "category_name"}, "gold.dim_merchant_category")
        tables["dim_merchant_category"] = mapped(
            "categories", {column: called(column) for column in ("category_key", "category_name")}
        )
    else:
        tables["dim_merchant_category"] = "none" if shape["category"] == "none" else "in_facts"
    if shape["calendar"]:
        make("days", {"full_date": "cast(full_date as timestamp)"}, "gold.dim_date")
        tables["dim_date"] = mapped("days", {"full_date": called("full_date")})
    else:
        tables["dim_date"] = "generated"
    return {
        "schema": shape["schema"] if shape["schema"] == "dwh" else schema,
        "time_zone": shape["zone"],
        "tables": tables,
    }


CANONICAL_FACTS = """
    select customer_id, cast(transaction_date as date), cast(transaction_amount as decimal(18, 4)), {category}, count(*)
    from {facts} inner join {people} using (customer_key) left join {categories}
        on cast(merchant_category_key as varchar) = cast(category_key as varchar)
    where lower(trim(transaction_status)) = 'approved'
    group by all
"""


@hypothesis.settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(shape=shapes())
def test_rows_are_the_canonical_ones(canonical: duckdb.DuckDBPyConnection, shape: dict[str, Any]) -> None:
    mapping = company(canonical, shape)
    rules = parse_rules({**load_rules(project_dir()).raw, "star_schema": mapping}, "the rules")
    star = StarSchema(DuckDBSession(canonical), Settings.from_environment(), rules)
    category = "cast(null as varchar)" if shape["category"] == "none" else "category_name"

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return sorted(canonical.execute(sql).fetchall(), key=repr)

    ours = CANONICAL_FACTS.format(
        category=category, facts=star.sql("fct_transactions"), people=star.sql("dim_customer"),
        categories=star.sql("dim_merchant_category"),
    )  # fmt: skip
    theirs = CANONICAL_FACTS.format(
        category=category, facts="gold.fct_transactions", people="gold.dim_customer",
        categories="gold.dim_merchant_category",
    )  # fmt: skip
    assert rows(ours) == rows(theirs)
    columns = ["customer_id", "count(*) as versions"]
    columns += ["first_name", "email"] if shape["addresses"] else []
    columns += ["cast(valid_from as date)", "cast(valid_to as date)", "is_current"] if shape["history"] else []
    people = f"select {', '.join(columns)} from {{}} group by all"
    assert rows(people.format(star.sql("dim_customer"))) == rows(people.format("gold.dim_customer"))
    # What lets an engine skip facts leaves none of the days out.
    first, end = date(2025, 9, 2), BEFORE
    among = f"transaction_date >= date '{first}' and transaction_date < date '{end}'"
    counted = f"select count(*) from {star.sql('fct_transactions')} where {among}"
    assert rows(counted) == rows(counted + star.and_occurred(first, end))
    contract.check(star, BEFORE, [(None, BEFORE)])


@hypothesis.settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(shape=shapes())
def test_a_checkup_and_a_guess_end_without_a_traceback(
    canonical: duckdb.DuckDBPyConnection, shape: dict[str, Any]
) -> None:
    mapping = company(canonical, shape)
    rules = parse_rules({**load_rules(project_dir()).raw, "star_schema": mapping}, "the rules")
    star = StarSchema(DuckDBSession(canonical), Settings.from_environment(), rules)
    found = checkup.check(star, BEFORE)
    assert [finding.column for finding in found.findings if finding.level == "error"] in ([], ["customer_key"])
    assert "star_schema:" in guess.mapping(DuckDBSession(canonical), shape["schema"])
