"""Locks out an oracle that is wrong in the same way as the SQL it judges.

Every expected value below was worked out by hand from the design and is written as a literal. The month is
November 2025 unless a test says otherwise: as of 2025-12-01, last 90 days from 2025-09-02, the 90 before from
2025-06-04.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, seed, settings

from tests.support.oracle import HISTORY_COLUMNS, as_of_date, assign_segments
from tests.support.portfolio import CONTRACT, Portfolio
from tests.support.portfolios import (
    DINING,
    GROCERY,
    HOTELS,
    NO_CATEGORY,
    TRAVEL,
    UNKNOWN,
    Customer,
    Fact,
    Version,
    build,
    portfolios,
    threshold_portfolio,
)

SEGMENTS: list[dict[str, Any]] = [
    {
        "name": "High-Value Travelers",
        "criteria": [
            {"metric": "avg_monthly_spend", "at_least": 5000},
            {"metric": "travel_spend_pct", "at_least": 25},
        ],
    },
    {
        "name": "Declining",
        "criteria": [
            {"metric": "spend_change_pct", "at_most": -30},
            {"metric": "spend_prior_90_days", "at_least": 2000},
        ],
    },
    {
        "name": "New & Growing",
        "criteria": [
            {"metric": "tenure_months", "at_most": 6},
            {"metric": "spend_change_pct", "at_least": 50},
        ],
    },
    {
        "name": "Budget-Conscious",
        "criteria": [
            {"metric": "avg_monthly_spend", "below": 1500},
            {"metric": "necessities_spend_pct", "at_least": 60},
        ],
    },
    {"name": "Stable Mid-Spenders"},
]
GROUPS = {"travel": ["Travel", "Airlines", "Hotels"], "necessities": ["Grocery", "Gas", "Utilities"]}

NOVEMBER = date(2025, 11, 1)
SINCE_2020 = (Version(date(2020, 1, 1)),)
IN_LAST, IN_PRIOR, LONG_AGO = date(2025, 10, 15), date(2025, 7, 15), date(2024, 1, 15)


def history(
    *customers: Customer, month: date = NOVEMBER, segments: Sequence[dict[str, Any]] = SEGMENTS
) -> pd.DataFrame:
    return assign_segments(build(customers, as_of_date(month)), month, segments, GROUPS)


def row(*facts: Fact, versions: tuple[Version, ...] = SINCE_2020, month: date = NOVEMBER) -> dict[str, Any]:
    frame = history(Customer("one", facts, versions), month=month)
    assert len(frame) == 1
    return frame.iloc[0].to_dict()


def test_a_whole_row_as_worked_out_on_paper() -> None:
    """A column renamed, dropped, reordered or computed from another column's inputs."""
    frame = history(
        Customer(
            "one",
            (
                Fact(date(2025, 1, 31), 1_000_00, HOTELS),
                Fact(date(2025, 7, 1), 2_000_00, GROCERY),
                Fact(date(2025, 9, 2), 600_00, TRAVEL),
                Fact(date(2025, 10, 10), 1_500_00, GROCERY),
                Fact(date(2025, 11, 30), -100_00, DINING),
            ),
            SINCE_2020,
        )
    )
    assert list(frame.columns) == HISTORY_COLUMNS
    assert frame.iloc[0].to_dict() == {
        "snapshot_month": date(2025, 11, 1),
        "customer_id": "one",
        "customer_key": 1001,
        "customer_segment": "Budget-Conscious",
        "segment_assigned_date": date(2025, 12, 1),
        "total_transactions": 5,
        "lifetime_value": Decimal("5000.00"),
        "avg_transaction_value": 1000.0,
        "first_transaction_date": date(2025, 1, 31),
        "last_transaction_date": date(2025, 11, 30),
        "tenure_months": 10,
        "spend_last_90_days": Decimal("2000.00"),
        "spend_prior_90_days": Decimal("2000.00"),
        "spend_change_pct": 0.0,
        "avg_monthly_spend": pytest.approx(666.6666666666667, rel=1e-15),
        "travel_spend_pct": 30.0,
        "necessities_spend_pct": 75.0,
        "lifetime_travel_spend_pct": 32.0,
        "lifetime_necessities_spend_pct": 70.0,
        "is_active": True,
    }


@pytest.mark.parametrize(
    ("month", "as_of"),
    [
        (date(2025, 1, 1), date(2025, 2, 1)),
        (date(2024, 2, 1), date(2024, 3, 1)),
        (date(2025, 2, 1), date(2025, 3, 1)),
        (date(2025, 12, 1), date(2026, 1, 1)),
    ],
)
def test_as_of_is_the_first_of_the_next_month(month: date, as_of: date) -> None:
    """Thirty days added to a 28- or 31-day month."""
    assert as_of_date(month) == as_of


def test_a_month_that_is_no_first_of_month_is_refused() -> None:
    """A day in the middle of a month quietly shifting every window."""
    with pytest.raises(ValueError, match="2025-11-15"):
        as_of_date(date(2025, 11, 15))


def test_each_window_is_ninety_days_open_at_its_end() -> None:
    """A window of 91 days, one that holds the as-of day, or future facts in the lifetime."""
    expected = {  # day of a purchase of 1.00: last 90 days, prior 90 days, lifetime
        date(2025, 12, 2): (0, 0, 0),
        date(2025, 12, 1): (0, 0, 0),
        date(2025, 11, 30): (1, 0, 1),
        date(2025, 9, 3): (1, 0, 1),
        date(2025, 9, 2): (1, 0, 1),
        date(2025, 9, 1): (0, 1, 1),
        date(2025, 6, 5): (0, 1, 1),
        date(2025, 6, 4): (0, 1, 1),
        date(2025, 6, 3): (0, 0, 1),
        date(2021, 2, 3): (0, 0, 1),
    }
    frame = history(*(Customer(f"{day}", (Fact(day, 1_00),), SINCE_2020) for day in expected))
    assert {
        date.fromisoformat(found.customer_id): (
            found.spend_last_90_days,
            found.spend_prior_90_days,
            found.total_transactions,
        )
        for found in frame.itertuples()
    } == expected
    assert list(frame["lifetime_value"]) == list(frame["total_transactions"])
    assert list(frame["is_active"]) == list(frame["spend_last_90_days"] > 0)


@pytest.mark.parametrize(
    ("month", "first_of_last", "first_of_prior"),
    [
        (date(2024, 2, 1), date(2023, 12, 2), date(2023, 9, 3)),
        (date(2025, 2, 1), date(2024, 12, 1), date(2024, 9, 2)),
        (date(2024, 5, 1), date(2024, 3, 3), date(2023, 12, 4)),
    ],
)
def test_windows_count_days_over_leap_and_short_months(month: date, first_of_last: date, first_of_prior: date) -> None:
    """Three calendar months taken for 90 days."""
    found = row(Fact(first_of_last, 1_00), Fact(first_of_prior, 10_00), month=month)
    assert (found["spend_last_90_days"], found["spend_prior_90_days"]) == (1, 10)


def test_facts_of_an_earlier_version_count_for_the_customer() -> None:
    """Keying on customer_key, which loses the spend made before an address change."""
    versions = (Version(date(2020, 1, 1), date(2025, 10, 1)), Version(date(2025, 10, 1)))
    found = row(Fact(date(2025, 9, 30), 1_00, version=0), Fact(date(2025, 10, 1), 2_00, version=1), versions=versions)
    assert (found["customer_key"], found["spend_last_90_days"], found["total_transactions"]) == (1002, 3, 2)


def test_customer_key_is_the_version_at_the_as_of_date() -> None:
    """is_current or the highest key taken for the version of a past month."""
    old, may, june, as_of = date(2020, 1, 1), date(2025, 5, 1), date(2025, 6, 1), date(2025, 12, 1)
    day_after = date(2025, 12, 2)
    cases: dict[str, tuple[list[tuple[date, date | None]], int]] = {  # versions, the one expected
        "one open version": ([(old, None)], 1),
        "open written as 9999": ([(old, date(9999, 12, 31))], 1),
        "a version is valid from its first day": ([(old, as_of), (as_of, None)], 2),
        "a version that begins later is not": ([(old, day_after), (day_after, None)], 1),
        "the later version has the lower key": ([(june, None), (old, june)], 1),
        "closed on the as-of date": ([(old, as_of)], 1),
        "closed on the as-of date is no longer valid": ([(old, as_of), (may, june)], 2),
        "closed: the last that began": ([(old, may), (may, june)], 2),
        "closed: the last that began, not the higher key": ([(may, june), (old, may)], 1),
        "reopened after the as-of date": ([(old, may), (day_after, None)], 1),
        "an empty version on the day began last": ([(old, may), (as_of, as_of)], 2),
        "an empty version of the same day is not valid": ([(old, None), (old, old)], 1),
        "closed, same first day: the longer": ([(old, june), (old, may)], 1),
        "closed, same days: the higher key": ([(old, may), (old, may)], 2),
        "both valid, same first day: the open one": ([(old, None), (old, day_after)], 1),
        "valid beats begun later but closed": ([(old, None), (may, june)], 1),
    }
    customers = [
        Customer(name, (), tuple(Version(*version) for version in versions)) for name, (versions, _) in cases.items()
    ]
    first_keys, next_key = {}, 1001
    for customer in customers:
        first_keys[customer.name] = next_key
        next_key += len(customer.versions)
    found = history(*customers).set_index("customer_id")["customer_key"]
    assert {name: found[name] - first_keys[name] + 1 for name in cases} == {
        name: expected for name, (_, expected) in cases.items()
    }


def test_population_is_everyone_who_began_before_the_as_of_date() -> None:
    """Customers without transactions dropped by an inner join, or next month's customers counted early."""
    frame = history(
        Customer("silent", (), SINCE_2020),
        Customer("day-before", (), (Version(date(2025, 11, 30)),)),
        Customer("on-the-day", (Fact(IN_LAST, 1_00),), (Version(date(2025, 12, 1)),)),
        Customer("day-after", (Fact(IN_LAST, 1_00),), (Version(date(2025, 12, 2)),)),
        Customer("closed", (), (Version(date(2020, 1, 1), date(2021, 1, 1)),)),
        Customer("Upper", (), SINCE_2020),
    )
    assert list(frame["customer_id"]) == ["Upper", "closed", "day-before", "silent"]


def test_a_month_before_everyone_is_empty_with_all_columns() -> None:
    """An empty population that raises or loses its columns."""
    frame = history(Customer("later", (), (Version(date(2026, 1, 1)),)))
    assert frame.empty
    assert list(frame.columns) == HISTORY_COLUMNS


def test_without_transactions_sums_are_zero_and_the_rest_null() -> None:
    """NULL sums, or a share of zero where there is nothing to share."""
    found = row()
    zero = (
        "total_transactions",
        "lifetime_value",
        "spend_last_90_days",
        "spend_prior_90_days",
        "avg_monthly_spend",
    )
    assert [found[column] for column in zero] == [0, 0, 0, 0, 0]
    null = [column for column in HISTORY_COLUMNS if pd.isna(found[column])]
    assert null == [
        "avg_transaction_value",
        "first_transaction_date",
        "last_transaction_date",
        "tenure_months",
        "spend_change_pct",
        "travel_spend_pct",
        "necessities_spend_pct",
        "lifetime_travel_spend_pct",
        "lifetime_necessities_spend_pct",
    ]
    assert found["is_active"] is False
    assert found["customer_segment"] == "Stable Mid-Spenders"


def test_unapproved_facts_count_nowhere() -> None:
    """A declined purchase in a sum, a count or the first and last date."""
    found = row(
        Fact(date(2024, 1, 1), 5_00, status="declined"),
        Fact(date(2025, 10, 1), 7_00),
        Fact(date(2025, 11, 1), 9_00, status="declined"),
    )
    assert found["total_transactions"] == 1
    assert found["lifetime_value"] == Decimal("7.00")
    assert found["spend_last_90_days"] == Decimal("7.00")
    assert found["first_transaction_date"] == found["last_transaction_date"] == date(2025, 10, 1)


def test_refunds_net_out_and_are_counted() -> None:
    """Refunds dropped by amount > 0, which overstates spend."""
    found = row(Fact(IN_LAST, 30_00, HOTELS), Fact(IN_LAST, -10_00, HOTELS), Fact(LONG_AGO, -5_00))
    assert (found["total_transactions"], found["lifetime_value"]) == (3, Decimal("15.00"))
    assert found["spend_last_90_days"] == Decimal("20.00")
    assert found["avg_transaction_value"] == 5.0
    assert found["first_transaction_date"] == LONG_AGO


@pytest.mark.parametrize(("net", "active"), [(-1, False), (0, False), (1, True)])
def test_net_spend_of_zero_or_less_has_no_shares_and_is_inactive(net: int, active: bool) -> None:
    """Division by zero, or the share of a negative sum, which has the wrong sign."""
    found = row(Fact(IN_LAST, 100_00, TRAVEL), Fact(IN_LAST, net - 100_00, TRAVEL))
    assert found["is_active"] is active
    assert found["spend_last_90_days"] == Decimal(net) / 100
    for window in ("", "lifetime_"):
        assert pd.isna(found[f"{window}travel_spend_pct"]) is not active
        assert pd.isna(found[f"{window}necessities_spend_pct"]) is not active


@pytest.mark.parametrize(("prior", "change"), [(-1, None), (0, None), (1, 9900.0)])
def test_change_is_null_when_the_prior_spend_is_zero_or_less(prior: int, change: float | None) -> None:
    """A fall from a negative sum shown as a rise, or a NULL that satisfies a criterion."""
    found = row(Fact(IN_PRIOR, 10_00), Fact(IN_PRIOR, prior - 10_00), Fact(IN_LAST, 1_00, HOTELS))
    assert found["spend_change_pct"] == change if change else pd.isna(found["spend_change_pct"])
    assert found["customer_segment"] == ("New & Growing" if change else "Stable Mid-Spenders")


def test_change_is_relative_to_the_prior_window() -> None:
    """The change divided by the last window, or its sign turned."""
    assert row(Fact(IN_PRIOR, 200_00), Fact(IN_LAST, 150_00))["spend_change_pct"] == -25.0
    assert row(Fact(IN_PRIOR, 200_00), Fact(IN_LAST, 500_00))["spend_change_pct"] == 150.0
    assert row(Fact(IN_PRIOR, 200_00))["spend_change_pct"] == -100.0
    assert row(Fact(IN_PRIOR, 200_00), Fact(IN_LAST, -100_00))["spend_change_pct"] == -150.0


@pytest.mark.parametrize("category", [UNKNOWN, NO_CATEGORY])
def test_an_unknown_category_counts_in_the_total(category: int | None) -> None:
    """An inner join to the categories, which drops the row and doubles every share."""
    found = row(Fact(IN_LAST, 50_00, TRAVEL), Fact(IN_LAST, 20_00, GROCERY), Fact(IN_LAST, 30_00, category))
    assert found["spend_last_90_days"] == Decimal("100.00")
    assert (found["travel_spend_pct"], found["necessities_spend_pct"]) == (50.0, 20.0)


def test_groups_are_exact_names() -> None:
    """A prefix match that takes Travel Gear (8) for travel, or one key of the two (4, 14) named Grocery."""
    frame = history(
        *(Customer(f"{key:02}", (Fact(IN_LAST, 10_00, key),), SINCE_2020) for key in (*range(1, 10), 14))
    ).set_index("customer_id")
    assert list(frame[frame["travel_spend_pct"] == 100].index) == ["01", "02", "03"]
    assert list(frame[frame["necessities_spend_pct"] == 100].index) == ["04", "05", "06", "14"]
    assert (frame["travel_spend_pct"] + frame["necessities_spend_pct"])[["07", "08", "09"]].eq(0).all()


def test_lifetime_shares_cover_all_time_and_nothing_later() -> None:
    """Lifetime shares taken from the window, or the other way round."""
    found = row(
        Fact(LONG_AGO, 300_00, HOTELS),
        Fact(IN_LAST, 100_00, GROCERY),
        Fact(date(2025, 12, 1), 600_00, TRAVEL),
    )
    assert (found["travel_spend_pct"], found["necessities_spend_pct"]) == (0.0, 100.0)
    assert (found["lifetime_travel_spend_pct"], found["lifetime_necessities_spend_pct"]) == (75.0, 25.0)


def test_shares_are_not_clamped_when_a_refund_falls_in_another_category() -> None:
    """A ratio silently bent to 0-100: 500.00 of hotels and a returned grocery of 300.00 net to 200.00."""
    found = row(Fact(IN_LAST, 500_00, HOTELS), Fact(IN_LAST, -300_00, GROCERY))
    assert (found["travel_spend_pct"], found["necessities_spend_pct"]) == (250.0, -150.0)


@pytest.mark.parametrize(
    ("first", "month", "months"),
    [
        (date(2025, 1, 31), date(2025, 7, 1), 6),
        (date(2025, 2, 1), date(2025, 7, 1), 6),
        (date(2025, 1, 2), date(2025, 7, 1), 6),
        (date(2025, 1, 1), date(2025, 7, 1), 7),
        (date(2024, 2, 29), date(2024, 2, 1), 0),
        (date(2024, 2, 1), date(2024, 2, 1), 1),
        (date(2024, 2, 29), date(2025, 2, 1), 12),
        (date(2024, 12, 31), date(2025, 12, 1), 12),
        (date(2023, 12, 1), date(2024, 11, 1), 12),
    ],
)
def test_tenure_counts_completed_months(first: date, month: date, months: int) -> None:
    """Month boundaries counted as DATEDIFF does, or days divided by 30."""
    assert row(Fact(first, 1_00), month=month)["tenure_months"] == months


def test_the_first_segment_whose_criteria_all_hold_wins() -> None:
    """A bound that is open where it should be closed, one lost to rounding, or a priority turned around."""

    def past(amount: int) -> Fact:
        return Fact(IN_PRIOR, amount)

    def now(amount: int, category: int = DINING) -> Fact:
        return Fact(IN_LAST, amount, category)

    traveller, declining, growing = "High-Value Travelers", "Declining", "New & Growing"
    budget, stable = "Budget-Conscious", "Stable Mid-Spenders"
    cases: list[tuple[str, list[Fact]]] = [
        (traveller, [now(3_750_00, TRAVEL), now(11_250_00)]),
        (stable, [now(3_749_99, TRAVEL), now(11_250_01)]),
        (stable, [now(14_999_99, TRAVEL)]),
        (declining, [past(2_000_00), now(1_400_00)]),
        (stable, [past(2_000_00), now(1_400_01)]),
        (stable, [past(1_999_99), now(1_00)]),
        (declining, [past(2_049_30), now(1_434_51)]),
        (growing, [past(2_000_00), now(3_000_00)]),
        (stable, [past(2_000_00), now(2_999_99)]),
        (growing, [Fact(date(2025, 5, 2), 1), past(2_000_00), now(3_000_00)]),
        (stable, [Fact(date(2025, 5, 1), 1), past(2_000_00), now(3_000_00)]),
        (budget, [now(2_700_00, GROCERY), now(1_799_99)]),
        (stable, [now(2_699_99, GROCERY), now(1_800_00)]),
        (stable, [now(2_700_00, GROCERY), now(1_800_00)]),
        (budget, [now(60_00, GROCERY), now(40_00)]),
        (stable, [now(59_99, GROCERY), now(40_01)]),
        (budget, [now(64_32, GROCERY), now(42_88)]),
        (traveller, [past(30_000_00), now(15_000_00, TRAVEL)]),
        (traveller, [past(10_000_00), now(15_000_00, TRAVEL)]),
        (declining, [past(2_000_00), now(1_400_00, GROCERY)]),
        (growing, [past(800_00), now(1_400_00, GROCERY)]),
        (budget, [past(1_999_99), now(1_300_00, GROCERY)]),
        (stable, [now(-5_00, GROCERY)]),
    ]
    frame = history(*(Customer(f"{number:02}", tuple(facts), SINCE_2020) for number, (_, facts) in enumerate(cases)))
    assert list(frame["customer_segment"]) == [segment for segment, _ in cases]


@pytest.mark.parametrize(
    ("criterion", "taken"),
    [
        ({"metric": "lifetime_value", "above": 10}, ["c"]),
        ({"metric": "lifetime_value", "at_least": 10}, ["b", "c"]),
        ({"metric": "lifetime_value", "below": 10}, ["a", "d"]),
        ({"metric": "lifetime_value", "at_most": 10}, ["a", "b", "d"]),
        ({"metric": "is_active", "is": True}, ["a", "b", "c"]),
        ({"metric": "is_active", "is": False}, ["d"]),
        ({"metric": "tenure_months", "at_least": 0}, ["a", "b", "c"]),
    ],
)
def test_operators(criterion: dict[str, Any], taken: list[str]) -> None:
    """Open and closed bounds exchanged, or a customer without transactions given a tenure."""
    spends = {"a": 9_99, "b": 10_00, "c": 10_01}
    frame = history(
        *(Customer(name, (Fact(IN_LAST, amount),), SINCE_2020) for name, amount in spends.items()),
        Customer("d", (), SINCE_2020),
        segments=[{"name": "taken", "criteria": [criterion]}, {"name": "rest"}],
    )
    assert list(frame.loc[frame["customer_segment"] == "taken", "customer_id"]) == taken


def test_rules_that_cannot_be_applied_are_refused() -> None:
    """A misspelt operator read as always true, or customers left without a segment."""
    customer = Customer("one", (), SINCE_2020)
    with pytest.raises(ValueError, match="at_lest"):
        history(customer, segments=[{"name": "x", "criteria": [{"metric": "lifetime_value", "at_lest": 1}]}])
    with pytest.raises(ValueError, match="no segment takes one"):
        history(customer, segments=[{"name": "x", "criteria": [{"metric": "lifetime_value", "above": 1}]}])


# The portfolios themselves: a sweep that misses a bound proves nothing about it.

# Both Februaries and the months after them, 30 and 31 days, both turns of the year.
MONTHS_OF_EVERY_LENGTH = [
    *(date(2024, month, 1) for month in (1, 2, 3)),
    *(date(2025, month, 1) for month in (2, 3, 6, 12)),
]


def beside(values: pd.Series, bound: float, step: float) -> tuple[bool, bool, bool]:
    """Whether a value lies just under, exactly on and just over the bound."""
    near = (values - bound).abs() <= step
    return (
        bool((near & (values < bound)).any()),
        bool((values == bound).any()),
        bool((near & (values > bound)).any()),
    )


@pytest.mark.parametrize("month", MONTHS_OF_EVERY_LENGTH)
def test_the_threshold_portfolio_stands_on_and_beside_every_bound(month: date) -> None:
    """An archetype that drifts off its bound in a month of another length."""
    frame = assign_segments(threshold_portfolio(month), month, SEGMENTS, GROUPS)
    assert set(frame["customer_segment"]) == {segment["name"] for segment in SEGMENTS}
    all_three = (True, True, True)
    for column, bound in {"last": 15_000, "prior": 2_000}.items():
        assert beside(frame[f"spend_{column}_90_days"].astype(float), bound, 0.0101) == all_three
    assert beside(frame["spend_last_90_days"].astype(float), 4_500, 0.0101) == all_three
    assert beside(frame["travel_spend_pct"], 25, 0.0001) == all_three
    assert beside(frame["necessities_spend_pct"], 60, 0.001) == all_three
    assert beside(frame["spend_change_pct"], -30, 0.001) == all_three
    assert beside(frame["spend_change_pct"], 50, 0.001) == all_three
    assert beside(frame["lifetime_value"].astype(float), 0, 0.0101)[1:] == (True, True)
    assert {0, 5, 6, 7} <= set(frame["tenure_months"].dropna())
    growing = frame[(frame["spend_change_pct"] == 50) & (frame["spend_prior_90_days"] == 2_000)]
    assert {5, 6, 7} <= set(growing["tenure_months"])
    by_name = frame.set_index("customer_id")["customer_segment"]
    assert by_name["traveller-1500000-travel-375000"] == "High-Value Travelers"
    assert by_name["traveller-1500000-travel-374999"] == "Stable Mid-Spenders"
    assert by_name["traveller-1499999-travel-375000"] == "Stable Mid-Spenders"
    assert by_name["decliner-200000-then-140000"] == "Declining"
    assert by_name["decliner-200000-then-140001"] == "Stable Mid-Spenders"
    assert by_name["decliner-204930-then-143451"] == "Declining"
    assert by_name["grower-200000-then-300000-second-of-7"] == "New & Growing"
    assert by_name["grower-200000-then-300000-first-of-7"] == "Stable Mid-Spenders"
    assert by_name["budgeter-449999-needed-270000"] == "Budget-Conscious"
    assert by_name["budgeter-450000-needed-270000"] == "Stable Mid-Spenders"
    assert by_name["budgeter-10720-needed-6432"] == "Budget-Conscious"
    assert "versions-begins-day-before-silent" in by_name
    assert "versions-begins-on-as-of-traveller" not in by_name


def test_the_threshold_portfolio_is_the_same_every_time() -> None:
    """Parity between engines compared on two different portfolios."""
    first, second = threshold_portfolio(NOVEMBER), threshold_portfolio(NOVEMBER)
    for table in CONTRACT:
        pd.testing.assert_frame_equal(getattr(first, table), getattr(second, table))


def test_generated_portfolios_are_small_valid_and_reach_the_hard_cases() -> None:
    """A strategy that draws only easy customers, or rows the source contract does not allow."""
    wanted = {segment["name"] for segment in SEGMENTS} | {
        "travel share 25",
        "necessities share 60",
        "change -30",
        "change 50",
        "spend not positive",
        "never bought",
        "outside the population",
    }
    seen: set[str] = set()

    # Some forty draws reach them all. Not always: hypothesis also draws constants of the modules that happen to be
    # imported, so the seed alone does not fix what comes.
    @seed(20251201)
    @settings(max_examples=200, deadline=None, database=None)
    @given(portfolios())
    def draw(drawn: tuple[Portfolio, date]) -> None:
        if seen >= wanted:
            return
        portfolio, month = drawn
        assert_valid(portfolio, as_of_date(month))
        frame = assign_segments(portfolio, month, SEGMENTS, GROUPS)
        seen.update(frame["customer_segment"])
        seen.update(hard_cases(frame, portfolio))

    draw()
    assert wanted - seen == set()


def hard_cases(frame: pd.DataFrame, portfolio: Portfolio) -> set[str]:
    cases = {
        "travel share 25": (frame["travel_spend_pct"] == 25).any(),
        "necessities share 60": (frame["necessities_spend_pct"] == 60).any(),
        "change -30": (frame["spend_change_pct"] == -30).any(),
        "change 50": (frame["spend_change_pct"] == 50).any(),
        "spend not positive": ((frame["spend_last_90_days"] <= 0) & (frame["total_transactions"] > 0)).any(),
        "never bought": (frame["total_transactions"] == 0).any(),
        "outside the population": len(frame) < portfolio.dim_customer["customer_id"].nunique(),
    }
    return {case for case, found in cases.items() if found}


def assert_valid(portfolio: Portfolio, as_of: date) -> None:
    facts, customers, days = (
        portfolio.fct_transactions,
        portfolio.dim_customer,
        portfolio.dim_date["full_date"],
    )
    assert 1 <= customers["customer_id"].nunique() <= 12
    assert customers["customer_key"].is_unique
    assert facts["customer_key"].isin(customers["customer_key"]).all()
    assert set(facts["transaction_status"]) <= {"approved", "declined"}
    approved = facts[facts["transaction_status"] == "approved"]
    assert (approved["transaction_date"] == pd.Timestamp(as_of) - pd.Timedelta(days=1)).any()
    assert (days.diff().dropna() == pd.Timedelta(days=1)).all()
    assert days.min() <= facts["transaction_date"].min() - pd.Timedelta(days=400)
    assert days.max() >= max(facts["transaction_date"].max(), pd.Timestamp(as_of)) + pd.Timedelta(days=400)
    assert set(portfolio.marketing_suppressions["customer_id"]) <= set(customers["customer_id"])
