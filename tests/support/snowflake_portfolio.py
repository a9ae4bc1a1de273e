"""Every threshold and a portfolio around it: large enough to pass the gate, small enough for an emulator."""

from dataclasses import fields, replace
from datetime import date
from decimal import Decimal

import duckdb
import pandas as pd

from segmentation_assets.sources import synthetic
from tests.support.portfolio import Portfolio
from tests.support.portfolios import threshold_portfolio

FIRST_MONTH, SECOND_MONTH, LAST_MONTH = date(2025, 8, 1), date(2025, 9, 1), date(2025, 10, 1)
CUSTOMERS = 600
# Keys of one part are moved up here, so that they meet none of the other's.
_APART = 10_000_000
KEYS = {
    "fct_transactions": ("transaction_key", "customer_key", "merchant_category_key"),
    "dim_customer": ("customer_key",),
    "dim_merchant_category": ("category_key",),
}


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
    archetypes = apart(threshold_portfolio(LAST_MONTH), _APART)
    parts = (cardholders, archetypes, apart(in_another_currency(archetypes), _APART))
    both = {field.name: pd.concat([getattr(part, field.name) for part in parts]) for field in fields(Portfolio)}
    both["dim_date"] = both["dim_date"].drop_duplicates("full_date")
    return Portfolio(**both)


def apart(portfolio: Portfolio, by: int) -> Portfolio:
    """With every key moved up."""
    changed = {
        table: getattr(portfolio, table).assign(
            **{column: getattr(portfolio, table)[column] + by for column in columns}
        )
        for table, columns in KEYS.items()
    }
    return replace(portfolio, **changed)


def in_another_currency(portfolio: Portfolio) -> Portfolio:
    """Every twelfth customer once more: amounts x 15,000 and with four decimals, as nobody else's. So few that the mix
    stays what the gate lets pass."""
    ids = sorted(set(portfolio.dim_customer["customer_id"]))[::12]
    customers = portfolio.dim_customer[portfolio.dim_customer["customer_id"].isin(ids)]
    facts = portfolio.fct_transactions[portfolio.fct_transactions["customer_key"].isin(customers["customer_key"])]
    amounts = [
        amount * 15_000 + Decimal(number % 101 - 50).scaleb(-4)
        for number, amount in enumerate(facts["transaction_amount"])
    ]
    return replace(
        portfolio,
        dim_customer=customers.assign(customer_id="rupiah-" + customers["customer_id"]),
        fct_transactions=facts.assign(transaction_amount=pd.Series(amounts, index=facts.index, dtype="object")),
    )
