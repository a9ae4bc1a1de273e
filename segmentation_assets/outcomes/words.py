"""Outcomes in plain sentences: the same ones for the report, the assets and a what-if."""

import math
from collections.abc import Mapping
from typing import Any

from segmentation_assets.outcomes.effects import smallest_before

# A campaign that moves the spend of a quarter by half has not been seen: one that can find less than that only, finds
# nothing.
LARGEST_PLAUSIBLE_PCT = 50.0
NOTHING_TO_FIND = "The holdout can find nothing"


def amount(value: float) -> str:
    """In whole units of money, but small ones to the hundredth."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:,.2f}"


def signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{amount(value)}"


def smallest_pct(sent: int, held_back: int, mean: float | None, deviation: float | None) -> float | None:
    """The smallest effect that a list can show by itself, in percent of its spend; None where it can show none."""
    effect = smallest_before(sent, held_back, deviation)
    return 100 * effect / mean if mean and mean > 0 and math.isfinite(effect) else None


def can_find(sent: int, held_back: int, mean: float | None, deviation: float | None) -> str:
    """What a holdout can find, said before anybody is held back."""
    if not held_back:
        return "Nobody is held back, so nobody can tell what the campaign does."
    effect = smallest_before(sent, held_back, deviation)
    if math.isnan(effect):
        return (
            f"{NOTHING_TO_FIND}: {held_back:,} held back of {sent + held_back:,} are too few, or all spend"
            " the same. Hold back more, or raise the cap."
        )
    pct = smallest_pct(sent, held_back, mean, deviation)
    if pct is None:
        return f"A difference of {amount(effect)} a customer or more would be found four times in five."
    found = f"{amount(effect)} a customer ({pct:,.0f} % of their spend)"
    if pct > LARGEST_PLAUSIBLE_PCT:
        return (
            f"{NOTHING_TO_FIND} that a campaign does: below {found} a difference looks like chance."
            " Hold back more, or raise the cap; further months of the epoch add to it."
        )
    return (
        f"A difference of {found} or more would be found four times in five by this list alone; further months of the"
        " epoch, and the spend before, let smaller ones be found."
    )


def verdict(row: Mapping[str, Any]) -> str:
    """Of a row with adjusted_effect and its interval."""
    lower, upper = row["adjusted_lower_95"], row["adjusted_upper_95"]
    if lower is None or upper is None:
        return "too few customers to tell"
    if lower > 0:
        return "more spend than chance explains"
    return "less spend than chance explains" if upper < 0 else "no more than chance explains"


def of_epoch(epoch: str) -> str:
    """A holdout that is never drawn anew has no year."""
    return "all time" if epoch == "never" else epoch


def name_of(row: Mapping[str, Any]) -> str:
    """`churn_prevention, 2025` of a row of campaign_outcomes; program_outcomes names no campaign."""
    return f"{row.get('campaign') or 'all campaigns'}, {of_epoch(row['holdout_epoch'])}"


def campaign_sentence(row: Mapping[str, Any]) -> str:
    """Of a row of campaign_outcomes: over all months of its epoch up to its own."""
    months = f"{row['entry_months']} entry month{'s' if row['entry_months'] > 1 else ''}"
    return effect_sentence(f"{row['campaign']}, {of_epoch(row['holdout_epoch'])} ({months})", row)


def effect_sentence(who: str, row: Mapping[str, Any]) -> str:
    """What a comparison found: effect with interval, and what it could not have seen. `who` begins the sentence."""
    sent, held_back = row["entered_target_customers"], row["entered_holdout_customers"]
    compared = f"{who}: {sent:,} sent to, {held_back:,} held back."
    if row["adjusted_lower_95"] is None:
        return f"{compared} Too few to tell."
    effect, low, high = (amount(abs(row["adjusted_effect"])), *(signed(row[f"adjusted_{end}_95"]) for end in _ENDS))
    more = "more" if row["adjusted_effect"] >= 0 else "less"
    told = f"{compared} Those it was sent to spent {effect} {more} each ({low} to {high} with 95 % confidence)"
    mean = spend_untouched(row)
    told += f", {100 * row['adjusted_effect'] / mean:+.1f} %" if mean and mean > 0 else ""
    told += f": {verdict(row)}."
    if row["smallest_effect"] is not None:
        share = f" ({100 * row['smallest_effect'] / mean:.1f} % of spend)" if mean and mean > 0 else ""
        told += f" An effect below {amount(row['smallest_effect'])} a customer{share} would mostly have stayed unseen."
    return told


def spend_untouched(row: Mapping[str, Any]) -> float | None:
    """What those who were sent to would have spent each. The mean of the holdout, but for the seasons that it entered
    in, which are others where the months held back different shares."""
    if row["plain_effect"] is None:
        return None
    return row["entered_target_mean_spend"] - row["plain_effect"]


_ENDS = ("lower", "upper")


def money_sentence(row: Mapping[str, Any]) -> str:
    """Nothing where there is no interval."""
    if row["incremental_spend"] is None or row["incremental_spend_lower_95"] is None:
        return ""
    told = f"In total {_with_ends(row, 'incremental_spend', 'incremental_spend')} of spend"
    if row.get("profit") is not None:
        kind = "a profit" if row["profit"] >= 0 else "a loss"
        told += f"; at a margin of {row['margin_pct']:g} % and {amount(row['cost_per_contact'])} for each of"
        told += f" {row['contacts']:,} contacts, {kind}: {_with_ends(row, 'profit', 'profit')}"
    if row.get("return_pct") is not None:
        told += f", {row['return_pct']:+,.0f} % of the cost"
    return f"{told}."


def _with_ends(row: Mapping[str, Any], name: str, bounds: str) -> str:
    low, high = (signed(row[f"{bounds}_{end}_95"]) for end in _ENDS)
    return f"{signed(row[name])} ({low} to {high})"


def active_sentence(row: Mapping[str, Any]) -> str:
    points = row["active_effect_points"]
    if points is None or row["active_lower_95"] is None:
        return ""
    low, high = (f"{row[f'active_{end}_95']:+.1f}" for end in _ENDS)
    return f"The share who spent anything differs by {points:+.1f} points ({low} to {high})."
