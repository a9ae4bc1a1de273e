"""The synthetic star schema: fills the five source tables of the embedded default, and nothing else.

Who the card-holders are is in `synthetic_customers`, what they buy in `synthetic_purchases`. No segment is
stored or looked up anywhere: customers behave, and the rules have to discover it.
"""

from datetime import date

import duckdb

from segmentation_assets.sources import mark, synthetic_customers, synthetic_purchases

# The portfolio grows every month for ever (see synthetic_customers.MONTHLY_GROWTH), so one month has to say
# when it is as large as asked for. A fixed month, not `last_month`: otherwise the portfolio of an earlier
# month would be another one each time a month is added.
SIZED_AT = date(2026, 10, 1)


def build(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    *,
    customers: int,
    first_month: date,
    last_month: date,
    sized_at: date = SIZED_AT,
    recipe: str = "",
) -> None:
    """Replace the star schema in `schema` of the connection's current database, in one transaction.

    `first_month` and `last_month` are the first days of the first and last month that have facts, both
    included. `customers` is the number of card-holders at the end of the month `sized_at`: every later month
    has 3.8 % more, every earlier one as many fewer. Cards opened before `first_month` are in the dimension,
    only their purchases before it are not. 50,000 customers and 24 months that end at `sized_at` are about
    13.5 million facts.

    The facts of a month depend on that month, `customers` and `sized_at` only. So the same call gives the
    same rows, and a later `last_month` or an earlier `first_month` keeps every fact and adds to them. A later
    `last_month` also keeps every customer_key, closes versions (`valid_to`, `is_current`) where a card was
    upgraded, and adds customers.

    Amounts are in whole currency units with two decimals. Facts lie in the order of their dates, so that a
    reader of one month skips the rest of the table. About two purchases a month are post-dated by 2 to 13
    months, whatever the size; those past `last_month` are the future-dated rows.

    `recipe` says in the tables' mark what they were made of.

    Raises ValueError for a date that is no first of a month, an empty range, or fewer than one customer.
    """
    for name, day in (("first_month", first_month), ("last_month", last_month), ("sized_at", sized_at)):
        if day.day != 1:
            raise ValueError(f"{name} is {day}; it has to be the first day of a month")
    if first_month > last_month:
        raise ValueError(f"first_month {first_month} is after last_month {last_month}")
    if customers < 1:
        raise ValueError(f"customers is {customers}; at least 1 is needed")

    quoted_schema = '"' + schema.replace('"', '""') + '"'
    first, last = month_number(first_month), month_number(last_month)
    connection.execute("begin transaction")
    try:
        connection.execute(f"create schema if not exists {quoted_schema}")
        synthetic_customers.create_cardholders(
            connection, customers=customers, sized_at=month_number(sized_at), last_month=last
        )
        synthetic_customers.create_dimension(connection, quoted_schema, last_month=last)
        synthetic_customers.create_suppressions(connection, quoted_schema, last_month=last)
        synthetic_purchases.create_categories(connection, quoted_schema)
        synthetic_purchases.create_facts(connection, quoted_schema, first_month=first, last_month=last)
        _create_dates(connection, quoted_schema)
        connection.execute("drop table temp.cardholders")
        mark.put(connection, quoted_schema, recipe or "synthetic")
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


def month_number(month: date) -> int:
    """Months since year 0, so that ages and phases are plain integers."""
    return month.year * 12 + month.month - 1


def _create_dates(connection: duckdb.DuckDBPyConnection, schema: str) -> None:
    """One row per day, from a year before the first fact to a year after the last (post-dated) one."""
    connection.execute(f"""
        create or replace table {schema}.dim_date as
        with span as (
            select
                min(transaction_date) - interval 366 days as starts,
                max(transaction_date) + interval 367 days as ends,
            from {schema}.fct_transactions
        )
        select
            strftime(day, '%Y%m%d')::integer as date_key,
            day::date as full_date,
        from span, unnest(range(starts, ends, interval 1 day)) as days (day)
        order by date_key
    """)
