"""What the source contract refuses, and that it says table, column, expected and found.

Locks out: money as text or as a floating number, dates whose day depends on the session's time zone, a column that was
renamed upstream, repeated keys that count facts twice, and NULLs and missing days that leave facts out without a word.
"""

from collections.abc import Iterator
from datetime import date, datetime

import duckdb
import pytest

from segmentation_assets.dbt.project import project_dir
from segmentation_assets.rules.load import load_rules
from segmentation_assets.rules.source_contract import COLUMNS, DEMO_TABLES
from segmentation_assets.settings import Settings
from segmentation_assets.sources import SourceError, contract
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.spelling import trimmed
from segmentation_assets.warehouse.duckdb import DuckDBSession
from tests.support import portfolios
from tests.support.formula_ids import HARMLESS, RUN

BEFORE = date(2025, 12, 1)


@pytest.fixture(scope="module")
def pristine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        portfolios.threshold_portfolio(date(2025, 11, 1)).load(connection)
        yield connection


@pytest.fixture
def source(pristine: duckdb.DuckDBPyConnection) -> Iterator[DuckDBSession]:
    """A star schema that keeps the contract; what the test changes is undone."""
    pristine.execute("begin")
    yield DuckDBSession(pristine)
    pristine.execute("rollback")


def star(session: DuckDBSession, schema: str = "gold") -> StarSchema:
    return StarSchema(session, Settings.given(source_schema=schema), load_rules(project_dir()))


def findings(session: DuckDBSession, before: date = BEFORE) -> list[str]:
    with pytest.raises(SourceError) as refused:
        contract.check(star(session), before)
    first, *lines = str(refused.value).splitlines()
    assert first == "The star schema in schema 'gold' breaks the source contract; nothing was computed."
    return lines


def test_a_star_schema_that_keeps_it_passes(source: DuckDBSession) -> None:
    contract.check(star(source), BEFORE)
    source.execute("alter table gold.fct_transactions add column loaded_by varchar")  # beyond the contract: ignored
    source.execute("drop table gold.marketing_suppressions")  # optional
    contract.check(star(source, "GOLD"), BEFORE)


@pytest.mark.parametrize("table", sorted(set(contract.CONTRACT) - contract.OPTIONAL))
def test_a_missing_table_is_named(source: DuckDBSession, table: str) -> None:
    source.execute(f"drop table gold.{table}")
    where = "SEGMENTATION_SOURCE_SCHEMA says where to look, SEGMENTATION_RULES may map it: docs/your_data.md"
    assert findings(source) == [f"- {table}: the table is missing ({where})."]


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for table in DEMO_TABLES for column, said in COLUMNS[table].items() if not said.may_be_absent],
)
def test_a_missing_column_is_named(source: DuckDBSession, table: str, column: str) -> None:
    source.execute(f"alter table gold.{table} rename column {column} to renamed_upstream")
    (line,) = findings(source)
    assert line.startswith(f"- {table}.{column}: expected ")
    assert "found no such column (there are: " in line
    assert "renamed_upstream" in line


@pytest.mark.parametrize(
    ("table", "column", "data_type", "expected"),
    [
        ("fct_transactions", "transaction_amount", "VARCHAR", "DECIMAL"),
        ("fct_transactions", "transaction_amount", "DOUBLE", "DECIMAL"),
        ("fct_transactions", "transaction_date", "TIMESTAMP WITH TIME ZONE", "DATE or a TIMESTAMP without time zone"),
        ("fct_transactions", "transaction_date", "VARCHAR", "DATE or a TIMESTAMP without time zone"),
        ("fct_transactions", "customer_key", "VARCHAR", "a whole number"),
        ("dim_customer", "customer_key", "VARCHAR", "a whole number"),
        ("dim_customer", "customer_id", "BIGINT", "text"),
        ("dim_customer", "valid_to", "TIMESTAMP WITH TIME ZONE", "DATE or a TIMESTAMP without time zone"),
        ("dim_customer", "is_current", "INTEGER", "BOOLEAN"),
        ("dim_merchant_category", "category_key", "DOUBLE", "a whole number or text"),
        ("marketing_suppressions", "customer_id", "BIGINT", "text"),
    ],
)
def test_a_wrong_type_is_named(source: DuckDBSession, table: str, column: str, data_type: str, expected: str) -> None:
    source.execute(f"alter table gold.{table} alter column {column} set data type {data_type} using null")
    assert findings(source) == [f"- {table}.{column}: expected {expected}, found {data_type}."]


@pytest.mark.parametrize(
    ("column", "data_type"),
    [("transaction_date", "TIMESTAMP"), ("transaction_amount", "INTEGER"), ("merchant_category_key", "VARCHAR")],
)
def test_a_type_that_means_the_same_passes(source: DuckDBSession, column: str, data_type: str) -> None:
    source.execute(f"alter table gold.fct_transactions alter column {column} set data type {data_type}")
    contract.check(star(source), BEFORE)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (
            "alter table gold.dim_customer alter column customer_key set data type ubigint using hash(customer_key)",
            "- dim_customer.customer_key: expected whole numbers that a BIGINT holds, found 18",
        ),
        (
            "alter table gold.fct_transactions alter column customer_key set data type hugeint"
            " using 9223372036854775808::hugeint",
            "- fct_transactions.customer_key: expected whole numbers that a BIGINT holds, found 9223372036854775808;",
        ),
        (
            "alter table gold.fct_transactions alter column transaction_amount set data type decimal(38, 2);"
            " update gold.fct_transactions set transaction_amount = 250000000000 where transaction_key = 1",
            "- fct_transactions.transaction_amount: expected amounts below 100,000,000,000 either way, found"
            " 250,000,000,000.00.",
        ),
        (
            "alter table gold.fct_transactions alter column transaction_amount set data type decimal(18, 6);"
            " update gold.fct_transactions set transaction_amount = 0.123456 where transaction_key in (1, 2)",
            "- fct_transactions.transaction_amount: expected at most 4 decimals, found more in 2 rows, such as",
        ),
    ],
)
def test_a_number_that_nothing_has_room_for_is_named(source: DuckDBSession, change: str, finding: str) -> None:
    for statement in change.split(";"):
        source.execute(statement)
    (line,) = findings(source)
    assert line.startswith(finding)


def test_what_is_rolled_up_at_once_is_there_once(source: DuckDBSession) -> None:
    """A file of an old month that was loaded twice is found when all history is rolled up, and not before."""
    source.execute(
        "insert into gold.fct_transactions select * from gold.fct_transactions where transaction_date between"
        " '2024-01-01' and '2025-07-31' and transaction_status = 'approved' order by transaction_key limit 3"
    )
    months = source.rows(
        "select strftime(transaction_date, '%Y-%m-01') as month, sum(n) as n from (select any_value(transaction_date)"
        " as transaction_date, count(*) as n from gold.fct_transactions group by transaction_key having n > 1)"
        " group by 1 order by 1"
    )
    contract.check(star(source), BEFORE, [(date(2025, 9, 1), BEFORE)])
    with pytest.raises(SourceError) as refused:
        contract.check(star(source), BEFORE, [(None, date(2025, 9, 1)), (date(2025, 11, 1), BEFORE)])
    (line,) = str(refused.value).splitlines()[1:]
    named = ", ".join(f"{row['month']}: {row['n']}" for row in months)
    assert line.startswith("- fct_transactions.transaction_key: expected a key of its own in every row, found ")
    assert line.endswith(f" before 2025-09-01 and of 2025-11-01 ({named}); remove the rows that were loaded twice.")


def test_every_finding_is_told_at_once(source: DuckDBSession) -> None:
    source.execute("drop table gold.dim_date")
    source.execute("alter table gold.dim_customer drop column email")
    source.execute("alter table gold.fct_transactions alter column transaction_amount set data type varchar")
    assert [line.split(":")[0] for line in findings(source)] == [
        "- fct_transactions.transaction_amount",
        "- dim_customer.email",
        "- dim_date",
    ]


@pytest.mark.parametrize(
    ("table", "column"), [(table, column) for table, columns in contract.NEVER_NULL.items() for column in columns]
)
def test_a_null_is_named_with_its_count(source: DuckDBSession, table: str, column: str) -> None:
    (rows,) = source.rows(f"select count(*) as n, max({column}) as newest from gold.{table}")
    source.execute(f"update gold.{table} set {column} = null where {column} = ?", (rows["newest"],))
    (nulls,) = source.rows(f"select count(*) - count({column}) as n from gold.{table}")
    assert findings(source) == [
        f"- {table}.{column}: expected a value in every row, found NULL in {nulls['n']} of {rows['n']:,} rows."
    ]


@pytest.mark.parametrize(("table", "column"), contract.UNIQUE.items())
def test_a_repeated_key_is_named_with_the_counts(source: DuckDBSession, table: str, column: str) -> None:
    source.execute(f"insert into gold.{table} select * from gold.{table} limit 2")
    (rows,) = source.rows(f"select count(*) as n from gold.{table}")
    assert findings(source) == [
        f"- {table}.{column}: expected a key of its own in every row, found {rows['n'] - 2} keys in {rows['n']} rows."
    ]


def test_a_category_without_a_key_takes_no_fact_along(source: DuckDBSession) -> None:
    source.execute("insert into gold.dim_merchant_category values (null, 'A'), (null, 'B')")
    contract.check(star(source), BEFORE)


def test_a_gap_in_the_calendar_is_named(source: DuckDBSession) -> None:
    source.execute("delete from gold.dim_date where full_date in ('2025-10-05', '2025-10-07')")
    (line,) = findings(source)
    assert line.startswith("- dim_date.full_date: expected each day of the facts once, ")
    assert line.endswith(" found 2 missing, the first 2025-10-05.")


def test_a_day_that_is_there_twice_is_named(source: DuckDBSession) -> None:
    source.execute("insert into gold.dim_date values (1, '2025-10-05')")
    (line,) = findings(source)
    assert line.endswith(" found 1 more than once, the first 2025-10-05.")


def test_a_calendar_of_timestamps_is_read_by_its_days(source: DuckDBSession) -> None:
    source.execute("alter table gold.dim_date alter column full_date set data type timestamp")
    source.execute("alter table gold.fct_transactions alter column transaction_date set data type timestamp")
    (newest,) = source.rows(
        "select max(transaction_date) as day from gold.fct_transactions where transaction_date < ?", (BEFORE,)
    )
    evening = datetime.combine(newest["day"].date(), datetime.max.time())
    source.execute(
        "update gold.fct_transactions set transaction_date = ? where transaction_date = ?", (evening, newest["day"])
    )
    contract.check(star(source), BEFORE)


def test_the_calendar_may_end_with_the_closed_months(source: DuckDBSession) -> None:
    (future,) = source.rows("select count(*) as n from gold.fct_transactions where transaction_date >= ?", (BEFORE,))
    assert future["n"], "the portfolio has future-dated facts"
    source.execute("delete from gold.dim_date where full_date >= ?", (BEFORE,))
    contract.check(star(source), BEFORE)


def test_no_facts_at_all_is_for_the_audits_to_tell(source: DuckDBSession) -> None:
    source.execute("delete from gold.fct_transactions")
    contract.check(star(source), BEFORE)


def with_ids(session: DuckDBSession, *ids: str) -> None:
    """As many customers of the portfolio as there are ids get one each."""
    customers = session.rows("select distinct customer_id from gold.dim_customer order by 1 limit ?", (len(ids),))
    assert len(customers) == len(ids)
    for row, one in zip(customers, ids, strict=True):
        session.execute("update gold.dim_customer set customer_id = ? where customer_id = ?", (one, row["customer_id"]))


def told_of_formula_ids(number: int) -> str:
    return (
        f"- dim_customer.customer_id: expected ids that no spreadsheet runs, found {number} that begin with = or @,"
        " or call something after + or -; give these customers other ids, or set allow_formula_ids: true under exports"
        " in the rules."
    )


def test_ids_that_a_spreadsheet_would_run_are_counted_and_refused(source: DuckDBSession) -> None:
    ids = {trimmed(one): one for one in RUN}.values()  # of each id one spelling
    with_ids(source, *ids)
    assert findings(source) == [told_of_formula_ids(len(ids))]
    contract.check(star(source), BEFORE, allow_formula_ids=True)


def test_ids_that_a_spreadsheet_would_run_are_found_behind_all_that_nobody_sees(source: DuckDBSession) -> None:
    with_ids(source, *RUN)
    alike = len(RUN) - len({trimmed(one) for one in RUN})
    assert findings(source) == [
        "- dim_customer.customer_id: expected ids that differ in more than blanks and unseen characters,"
        f" found {alike} that do not; write every version's id alike.",
        told_of_formula_ids(len(RUN)),
    ]


def test_ids_of_every_other_kind_pass(source: DuckDBSession) -> None:
    with_ids(source, *HARMLESS)
    contract.check(star(source), BEFORE)


def test_ids_that_differ_in_what_nobody_sees_are_refused_with_their_number(source: DuckDBSession) -> None:
    for number, blank in enumerate((" ", "\u00a0", "\u200b")):
        source.execute(
            "insert into gold.dim_customer by name"
            f" select * replace (-{number + 10} as customer_key, customer_id || '{blank}' as customer_id)"
            " from gold.dim_customer order by customer_key desc limit 1"
        )
        (line,) = findings(source)
        assert line.startswith("- dim_customer.customer_id: expected ids that differ in more than blanks")
        assert f"found {number + 1} that do not" in line
