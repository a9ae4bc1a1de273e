"""Locks out a synthetic portfolio that does not behave: shares outside their bands in some month or size,
history that changes when a month is added, facts that miss their customer version or their order on disk."""

import re
from collections.abc import Iterator
from datetime import date
from itertools import pairwise

import duckdb
import pytest

from segmentation_assets.sources import synthetic

SEGMENTS = ("traveler", "declining", "growing", "budget", "stable")
BANDS = {
    "traveler": (10, 15),
    "declining": (5, 10),
    "growing": (10, 15),
    "budget": (20, 25),
    "stable": (40, 50),
}
TABLES = {
    "fct_transactions": "transaction_key",
    "dim_customer": "customer_key",
    "dim_merchant_category": "category_key",
    "dim_date": "date_key",
    "marketing_suppressions": "customer_id",
}

# The definitions of the design written a second time, straight from the facts: a fault in the models and one
# in the generator cannot cancel out.
SEGMENT_OF_EVERY_CUSTOMER = """
    with
    spend as (
        select
            customer_id,
            transaction_date as day,
            transaction_amount as amount,
            category_name in ('Travel', 'Airlines', 'Hotels') as is_travel,
            category_name in ('Grocery', 'Gas', 'Utilities') as is_necessity,
        from star.fct_transactions
        inner join star.dim_customer using (customer_key)
        left join star.dim_merchant_category on merchant_category_key = category_key
        where transaction_status = 'approved' and transaction_date < $as_of
    ),
    measured as (
        select
            customer_id,
            sum(amount) as lifetime_value,
            min(day) as first_day,
            coalesce(sum(amount) filter (day >= $as_of - 90), 0)::double as last_90,
            coalesce(sum(amount) filter (day >= $as_of - 180 and day < $as_of - 90), 0)::double as prior_90,
            coalesce(sum(amount) filter (day >= $as_of - 90 and is_travel), 0)::double as travel,
            coalesce(sum(amount) filter (day >= $as_of - 90 and is_necessity), 0)::double as necessities,
        from spend
        group by customer_id
    ),
    metrics as (
        select
            customer_id,
            lifetime_value,
            prior_90,
            coalesce(last_90, 0) / 3 as monthly,
            if(prior_90 > 0, (last_90 - prior_90) / prior_90 * 100, null) as change,
            if(last_90 > 0, travel / last_90 * 100, null) as travel_pct,
            if(last_90 > 0, necessities / last_90 * 100, null) as necessities_pct,
            datediff('month', first_day, $as_of) - if(day(first_day) > day($as_of), 1, 0) as tenure,
        from (select distinct customer_id from star.dim_customer where valid_from < $as_of)
        left join measured using (customer_id)
    )
    select
        *,
        case
            when monthly >= 5000 and travel_pct >= 25 then 'traveler'
            when change <= -30 and prior_90 >= 2000 then 'declining'
            when tenure <= 6 and change >= 50 then 'growing'
            when monthly < 1500 and necessities_pct >= 60 then 'budget'
            else 'stable'
        end as segment,
    from metrics
"""


def plus_months(month: date, months: int) -> date:
    number = synthetic.month_number(month) + months
    return date(number // 12, number % 12 + 1, 1)


def built(customers: int, last_month: date, months: int = 24, **options: date) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    first_month = plus_months(last_month, 1 - months)
    synthetic.build(connection, "star", customers=customers, first_month=first_month, last_month=last_month, **options)
    return connection


def shares(connection: duckdb.DuckDBPyConnection, month: date) -> dict[str, float]:
    rows = connection.execute(
        f"select segment, count(*) * 100 / sum(count(*)) over () from ({SEGMENT_OF_EVERY_CUSTOMER}) group by segment",
        {"as_of": plus_months(month, 1)},
    ).fetchall()
    return {segment: float(share) for segment, share in rows}


def value(connection: duckdb.DuckDBPyConnection, query: str) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def content(connection: duckdb.DuckDBPyConnection, table: str, where: str = "true") -> object:
    return connection.execute(f"select count(*), sum(hash(t)::hugeint) from star.{table} as t where {where}").fetchone()


@pytest.fixture(scope="module")
def star() -> Iterator[duckdb.DuckDBPyConnection]:
    with built(1000, synthetic.SIZED_AT) as connection:
        yield connection


@pytest.mark.parametrize(
    ("customers", "last_month", "months", "sized_at"),
    [
        (1000, date(2026, 10, 1), 24, date(2026, 10, 1)),
        (1000, date(2025, 11, 1), 24, date(2025, 11, 1)),
        (1000, date(2026, 3, 1), 24, date(2026, 3, 1)),
        (2000, date(2024, 2, 1), 24, date(2024, 2, 1)),
        (2000, date(2026, 10, 1), 120, date(2026, 10, 1)),
        # Sized long before or after: a portfolio that has grown since, or was small then.
        (1000, date(2027, 10, 1), 24, synthetic.SIZED_AT),
        (3000, date(2024, 2, 1), 24, synthetic.SIZED_AT),
    ],
)
def test_shares_are_inside_their_bands_and_steady_in_each_of_the_last_twelve_months(
    customers: int, last_month: date, months: int, sized_at: date
) -> None:
    with built(customers, last_month, months, sized_at=sized_at) as connection:
        by_month = [shares(connection, plus_months(last_month, offset)) for offset in range(-11, 1)]

    for month_shares in by_month:
        for segment, (low, high) in BANDS.items():
            assert low < month_shares[segment] < high
    for before, after in pairwise(by_month):
        assert max(abs(after[segment] - before[segment]) for segment in SEGMENTS) < 3


def test_each_campaign_finds_an_audience(star: duckdb.DuckDBPyConnection) -> None:
    counts = star.execute(
        f"""
        select
            count(*) filter (segment = 'traveler' and monthly >= 7500),
            count(*) filter (segment = 'declining' and lifetime_value >= 50000),
            count(*) filter (segment = 'growing' and monthly >= 3000),
            count(*) filter (segment = 'budget'),
            count(*) filter (segment = 'stable' and monthly > 0),
        from ({SEGMENT_OF_EVERY_CUSTOMER})
        """,
        {"as_of": plus_months(synthetic.SIZED_AT, 1)},
    ).fetchone()

    assert counts is not None
    assert min(counts) >= 5


def test_customers_is_the_number_at_the_end_of_sized_at(star: duckdb.DuckDBPyConnection) -> None:
    assert value(star, "select count(distinct customer_id) from star.dim_customer") == 1000


def test_the_same_call_gives_the_same_rows_on_any_number_of_threads(star: duckdb.DuckDBPyConnection) -> None:
    with duckdb.connect(config={"threads": 1}) as alone:
        first_month = plus_months(synthetic.SIZED_AT, -23)
        synthetic.build(alone, "star", customers=1000, first_month=first_month, last_month=synthetic.SIZED_AT)
        for table in TABLES:
            assert content(alone, table) == content(star, table)


def test_a_later_last_month_keeps_every_fact_and_key(star: duckdb.DuckDBPyConnection) -> None:
    next_month = plus_months(synthetic.SIZED_AT, 1)
    # transaction_key rises with the month a fact belongs to.
    last_key = value(star, "select max(transaction_key) from star.fct_transactions")
    keys = star.execute("select customer_key, customer_id, email, valid_from from star.dim_customer").fetchall()
    with built(1000, next_month, months=25) as longer:
        assert content(longer, "fct_transactions", f"transaction_key <= {last_key}") == content(
            star, "fct_transactions"
        )
        added = f"select min(transaction_date) from star.fct_transactions where transaction_key > {last_key}"
        assert value(longer, added) == next_month
        longer_keys = longer.execute(
            f"select customer_key, customer_id, email, valid_from from star.dim_customer"
            f" where valid_from < date '{next_month}'"
        ).fetchall()
        assert set(longer_keys) == set(keys)


def test_an_earlier_first_month_leaves_the_later_months_as_they_are(star: duckdb.DuckDBPyConnection) -> None:
    first_key = value(star, "select min(transaction_key) from star.fct_transactions")
    with built(1000, synthetic.SIZED_AT, months=30) as longer:
        assert content(longer, "fct_transactions", f"transaction_key >= {first_key}") == content(
            star, "fct_transactions"
        )
        assert content(longer, "dim_customer") == content(star, "dim_customer")


@pytest.mark.parametrize(("table", "key"), TABLES.items())
def test_keys_are_unique_and_never_null(star: duckdb.DuckDBPyConnection, table: str, key: str) -> None:
    assert value(star, f"select count(*) - count(distinct {key}) from star.{table}") == 0


def test_columns_are_those_of_the_contract(star: duckdb.DuckDBPyConnection) -> None:
    rows = star.execute(
        "select table_name, string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position)"
        " from information_schema.columns where table_schema = 'star' group by 1"
    ).fetchall()

    assert dict(rows) == {
        "fct_transactions": "transaction_key BIGINT, customer_key BIGINT, merchant_category_key INTEGER,"
        " transaction_date DATE, transaction_amount DECIMAL(12,2), transaction_status VARCHAR",
        "dim_customer": "customer_key BIGINT, customer_id VARCHAR, first_name VARCHAR, last_name VARCHAR,"
        " email VARCHAR, valid_from DATE, valid_to DATE, is_current BOOLEAN",
        "dim_merchant_category": "category_key INTEGER, category_name VARCHAR",
        "dim_date": "date_key INTEGER, full_date DATE",
        "marketing_suppressions": "customer_id VARCHAR, reason VARCHAR, suppressed_at DATE",
    }


def test_facts_lie_in_the_order_of_their_dates(star: duckdb.DuckDBPyConnection) -> None:
    out_of_order = """
        select count(*)
        from (select transaction_date < lag(transaction_date) over (order by rowid) as falls
              from star.fct_transactions)
        where falls
    """
    assert value(star, out_of_order) == 0


def test_facts_carry_the_customer_version_of_their_day(star: duckdb.DuckDBPyConnection) -> None:
    of_another_day = f"""
        select count(*)
        from star.fct_transactions
        left join star.dim_customer using (customer_key)
        where transaction_date < date '{plus_months(synthetic.SIZED_AT, 1)}'
            -- Post-dated purchases carry the version of the day they were made.
            and transaction_key % 256 < 254
            and not coalesce(
                transaction_date >= valid_from
                and transaction_date < coalesce(valid_to, date '9999-01-01'),
                false
            )
    """
    assert value(star, of_another_day) == 0
    without_customer = """
        select count(*) from star.fct_transactions anti join star.dim_customer using (customer_key)
    """
    assert value(star, without_customer) == 0


def test_versions_of_a_customer_follow_each_other_without_a_gap(star: duckdb.DuckDBPyConnection) -> None:
    broken = """
        select count(*)
        from (
            select *, lead(valid_from) over (partition by customer_id order by customer_key) as next_from
            from star.dim_customer
        )
        where valid_to is distinct from next_from
            or is_current <> (valid_to is null)
            or valid_to <= valid_from
    """
    assert value(star, broken) == 0
    upgraded = "select count(*) - count(distinct customer_id) from star.dim_customer"
    assert isinstance(count := value(star, upgraded), int)
    assert count > 100


def test_faults_of_real_facts_occur_and_stay_rare(star: duckdb.DuckDBPyConnection) -> None:
    row = star.execute(f"""
        select
            avg((transaction_status = 'declined')::integer),
            avg((transaction_amount < 0)::integer),
            avg((transaction_date >= date '{plus_months(synthetic.SIZED_AT, 1)}')::integer),
            sum(transaction_amount) filter (merchant_category_key is null) / sum(transaction_amount),
            sum(transaction_amount) filter (category_key is null) / sum(transaction_amount),
            count(*) filter (transaction_amount < 0 and transaction_status = 'declined'),
            count(*) filter (transaction_status not in ('approved', 'declined')),
        from star.fct_transactions
        left join star.dim_merchant_category on merchant_category_key = category_key
    """).fetchone()

    assert row is not None
    declined, refunds, future, without_category, unknown_category, declined_refunds, other_status = row
    assert 0.025 < declined < 0.035
    assert 0.008 < refunds < 0.012
    assert 0 < future < 0.001
    assert 0 < without_category < unknown_category < 0.01
    assert (declined_refunds, other_status) == (0, 0)


def test_some_customers_never_buy_and_some_are_suppressed(star: duckdb.DuckDBPyConnection) -> None:
    silent = """
        select count(distinct customer_id) from star.dim_customer
        where customer_id not in (
            select customer_id from star.dim_customer semi join star.fct_transactions using (customer_key)
        )
    """
    assert isinstance(count := value(star, silent), int)
    assert 5 < count < 50
    suppressed = star.execute("select reason, count(*) from star.marketing_suppressions group by 1").fetchall()
    assert {reason for reason, _ in suppressed} <= {"unsubscribed", "complaint", "deceased", "legal_hold"}
    assert 10 < sum(number for _, number in suppressed) < 35


def test_addresses_are_nobodys_and_faulty_now_and_then(star: duckdb.DuckDBPyConnection) -> None:
    rows = star.execute("select first_name, email from star.dim_customer where is_current").fetchall()
    emails = [email for _, email in rows if email is not None]
    normal = [email for email in emails if re.fullmatch(r"[a-z.]+[0-9]+@example\.(com|org|net)", email)]

    assert len(emails) < len(rows)
    assert 0.9 < len(normal) / len(emails) < 1
    assert len(set(normal)) < len(normal)
    assert any(email != email.strip() for email in emails)
    assert any(email.isupper() for email in emails)
    # Whatever has a domain has one that is reserved for examples.
    assert all(
        re.fullmatch(r"(|example\.(com|org|net))", domain.strip().lower())
        for _, at, domain in (email.partition("@") for email in emails)
        if at
    )
    assert any(name[0] in "=+-@" for name, _ in rows)
    assert any(not name.isascii() for name, _ in rows)


def test_dates_cover_the_facts_and_a_year_each_side_without_a_gap(star: duckdb.DuckDBPyConnection) -> None:
    row = star.execute("""
        select
            count(*) = max(full_date) - min(full_date) + 1,
            min(full_date) <= (select min(transaction_date) from star.fct_transactions) - 365,
            max(full_date) >= (select max(transaction_date) from star.fct_transactions) + 365,
            bool_and(date_key = year(full_date) * 10000 + month(full_date) * 100 + day(full_date)),
        from star.dim_date
    """).fetchone()

    assert row == (True, True, True, True)


def test_a_build_that_fails_leaves_the_tables_as_they_were() -> None:
    with built(200, synthetic.SIZED_AT, months=3) as connection:
        before = {table: content(connection, table) for table in TABLES}
        # The last table of a build; a view cannot be replaced by a table.
        connection.execute("drop table star.dim_date; create view star.dim_date as select 1 as date_key")
        del before["dim_date"]
        with pytest.raises(duckdb.Error):
            synthetic.build(
                connection,
                "star",
                customers=300,
                first_month=synthetic.SIZED_AT,
                last_month=synthetic.SIZED_AT,
            )

        assert {table: content(connection, table) for table in before} == before
        assert value(connection, "select count(*) from duckdb_tables() where temporary") == 0


def test_a_second_build_replaces_the_first() -> None:
    with (
        built(200, synthetic.SIZED_AT, months=3) as connection,
        built(300, synthetic.SIZED_AT, 2) as expected,
    ):
        synthetic.build(
            connection,
            "star",
            customers=300,
            first_month=plus_months(synthetic.SIZED_AT, -1),
            last_month=synthetic.SIZED_AT,
        )
        for table in TABLES:
            assert content(connection, table) == content(expected, table)


@pytest.mark.parametrize(
    ("customers", "first_month", "last_month", "message"),
    [
        (100, date(2025, 1, 2), date(2025, 2, 1), "first_month is 2025-01-02"),
        (100, date(2025, 1, 1), date(2025, 2, 28), "last_month is 2025-02-28"),
        (100, date(2025, 3, 1), date(2025, 2, 1), "is after last_month"),
        (0, date(2025, 1, 1), date(2025, 2, 1), "customers is 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    customers: int, first_month: date, last_month: date, message: str
) -> None:
    with duckdb.connect() as connection, pytest.raises(ValueError, match=message):
        synthetic.build(connection, "star", customers=customers, first_month=first_month, last_month=last_month)
