"""customer_360_profile and hero_metrics against pandas that shares no line with the SQL.

Locks out: a retention that forgets who left, a "since" that a month nobody published cuts off, a backfilled month whose
successors keep the comparison they had without it, a deviation of other facts than the published ones, and a rollup of
before these columns whose months count as rolled up.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from segmentation_assets.dbt.project import project_dir
from segmentation_assets.months import MonthRange, as_of_date, month_after
from segmentation_assets.rules.load import load_rules
from segmentation_assets.sources import synthetic
from tests.support.published_months import NO_TESTS, pipeline_at
from tests.support.warehouse_fixture import Pipeline

MONTHS = list(MonthRange(date(2026, 3, 1), date(2026, 10, 1)))
NEVER_PUBLISHED = date(2026, 7, 1)
SEED = 20261101
RULES = load_rules(project_dir())
INSIGHTS = "customer_segments path:models/insights"
TOTAL = "All customers"


@pytest.fixture(scope="module")
def built_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight months of 700 customers, two of whom never bought anything, by one backfill of everything."""
    with pipeline_at(tmp_path_factory.mktemp("insights") / "segmentation.duckdb") as pipeline:
        with pipeline.connection() as connection:
            synthetic.build(connection, "gold", customers=700, first_month=date(2025, 1, 1), last_month=MONTHS[-1])
            connection.execute(
                "delete from gold.fct_transactions where customer_key in (select customer_key from gold.dim_customer"
                " where customer_id in (select distinct customer_id from gold.dim_customer order by 1 limit 2))"
            )
        succeeded, said = pipeline.dbt(MONTHS[0], MONTHS[-1], arguments=NO_TESTS)
        assert succeeded, said
    return pipeline.path


@pytest.fixture
def built(built_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", built_file) as pipeline:
        yield pipeline


def history_of(pipeline: Pipeline) -> pd.DataFrame:
    frame = pipeline.frame(
        "select * replace (cast(lifetime_value as double) as lifetime_value,"
        " cast(spend_last_90_days as double) as spend_last_90_days) from gold.customer_segment_history"
    )
    frame["snapshot_month"] = frame["snapshot_month"].dt.date
    return frame


def expected_hero_metrics(history: pd.DataFrame) -> pd.DataFrame:
    """Sets of customers per month, and arithmetic on them."""
    by_month = {month: rows.set_index("customer_id") for month, rows in history.groupby("snapshot_month")}
    found = []
    for month, now in by_month.items():
        before, base = by_month.get(month_after(month, -1)), by_month.get(month_after(month, -3))
        empty = now.iloc[:0]
        active_now = set(now[now["is_active"]].index)
        labels = {TOTAL}
        for frame in (now, before, None if base is None else base[base["is_active"]]):
            labels |= set() if frame is None else set(frame["customer_segment"])
        for label in labels:
            here, then, origin = (
                empty if frame is None else frame if label == TOTAL else frame[frame["customer_segment"] == label]
                for frame in (now, before, base)
            )
            origin_active = set(origin[origin["is_active"]].index)
            was_there = set() if before is None else set(before.index)
            slept = (
                set()
                if before is None
                else set(before[~before["is_active"] & (before["total_transactions"] > 0)].index)
            )
            spend, past = here["spend_last_90_days"].sum(), then["spend_last_90_days"].sum()
            transactions = here["total_transactions"].sum()
            found.append(
                {
                    "snapshot_month": month,
                    "customer_segment": label,
                    "customers": len(here),
                    "active_customers": len(set(here.index) & active_now),
                    "total_lifetime_value": here["lifetime_value"].sum(),
                    "avg_lifetime_value": here["lifetime_value"].mean() if len(here) else None,
                    "avg_transaction_value": here["lifetime_value"].sum() / transactions if transactions else None,
                    "spend_last_90_days": spend,
                    "avg_monthly_spend": spend / 3 / len(here) if len(here) else None,
                    "spend_month_over_month_pct": (spend / past - 1) * 100 if past > 0 else None,
                    "retention_pct": 100 * len(origin_active & active_now) / len(origin_active)
                    if origin_active
                    else None,
                    "churned_customers": None
                    if before is None
                    else len(set(then[then["is_active"]].index) - active_now),
                    "reactivated_customers": None if before is None else len(set(here.index) & active_now & slept),
                    "new_customers": None if before is None else len(set(here.index) - was_there),
                }
            )
    return pd.DataFrame(found)


def expected_profiles(history: pd.DataFrame, pipeline: Pipeline) -> pd.DataFrame:
    newest = max(history["snapshot_month"])
    as_of = as_of_date(newest)
    published = sorted(set(history["snapshot_month"]))
    facts = pipeline.frame(
        "select customer_id, cast(transaction_amount as double) as amount, transaction_date"
        " from gold.fct_transactions inner join gold.dim_customer using (customer_key)"
        f" where transaction_status = 'approved' and transaction_date < date '{as_of}'"
    ).groupby("customer_id")["amount"]
    segments: dict[str, dict[date, str]] = {}
    for row in history.itertuples():
        segments.setdefault(str(row.customer_id), {})[row.snapshot_month] = str(row.customer_segment)  # type: ignore[index]
    lists: dict[str, list[str]] = {}
    for campaign in RULES.campaigns:
        for (customer,) in pipeline.rows(
            f"select customer_id from gold.audience_{campaign.name} where snapshot_month = date '{newest}'"
        ):
            lists.setdefault(customer, []).append(campaign.name)
    found = []
    for row in history[history["snapshot_month"] == newest].itertuples():
        customer: Any = row.customer_id
        mine = [segments[customer].get(month) for month in published]
        start = len(mine) - 1
        while start > 0 and mine[start - 1] == mine[-1]:
            start -= 1
        earlier = [segment for segment in mine[:start] if segment]
        last: Any = row.last_transaction_date
        age = None if pd.isna(last) else (as_of - pd.Timestamp(last).date()).days
        amounts = facts.get_group(customer) if customer in facts.groups else pd.Series(dtype=float)
        travel, needs = row.travel_spend_pct, row.necessities_spend_pct
        profile = {
            "customer_id": customer,
            "segment_since": published[start],
            "previous_segment": earlier[-1] if earlier else None,
            "stddev_transaction_value": amounts.std(ddof=1),
            "min_transaction_value": amounts.min(),
            "max_transaction_value": amounts.max(),
            "recency_status": "inactive"
            if age is None or age > 90
            else "active"
            if age <= 30
            else "recent"
            if age <= 60
            else "at risk",
            "spending_profile": None
            if pd.isna(travel)
            else "travel-focused"
            if travel >= 25
            else "necessities-focused"
            if needs >= 60
            else "balanced",
            "audiences": ", ".join(sorted(lists.get(customer, []))) or None,
            "eligible_for_core_retention": row.customer_segment == "Stable Mid-Spenders" and row.is_active,
            "eligible_for_premium_rewards": row.customer_segment == "High-Value Travelers"
            and row.avg_monthly_spend >= 7500,
            "eligible_for_everyday_rewards": row.customer_segment == "Budget-Conscious",
        }
        found.append(profile)
    return pd.DataFrame(found)


def assert_equal(found: pd.DataFrame, expected: pd.DataFrame, keys: list[str]) -> None:
    found, expected = (frame.sort_values(keys).reset_index(drop=True) for frame in (found, expected))
    assert len(expected) > 0
    assert len(found) == len(expected)
    for column in expected.columns:
        left, right = found[column], expected[column]
        if pd.api.types.is_numeric_dtype(left.dtype) and not pd.api.types.is_bool_dtype(left.dtype):
            a, b = (pd.to_numeric(side).astype("Float64").to_numpy(float, na_value=np.nan) for side in (left, right))
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-6, err_msg=column)
        else:
            if pd.api.types.is_datetime64_any_dtype(left.dtype):
                left = left.dt.date
            a, b = ([None if pd.isna(value) else value for value in side] for side in (left, right))
            assert a == b, column


def assert_insights(pipeline: Pipeline) -> None:
    history = history_of(pipeline)
    hero = pipeline.frame("select * from gold.hero_metrics")
    hero["snapshot_month"] = hero["snapshot_month"].dt.date
    assert_equal(hero, expected_hero_metrics(history), ["snapshot_month", "customer_segment"])
    profiles = pipeline.frame("select * from gold.customer_360_profile")
    assert_equal(profiles, expected_profiles(history, pipeline), ["customer_id"])
    same = pipeline.rows(
        "select count(*) from (select columns(*) from gold.customer_segments except select "
        + ", ".join(column for (column,) in pipeline.rows("select column_name from (describe gold.customer_segments)"))
        + " from gold.customer_360_profile)"
    )
    assert same == [(0,)], "a profile differs from customer_segments"


def insights_of(pipeline: Pipeline) -> list[list[tuple[Any, ...]]]:
    tables = ("hero_metrics", "customer_360_profile")
    return [pipeline.rows(f"select * from gold.{table} order by all") for table in tables]


def test_a_backfill_equals_pandas(built: Pipeline) -> None:
    assert set(history_of(built)["snapshot_month"]) == set(MONTHS)
    assert_insights(built)
    assert built.rows("select count(*) from gold.customer_360_profile where total_transactions = 0")[0][0] >= 2
    columns = {column for (column,) in built.rows("select column_name from (describe gold.customer_360_profile)")}
    assert "email" not in columns
    assert {f"eligible_for_{campaign.name}" for campaign in RULES.campaigns} <= columns


def test_one_customer_is_found(built: Pipeline) -> None:
    ((customer, first_name, last_name),) = built.rows(
        "select customer_id, first_name, last_name from gold.dim_customer where is_current order by 1 desc limit 1"
    )
    found = built.frame(f"select * from gold.customer_360_profile where customer_id = '{customer}'")
    assert found[["customer_id", "first_name", "last_name"]].values.tolist() == [[customer, first_name, last_name]]


def test_months_published_in_any_order_with_customers_who_come_and_go(built: Pipeline) -> None:
    shuffled = random.Random(SEED)
    # Every customer misses some months, and many are moved or made inactive, so that runs break in every way.
    built.execute(
        "create table republished as select * replace ("
        " case when hash(customer_id, snapshot_month, 1) % 9 = 0 then 'Declining' else customer_segment end"
        " as customer_segment, is_active and hash(customer_id, snapshot_month, 2) % 7 > 0 as is_active)"
        f" from gold.customer_segment_history where snapshot_month <> '{NEVER_PUBLISHED}'"
        f" and (snapshot_month = '{MONTHS[-1]}' or hash(customer_id, snapshot_month, 3) % 8 > 0);"
        f"update republished set is_active = spend_last_90_days > 0 where snapshot_month = '{MONTHS[-1]}';"
        "delete from gold.customer_segment_history; delete from gold.hero_metrics"
    )
    for month in shuffled.sample(months := [month for month in MONTHS if month != NEVER_PUBLISHED], len(months)):
        built.execute(f"insert into gold.customer_segment_history from republished where snapshot_month = '{month}'")
        succeeded, said = built.dbt(month, select=INSIGHTS, arguments=NO_TESTS)
        assert succeeded, said
    assert_insights(built)
    movements = built.rows(
        "select min(retention_pct), max(churned_customers), max(reactivated_customers), max(new_customers)"
        f" from gold.hero_metrics where customer_segment = '{TOTAL}'"
    )[0]
    assert 0 < movements[0] < 100 and min(movements[1:]) > 0, "the portfolio moves in every way there is"
    one_by_one = insights_of(built)
    built.execute("delete from gold.hero_metrics")
    succeeded, said = built.dbt(
        MONTHS[0], MONTHS[-1], select=INSIGHTS, arguments=("--exclude", "asked_months_are_published")
    )
    assert succeeded, said
    backfilled = insights_of(built)
    assert backfilled == one_by_one
    returned = built.rows("select count(*) from gold.customer_360_profile where previous_segment = customer_segment")
    assert returned[0][0] > 0, "somebody was away and came back to the same segment"


def test_a_backfilled_older_month_leaves_the_profiles_as_they_are(built: Pipeline) -> None:
    before = built.rows("select * from gold.customer_360_profile order by all")
    succeeded, said = built.dbt(MONTHS[2], arguments=NO_TESTS)
    assert succeeded, said
    assert built.rows("select * from gold.customer_360_profile order by all") == before


def test_both_sides_of_every_bound(built: Pipeline) -> None:
    ages = {30: "active", 31: "recent", 60: "recent", 61: "at risk", 90: "at risk", 91: "inactive"}
    shares = {
        (25.0, 75.0): "travel-focused", (24.99, 60.0): "necessities-focused", (24.99, 59.99): "balanced",
        (-1.0, 0.0): "balanced",
    }  # fmt: skip
    as_of = as_of_date(MONTHS[-1])
    names = [
        name
        for (name,) in built.rows(
            "select customer_id from gold.customer_segments order by total_transactions desc limit 10"
        )
    ]
    statement = "update gold.customer_segment_history set {} where customer_id = '{}'"
    for name, age in zip(names, ages, strict=False):
        built.execute(statement.format(f"last_transaction_date = date '{as_of - timedelta(days=age)}'", name))
    for name, (travel, needs) in zip(names[len(ages) :], shares, strict=True):
        built.execute(statement.format(f"travel_spend_pct = {travel}, necessities_spend_pct = {needs}", name))
    succeeded, said = built.dbt(MONTHS[-1], select=INSIGHTS, arguments=NO_TESTS)
    assert succeeded, said
    found = {
        name: (recency, profile)
        for name, recency, profile in built.rows(
            "select customer_id, recency_status, spending_profile from gold.customer_360_profile"
        )
    }
    assert [found[name][0] for name in names[: len(ages)]] == list(ages.values())
    assert [found[name][1] for name in names[len(ages) :]] == list(shares.values())


def test_amounts_of_a_rollup_made_anew_since_are_not_shown(built: Pipeline) -> None:
    rolled_up = "silver.customer_period_spend inner join silver.stg_customers using (customer_key)"
    last = f"(select max(customer_id) from {rolled_up})"
    built.execute(
        "update silver.customer_period_spend set spend = spend + 1, amount_squares = amount_squares + 1"
        f" where customer_key in (select customer_key from silver.stg_customers where customer_id = {last})"
    )
    succeeded, said = built.dbt(MONTHS[-1], select=INSIGHTS, arguments=NO_TESTS)
    assert succeeded, said
    assert built.rows(
        "select customer_id, stddev_transaction_value, min_transaction_value, max_transaction_value"
        " from gold.customer_360_profile where total_transactions > 1 and (stddev_transaction_value is null"
        " or min_transaction_value is null or max_transaction_value is null)"
    ) == built.rows(f"select {last}, null, null, null")


def test_a_rollup_of_before_these_columns_is_made_anew(built: Pipeline) -> None:
    wanted = built.rows("select * from silver.customer_period_spend order by all")
    profiles = built.rows("select * from gold.customer_360_profile order by all")
    built.execute(
        "alter table silver.customer_period_spend drop amount_squares;"
        "alter table silver.customer_period_spend drop min_amount;"
        "alter table silver.customer_period_spend drop max_amount;"
        "update silver.customer_period_spend set category_groups_hash = '5f4dcc3b5aa765d61d8327deb882cf99'"
    )
    succeeded, said = built.dbt(MONTHS[-1], arguments=NO_TESTS)
    assert succeeded, said
    assert built.rows("select * from silver.customer_period_spend order by all") == wanted
    assert built.rows("select * from gold.customer_360_profile order by all") == profiles
