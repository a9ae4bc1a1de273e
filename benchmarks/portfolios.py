"""The warehouses that are measured: the synthetic portfolio, and longer histories of the same monthly volume."""

import shutil
import sys
from datetime import date
from pathlib import Path

import duckdb

from segmentation_assets.months import month_after
from segmentation_assets.sources import synthetic

FOLDER = (Path("data") / "bench").absolute()
LAST_MONTH = date(2026, 10, 1)
# A month of history before the synthetic ones, of 50,000 customers: with those, 120 months are 135 million facts.
FACTS_PER_MONTH = 1_267_000


def portfolio(customers: int, months: int = 24) -> Path:
    """The star schema of `customers` customers with so many months of history, up to LAST_MONTH; made once and kept."""
    path = FOLDER / f"{customers}-customers-{months}-months.duckdb"
    if path.exists():
        return path
    print(f"    filling {customers:,} customers, {months} months", file=sys.stderr, flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    behaved = min(months, 24)  # by then nobody is new any more: what lies before them only adds to the lifetime
    with duckdb.connect(str(scratch)) as connection:
        first = month_after(LAST_MONTH, 1 - behaved)
        synthetic.build(connection, "gold", customers=customers, first_month=first, last_month=LAST_MONTH)
        if months > behaved:
            prepend(connection, first, months - behaved, FACTS_PER_MONTH * customers // 50_000)
    scratch.rename(path)
    return path


def prepend(connection: duckdb.DuckDBPyConnection, first: date, months: int, facts: int) -> None:
    """Put `months` months of so many facts each before `first`: its own facts over and over, in date order."""
    connection.execute("alter table gold.fct_transactions rename to behaved")
    connection.execute("create table gold.fct_transactions as from gold.behaved limit 0")
    start = month_after(first, -months)
    for number in range(months):
        month = month_after(start, number)
        connection.execute(
            """
            insert into gold.fct_transactions by name
            with base as (
                select *, row_number() over (order by transaction_key) - 1 as place, count(*) over () as n
                from gold.behaved where transaction_date >= ? and transaction_date < ?
            ),
            needed as (
                select unnest(generate_series(0, (select cast(ceil(? / max(n)) as bigint) from base) - 1)) as time
            )
            select
                base.* exclude (place, n)
                replace (
                    -(cast(? as bigint) + needed.time * base.n + base.place + 1) as transaction_key,
                    least(
                        cast(? as date) + cast(transaction_date - cast(? as date) as integer), last_day(cast(? as date))
                    ) as transaction_date
                )
            from base, needed
            where needed.time * base.n + base.place < ?
            order by transaction_date
            """,
            [first, month_after(first), facts, number * facts, month, first, month, facts],
        )
    connection.execute("insert into gold.fct_transactions by name from gold.behaved order by transaction_date")
    connection.execute("drop table gold.behaved")
    connection.execute(
        """
        insert into gold.dim_date by name
        select cast(strftime(day, '%Y%m%d') as integer) as date_key, cast(day as date) as full_date
        from unnest(range(cast(? as timestamp), cast(? as timestamp), interval 1 day)) as days (day)
        where cast(day as date) not in (select full_date from gold.dim_date)
        """,
        [start, first],
    )


def taken(path: Path, name: str) -> Path:
    """The file itself, where a disk does not hold it twice; it is filled again for the next scenario."""
    return path.rename(FOLDER / f"{name}.work")


def working_copy(path: Path, name: str) -> Path:
    """A scenario writes to a copy of its own, so that every scenario starts from the same file."""
    copy = FOLDER / f"{name}.work"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, copy)
    return copy
