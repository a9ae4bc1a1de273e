"""The shares that the rules give over the last closed months, and the bound that would bring each into its band.

A bound is a quantile of its metric among the customers who would have the segment but for it: those whom no segment
before takes, and who meet its other criteria. The other segments stay as they are, so a bound that is moved changes
the segments after it too. Each bound is counted again, in the warehouse, before anybody is told of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange, month_after
from segmentation_assets.publication.published import NotPublishedError
from segmentation_assets.rules.load import Criterion, Rules, Segment
from segmentation_assets.rules.validators import LARGEST_BOUND
from segmentation_assets.warehouse.session import Session, Warehouse
from segmentation_assets.what_if.asked import Facts, Typed, asked_months, facts_of, typed
from segmentation_assets.what_if.compute import (
    Lazily,
    compute_candidate,
    dbt_in_words,
    months_published,
    rules_of,
    scratch,
)

MONTHS = 12
SQL = {"at_least": ">=", "above": ">", "at_most": "<=", "below": "<", "is": "="}
# A share this near to the middle of the band is as good as in the middle: it is told with one decimal.
NEAR = 0.05
Counts = Mapping[date, int]


@dataclass(frozen=True)
class Bound:
    """One bound of a segment, moved."""

    criterion: Criterion  # as it is
    bound: Decimal  # to
    members: Counts  # of the segment, per month, with it

    @property
    def moved(self) -> Decimal:
        """By how much of itself, so that an amount and a percentage can be compared."""
        before = Decimal(str(self.criterion.bound))
        return abs(self.bound - before) / abs(before) if before else Decimal(LARGEST_BOUND)

    def change(self, segment: str) -> str:
        """As SET takes it."""
        return f"{segment}.{self.criterion.metric}.{self.criterion.operator}={plain(self.bound)}"


@dataclass(frozen=True)
class Calibrated:
    segment: Segment
    members: Counts  # per month, under the rules as they are
    bounds: tuple[Bound, ...] = ()  # of its criteria, each as near to the middle as it gets; the best first


@dataclass(frozen=True)
class Calibration:
    months: MonthRange
    customers: Counts
    segments: tuple[Calibrated, ...]  # in priority order

    def share(self, members: Counts, month: date | None = None) -> float:
        """In percent, of one month or of all months together."""
        if month:
            return 100 * members.get(month, 0) / max(1, self.customers.get(month, 0))
        return 100 * sum(members.values()) / max(1, sum(self.customers.values()))

    def reached(self, one: Calibrated) -> Bound | None:
        """The bound that brings the segment to the middle of its band, or from outside of it at least into it.

        Of a segment within its band none that stays short of the middle: it would change whom the segment means for
        next to nothing.
        """
        best = one.bounds[0] if one.bounds else None
        if best is None or not self.is_inside(one, best.members):
            return None
        return best if self.is_in_the_middle(one, best.members) or not self.is_inside(one) else None

    def is_inside(self, one: Calibrated, members: Counts | None = None) -> bool:
        """Within its band, as it is or with other members."""
        band = one.segment.expected_share_pct
        return band is not None and band[0] <= self.share(one.members if members is None else members) <= band[1]

    def is_in_the_middle(self, one: Calibrated, members: Counts | None = None) -> bool:
        """To the decimal that is told, or to one customer."""
        middle = _middle(one.segment)
        one_customer = 100 / max(1, sum(self.customers.values()))
        return middle is not None and abs(self.share(one.members if members is None else members) - middle) < max(
            NEAR, one_customer
        )


def calibrate(
    project: Project,
    warehouse: Warehouse,
    changes: str = "",
    file: str = "",
    first: str = "",
    last: str = "",
    *,
    names: str = "FROM TO",
) -> Calibration:
    """Of the months from `first` to `last`, as `compute` takes them and the rules; nothing has to be published.

    Without months it is the last twelve closed ones whose windows lie within the facts; fewer where these are shorter.
    Raises what `compute` raises.
    """
    asked, rules = typed(first, last, *names.split()), rules_of(project, changes, file)
    with warehouse.exclusive():
        published_months = months_published(project, warehouse)
        with scratch(warehouse) as prefix, dbt_in_words():
            facts = Lazily(lambda: facts_of(project, warehouse, prefix, rules))
            months = _months(asked, published_months, facts)
            compute_candidate(project, warehouse, prefix, rules, months, published_months, shares_only=True)
            with warehouse.session(read_only=True) as session:
                return _calibrated(session, f"{prefix}{session.silver}.segment_assignments", rules, months)


def _months(asked: Typed, published_months: Sequence[date], facts: Lazily) -> MonthRange:
    if asked.first:
        return asked_months(asked, published_months, facts)
    return last_months(facts())


def last_months(facts: Facts) -> MonthRange:
    """Raises NotPublishedError where there is none."""
    whole = facts.with_whole_windows
    if whole is None:
        raise NotPublishedError(
            f"No closed month has 180 days of facts before its end: {facts}. Name months (FROM=... TO=...) to see them"
            " with what there is."
        )
    return MonthRange(max(whole.first, month_after(whole.last, 1 - MONTHS)), whole.last)


def _calibrated(session: Session, table: str, rules: Rules, months: MonthRange) -> Calibration:
    rows = session.rows(
        f"select snapshot_month, customer_segment, count(*) as customers from {table} group by 1, 2 order by 1, 2"
    )
    customers: dict[date, int] = {}
    members: dict[str, dict[date, int]] = {}
    for row in rows:
        month, number = row["snapshot_month"], int(row["customers"])
        customers[month] = customers.get(month, 0) + number
        members.setdefault(row["customer_segment"], {})[month] = number
    segments = tuple(
        Calibrated(
            segment,
            {month: members.get(segment.name, {}).get(month, 0) for month in customers},
            tuple(_bounds(session, table, rules, place, sum(customers.values()))),
        )
        for place, segment in enumerate(rules.segments)
    )
    return Calibration(months, customers, segments)


def _middle(segment: Segment) -> float | None:
    band = segment.expected_share_pct
    return (float(band[0]) + float(band[1])) / 2 if band else None


def _bounds(session: Session, table: str, rules: Rules, place: int, customers: int) -> Sequence[Bound]:
    """Of the segment at `place`; the best first: nearest to the middle by the decimal that is told, then the one that
    moves least."""
    segment, earlier = rules.segments[place], rules.segments[:place]
    middle = _middle(segment)
    if middle is None:
        return ()
    target = middle * customers / 100
    untaken = [f"not {_met(one.criteria)}" for one in earlier]
    found = (
        _bound(session, table, untaken, segment.criteria, at, target)
        for at, criterion in enumerate(segment.criteria)
        if rules.metrics.metrics[criterion.metric].kind != "flag"
    )

    def distance(bound: Bound) -> tuple[float, Decimal]:
        return round(abs(100 * sum(bound.members.values()) / customers - middle), 1), bound.moved

    return sorted(filter(None, found), key=distance)


def _bound(
    session: Session, table: str, untaken: Sequence[str], criteria: Sequence[Criterion], place: int, target: float
) -> Bound | None:
    """The bound of the criterion at `place` by which the segment has as near to `target` members as it can have."""
    criterion = criteria[place]
    others = [*criteria[:place], *criteria[place + 1 :]]
    metric, descending = criterion.metric, criterion.operator in ("at_least", "above")
    order = f"order by value {'desc' if descending else 'asc'}"
    rows = session.rows(
        f"""
        with pool as (
            select {metric} as value, count(*) as customers
            from {table}
            where {" and ".join([*untaken, _met(others), f"{metric} is not null"])}
            group by {metric}
        ),
        cumulated as (
            select
                value,
                sum(customers) over ({order} rows between unbounded preceding and current row) as members,
                lead(value) over ({order}) as first_left_out
            from pool
        )
        select value, members, first_left_out from cumulated
        order by abs(members - {target!r}), members
        limit 1
        """
    )
    for row in rows:
        value, left_out = (None if row[name] is None else _exact(row[name]) for name in ("value", "first_left_out"))
        assert value is not None
        for bound in _spellings(criterion.operator, value, left_out):
            met = [_compared(criterion, plain(bound)), *map(_of, others)]
            members = _counted(session, table, [*untaken, *met])
            if sum(members.values()) == int(row["members"]) and abs(bound) <= LARGEST_BOUND:
                return Bound(criterion, bound, members)
    return None


def _exact(value: object) -> Decimal:
    """Of a double, the shortest number that is the same double."""
    return Decimal(str(value))


def _spellings(operator: str, value: Decimal, left_out: Decimal | None) -> Iterator[Decimal]:
    """Bounds that take in `value` and leave out the next one: the plainest first, then the ends themselves."""
    sign = 1 if operator in ("at_least", "above") else -1
    # Where everybody is in, the next one would be a hundredth further on.
    beyond = left_out if left_out is not None else value - sign * max(abs(value) / 100, Decimal(1))
    takes_in_its_own = operator in ("at_least", "at_most")
    yield plainest(beyond, value, with_far=not takes_in_its_own, with_near=takes_in_its_own)
    yield value if takes_in_its_own else beyond


def plainest(far: Decimal, near: Decimal, *, with_far: bool, with_near: bool) -> Decimal:
    """The number of the fewest digits between two others, an end itself only where it is said to belong."""
    low, high = min(far, near), max(far, near)
    with_low, with_high = (with_far, with_near) if far < near else (with_near, with_far)
    for exponent in range(15, -20, -1):
        step = Decimal(1).scaleb(exponent)
        at = (low / step).to_integral_value(rounding="ROUND_CEILING") * step
        if at == low and not with_low:
            at += step
        if at < high or (at == high and with_high):
            return at
    return near if with_near else far


def plain(number: Decimal) -> str:
    """Without an exponent, and without zeros that say nothing."""
    text = format(number.normalize(), "f")
    return "0" if text == "-0" else text


def _of(criterion: Criterion) -> str:
    return _compared(criterion, str(criterion.bound).lower())


def _compared(criterion: Criterion, bound: str) -> str:
    """A NULL satisfies nothing."""
    return f"coalesce({criterion.metric} {SQL[criterion.operator]} {bound}, false)"


def _met(criteria: Sequence[Criterion]) -> str:
    return f"({' and '.join(map(_of, criteria))})" if criteria else "true"


def _counted(session: Session, table: str, conditions: Sequence[str]) -> dict[date, int]:
    rows = session.rows(
        f"select snapshot_month, count(case when {' and '.join(conditions)} then 1 end) as members"
        f" from {table} group by 1 order by 1"
    )
    return {row["snapshot_month"]: int(row["members"]) for row in rows}
