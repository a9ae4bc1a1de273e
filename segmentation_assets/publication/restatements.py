"""Published months that no longer match their facts: which they are, and what a new version changed.

The audit `rollup_equals_the_facts` looks back from a month that is being computed. This looks at all of history, and at
the published months themselves: a run that was stopped between the rollup and publication, or one of an old month
alone, leaves a rollup that is right and published months after it that are not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from segmentation_assets.months import MonthRange, month_after
from segmentation_assets.publication import published
from segmentation_assets.warehouse.catalog import GOLD, SILVER, table_exists
from segmentation_assets.warehouse.session import Session

VIEWS = ("rollup_differences", "outdated_months")
LOST_FACTS = (
    "Look for facts whose customer_key is missing from dim_customer, or whose date is missing from dim_date:"
    " no customer's sums can hold them."
)


@dataclass(frozen=True)
class Restatement:
    """What differs, and the one range of months that puts it right."""

    # Calendar month -> facts and spend that the facts hold beyond the rollup, negative where they hold less.
    changed: Mapping[date, tuple[int, Any]]
    # Published months whose numbers are not those of the rollup.
    outdated: tuple[date, ...]
    months: MonthRange

    @property
    def rollup_from(self) -> date | None:
        return min(self.changed, default=None)

    def message(self) -> list[str]:
        lines = [
            f"{month}: the facts hold {count:+,} transactions and {spend:+,.2f} of spend against the rollup."
            if count or spend
            else f"{month}: count and spend of the facts are those of the rollup, their categories are not."
            for month, (count, spend) in sorted(self.changed.items())
        ]
        if self.outdated:
            lines.append(f"Published from an older rollup: {listed(self.outdated)}.")
        return [*lines, f"Recomputed are all published months these touch: {self.months}."]


def listed(found: Iterable[date]) -> str:
    return ", ".join(map(str, sorted(found)))


def find(session: Session) -> Restatement | None:
    """What has to be restated; None when nothing differs.

    Raises NotPublishedError where nothing is published, and where an earlier version published it, whose database has
    not got the views yet.
    """
    months_published = published.required_months(session)
    absent = [f"{SILVER}.{view}" for view in VIEWS if not table_exists(session, SILVER, view)]
    if absent:
        raise published.NotPublishedError(
            f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not there yet:"
            " the next run makes what an earlier version did not have, and so does `make restate`."
        )
    changed = changed_months(session, month_after(months_published[-1]))
    outdated = tuple(outdated_months(session))
    starts = [month for month in months_published if changed and month >= min(changed)] + list(outdated)
    return Restatement(changed, outdated, MonthRange(min(starts), months_published[-1])) if starts else None


def changed_months(session: Session, before: date) -> dict[date, tuple[int, Any]]:
    """Calendar months before `before` whose facts and rollup differ, over all of history."""
    rows = session.rows(
        f"select calendar_month, transaction_count, spend from {SILVER}.rollup_differences"
        " where calendar_month < ? order by calendar_month",
        (before,),
    )
    return {row["calendar_month"]: (int(row["transaction_count"]), row["spend"]) for row in rows}


def outdated_months(session: Session) -> list[date]:
    """Published months whose totals are not those of the rollup, which a later run may have put right."""
    rows = session.rows(f"select snapshot_month from {SILVER}.outdated_months order by snapshot_month")
    return [row["snapshot_month"] for row in rows]


def changes(session: Session, before: Mapping[date, int]) -> list[str]:
    """Each month with a newer version than `before` names, in words: how many customers moved, and where."""
    return [line for month, version in sorted(published.versions(session).items()) if version > before.get(month, 0)
            for line in _message(session, month, version)]  # fmt: skip


def _message(session: Session, month: date, version: int) -> Iterator[str]:
    rows = session.rows(
        f"select from_segment, to_segment, customers from {GOLD}.segment_restatements"
        " where snapshot_month = ? and version = ? order by customers desc, from_segment, to_segment",
        (month, version),
    )
    if not rows:
        yield f"{month}: published as version {version}."
        return
    moved = [row for row in rows if row["from_segment"] != row["to_segment"]]
    total, of = sum(row["customers"] for row in moved), sum(row["customers"] for row in rows)
    yield f"{month}: published again as version {version}; {total:,} of {of:,} customers moved."
    for row in moved:
        yield f"  {row['customers']:,}: {row['from_segment']} -> {row['to_segment']}"
