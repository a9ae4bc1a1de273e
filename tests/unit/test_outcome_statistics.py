"""Whether a difference in spend is more than chance, and whether the split that gave it can be trusted.

Locks out: an interval that is too narrow or too wide, a broken split nobody notices, a planned uneven split that raises
an alarm, and a crash or an invented number for groups of nobody or one.
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from segmentation_assets.outcomes.statistics import SPLIT_P_VALUE, Comparison, Group, compare, split_p_value

CAMPAIGNS, TARGET, HOLDOUT = 1000, 900, 100
NOTHING = Comparison(None, None, None, None)


def group(spend: np.ndarray) -> Group:
    return Group(len(spend), float(spend.mean()), float(spend.std(ddof=1)))


def test_the_interval_holds_where_the_campaign_did_nothing() -> None:
    random = np.random.default_rng(20251101)
    held = 0
    for _ in range(CAMPAIGNS):
        spend = random.gamma(shape=4, scale=750, size=TARGET + HOLDOUT)  # skewed to the right, as spend is
        found = compare(group(spend[:TARGET]), group(spend[TARGET:]))
        assert found.lower is not None and found.upper is not None
        held += found.lower <= 0 <= found.upper
    assert 0.93 * CAMPAIGNS <= held <= 0.97 * CAMPAIGNS


def test_it_is_welchs_test_on_the_raw_spend() -> None:
    random = np.random.default_rng(7)
    target, holdout = random.normal(3100, 900, 900), random.normal(3000, 300, 100)
    found = compare(group(target), group(holdout))
    expected: Any = stats.ttest_ind(target, holdout, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.difference == pytest.approx(target.mean() - holdout.mean())
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_a_real_difference_is_found() -> None:
    found = compare(Group(900, 3300.0, 1000.0), Group(100, 2500.0, 1000.0))
    assert found.lower is not None and found.lower > 0


@pytest.mark.parametrize(
    ("target", "holdout", "expected"),
    [
        pytest.param(Group(0, None, None), Group(0, None, None), NOTHING, id="nobody at all"),
        pytest.param(Group(9, 50.0, 1.0), Group(0, None, None), NOTHING, id="nobody held out"),
        pytest.param(Group(0, None, None), Group(9, 50.0, 1.0), NOTHING, id="nobody sent to"),
        pytest.param(Group(9, 50.0, 1.0), Group(1, 40.0, None), Comparison(10.0, None, None, None), id="one held out"),
        pytest.param(Group(1, 50.0, None), Group(1, 40.0, None), Comparison(10.0, None, None, None), id="one each"),
        pytest.param(Group(5, 0.0, 0.0), Group(2, 0.0, 0.0), Comparison(0.0, None, None, None), id="no spend"),
    ],
)
def test_groups_too_small_to_tell_give_no_interval(target: Group, holdout: Group, expected: Comparison) -> None:
    assert compare(target, holdout) == expected


@pytest.mark.parametrize(("target", "holdout"), [(600, 400), (400, 600), (1000, 0)])
def test_a_split_far_from_the_planned_one_is_noticed(target: int, holdout: int) -> None:
    found = split_p_value(target, holdout, 10)
    assert found is not None and found < SPLIT_P_VALUE


@pytest.mark.parametrize(("target", "holdout", "planned"), [(900, 100, 10), (885, 115, 10), (600, 400, 40), (5, 0, 0)])
def test_a_planned_split_is_not(target: int, holdout: int, planned: float) -> None:
    found = split_p_value(target, holdout, planned)
    assert found is not None and found >= SPLIT_P_VALUE


def test_a_split_of_few_is_never_far_enough() -> None:
    assert split_p_value(0, 0, 10) is None
    assert split_p_value(1, 0, 10) == pytest.approx(1.0)
    found = split_p_value(0, 1, 10)
    assert found == pytest.approx(0.1)


@given(
    planned=st.sampled_from([0.5, 1, 5, 10, 12.5, 20, 33.3, 50, 90, 99.5, 100]),
    customers=st.integers(1, 100_000),
    deviations=st.floats(-4, 4),
)
def test_the_chance_of_a_split_is_the_exact_binomial(planned: float, customers: int, deviations: float) -> None:
    share = planned / 100
    holdout = round(customers * share + deviations * math.sqrt(customers * share * (1 - share)))
    holdout = min(max(holdout, 0), customers)
    expected = stats.binomtest(holdout, customers, share).pvalue
    assert split_p_value(customers - holdout, holdout, planned) == pytest.approx(expected, rel=1e-8)
