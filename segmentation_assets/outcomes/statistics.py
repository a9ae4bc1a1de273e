"""What a campaign did, from the size, mean and deviation of its two groups. Pure: no warehouse, no clock.

Of scipy only the distributions' functions are imported, and where they are used: all of scipy.stats takes a second.
"""

import bisect
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
    from scipy import special

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
    margin = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    p_value = 2 * float(special.stdtr(freedom, -abs(difference) / error))
    return Comparison(difference, difference - margin, difference + margin, p_value)


def split_p_value(target: int, holdout: int, planned_pct: float) -> float | None:
    """How likely a split at least this far from the planned one is by chance; None for nobody.

    Exact binomial, of all splits on either side that are no likelier than this one, as scipy.stats.binomtest.
    """
    from scipy import special

    customers = target + holdout
    if customers == 0:
        return None
    # The side with fewer than planned, so that one formula serves both.
    share = planned_pct / 100
    few, share = (holdout, share) if holdout < customers * share else (target, 1 - share)
    if few >= customers * share:
        return 1.0
    if not 0 < share < 1:
        return 0.0

    def log_chance(number: int) -> float:
        ways = special.gammaln([customers + 1, number + 1, customers - number + 1])
        drawn = number * math.log(share) + (customers - number) * math.log1p(-share)
        return float(ways[0] - ways[1] - ways[2]) + drawn

    likely = log_chance(few) + 1e-7  # what differs by rounding only is as likely
    # On the other side chances fall with the distance: the first that is no likelier.
    others = range(math.ceil(customers * share), customers + 1)
    first = bisect.bisect_left(others, True, key=lambda number: log_chance(number) <= likely)
    chance = special.bdtr(few, customers, share) + special.bdtrc(others.start + first - 1, customers, share)
    return min(1.0, float(chance))
