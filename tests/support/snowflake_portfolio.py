"""Every threshold and a portfolio around it: large enough to pass the gate, small enough for an emulator."""

from dataclasses import fields
from datetime import date

import duckdb
import pandas as pd

from segmentation_assets.sources import synthetic
from tests.support.portfolio import Portfolio
from tests.support.portfolios import threshold_portfolio

FIRST_MONTH, SECOND_MONTH, LAST_MONTH = date(2025, 8, 1), date(2025, 9, 1), date(2025, 10, 1)
CUSTOMERS = 600
# Keys of one part are moved up here, so that they meet none of the other's.
_APART = 10_000_000


def thresholds_among_customers() -> Portfolio:
    """The archetypes of the last month beside synthetic card-holders; the same rows every time."""
    with duckdb.connect() as connection:
        synthetic.build(
            connection,
            "gold",
            customers=CUSTOMERS,
            first_month=date(2025, 2, 1),
            last_month=LAST_MONTH,
            sized_at=LAST_MONTH,
        )
        cardholders = Portfolio.read(connection)
    archetypes = threshold_portfolio(LAST_MONTH)
    for table, column in (
        ("fct_transactions", "transaction_key"),
        ("fct_transactions", "customer_key"),
        ("fct_transactions", "merchant_category_key"),
        ("dim_customer", "customer_key"),
        ("dim_merchant_category", "category_key"),
    ):
        frame: pd.DataFrame = getattr(archetypes, table)
        frame[column] = frame[column] + _APART
    both = {
        field.name: pd.concat([getattr(cardholders, field.name), getattr(archetypes, field.name)])
        for field in fields(Portfolio)
    }
    both["dim_date"] = both["dim_date"].drop_duplicates("full_date")
    return Portfolio(**both)
