"""The macro of the standard deviation against exact fractions.

Locks out: a sum of squares as a double, which leaves nothing of the deviation of large, nearly equal amounts; a square
that overflows; a negative under the root, or a clamp that hides it.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from pathlib import Path

import duckdb
import jinja2
import numpy as np
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

MACROS = (Path(__file__).parents[2] / "dbt_models" / "macros" / "numbers" / "deviation.sql").read_text()
# One ulp of the division and one of the cast of a whole number above 2**53, halved by the root, and one of the root.
TOLERANCE = 2.0**-52 * 2


@cache
def deviation_sql(dialect: str) -> str:
    sums = "count(*) as n, sum(amount) as total, sum({{ squared('amount') }}) as squares"
    query = (
        MACROS
        + "select {{ deviation_of_sums('n', 'total', 'squares') }} as deviation"
        + f" from (select {sums} from amounts)"
    )
    sql = jinja2.Environment(autoescape=False).from_string(query).render()
    return sqlglot.transpile(sql, read=dialect, write="duckdb")[0]


def measured(cents: list[int], dialect: str = "duckdb") -> float | None:
    with duckdb.connect() as connection:
        connection.execute("create table amounts (amount decimal(18, 2))")
        connection.execute(
            "insert into amounts select unnest(?::decimal(18, 2)[])", [[Decimal(c) / 100 for c in cents]]
        )
        (row,) = connection.execute(deviation_sql(dialect)).fetchall()
        return row[0]


def exact(cents: list[int]) -> float:
    n = len(cents)
    variance = Fraction(sum(c * c for c in cents) * n - sum(cents) ** 2, n * (n - 1) * 10000)
    with localcontext(prec=60):
        return float((Decimal(variance.numerator) / Decimal(variance.denominator)).sqrt())


@settings(deadline=None)
@given(st.lists(st.integers(-(10**14), 10**14), min_size=2, max_size=30))
def test_the_deviation_is_the_exact_one_to_the_last_digit(cents: list[int]) -> None:
    assert measured(cents) == pytest.approx(exact(cents), rel=TOLERANCE, abs=0)


@pytest.mark.parametrize("cents", [0, 1, 999_999_999, 10**15, -(10**15) + 1])
def test_equal_amounts_deviate_by_nothing_however_large(cents: int) -> None:
    assert measured([cents] * 1000) == 0


def test_a_cent_shows_among_a_thousand_large_amounts() -> None:
    """As doubles, the squares of ten trillion end above a whole unit: the difference of the two sums is 0 or noise."""
    cents = [10**15] * 999 + [10**15 + 1]
    assert measured(cents) == pytest.approx(exact(cents), rel=TOLERANCE, abs=0)
    spend = np.array(cents) / 100
    doubles = ((spend**2).sum() - spend.sum() ** 2 / len(spend)) / (len(spend) - 1)
    assert doubles != pytest.approx(exact(cents) ** 2, rel=0.5)


def test_an_everyday_portfolio_is_what_numpy_measures() -> None:
    cents = np.random.default_rng(20261101).integers(-5_000, 500_000, size=5_000)
    assert measured([int(c) for c in cents]) == pytest.approx(float(np.std(cents / 100, ddof=1)), rel=1e-12)


@pytest.mark.parametrize("cents", [[], [100]])
def test_fewer_than_two_amounts_have_no_deviation(cents: list[int]) -> None:
    assert measured(cents) is None


@given(st.lists(st.integers(-(10**11), 10**11), min_size=2, max_size=10))
@settings(max_examples=20, deadline=None)
def test_snowflake_is_given_the_same_arithmetic(cents: list[int]) -> None:
    """Read as Snowflake's and translated: the same digits."""
    assert measured(cents, "snowflake") == measured(cents)
