"""Explains a customer's segment in a month, from segment_explanations and the history."""

import math
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from segmentation_assets.errors import UserError
from segmentation_assets.months import month_after
from segmentation_assets.publication import published
from segmentation_assets.text import printable
from segmentation_assets.warehouse.catalog import columns_of
from segmentation_assets.warehouse.session import Session

WORDS = {"at_least": "at least", "at_most": "at most", "above": "above", "below": "below", "is": "is"}
# Why a campaign leaves somebody out; what is more to say stands behind it.
LEFT_OUT = {
    "stayed_in_segment": "was in the segment the month before, and the campaign is for who enters it",
    "misses_criteria": "misses a criterion of the campaign",
    "misses_eligibility": "may not be made the offer by its eligibility",
    "not_eligible": "may not be made the offer by campaign_eligibility",
    "no_customer_now": "no customer any more when the list was made",
    "no_deliverable_email": "no address that a message can be sent to",
    "suppressed": "has objected, or somebody at their address has",
    "in_cooldown": "contacted by the same campaign too lately",
    "over_contact_policy": "no turn left under the contact policy",
    "shares_email": "a better-ranked customer has the same address",
    "beyond_cap": "ranked below the cap",
}
CHANGES = (
    "customer_segment", "spend_last_90_days", "spend_prior_90_days", "spend_change_pct", "avg_monthly_spend",
    "travel_spend_pct", "necessities_spend_pct", "tenure_months", "lifetime_value",
)  # fmt: skip


class WhyError(UserError):
    """The customer is not in the published month; names the nearest ids that are."""


@dataclass(frozen=True)
class Explanation:
    customer_id: str
    month: date
    segment: str
    criteria: list[dict[str, Any]]  # rows of segment_explanations, in priority order
    now: dict[str, Any]  # the month's row of the history
    before: dict[str, Any] | None  # last month's, if it was published with this customer
    left_out: list[dict[str, Any]] = field(default_factory=list)  # rows of audience_exclusions, by campaign


def explain(session: Session, customer_id: str, month: date | None) -> Explanation:
    """Of the newest published month if none is given, and of the one customer whose id differs only in case or leading
    zeros if nobody has that very id. Raises NotPublishedError for the month, WhyError for the customer."""
    if month is None:
        month = max(published.required_months(session))
    published.require(session, [month])
    now = _history(session, customer_id, month)
    if now is None:
        meant = _meant(session, customer_id, month)
        if len(meant) != 1:
            raise WhyError(
                f"Customer {customer_id!r} is not in {month}; the nearest that are:"
                f" {', '.join(meant[:3]) or _nearest(session, customer_id, month)}."
            )
        (customer_id,) = meant
        now = _history(session, customer_id, month)
        assert now is not None
    criteria = session.rows(
        f"select * from {session.gold}.segment_explanations where snapshot_month = ? and customer_id = ?"
        " order by segment_priority, criterion_number",
        (month, customer_id),
    )
    before = _history(session, customer_id, month_after(month, -1))
    left_out = _left_out(session, customer_id, month)
    return Explanation(customer_id, month, now["customer_segment"], criteria, now, before, left_out)


def _history(session: Session, customer_id: str, month: date) -> dict[str, Any] | None:
    rows = session.rows(
        f"select * from {session.gold}.customer_segment_history where snapshot_month = ? and customer_id = ?",
        (month, customer_id),
    )
    return rows[0] if rows else None


def _left_out(session: Session, customer_id: str, month: date) -> list[dict[str, Any]]:
    """Of the campaigns of their segment; none before there were lists, or where an earlier version made them."""
    columns = columns_of(session, session.gold, "audience_exclusions")
    if "detail" not in columns:
        return []
    return session.rows(
        f"select campaign, reason, detail from {session.gold}.audience_exclusions"
        " where snapshot_month = ? and customer_id = ? order by campaign",
        (month, customer_id),
    )


def _meant(session: Session, customer_id: str, month: date) -> list[str]:
    """The ids that are this one but for case, leading letters that are left away and leading zeros: 42 or C42 for
    CUST00000042. Other letters say something else: LC42 may be the number of a card."""
    bare = "ltrim(lower(customer_id), 'abcdefghijklmnopqrstuvwxyz_-0')"
    given = customer_id.strip().lower()
    prefix = given[: len(given) - len(given.lstrip("abcdefghijklmnopqrstuvwxyz_-"))]
    rows = session.rows(
        f"select customer_id from {session.gold}.customer_segment_history where snapshot_month = ?"
        f" and (lower(customer_id) = lower(?) or ({bare} = ? and {bare} <> '' and"
        " left(lower(customer_id), ?) = ?)) order by customer_id limit 10",
        (month, customer_id, _bare(customer_id), len(prefix), prefix),
    )
    found = [row["customer_id"] for row in rows]
    in_other_case = [one for one in found if one.lower() == customer_id.lower()]
    return in_other_case or found


def _bare(customer_id: str) -> str:
    return customer_id.strip().lower().lstrip("abcdefghijklmnopqrstuvwxyz_-0")


def _nearest(session: Session, customer_id: str, month: date) -> str:
    """The ids fewest keystrokes away."""
    rows = session.rows(
        f"select customer_id from {session.gold}.customer_segment_history where snapshot_month = ?"
        f" order by {session.edit_distance}(customer_id, ?), customer_id limit 3",
        (month, customer_id),
    )
    return ", ".join(row["customer_id"] for row in rows) or "none"


def nearest_missed(explanation: Explanation) -> dict[str, Any] | None:
    """The segment that one criterion alone kept the customer out of, by the smallest part of its bound."""
    missed = [row for row in explanation.criteria if not row["passed"] and row["margin"] is not None]
    alone = [row for row in missed if sum(other["segment"] == row["segment"] for other in missed) == 1]
    failed_unknown = {row["segment"] for row in explanation.criteria if not row["passed"] and row["margin"] is None}
    candidates = [row for row in alone or missed if row["segment"] not in failed_unknown]
    return min(candidates, key=lambda row: abs(row["margin"]) / max(abs(row["bound"]), 1.0), default=None)


def render(explanation: Explanation) -> Group:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Segment and its criteria", no_wrap=True)
    for heading in ("Value", "Margin", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for priority, rows in groupby(explanation.criteria, key=lambda row: row["segment_priority"]):
        criteria = list(rows)
        table.add_row(Text(printable(f"{priority}. {criteria[0]['segment']}")), "", "", _verdict(criteria[0]))
        for row in criteria:
            if row["metric"] is None:
                table.add_row("   everyone else", "", "", "met")
                continue
            table.add_row(
                Text(printable(f"   {row['metric']} {WORDS[row['operator']]} {_bound(row)}")),
                "unknown" if row["value"] is None else f"{row['value']:,.{_places(row)}f}",
                "" if row["margin"] is None else f"{row['margin']:+,.{_places(row)}f}",
                "met" if row["passed"] else "not met",
            )
    headline = Text(printable(f"{explanation.customer_id} in {explanation.month:%B %Y}: "))
    headline.append(printable(explanation.segment), "bold")
    lines: list[Text | Table] = [headline, table]
    missed = nearest_missed(explanation)
    if missed is not None:
        lines.append(
            Text(
                f"Nearest segment missed: {printable(missed['segment'])},"
                f" by {abs(missed['margin']):,.{_places(missed)}f}"
                f" ({missed['metric']} is {missed['value']:,.{_places(missed)}f},"
                f" has to be {WORDS[missed['operator']]} {_bound(missed)})."
            )
        )
    for row in explanation.left_out:
        because = f" ({row['detail']})" if row["detail"] else ""
        words = LEFT_OUT.get(row["reason"], row["reason"].replace("_", " "))
        lines.append(Text(printable(f"Not on the list of {row['campaign']}: {words}{because}.")))
    lines.append(Text(printable(_changes(explanation))))
    return Group(*lines)


def _bound(row: dict[str, Any]) -> str:
    return str(bool(row["bound"])).lower() if row["operator"] == "is" else f"{row['bound']:,g}"


def _places(row: dict[str, Any]) -> int:
    """Two decimals, and as many more as tell the value from the bound: a cent of spend is 0.0033 a month."""
    margin = abs(row["margin"] or 0)
    return 2 if margin == 0 or margin >= 0.005 else min(9, 1 - math.floor(math.log10(margin)))


def _verdict(row: dict[str, Any]) -> Text:
    if row["is_winner"]:
        return Text("WINS", "bold")
    return Text("outranked" if row["is_outranked"] else "")


def _changes(explanation: Explanation) -> str:
    if explanation.before is None:
        return "Last month: not in a published month, so there is nothing to compare."
    changed = []
    for column in CHANGES:
        old, new = explanation.before[column], explanation.now[column]
        if old != new:
            changed.append(f"{column} {_plain(old)} -> {_plain(new)}")
    return "Since last month: " + ("; ".join(changed) or "nothing changed") + "."


def _plain(value: Any) -> str:
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else f"{float(value):,.2f}".removesuffix(".00")
