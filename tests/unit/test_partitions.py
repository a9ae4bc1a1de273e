"""Months: parsing, arithmetic, which of them is closed, and which may be asked for.

Locks out: a month accepted that is no month, the current month computed half-way through, a year end skipped, and a
refusal that does not say what to give instead.
"""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
import time_machine

from segmentation_assets import partitions
from segmentation_assets.errors import SettingsError
from segmentation_assets.months import MonthError, MonthRange, as_of_date, last_closed_month, month_after, parse_month
from segmentation_assets.partitions import check_months, monthly_partitions, source_bounds

NEW_YORK = ZoneInfo(partitions.TIME_ZONE)


@pytest.mark.parametrize(
    "text", ["", "2025", "2025-11-31", "2025-02-29", "2025-13", "2025-13-01", "2025-00-01", "2025-11-00", "25-11-01",
             "2025-11-01 ", "2025/11/01", "202511", "20251101", "2025-1", "2025-11-1", "2025-11-", "2025-W45-1",
             "2025-11-01T00:00", "November", "2025-11-01\n", "2025-11\n", "٢٠٢٥-11-01", "0000-01-01", "0000-01"],
)  # fmt: skip
def test_what_is_no_month_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(MonthError, match=r"MONTH is .*; it has to be a month, as 2025-11, or a day of it") as refused:
        parse_month(text, "MONTH")
    assert "\n" not in str(refused.value)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["2024-02", "2024-02-01", "2024-02-02", "2024-02-29"])
def test_a_month_or_any_day_of_it_is_taken(text: str) -> None:
    assert parse_month(text) == date(2024, 2, 1)


def test_month_after_crosses_year_ends_both_ways() -> None:
    assert month_after(date(2025, 12, 1)) == date(2026, 1, 1)
    assert month_after(date(2026, 1, 1), -1) == date(2025, 12, 1)
    assert month_after(date(2025, 6, 1), -18) == date(2023, 12, 1)
    assert month_after(date(2025, 6, 1), 0) == date(2025, 6, 1)
    assert as_of_date(date(2025, 12, 1)) == date(2026, 1, 1)


@pytest.mark.parametrize(
    ("now", "month"),
    [
        (datetime(2026, 1, 1, 0, 0, tzinfo=NEW_YORK), date(2025, 12, 1)),
        (datetime(2025, 12, 31, 23, 59, tzinfo=NEW_YORK), date(2025, 11, 1)),
        (datetime(2026, 1, 1, 4, 59, tzinfo=UTC), date(2025, 11, 1)),  # still New Year's Eve in New York
        (datetime(2026, 1, 1, 5, 0, tzinfo=UTC), date(2025, 12, 1)),
        (datetime(2026, 11, 1, 1, 30, fold=1, tzinfo=NEW_YORK), date(2026, 10, 1)),
        (datetime(2024, 3, 1, 2, tzinfo=NEW_YORK), date(2024, 2, 1)),
    ],
)
def test_last_closed_month(now: datetime, month: date) -> None:
    assert last_closed_month(now) == month


def test_last_closed_month_of_the_clock_is_new_yorks() -> None:
    with time_machine.travel(datetime(2026, 1, 1, 4, 30, tzinfo=UTC), tick=False):
        assert last_closed_month() == date(2025, 11, 1)


def test_the_partitions_end_with_the_last_closed_month() -> None:
    with time_machine.travel(datetime(2026, 1, 1, 12, tzinfo=UTC), tick=False):
        keys = monthly_partitions().get_partition_keys()
    assert (keys[0], keys[-1], len(keys)) == ("2024-01-01", "2025-12-01", 24)


def test_a_range_on_offer_passes() -> None:
    with time_machine.travel(datetime(2026, 1, 15, tzinfo=UTC), tick=False):
        check_months(MonthRange(date(2024, 1, 1), date(2025, 12, 1)))


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (date(2025, 12, 1), date(2025, 11, 1), "The last month 2025-11-01 lies before the first, 2025-12-01"),
        (date(2023, 12, 1), date(2025, 11, 1), "Month 2023-12-01 cannot be computed: .* 2024-01-01 to 2025-12-01"),
        (date(2025, 12, 1), date(2026, 1, 1), "Month 2026-01-01 cannot be computed: .* 2024-01-01 to 2025-12-01"),
        (date(2031, 1, 1), date(2031, 1, 1), "Month 2031-01-01 cannot be computed"),
    ],
)
def test_a_range_not_on_offer_is_refused_with_what_is(first: date, last: date, told: str) -> None:
    with time_machine.travel(datetime(2026, 1, 15, tzinfo=UTC), tick=False), pytest.raises(MonthError, match=told):
        check_months(MonthRange(first, last))


def test_the_start_month_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTATION_START_MONTH", " 2025-03-01 ")
    assert monthly_partitions().get_partition_keys()[0] == "2025-03-01"
    monkeypatch.setenv("SEGMENTATION_START_MONTH", "March")
    with pytest.raises(SettingsError, match="SEGMENTATION_START_MONTH is 'March'"):
        source_bounds()


def test_a_source_that_ended_offers_no_month_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTATION_SOURCE", "completejourney")
    keys = monthly_partitions().get_partition_keys()
    assert (keys[0], keys[-1]) == ("2017-06-01", "2017-12-01")
