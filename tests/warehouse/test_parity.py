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


def test_unknown_members_and_spellings_of_statuses_are_read_as_the_words_say(pipeline: Pipeline) -> None:
    """The unknown member spends most, statuses and categories come in capitals, with blanks, and unheard-of."""
    month = date(2025, 11, 1)
    portfolio = portfolios.threshold_portfolio(month)
    dimension = portfolio.dim_customer.copy()
    newest = dimension["customer_key"].max()
    nobody = dimension.tail(1).assign(valid_from=pd.Timestamp("2020-01-01"), valid_to=pd.NaT, is_current=True)
    ended = nobody.assign(customer_key=newest + 1, customer_id="never", valid_to=pd.Timestamp("2020-01-01"))
    members = [
        nobody.assign(customer_key=-1, customer_id="unknown member"),
        nobody.assign(customer_key=newest + 2, customer_id=" Unknown\u00a0"),
        nobody.assign(customer_key=newest + 3, customer_id="-1"),
    ]
    versions = [dimension, ended, *members]
    facts = portfolio.fct_transactions.copy()
    approved = facts["transaction_status"] == "approved"
    facts.loc[approved & (facts.index % 3 == 0), "transaction_status"] = "Approved\u00a0"
    facts.loc[approved & (facts.index % 3 == 1), "transaction_status"] = " APPROVED"
    booked = facts.head(40).assign(transaction_key=facts["transaction_key"].max() + 1 + facts.index[:40])
    booked["customer_key"] = [-1, newest + 1, newest + 2, newest + 3] * 10
    changed = Portfolio(
        fct_transactions=pd.concat([facts, booked]),
        dim_customer=pd.concat(
            # Whole seconds, as the open date 9999-12-31 of the archetypes is no nanosecond.
            [frame.astype(dict.fromkeys(("valid_from", "valid_to"), "datetime64[s]")) for frame in versions]
        ),
        dim_merchant_category=portfolio.dim_merchant_category,
        dim_date=portfolio.dim_date,
        marketing_suppressions=portfolio.marketing_suppressions,
    )
    pipeline.load(changed)
    succeeded, said = pipeline.dbt(month, select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    assert_parity(pipeline, changed, [month])
    same = oracle.assign_segments(portfolio, month, RULES.raw["segments"], RULES.raw["category_groups"])
    assert len(same) == pipeline.rows("select count(*) from silver.segment_assignments")[0][0]
    audits = dict(pipeline.rows("select audit, measured from silver.segment_audits where customer_segment is null"))
    assert audits["unknown_members_are_few"] == 4
    assert audits["spend_of_unknown_members_is_small"] > 0
    assert audits["unknown_statuses_are_few"] == 0
    assert audits["rollup_equals_the_facts"] == 0


def test_spend_of_an_unheard_of_status_blocks_the_month(pipeline: Pipeline) -> None:
    month = date(2025, 11, 1)
    portfolio = portfolios.threshold_portfolio(month)
    pipeline.load(portfolio)
    pipeline.execute(
        "update gold.fct_transactions set transaction_status = 'settled'"
        " where transaction_key % 5 = 0 and transaction_status = 'approved'"
    )
    pipeline.execute("update gold.dim_merchant_category set category_name = upper(category_name) || ' '")
    succeeded, said = pipeline.dbt(month, select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    rows = pipeline.rows(
        "select audit, measured, passed, severity from silver.segment_audits"
        " where audit in ('unknown_statuses_are_few', 'category_groups_name_known_categories') order by audit"
    )
    assert [(audit, passed) for audit, _, passed, _ in rows] == [
        ("category_groups_name_known_categories", True),
        ("unknown_statuses_are_few", False),
    ]
    assert rows[1][1] > 1
    assert rows[1][3] == "error"
    pipeline.execute("update gold.dim_merchant_category set category_name = 'Air' where category_name = 'AIRLINES '")
    succeeded, said = pipeline.dbt(
        month, select=CANDIDATE, arguments=NO_TESTS, variables={"other_statuses": ["declined", "Settled "]}
    )
    assert succeeded, said
    assert dict(pipeline.rows(
        "select audit, measured from silver.segment_audits"
        " where audit in ('unknown_statuses_are_few', 'category_groups_name_known_categories')"
    )) == {"unknown_statuses_are_few": 0, "category_groups_name_known_categories": 1}  # fmt: skip
