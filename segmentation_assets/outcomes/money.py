"""What a campaign earned: profit and return, from the spend it brought, its margin and the cost of its contacts."""

from collections.abc import Mapping
from typing import Any

from segmentation_assets.outcomes.table import Column, bounded

_FROM = ("entered_customers", "entered_contacts", "spend_after", "spend_before")
COLUMNS = (
    Column("contacts", "bigint", "How often they were sent to inside their windows.", ("entered_contacts",)),
    Column("margin_pct", "double", "What of spend is earned, by the rules now; NULL where they say nothing."),
    Column("cost_per_contact", "double", "What one contact costs, by the rules now."),
    *bounded("profit", "Margin on incremental_spend less the cost of the contacts; NULL without a margin.", "profit",
             _FROM),
    *bounded("return_pct", "profit in percent of that cost; NULL where contacts cost nothing.", "return", _FROM),
)  # fmt: skip
NOTHING: Mapping[str, Any] = {column.name: None for column in COLUMNS}
ENDS = ("", "_lower_95", "_upper_95")


def earned(
    incremental: Mapping[str, Any], contacts: int, margin_pct: float | None, cost_per_contact: float
) -> dict[str, Any]:
    """Every column of COLUMNS; `incremental` has incremental_spend and its two ends."""
    cost = contacts * cost_per_contact
    found: dict[str, Any] = {
        **NOTHING,
        "contacts": contacts,
        "margin_pct": margin_pct,
        "cost_per_contact": cost_per_contact,
    }
    if margin_pct is None:
        return found
    for end in ENDS:
        spend = incremental[f"incremental_spend{end}"]
        profit = None if spend is None else spend * margin_pct / 100 - cost
        found[f"profit{end}"] = profit
        found[f"return{end}" if end else "return_pct"] = (
            100 * profit / cost if profit is not None and cost > 0 else None
        )
    return found
