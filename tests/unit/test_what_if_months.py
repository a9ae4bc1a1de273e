"""Which months a what-if takes: as typed, published or covered by facts, and the numbers that a bound is written as.

Locks out: a month that has not closed or whose last days have not arrived computed as if it were whole, windows that
reach back before the facts calibrated on half of what they measure, and a bound that leaves out whom it should take in.
"""

from datetime import date
from decimal import Decimal

import pytest

from segmentation_assets.months import MonthRange
from segmentation_assets.publication.published import NotPublishedError
from segmentation_assets.rules.edits import WhatIfError
from segmentation_assets.what_if.asked import Facts, asked_months, typed
from segmentation_assets.what_if.calibration import last_months, plain, plainest

JANUARY, MAY, JUNE, JULY = (date(2025, month, 1) for month in (1, 5, 6, 7))
NONE = typed("", "", "FROM", "TO")


def facts(first: str, last: str, grace: int = 0) -> Facts:
    return Facts(date.fromisoformat(first), date.fromisoformat(last), grace)


@pytest.mark.parametrize(
    ("first", "last", "grace", "months"),
    [
        ("2025-01-15", "2025-06-30", 0, MonthRange(JANUARY, JUNE)),
        ("2025-01-15", "2025-06-29", 0, MonthRange(JANUARY, MAY)),
        ("2025-01-15", "2025-06-29", 1, MonthRange(JANUARY, JUNE)),
        ("2025-06-01", "2025-06-29", 0, None),
    ],
)
def test_a_month_is_covered_when_the_facts_reach_its_end(
    first: str, last: str, grace: int, months: MonthRange | None
) -> None:
    assert facts(first, last, grace).covered == months


def test_the_windows_lie_within_the_facts_from_their_first_day_on() -> None:
    # As of 1 July, 180 days reach back to 2 January.
    assert facts("2025-01-02", "2025-07-31").with_whole_windows == MonthRange(JUNE, JULY)
    assert facts("2025-01-03", "2025-07-31").with_whole_windows == MonthRange.single(JULY)
    assert facts("2025-05-01", "2025-07-31").with_whole_windows is None
    assert Facts(None, None, 0).with_whole_windows is None


def test_calibration_takes_the_last_twelve_months_or_as_many_as_there_are() -> None:
    assert last_months(facts("2020-01-01", "2025-07-31")) == MonthRange(date(2024, 8, 1), JULY)
    assert last_months(facts("2025-01-02", "2025-07-31")) == MonthRange(JUNE, JULY)
    with pytest.raises(NotPublishedError, match=r"No closed month has 180 days of facts .* begin on 2025-05-01"):
        last_months(facts("2025-05-01", "2025-07-31"))


def test_months_are_published_ones_or_those_that_the_facts_cover() -> None:
    there = facts("2025-01-01", "2025-07-31")
    assert asked_months(NONE, [], lambda: there) == MonthRange.single(JULY)
    assert asked_months(NONE, [MAY], lambda: there) == MonthRange.single(MAY)
    assert asked_months(typed("2025-06", "", "FROM", "TO"), [], lambda: there) == MonthRange(JUNE, JULY)
    assert asked_months(typed("2025-06", "", "FROM", "TO"), [MAY], lambda: there) == MonthRange.single(JUNE)
    assert asked_months(typed("2025-05", "2025-06", "FROM", "TO"), [MAY], lambda: there) == MonthRange(MAY, JUNE)
    with pytest.raises(NotPublishedError, match=r"Month 2025-08-01 .* end on 2025-07-31\.$"):
        asked_months(typed("2025-07", "2025-08", "FROM", "TO"), [MAY], lambda: there)
    with pytest.raises(NotPublishedError, match="No month is published, and none can be computed: there are no approv"):
        asked_months(NONE, [], lambda: Facts(None, None, 0))


def test_months_that_cannot_be_meant_are_refused_by_the_names_they_were_typed_under() -> None:
    with pytest.raises(WhatIfError, match="TO is '2025-07', but FROM is not given; give both"):
        typed("", "2025-07", "FROM", "TO")
    with pytest.raises(WhatIfError, match="TO 2025-06-01 lies before FROM 2025-07-01"):
        typed("2025-07", "2025-06", "FROM", "TO")


@pytest.mark.parametrize(
    ("far", "near", "takes_far", "takes_near", "told"),
    [
        ("4873.411", "4873.46", False, True, "4873.42"),
        ("5", "6", False, True, "6"),  # a whole metric: at_least 6
        ("5", "6", True, False, "5"),  # above 5
        ("7", "6", False, True, "6"),  # at_most 6
        ("7", "6", True, False, "7"),  # below 7
        ("-24.71", "-25.2", False, True, "-25"),
        ("-0.002", "0.001", False, True, "0"),
        ("95", "113.2", False, True, "100"),
        ("0.1", "0.3", False, True, "0.2"),
        ("99", "100", True, False, "99"),
    ],
)
def test_a_bound_is_the_plainest_number_that_takes_in_the_same_customers(
    far: str, near: str, takes_far: bool, takes_near: bool, told: str
) -> None:
    assert plain(plainest(Decimal(far), Decimal(near), with_far=takes_far, with_near=takes_near)) == told
