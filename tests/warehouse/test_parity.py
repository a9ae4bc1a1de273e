"""The SQL against an independent pandas implementation of the design's section 4, by customer and column.

Locks out: a window one day off, a threshold a cent off, refunds or declined rows counted wrong, a customer lost with an
old card, a NULL that satisfies a criterion.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import hypothesis
import pandas as pd
import pytest

from segmentation_assets.rules.load import load_rules
from segmentation_assets.sources import synthetic
from tests.support import oracle, portfolios
from tests.support.portfolio import Portfolio
from tests.support.warehouse_fixture import CANDIDATE, Pipeline

PROJECT = Path(__file__).parents[2] / "dbt_models"
RULES = load_rules(PROJECT)
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
RATIOS = [
    "avg_transaction_value", "spend_change_pct", "avg_monthly_spend", "travel_spend_pct",
    "necessities_spend_pct", "lifetime_travel_spend_pct", "lifetime_necessities_spend_pct",
]  # fmt: skip
EXACT = [column for column in oracle.HISTORY_COLUMNS if column not in RATIOS]


def exact(value: object) -> object:
    """One spelling for what pandas and DuckDB spell differently: dates, decimals, missing values."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date()
    if isinstance(value, (Decimal, float)):
        return Decimal(str(value)).quantize(Decimal("0.01"))
    return value


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    found = found.sort_values(["snapshot_month", "customer_id"]).reset_index(drop=True)
    expected = expected.sort_values(["snapshot_month", "customer_id"]).reset_index(drop=True)
    assert list(found["customer_id"]) == list(expected["customer_id"])
    for column in EXACT:
        left, right = [[exact(value) for value in frame[column]] for frame in (found, expected)]
        differences = [
            (customer, a, b) for customer, a, b in zip(found["customer_id"], left, right, strict=True) if a != b
        ]
        assert not differences, f"{column}: {len(differences)} differ, such as {differences[:3]}"
    for column in RATIOS:
        pd.testing.assert_series_equal(
            found[column].astype(float), expected[column].astype(float), rtol=1e-9, atol=1e-9, check_names=False
        )


def assert_parity(pipeline: Pipeline, portfolio: Portfolio, months: list[date]) -> None:
    expected = pd.concat(
        [
            oracle.assign_segments(portfolio, month, RULES.raw["segments"], RULES.raw["category_groups"])
            for month in months
        ]
    )
    columns = ", ".join(oracle.HISTORY_COLUMNS)
    listed = ", ".join(f"date '{month}'" for month in months)
    found = pipeline.frame(f"select {columns} from silver.segment_assignments where snapshot_month in ({listed})")
    assert_same(found, expected)


@pytest.mark.parametrize(
    "month", [date(2024, 2, 1), date(2025, 2, 1), date(2025, 4, 1), date(2025, 11, 1), date(2025, 12, 1)]
)
def test_every_threshold_on_and_a_cent_either_side(pipeline: Pipeline, month: date) -> None:
    portfolio = portfolios.threshold_portfolio(month)
    pipeline.load(portfolio)
    succeeded, said = pipeline.dbt(month, select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    assert_parity(pipeline, portfolio, [month])


def other_currency(portfolio: Portfolio, change: Callable[[int, Decimal], Decimal]) -> Portfolio:
    """Every amount changed; `change` is given the number of the fact and its amount."""
    amounts = [change(number, amount) for number, amount in enumerate(portfolio.fct_transactions["transaction_amount"])]
    return replace(
        portfolio,
        fct_transactions=portfolio.fct_transactions.assign(transaction_amount=pd.Series(amounts, dtype="object")),
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _, amount: amount * 15_000, id="rupiah"),
        # Half a cent and less, either way: rounded one by one they would be another sum.
        pytest.param(lambda n, amount: amount + Decimal(n % 101 - 50).scaleb(-4), id="four decimals"),
        pytest.param(lambda n, amount: amount * 15_000 + Decimal(n % 101 - 50).scaleb(-4), id="both"),
    ],
)
def test_amounts_of_any_currency(pipeline: Pipeline, change: Callable[[int, Decimal], Decimal]) -> None:
    """One purchase of 10,000,000.00 overflowed a square, and with it stopped every month."""
    month = date(2025, 11, 1)
    portfolio = other_currency(portfolios.threshold_portfolio(month), change)
    assert max(portfolio.fct_transactions["transaction_amount"]) >= 20_000 - 1
    pipeline.load(portfolio)
    succeeded, said = pipeline.dbt(month, select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    assert_parity(pipeline, portfolio, [month])


@hypothesis.settings(
    max_examples=12,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(portfolios.portfolios())
def test_generated_portfolios(pipeline: Pipeline, drawn: tuple[Portfolio, date]) -> None:
    portfolio, month = drawn
    pipeline.path.unlink(missing_ok=True)
    pipeline.load(portfolio)
    succeeded, said = pipeline.dbt(month, select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    assert_parity(pipeline, portfolio, [month])


def test_synthetic_portfolio_of_5000_customers(pipeline: Pipeline) -> None:
    months = [date(2026, 8, 1), date(2026, 9, 1), date(2026, 10, 1)]
    with pipeline.connection() as connection:
        synthetic.build(connection, "gold", customers=5000, first_month=date(2025, 1, 1), last_month=months[-1])
        portfolio = Portfolio.read(connection)
    succeeded, said = pipeline.dbt(months[0], months[-1], select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    assert_parity(pipeline, portfolio, months)
