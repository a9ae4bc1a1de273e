"""Which due month is run now, decided on what was found out: no warehouse, no instance, no clock.

Locks out: a newer month run before an older one that can be; a month run beside another, or asked for twice; a failed
month run again and again, or holding back what comes after it; a late month that holds everything back for good.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from segmentation_assets.automation.due_months import Unpublished, deadline, decide, due

NEW_YORK = ZoneInfo("America/New_York")
SEPTEMBER, OCTOBER, NOVEMBER = (date(2025, month, 1) for month in (9, 10, 11))
# November is due and not overdue; October is overdue.
NOW = datetime(2025, 12, 1, 4, tzinfo=NEW_YORK)
FAILURE = "Its run 01234567 ended as FAILURE."
LATE = "2025-11-30 has not arrived."


def failed(month: date, missing: str | None = None, *, again: bool = False) -> Unpublished:
    return Unpublished(month, failure=FAILURE, may_run_again=again, missing_facts=missing)


def late(month: date) -> Unpublished:
    return Unpublished(month, missing_facts=LATE)


@pytest.mark.parametrize(
    ("found", "run", "held_back", "message"),
    [
        pytest.param([], None, {}, "Every month that is due is published.", id="nothing is due"),
        pytest.param([Unpublished(NOVEMBER)], NOVEMBER, {}, "2025-11-01 is run.", id="ready"),
        pytest.param(
            [Unpublished(OCTOBER), Unpublished(NOVEMBER)], OCTOBER, {}, "2025-10-01 is run.", id="the oldest first"
        ),
        pytest.param([late(NOVEMBER)], None, {NOVEMBER: LATE}, f"2025-11-01: {LATE}", id="its facts are awaited"),
        pytest.param(
            [late(OCTOBER), Unpublished(NOVEMBER)], NOVEMBER, {OCTOBER: LATE}, "2025-11-01 is run.",
            id="an overdue one holds nothing back",
        ),
        pytest.param(
            [failed(OCTOBER), Unpublished(NOVEMBER)], NOVEMBER, {OCTOBER: FAILURE}, "2025-11-01 is run.",
            id="a failed one holds nothing back",
        ),
        pytest.param(
            [failed(NOVEMBER)], None, {NOVEMBER: FAILURE}, f"2025-11-01: {FAILURE}", id="a failed one is a person's"
        ),
        pytest.param(
            [failed(NOVEMBER, LATE, again=True)], None, {NOVEMBER: f"{FAILURE} {LATE}"},
            f"2025-11-01: {FAILURE} {LATE}", id="failed, and its facts are still awaited",
        ),
        pytest.param(
            [failed(NOVEMBER, again=True)], NOVEMBER, {}, "2025-11-01 is run.", id="failed, and its facts came since"
        ),
        pytest.param(
            [failed(SEPTEMBER), late(OCTOBER), late(NOVEMBER)], None,
            {SEPTEMBER: FAILURE, OCTOBER: LATE, NOVEMBER: LATE},
            f"2025-09-01: {FAILURE}\n2025-10-01: {LATE}\n2025-11-01: {LATE}", id="each is named with its reason",
        ),
    ],
)  # fmt: skip
def test_the_oldest_month_that_can_be_run_is(
    found: list[Unpublished], run: date | None, held_back: dict[date, str], message: str
) -> None:
    decision = decide(found, NOW)
    assert (decision.month, decision.held_back, decision.message) == (run, held_back, message)
    assert not decision.runs


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (Unpublished(OCTOBER, under_way="01234567"), "2025-10-01: Its run 01234567 is under way."),
        (Unpublished(OCTOBER, is_asked_for=True), "2025-10-01: Its run was asked for within the last hour."),
    ],
    ids=["under way", "asked for"],
)
def test_one_month_at_a_time(first: Unpublished, message: str) -> None:
    decision = decide([failed(SEPTEMBER), first, Unpublished(NOVEMBER)], NOW)
    assert (decision.month, decision.message, decision.runs) == (None, message, True)
    assert decision.held_back == {SEPTEMBER: FAILURE}


def test_a_month_whose_facts_are_awaited_holds_back_later_ones_until_it_is_overdue() -> None:
    found = [late(OCTOBER), Unpublished(NOVEMBER)]
    assert decide(found, deadline(OCTOBER) - timedelta(seconds=1)).month is None
    assert decide(found, deadline(OCTOBER)).month == NOVEMBER


def test_nothing_is_found_out_about_months_after_the_one_decided_on() -> None:
    def found() -> Iterator[Unpublished]:
        yield failed(SEPTEMBER)
        yield Unpublished(OCTOBER)
        raise AssertionError("a query for nothing")

    assert decide(found(), NOW).month == OCTOBER


def test_a_month_is_due_on_the_first_at_two_and_overdue_two_days_later() -> None:
    assert due(NOVEMBER) == datetime(2025, 12, 1, 2, tzinfo=NEW_YORK)
    assert deadline(NOVEMBER) == datetime(2025, 12, 3, tzinfo=NEW_YORK)
    # The clocks go back that night; 02:00 is there once.
    assert due(date(2026, 10, 1)).astimezone(ZoneInfo("UTC")) == datetime(2026, 11, 1, 7, tzinfo=ZoneInfo("UTC"))
