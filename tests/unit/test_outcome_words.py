"""What is said of a campaign's effect, and what it earned.

Locks out: a holdout that can find nothing and does not say so, a number that reads as found where it may be chance, a
profit without its costs, and a loss that is told as a profit.
"""

import math
from typing import Any

import pytest
from scipy import stats

from segmentation_assets.assets.outcomes import outcomes
from segmentation_assets.dbt.project import Project
from segmentation_assets.outcomes import effects, money, words
from segmentation_assets.outcomes.pooled import EntryMonth, Group, compared
from tests.support.published_months import NOVEMBER, OCTOBER

CAMPAIGN = Project.load().rules.campaigns[0]


@pytest.mark.parametrize(
    ("sizes", "spread", "said"),
    [
        ((100, 0), (50.0, 10.0), "Nobody is held back"),
        ((8, 1), (50.0, 10.0), "The holdout can find nothing: 1 held back of 9"),
        ((90, 10), (50.0, 0.0), "The holdout can find nothing: 10 held back of 100"),
        ((90, 10), (None, None), "The holdout can find nothing"),
        ((90, 10), (1000.0, 1000.0), "The holdout can find nothing that a campaign does: below "),
        (
            (9000, 1000),
            (1000.0, 1000.0),
            "A difference of 93.46 a customer (9 % of their spend) or more would be found",
        ),
        ((9000, 1000), (-5.0, 1000.0), "A difference of 93.46 a customer or more would be found"),
    ],
)
def test_a_list_says_what_its_holdout_can_find(sizes: tuple[int, int], spread: tuple[Any, Any], said: str) -> None:
    assert words.can_find(*sizes, *spread).startswith(said)


def test_the_smallest_effect_grows_without_bound_as_the_holdout_shrinks() -> None:
    found = [effects.smallest_before(1000, held_back, 100.0) for held_back in (500, 100, 20, 5, 2)]
    assert found == sorted(found)
    assert found[-1] > 1000
    assert math.isnan(effects.smallest_before(1000, 1, 100.0))
    assert math.isnan(effects.smallest(math.nan, 10.0))


INCREMENTAL = {"incremental_spend": 1000.0, "incremental_spend_lower_95": -200.0, "incremental_spend_upper_95": 2200.0}


def test_profit_is_margin_less_the_cost_of_the_contacts_and_return_is_its_share_of_that() -> None:
    found = money.earned(INCREMENTAL, 300, 20.0, 0.5)
    assert [found[name] for name in ("profit", "profit_lower_95", "profit_upper_95")] == [50.0, -190.0, 290.0]
    assert found["return_pct"] == pytest.approx(100 * 50 / 150)
    assert found["return_lower_95"] == pytest.approx(100 * -190 / 150)
    free = money.earned(INCREMENTAL, 300, 20.0, 0.0)
    assert (free["profit"], free["return_pct"], free["return_lower_95"]) == (200.0, None, None)
    unsaid = money.earned(INCREMENTAL, 300, None, 0.5)
    assert {unsaid[column.name] for column in money.COLUMNS} == {None, 300, 0.5}
    assert set(found) == {column.name for column in money.COLUMNS}


def row_of(side: str, spend: list[int], month: Any = OCTOBER, epoch: str | None = "2025") -> dict[str, Any]:
    """A group who spent 100 each before; winsorised as they are."""
    number, total, squares = len(spend), sum(spend), sum(one * one for one in spend)
    sums = {
        "spend_before": 100 * number, "spend_after": total, "spend_before_squared": 10_000 * number,
        "spend_before_by_after": 100 * total, "spend_after_squared": squares,
    }  # fmt: skip
    return {
        "snapshot_month": month, "campaign": CAMPAIGN.name, "treatment_group": side, "window_start": month,
        "window_end": month, "customers": number, "mean_spend": None, "stddev_spend": None, "content_hash": None,
        "holdout_epoch": epoch, "entered_customers": number, "entered_contacts": number if side == "target" else 0,
        "entered_active_customers": number, "winsorised_at_pct": 99, **sums,
        **{f"winsorised_{name}": value for name, value in sums.items()},
    }  # fmt: skip


def test_an_epochs_months_add_up_and_an_earlier_versions_are_left_out() -> None:
    campaign = CAMPAIGN.model_copy(update={"margin_pct": 50, "cost_per_contact": 1})
    earlier = {**row_of("target", [1]), "snapshot_month": OCTOBER.replace(month=9)}
    unknown = {name: None for name in earlier if name.startswith(("entered", "spend", "winsorised", "holdout_epoch"))}
    rows = [
        {**earlier, **unknown},
        {**earlier, **unknown, "treatment_group": "holdout"},
        row_of("target", [10, 20, 30]),
        row_of("holdout", [5, 15]),
        row_of("target", [40], NOVEMBER),
        row_of("holdout", [25], NOVEMBER),
    ]
    first, second, third = outcomes(rows, [campaign])
    assert first["holdout_epoch"] is None and first["adjusted_effect"] is None
    assert (second["entry_months"], second["entered_target_customers"], second["plain_effect"]) == (1, 3, 10.0)
    assert (third["entry_months"], third["first_entry_month"]) == (2, OCTOBER)
    # 10 for each of the three of October, 15 for the one of November.
    assert third["plain_effect"] == third["adjusted_effect"] == (3 * 10.0 + 15.0) / 4
    assert (third["contacts"], third["incremental_spend"], third["profit"]) == (4, 45.0, 18.5)
    other = outcomes([*rows[2:4], *(row | {"holdout_epoch": "2026"} for row in rows[4:])], [campaign])
    assert [one["entry_months"] for one in other] == [1, 1]


def test_a_month_that_held_nobody_back_counts_as_the_others() -> None:
    """And who alone was held back in theirs has the spread of the others; without any there is none."""
    rows = [
        row_of("target", [10, 20, 30]), row_of("holdout", [5, 15]),
        row_of("target", [1000] * 50, NOVEMBER), row_of("holdout", [], NOVEMBER),
    ]  # fmt: skip
    first, second = outcomes(rows, [CAMPAIGN])
    assert (second["plain_effect"], second["plain_lower_95"]) == (10.0, first["plain_lower_95"])
    assert (second["entered_target_customers"], second["incremental_spend"]) == (53, 530.0)
    alone = [row_of("holdout", [5]), row_of("target", [10, 20]), row_of("holdout", [5], NOVEMBER)]
    (_, found) = outcomes([*alone, row_of("target", [30, 40], NOVEMBER)], [CAMPAIGN])
    assert (found["plain_effect"], found["plain_lower_95"]) == (20.0, None)
    (_, found) = outcomes([*rows[:2], *(one | {"snapshot_month": NOVEMBER} for one in alone[:2])], [CAMPAIGN])
    # Variances 100 and 50 of the groups in October, 50 and, of who is alone, 50 in November.
    variance = 0.6**2 * (100 / 3 + 50 / 2) + 0.4**2 * (50 / 2 + 50 / 1)
    parts = ((0.36 * 100 / 3, 2), (0.16 * 50 / 2, 1), ((0.36 / 2 + 0.16) * 50, 1))
    margin = stats.t.ppf(0.975, variance**2 / sum(part**2 / freedom for part, freedom in parts)) * variance**0.5
    assert found["plain_upper_95"] - found["plain_effect"] == pytest.approx(margin)


def test_sentences_tell_effect_chance_and_what_stays_unseen() -> None:
    rows = outcomes([row_of("target", [10, 20, 30] * 30), row_of("holdout", [5, 15] * 20)], [CAMPAIGN])
    told = words.campaign_sentence(rows[0])
    assert told.startswith(
        f"{CAMPAIGN.name}, 2025 (1 entry month): 90 sent to, 40 held back. Those it was sent to spent"
    )
    assert "10.00 more each (+7.66 to +12.34 with 95 % confidence), +100.0 %: more spend than chance explains." in told
    assert "An effect below " in told
    assert words.money_sentence(rows[0]).startswith("In total +900 (+690 to +1,110) of spend.")
    nobody = {**compared([EntryMonth(Group.nobody(), Group.nobody())], 99), "holdout_epoch": "never"}
    assert words.effect_sentence("All", nobody) == "All: 0 sent to, 0 held back. Too few to tell."
    assert words.money_sentence(nobody) == words.active_sentence(nobody) == ""
    assert words.name_of(nobody) == "all campaigns, all time"


def test_a_loss_is_told_as_one() -> None:
    campaign = CAMPAIGN.model_copy(update={"margin_pct": 10, "cost_per_contact": 3})
    rows = outcomes([row_of("target", [10, 20, 30] * 30), row_of("holdout", [5, 15] * 20)], [campaign])
    told = words.money_sentence(rows[0])
    assert (
        "at a margin of 10 % and 3.00 for each of 90 contacts, a loss: -180 (-201 to -159), -67 % of the cost." in told
    )
