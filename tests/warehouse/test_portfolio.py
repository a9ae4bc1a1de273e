"""The way of the tests' portfolios into a warehouse and back.

Locks out: a test that compares other facts than those it made.
"""

from datetime import date
from decimal import Decimal

import duckdb
import pandas as pd
import pytest

from tests.support.portfolio import CONTRACT, Portfolio
from tests.support.portfolios import Customer, Fact, Version, build, threshold_portfolio

NOVEMBER = date(2025, 11, 1)
IN_LAST = date(2025, 10, 15)
SINCE_2020 = (Version(date(2020, 1, 1)),)


def test_a_portfolio_survives_the_warehouse() -> None:
    """A cent lost to a float, a NULL turned into a value or a date into a timestamp on the way in or out."""
    portfolio = threshold_portfolio(NOVEMBER)
    with duckdb.connect() as connection:
        portfolio.load(connection, "elsewhere")
        portfolio.load(connection, "elsewhere")
        types = connection.execute(
            "select table_name, column_name, data_type from information_schema.columns"
        ).fetchall()
        returned = Portfolio.read(connection, "elsewhere")
    for table, columns in CONTRACT.items():
        assert {column: kind for name, column, kind in types if name == table} == columns
        pd.testing.assert_frame_equal(getattr(portfolio, table), getattr(returned, table))


def test_an_empty_portfolio_survives_the_warehouse() -> None:
    """Column types guessed from rows that are not there."""
    portfolio = build([Customer("one", (), SINCE_2020)], date(2025, 12, 1))
    with duckdb.connect() as connection:
        portfolio.load(connection)
        returned = Portfolio.read(connection)
    assert returned.fct_transactions.empty
    assert list(returned.dim_customer["customer_id"]) == ["one"]
    assert returned.dim_customer["valid_to"].isna().all()


def test_finer_amounts_than_ten_thousandths_are_refused() -> None:
    """The warehouse rounding what the oracle would cut off."""
    portfolio = build([Customer("one", (Fact(IN_LAST, 1),), SINCE_2020)], date(2025, 12, 1))
    portfolio.fct_transactions["transaction_amount"] = [Decimal("0.00015")]
    with duckdb.connect() as connection, pytest.raises(ValueError, match=r"0\.00015"):
        portfolio.load(connection)
