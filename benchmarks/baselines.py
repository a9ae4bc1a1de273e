"""The same numbers by hand: what an analyst would write without the rollup, in SQL, pandas and Polars.

Each computes the metrics of section 4 of the design, and nothing of the segments, audits, history and summary that the
models also make. The data frames read the columns they need from Parquet files, which is the fastest they can.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from segmentation_assets.months import as_of_date

TRAVEL = ("Travel", "Airlines", "Hotels")
NECESSITIES = ("Grocery", "Gas", "Utilities")

# Conditions on a fact: `day`, `amount` and `category` of one approved transaction, `as_of` of its month.
SUMS = f"""
    count(*) as total_transactions, sum(amount) as lifetime_value, min(day) as first_day, max(day) as last_day,
    sum(amount) filter (where day >= as_of - 90) as last_90,
    sum(amount) filter (where day >= as_of - 180 and day < as_of - 90) as prior_90,
    sum(amount) filter (where day >= as_of - 90 and category in {TRAVEL}) as travel,
    sum(amount) filter (where day >= as_of - 90 and category in {NECESSITIES}) as necessities,
    sum(amount) filter (where category in {TRAVEL}) as lifetime_travel,
    sum(amount) filter (where category in {NECESSITIES}) as lifetime_necessities
"""
FACTS = """
    select c.customer_id, f.transaction_date as day, f.transaction_amount as amount, m.category_name as category
    from gold.fct_transactions f
    join gold.dim_customer c using (customer_key)
    left join gold.dim_merchant_category m on f.merchant_category_key = m.category_key
    where f.transaction_status = 'approved'
"""


def single_pass_query(month: date) -> str:
    """One month: one pass over all facts. The as-of date stands in it as a literal, so that dates can be skipped by."""
    as_of = f"date '{as_of_date(month)}'"
    return f"""
        with facts as ({FACTS} and f.transaction_date < {as_of})
        select customer_id, {SUMS.replace("as_of", as_of)} from facts group by customer_id
    """


def single_pass(connection: duckdb.DuckDBPyConnection, month: date) -> None:
    connection.execute(f"create or replace temp table hand_written as {single_pass_query(month)}")


def direct_join(connection: duckdb.DuckDBPyConnection, months: Sequence[date]) -> None:
    """A backfill: every fact meets every month it counts in."""
    listed = " union all ".join(
        f"select date '{month}' as snapshot_month, date '{as_of_date(month)}' as as_of" for month in months
    )
    connection.execute(
        f"""
        create or replace temp table hand_written as
        with months as ({listed})
        select snapshot_month, customer_id, {SUMS}
        from ({FACTS}) as facts join months on facts.day < months.as_of
        group by snapshot_month, customer_id
        """
    )


def to_parquet(database: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(database), read_only=True) as connection:
        for table in ("fct_transactions", "dim_customer", "dim_merchant_category"):
            # Doubles: neither library adds up decimals as fast.
            columns = "* replace (cast(transaction_amount as double) as transaction_amount)" if "fct" in table else "*"
            connection.execute(
                f"copy (select {columns} from gold.{table}) to '{folder / table}.parquet' (format parquet)"
            )


def with_pandas(folder: Path, month: date) -> Any:
    import pandas as pd

    as_of = pd.Timestamp(as_of_date(month))
    last, prior = as_of - timedelta(days=90), as_of - timedelta(days=180)
    facts = pd.read_parquet(
        folder / "fct_transactions.parquet",
        columns=[
            "customer_key",
            "merchant_category_key",
            "transaction_date",
            "transaction_amount",
            "transaction_status",
        ],
    )
    facts = facts[(facts.transaction_status == "approved") & (pd.to_datetime(facts.transaction_date) < as_of)]
    customers = pd.read_parquet(folder / "dim_customer.parquet", columns=["customer_key", "customer_id"])
    categories = pd.read_parquet(folder / "dim_merchant_category.parquet")
    facts = facts.merge(customers, on="customer_key").merge(
        categories, how="left", left_on="merchant_category_key", right_on="category_key"
    )
    day, amount = pd.to_datetime(facts.transaction_date), facts.transaction_amount
    travel, necessities = facts.category_name.isin(TRAVEL), facts.category_name.isin(NECESSITIES)
    in_last, in_prior = day >= last, (day >= prior) & (day < last)
    facts = facts.assign(
        day=day,
        last_90=amount.where(in_last, 0.0),
        prior_90=amount.where(in_prior, 0.0),
        travel=amount.where(in_last & travel, 0.0),
        necessities=amount.where(in_last & necessities, 0.0),
        lifetime_travel=amount.where(travel, 0.0),
        lifetime_necessities=amount.where(necessities, 0.0),
    )
    return facts.groupby("customer_id").agg(
        total_transactions=("transaction_amount", "size"),
        lifetime_value=("transaction_amount", "sum"),
        first_day=("day", "min"),
        last_day=("day", "max"),
        **{
            name: (name, "sum")
            for name in ("last_90", "prior_90", "travel", "necessities", "lifetime_travel", "lifetime_necessities")
        },
    )


def with_polars(folder: Path, month: date) -> Any:
    import polars as pl

    as_of = as_of_date(month)
    last, prior = as_of - timedelta(days=90), as_of - timedelta(days=180)
    day, amount, category = pl.col("transaction_date"), pl.col("transaction_amount"), pl.col("category_name")
    travel, necessities = category.is_in(TRAVEL), category.is_in(NECESSITIES)
    in_last, in_prior = day >= last, (day >= prior) & (day < last)
    return (
        pl.scan_parquet(folder / "fct_transactions.parquet")
        .filter((pl.col("transaction_status") == "approved") & (day < as_of))
        .join(pl.scan_parquet(folder / "dim_customer.parquet").select("customer_key", "customer_id"), on="customer_key")
        .join(
            pl.scan_parquet(folder / "dim_merchant_category.parquet"),
            how="left",
            left_on="merchant_category_key",
            right_on="category_key",
        )
        .group_by("customer_id")
        .agg(
            pl.len().alias("total_transactions"),
            amount.sum().alias("lifetime_value"),
            day.min().alias("first_day"),
            day.max().alias("last_day"),
            amount.filter(in_last).sum().alias("last_90"),
            amount.filter(in_prior).sum().alias("prior_90"),
            amount.filter(in_last & travel).sum().alias("travel"),
            amount.filter(in_last & necessities).sum().alias("necessities"),
            amount.filter(travel).sum().alias("lifetime_travel"),
            amount.filter(necessities).sum().alias("lifetime_necessities"),
        )
        .collect(engine="streaming")
    )
