"""What a campaign did, from the size, mean and deviation of its two groups. Pure: no warehouse, no clock.

scipy is imported where it is used: it takes two seconds, and loading the definitions compares nothing.
"""

import math
from dataclasses import dataclass

CONFIDENCE = 0.95
# Five campaigns a month are sixty splits a year: at one in a thousand a sound split raises a false alarm once in
# seventeen years, at the usual one in twenty three times a year.
SPLIT_P_VALUE = 0.001


@dataclass(frozen=True)
class Group:
    """Spend of a treatment group; mean is None without members, deviation (of the sample) with fewer than two."""

    customers: int
    mean: float | None
    deviation: float | None


@dataclass(frozen=True)
class Comparison:
    """Target less holdout. The bounds and p_value are None where a group is too small, or nobody's spend differs."""

    difference: float | None
    lower: float | None
    upper: float | None
    p_value: float | None


def compare(target: Group, holdout: Group) -> Comparison:
    """Welch's t-test: the groups differ in size tenfold, so their variances must not be pooled.

    Degrees of freedom after Satterthwaite (1946); equals scipy.stats.ttest_ind(..., equal_var=False) on the raw spend.
    """
    from scipy import stats

    if target.mean is None or holdout.mean is None:
        return Comparison(None, None, None, None)
    difference = target.mean - holdout.mean
    if target.deviation is None or holdout.deviation is None:
        return Comparison(difference, None, None, None)
    target_part, holdout_part = (
        group.deviation**2 / group.customers for group in (target, holdout) if group.deviation is not None
    )
    variance = target_part + holdout_part
    if not variance > 0:
        return Comparison(difference, None, None, None)
    freedom = variance**2 / (target_part**2 / (target.customers - 1) + holdout_part**2 / (holdout.customers - 1))
    error = math.sqrt(variance)
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    p_value = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return Comparison(difference, difference - margin, difference + margin, p_value)


def split_p_value(target: int, holdout: int, planned_pct: float) -> float | None:
    """How likely a split at least this far from the planned one is by chance (exact binomial); None for nobody."""
    from scipy import stats

    if target + holdout == 0:
        return None
    return float(stats.binomtest(holdout, target + holdout, planned_pct / 100).pvalue)
