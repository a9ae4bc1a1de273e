"""The arithmetic of criteria: which customers a set of criteria describes, and who is left after others.

Criteria describe a region: per metric a span of values. Whether anyone is left in a region is decided
exactly, by taking other regions away from it. Metrics count as independent: that avg_monthly_spend is a third
of spend_last_90_days is not used, so "nobody is left" is certain and "somebody" may be true in theory only.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from segmentation_assets.errors import UserError
from segmentation_assets.rules.schema import Criterion
from segmentation_assets.rules.validators import METRICS, Metric

# About two seconds of them.
MOST_LOOKS = 100_000

# A place between two values: (x, 0) is just before x, (x, 1) just after it. So a span of two cuts needs no
# open or closed ends, it is empty when low >= high, and spans are taken apart with min and max.
Cut = tuple[Decimal, int]


class Span(NamedTuple):
    low: Cut
    high: Cut


class Axis(NamedTuple):
    """A metric, and which values it can have at all."""

    name: str
    metric: Metric


# A metric that is not named may have any value; None stands for NULL, which meets no criterion.
Region = Mapping[Axis, Span | None]


@cache
def domain(axis: Axis) -> Span:
    kind, _, highest = axis.metric
    if kind == "flag":
        highest = 1
    lowest = "-Infinity" if kind == "amount" else "1" if highest and kind == "count" else "0"
    return Span((Decimal(lowest), 0), (Decimal("Infinity" if highest is None else highest + 1), 0))


def span(criterion: Criterion, axis: Axis) -> Span:
    """The values that meet it. Of whole numbers, above 6 and at_least 7 are the same span."""
    whole = axis.metric.kind != "amount"
    bound = Decimal(str(int(criterion.bound) if isinstance(criterion.bound, bool) else criterion.bound))

    def cut(side: int) -> Cut:
        if not whole:
            return bound, side
        return Decimal(math.floor(bound) + 1 if side else math.ceil(bound)), 0

    low, high = domain(axis)
    if criterion.operator in ("at_least", "is"):
        low = max(low, cut(0))
    if criterion.operator in ("at_most", "is"):
        high = min(high, cut(1))
    if criterion.operator == "above":
        low = max(low, cut(1))
    if criterion.operator == "below":
        high = min(high, cut(0))
    return Span(low, high)


def region(criteria: Iterable[Criterion], metrics: Mapping[str, Metric] = METRICS) -> dict[Axis, Span]:
    spans: dict[Axis, Span] = {}
    for criterion in criteria:
        axis = Axis(criterion.metric, metrics[criterion.metric])
        low, high = span(criterion, axis)
        known = spans.get(axis, Span(low, high))
        spans[axis] = Span(max(low, known.low), min(high, known.high))
    return spans


def contradictions(criteria: Sequence[Criterion], metrics: Mapping[str, Metric] = METRICS) -> list[str]:
    """Per metric that no value can satisfy: the criteria that say so, in words."""
    empty = [axis.name for axis, (low, high) in region(criteria, metrics).items() if low >= high]
    return [" and ".join(str(one) for one in criteria if one.metric == metric) for metric in empty]


def without(whole: Region, taken: Mapping[Axis, Span]) -> Iterator[Region]:
    """Disjoint regions that together are `whole` less `taken`."""
    inside = dict(whole)
    for axis, (low, high) in taken.items():
        if axis not in inside and axis.metric.nullable:
            yield {**inside, axis: None}
        own = inside.get(axis, domain(axis))
        if own is None:
            yield inside
            return
        for piece in (Span(own.low, min(own.high, low)), Span(max(own.low, high), own.high)):
            if piece.low < piece.high:
                yield {**inside, axis: piece}
        both = Span(max(own.low, low), min(own.high, high))
        if both.low >= both.high:
            return
        inside[axis] = both


def overlap(one: Region, other: Mapping[Axis, Span]) -> bool:
    for axis, (low, high) in other.items():
        own = one.get(axis, domain(axis))
        if own is None or max(own.low, low) >= min(own.high, high):
            return False
    return True


class UndecidedError(UserError):
    """Whether anybody is left takes more looks than there may be."""

    def __init__(self) -> None:
        super().__init__(
            f"their criteria overlap in so many ways that {MOST_LOOKS:,} looks did not tell whether somebody is left"
            " for each; use fewer segments, or fewer metrics in those whose bounds overlap"
        )


class Work:
    """How many regions may be looked at in all. What people write takes hundreds; what takes more may take years."""

    def __init__(self, looks: int = MOST_LOOKS) -> None:
        self.left = looks

    def spend(self, looks: int) -> None:
        self.left -= looks
        if self.left < 0:
            raise UndecidedError


def is_reachable(own: Region, earlier: Iterable[Mapping[Axis, Span]], work: Work | None = None) -> bool:
    """Whether a customer can be in `own` and in none of `earlier`; depth first, as one is enough.

    The region that leaves the fewest pieces goes first: 15 sets of 20 segments whose last two cover everyone
    were not done after 90 s in the given order; this way a set takes 0.02 s. In general the question grows beyond any
    bound with the number of metrics, so the looks are counted. Raises UndecidedError.
    """
    work = work or Work()
    open_pieces: list[tuple[Region, Sequence[Mapping[Axis, Span]]]] = [(own, list(earlier))]
    while open_pieces:
        piece, before = open_pieces.pop()
        work.spend(1 + len(before))
        near = [(list(without(piece, taken)), taken) for taken in before if overlap(piece, taken)]
        if not near:
            return True
        # Of equals the last: where bounds loosen from segment to segment, it holds all before it.
        first = min(range(len(near)), key=lambda at: (len(near[at][0]), -at))
        rest = [taken for at, (_, taken) in enumerate(near) if at != first]
        open_pieces.extend((left, rest) for left in reversed(near[first][0]))
    return False


def takers(own: Region, earlier: Mapping[str, Mapping[Axis, Span]], work: Work | None = None) -> list[str]:
    """Names of the earlier regions, none needless, that leave nobody in `own`; [] if somebody is left.

    Raises UndecidedError.
    """
    work = work or Work()
    if is_reachable(own, earlier.values(), work):
        return []
    for name, taken in earlier.items():
        if not is_reachable(own, [taken], work):
            return [name]
    needed = dict(earlier)
    for name in earlier:
        rest = {other: taken for other, taken in needed.items() if other != name}
        if not is_reachable(own, rest.values(), work):
            needed = rest
    return list(needed)
