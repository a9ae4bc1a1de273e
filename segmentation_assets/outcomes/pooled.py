"""Effect over all who entered a comparison so far, as columns of the tables of outcomes.

Each row holds the entry months of its epoch up to its own: what was known once its month was counted. They are compared
month by month, as each may have held back another share.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segmentation_assets.outcomes import effects
from segmentation_assets.outcomes.effects import Effect, Sums
from segmentation_assets.outcomes.table import Column, bounded

_SPEND = ("spend_after", "spend_before", "spend_before_squared", "spend_before_by_after", "spend_after_squared")
_PLAIN = ("entered_customers", "spend_after", "spend_after_squared")
_ADJUSTED = ("entered_customers", *_SPEND)
_WINSORISED = ("entered_customers", *(f"winsorised_{name}" for name in _SPEND))
_ACTIVE = ("entered_customers", "entered_active_customers")

# Of whoever is compared; NULL where nobody was, and in rows made before these columns were.
COLUMNS = (
    Column("entered_target_customers", "bigint", "Customers in the comparison who were sent to.", _ACTIVE[:1]),
    Column("entered_holdout_customers", "bigint", "Customers in the comparison who were held back.", _ACTIVE[:1]),
    Column("entered_target_mean_spend", "double", "Spend in the window of those who were sent to.", _PLAIN[:2]),
    Column("entered_holdout_mean_spend", "double", "Spend in the window of those who were held back.", _PLAIN[:2]),
    *bounded(
        "plain_effect",
        "Difference of the two inside each entry month, the months weighted by those who were sent to: per customer,"
        " not adjusted (Welch).",
        "plain",
        _PLAIN,
    ),
    *bounded(
        "adjusted_effect",
        "The same, adjusted by the spend of the 90 days before the first appearance (ANCOVA).",
        "adjusted",
        _ADJUSTED,
    ),
    Column("adjusted_p_value", "double", "How likely so large an adjusted_effect is if nothing was done.", _ADJUSTED),
    *bounded(
        "winsorised_effect",
        "adjusted_effect, where amounts above the quantile winsorised_at_pct count as the quantile.",
        "winsorised",
        _WINSORISED,
    ),
    Column("winsorised_at_pct", "bigint", "The quantile, in percent.", ("winsorised_at_pct",)),
    Column(
        "smallest_effect",
        "double",
        "The smallest true difference that the adjusted comparison finds with 80 % power.",
        _ADJUSTED,
    ),
    *bounded(
        "active_effect_points",
        "Difference of the shares with any spend in the window, month by month too, in percentage points.",
        "active",
        _ACTIVE,
    ),
    *bounded(
        "incremental_spend",
        "adjusted_effect times the customers who were sent to: spend that there would not have been.",
        "incremental_spend",
        _ADJUSTED,
    ),
)
NOTHING: Mapping[str, Any] = {column.name: None for column in COLUMNS}


@dataclass(frozen=True)
class Group:
    """One side of an entry month: its sums, as they are and winsorised, and how many were active."""

    sums: Sums
    winsorised: Sums
    active: int
    contacts: int = 0

    @classmethod
    def nobody(cls) -> "Group":
        return cls(Sums.nobody(), Sums.nobody(), 0)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Group":
        winsorised = Sums.of_row(row, "winsorised_")
        active, contacts = int(row["entered_active_customers"]), int(row.get("entered_contacts") or 0)
        return cls(Sums.of_row(row), winsorised, active, contacts)

    def __add__(self, other: "Group") -> "Group":
        return Group(
            self.sums + other.sums,
            self.winsorised + other.winsorised,
            self.active + other.active,
            self.contacts + other.contacts,
        )


@dataclass(frozen=True)
class EntryMonth:
    """Who entered the comparison in one month."""

    target: Group
    holdout: Group


def compared(months: Sequence[EntryMonth], winsorised_at_pct: int | None) -> dict[str, Any]:
    """Every column of COLUMNS."""
    target, holdout = ([getattr(month, side) for month in months] for side in ("target", "holdout"))
    all_sent, all_held_back = (sum(side, Group.nobody()).sums for side in (target, holdout))
    sent, held_back = int(all_sent.customers), int(all_held_back.customers)
    sums, winsorised = (
        [[getattr(group, name) for group in side] for side in (target, holdout)] for name in ("sums", "winsorised")
    )
    adjusted = effects.adjusted_by_month(*sums)
    points = effects.active_by_month(
        *([(int(group.sums.customers), group.active) for group in side] for side in (target, holdout))
    ).times(100)
    return {
        "entered_target_customers": sent,
        "entered_holdout_customers": held_back,
        "entered_target_mean_spend": _mean(all_sent),
        "entered_holdout_mean_spend": _mean(all_held_back),
        **of_effect("plain_effect", "plain", effects.plain_by_month(*sums)),
        **of_effect("adjusted_effect", "adjusted", adjusted),
        "adjusted_p_value": known(adjusted.p_value),
        **of_effect("winsorised_effect", "winsorised", effects.adjusted_by_month(*winsorised)),
        "winsorised_at_pct": winsorised_at_pct,
        "smallest_effect": known(effects.smallest(float(adjusted.error), float(adjusted.freedom))),
        **of_effect("active_effect_points", "active", points),
        **of_effect("incremental_spend", "incremental_spend", adjusted.times(sent)),
    }


def of_effect(name: str, bounds: str, effect: Effect) -> dict[str, float | None]:
    return {
        name: known(effect.estimate),
        f"{bounds}_lower_95": known(effect.lower),
        f"{bounds}_upper_95": known(effect.upper),
    }


def known(value: Any) -> float | None:
    """None for what cannot be told, as the warehouse has it."""
    number = float(value)
    return number if math.isfinite(number) else None


def _mean(sums: Sums) -> float | None:
    return float(sums.after / sums.customers) if sums.customers else None


def running_totals(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, Any], dict[str, Any]]:
    """Per campaign and month: the epoch, and its entry months so far with the sums of both sides.

    Months that an earlier version made have no sums, and are in none.
    """
    sides: dict[tuple[Any, Any], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("holdout_epoch") is not None and row.get("entered_customers") is not None:
            sides.setdefault((row["snapshot_month"], row["campaign"]), {})[row["treatment_group"]] = row
    so_far: dict[tuple[Any, Any], dict[str, Any]] = {}
    found: dict[tuple[Any, Any], dict[str, Any]] = {}
    for (month, campaign), pair in sorted(sides.items()):
        row = next(iter(pair.values()))
        before = so_far.get((campaign, row["holdout_epoch"]))
        months = (*(before["months"] if before else ()), entry_month(pair))
        total = {
            "holdout_epoch": row["holdout_epoch"],
            "winsorised_at_pct": row["winsorised_at_pct"],
            "first_entry_month": before["first_entry_month"] if before else month,
            "entry_months": len(months),
            "months": months,
        }
        so_far[campaign, row["holdout_epoch"]] = found[month, campaign] = total
    return found


def entry_month(pair: Mapping[str, Mapping[str, Any]]) -> EntryMonth:
    """Of the rows of its sides; a side without a row is nobody."""
    return EntryMonth(*(Group.of_row(pair[side]) if side in pair else Group.nobody() for side in ("target", "holdout")))
