"""Effect of a campaign per customer, from exact sums over its two groups: plain, and adjusted by the spend before.

A comparison is made inside each entry month, and the differences of the months are put together: spend has seasons, and
where one month held back another share than the next, sums over both would compare seasons.

Pure: no warehouse, no clock. Every number may be an array, one element per comparison, as in the simulations of the
tests; NaN stands for what cannot be told. Of scipy only the distributions' functions are imported, and where they are
used: the whole of scipy.stats takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from typing import Any, Self

CONFIDENCE = 0.95
# The usual chance with which an experiment shall find an effect that is there (Cohen, 1988).
POWER = 0.80

# An exact number (int or Fraction), a float, or an array of either.
Number = Any


@dataclass(frozen=True)
class Sums:
    """Of a group's members: how many, their spend before (x) and after (y), squares and products. Sums add up."""

    customers: Number
    before: Number
    after: Number
    before_squared: Number
    before_by_after: Number
    after_squared: Number

    @classmethod
    def nobody(cls) -> Self:
        return cls(*[Fraction(0)] * len(fields(cls)))

    @classmethod
    def of_row(cls, row: Mapping[str, Any], prefix: str = "") -> Self:
        """Of the columns entered_customers, <prefix>spend_before and so on, exactly as the warehouse has them."""
        spend = (
            "spend_before", "spend_after", "spend_before_squared", "spend_before_by_after", "spend_after_squared",
        )  # fmt: skip
        return cls(Fraction(row["entered_customers"]), *(Fraction(row[f"{prefix}{name}"]) for name in spend))

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @cached_property
    def moments(self) -> _Moments:
        """Worked out once: each row of an epoch compares the months before it again."""
        return _moments(self)


@dataclass(frozen=True)
class Effect:
    """Target less holdout, per customer, with its 95 % interval. Arrays where the sums were."""

    estimate: Number
    lower: Number
    upper: Number
    p_value: Number
    error: Number  # standard error of the estimate
    freedom: Number  # degrees of freedom

    def times(self, factor: float) -> Effect:
        """The same in another unit, as per hundred, or of all customers. `factor` is above 0."""
        scaled = (self.estimate * factor, self.lower * factor, self.upper * factor)
        return Effect(*scaled, self.p_value, self.error * factor, self.freedom)


@dataclass(frozen=True)
class _Moments:
    customers: Number
    mean_before: Number
    mean_after: Number
    xx: Number  # sums of squared and multiplied deviations from the means
    xy: Number
    yy: Number

    @classmethod
    def of(cls, months: Sequence[Sums]) -> Self:
        """The months along the first axis."""
        import numpy as np

        each = [sums.moments for sums in months]
        return cls(*(np.stack([getattr(one, of.name) for one in each]) for of in fields(cls)))

    def squares(self, slope: Number) -> Number:
        """Sum of the squared deviations of y - slope x."""
        import numpy as np

        # Of doubles that rounding has left a little below nothing.
        return np.maximum(self.yy - 2 * slope * self.xy + slope**2 * self.xx, 0.0)


def plain(target: Sums, holdout: Sums) -> Effect:
    """Difference of the means, by Welch's t-test: the groups differ in size tenfold, so variances are not pooled."""
    return plain_by_month([target], [holdout])


def adjusted(target: Sums, holdout: Sums) -> Effect:
    """Regression adjustment by the spend before (ANCOVA; CUPED: Deng, Xu, Kohavi, Walker, WSDM 2013).

    The estimate is the coefficient of the treatment in the least squares of y on treatment and x. The interval is
    Welch's of y - slope x: the usual one of least squares pools variances, and an effect in percent makes them differ.
    """
    return adjusted_by_month([target], [holdout])


def plain_by_month(target: Sequence[Sums], holdout: Sequence[Sums]) -> Effect:
    """The same of several entry months, in their order: the mean of their differences, weighted by those who were sent
    to, so that it times all of them is what they brought together. A month without one of the sides says nothing."""
    return _compared(_Moments.of(target), _Moments.of(holdout), 0.0)


def adjusted_by_month(target: Sequence[Sums], holdout: Sequence[Sums]) -> Effect:
    """The same, adjusted by one slope for all months: that of least squares with a level for each month and side."""
    import numpy as np

    one, other = _Moments.of(target), _Moments.of(holdout)
    is_compared = (one.customers > 0) & (other.customers > 0)
    xx, xy = (
        np.where(is_compared, first + second, 0.0).sum(axis=0)
        for first, second in ((one.xx, other.xx), (one.xy, other.xy))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(xx > 0, xy / xx, 0.0)  # without any spread of x there is nothing to adjust by
    return _compared(one, other, slope)


def _moments(sums: Sums) -> _Moments:
    import numpy as np

    def of(value: Number) -> Number:
        return np.asarray(value, dtype=float)

    n, x, y = sums.customers, sums.before, sums.after
    # Exact numbers up to here: n * Σxx - (Σx)² of doubles would lose the digits that make the variance.
    deviations = (n * sums.before_squared - x * x, n * sums.before_by_after - x * y, n * sums.after_squared - y * y)
    number = of(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _Moments(number, of(x) / number, of(y) / number, *(of(one) / number for one in deviations))


def _compared(target: _Moments, holdout: _Moments, slope: Number) -> Effect:
    import numpy as np
    from scipy import special

    with np.errstate(divide="ignore", invalid="ignore"):
        is_compared = (target.customers > 0) & (holdout.customers > 0)
        sent = np.where(is_compared, target.customers, 0.0)
        weight = sent / sent.sum(axis=0)  # NaN where no month has both sides
        difference = target.mean_after - holdout.mean_after - slope * (target.mean_before - holdout.mean_before)
        estimate = (weight * np.where(is_compared, difference, 0.0)).sum(axis=0)
        parts = [_variance_parts(group, weight, slope) for group in (target, holdout)]
        variance = sum(part.sum(axis=0) for part, _ in parts)
        variance = np.where(variance > 0, variance, np.nan)  # equal amounts only say nothing of chance
        # Satterthwaite (1946), as in scipy.stats.ttest_ind(equal_var=False), over all months and sides.
        freedom = variance**2 / sum((part**2 / of).sum(axis=0) for part, of in parts)
        error = np.sqrt(variance)
        margin = special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
        p_value = 2 * special.stdtr(freedom, -np.abs(estimate) / error)
    return Effect(estimate, estimate - margin, estimate + margin, p_value, error, freedom)


def _variance_parts(group: _Moments, weight: Number, slope: Number) -> tuple[Number, Number]:
    """What each month's members add to the variance of the estimate, and with how many degrees of freedom.

    A member who is alone in their month has no spread to show: theirs is taken to be the mean of the other months'. NaN
    where no month has two members.
    """
    import numpy as np

    is_many = (weight > 0) & (group.customers > 1)
    freedom = np.where(is_many, group.customers - 1, 1.0)
    all_freedom = np.where(is_many, group.customers - 1, 0.0).sum(axis=0)
    of_who_is_alone = np.where((weight > 0) & (group.customers == 1), weight**2, 0.0).sum(axis=0) / all_freedom
    factor = weight**2 / (group.customers * freedom) + of_who_is_alone
    parts = np.where(is_many, factor * group.squares(slope), 0.0)
    return np.where(all_freedom > 0, parts, np.nan), freedom


def active_by_month(target: Sequence[tuple[int, int]], holdout: Sequence[tuple[int, int]]) -> Effect:
    """Difference of the shares that were active, 0 to 1: the same test on ones and zeros.

    Of each month and side how many there were, and how many of them active.
    """

    def ones(customers: int, of_them: int) -> Sums:
        return Sums(customers, 0, of_them, 0, 0, of_them)

    return plain_by_month([ones(*one) for one in target], [ones(*one) for one in holdout])


def smallest(error: float, freedom: float) -> float:
    """The smallest true effect that a test with this standard error finds in 80 of 100 tries; NaN where it finds none.

    Exact for the t-test: the non-central t distribution. An effect that is found with the wrong sign is not found.
    """
    import math

    from scipy import special

    if not (error > 0 and freedom > 0 and math.isfinite(error)):
        return math.nan
    critical = special.stdtrit(freedom, (1 + CONFIDENCE) / 2)
    # The shift at which so few of the tries stay below the critical value.
    return error * float(special.nctdtrinc(freedom, 1 - POWER, critical))


def smallest_before(customers_sent: int, customers_held_out: int, deviation: float | None) -> float:
    """The same before a campaign, of a list whose members' spend has this standard deviation: a plain comparison's."""
    import math

    if deviation is None or min(customers_sent, customers_held_out) < 2:
        return math.nan
    parts = [deviation**2 / number for number in (customers_sent, customers_held_out)]
    variance = sum(parts)
    if not variance > 0:
        return math.nan
    freedom = variance**2 / (parts[0] ** 2 / (customers_sent - 1) + parts[1] ** 2 / (customers_held_out - 1))
    return smallest(math.sqrt(variance), freedom)
