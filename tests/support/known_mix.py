"""A portfolio counted out by hand: so many customers of each segment in one month, and nobody on a bound.

What the window of the last 90 days holds is all dated in the month itself, so that a test can move a customer to
another segment without touching a day that an earlier run has rolled up.
"""

from collections.abc import Mapping
from datetime import date, timedelta

from tests.support.oracle import as_of_date
from tests.support.portfolio import Portfolio
from tests.support.portfolios import DINING, GROCERY, TRAVEL, Customer, Fact, Version, build

TRAVELERS, DECLINING, GROWING = "High-Value Travelers", "Declining", "New & Growing"
BUDGET, STABLE = "Budget-Conscious", "Stable Mid-Spenders"
SEGMENTS = (TRAVELERS, DECLINING, GROWING, BUDGET, STABLE)


def known_mix(month: date, counts: Mapping[str, int]) -> Portfolio:
    """customer_id is the segment's name and a number: `Declining 7`."""
    as_of = as_of_date(month)
    customers = [
        Customer(f"{segment} {number}", _facts(segment, as_of), (Version(as_of - timedelta(days=1000)),))
        for segment in SEGMENTS
        for number in range(counts[segment])
    ]
    return build(customers, as_of)


def _facts(segment: str, as_of: date) -> tuple[Fact, ...]:
    old, prior, last = as_of - timedelta(days=800), as_of - timedelta(days=100), as_of - timedelta(days=1)
    return {
        TRAVELERS: (Fact(old, 10_00), Fact(last, 20_000_00, TRAVEL)),
        DECLINING: (Fact(old, 10_00), Fact(prior, 3_000_00), Fact(last, 100_00)),
        GROWING: (Fact(prior, 1_000_00), Fact(last, 5_000_00)),
        BUDGET: (Fact(old, 10_00), Fact(last, 900_00, GROCERY)),
        STABLE: (Fact(old, 10_00), Fact(last, 9_000_00, DINING)),
    }[segment]
