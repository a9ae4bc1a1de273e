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
from segmentation_assets.publication.rollup import ROLLUP, is_of_this_version
from segmentation_assets.warehouse.catalog import table_exists
from segmentation_assets.warehouse.session import Session

VIEWS = ("rollup_differences", "outdated_months")
LOST_FACTS = "Look for facts whose date is missing from dim_date: no period holds them."


@dataclass(frozen=True)
class Restatement:
    """What differs, and the one range of months that puts it right."""

    # Calendar month -> facts and spend that the facts hold beyond the rollup, negative where they hold less.
    changed: Mapping[date, tuple[int, Any]]
    # Published months whose numbers are not those of the rollup.
    outdated: tuple[date, ...]
    months: MonthRange
    # Those of `changed` whose categories are others in sum; elsewhere it is single facts, where the totals agree.
    recategorised: frozenset[date] = frozenset()
    rollup_is_older: bool = False  # made by a version before this one, which the views cannot read

    @property
    def rollup_from(self) -> date | None:
        return min(self.changed, default=None)

    def message(self) -> list[str]:
        if self.rollup_is_older:
            return ["The rollup was made by an earlier version: it is made anew, and so is every published month."]
        lines = [self._difference(month, *found) for month, found in sorted(self.changed.items())]
        if self.outdated:
            lines.append(f"Published from an older rollup, or of other customers: {listed(self.outdated)}.")
        return [*lines, f"Recomputed are all published months these touch: {self.months}."]

    def _difference(self, month: date, count: int, spend: Any) -> str:
        if count or spend:
            return f"{month}: the facts hold {count:+,} transactions and {spend:+,.2f} of spend against the rollup."
        same = f"{month}: count and spend of the facts are those of the rollup,"
        if month in self.recategorised:
            return f"{same} their categories are not."
        return f"{same} but single facts are of another customer, category, day or amount."


def listed(found: Iterable[date]) -> str:
    return ", ".join(map(str, sorted(found)))


def find(session: Session) -> Restatement | None:
    """What has to be restated; None when nothing differs.

    Raises NotPublishedError where nothing is published, and where an earlier version published it, whose database has
    not got the views yet.
    """
    months_published = published.required_months(session)
    if table_exists(session, session.silver, ROLLUP) and not is_of_this_version(session):
        every = MonthRange(months_published[0], months_published[-1])
        return Restatement({}, tuple(months_published), every, rollup_is_older=True)
    absent = [f"{session.silver}.{view}" for view in VIEWS if not table_exists(session, session.silver, view)]
    if absent:
        raise published.NotPublishedError(
            f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not there yet:"
            " the next run makes what an earlier version did not have, and so does `make restate`."
        )
    rows = session.rows(
        f"select * from {session.silver}.rollup_differences where calendar_month < ? order by calendar_month",
        (month_after(months_published[-1]),),
    )
    changed = {row["calendar_month"]: (int(row["transaction_count"]), row["spend"]) for row in rows}
    recategorised = {row["calendar_month"] for row in rows if any(row[name] for name in row if name.endswith("_spend"))}
    outdated = tuple(outdated_months(session))
    starts = [month for month in months_published if changed and month >= min(changed)] + list(outdated)
    if not starts:
        return None
    return Restatement(
        changed, outdated, MonthRange(min(starts), months_published[-1]), recategorised=frozenset(recategorised)
    )


def outdated_months(session: Session) -> list[date]:
    """Published months with a row that is no longer what the rollup and today's customers make of it."""
    rows = session.rows(f"select snapshot_month from {session.silver}.outdated_months order by snapshot_month")
    return [row["snapshot_month"] for row in rows]


def facts_of_nobody(session: Session) -> list[str]:
    """Facts in the rollup whose customer_key is no version of dim_customer, by month, in words; mostly none."""
    if not is_of_this_version(session):
        return []
    rows = session.rows(
        "select cast(date_trunc('month', rolled_up.period_start) as date) as calendar_month,"
        " sum(rolled_up.transaction_count) as facts, count(distinct rolled_up.customer_key) as keys,"
        f" sum(rolled_up.spend) as spend from {session.silver}.{ROLLUP} as rolled_up"
        f" left join {session.silver}.stg_customers as customers on rolled_up.customer_key = customers.customer_key"
        " where customers.customer_key is null group by 1 order by 1"
    )
    return [
        f"{row['calendar_month']}: {int(row['facts']):,} facts ({row['spend']:,.2f}) of {row['keys']:,} customer keys"
        " that dim_customer does not know count for nobody."
        for row in rows
    ]


def changes(session: Session, before: Mapping[date, int]) -> list[str]:
    """Each month with a newer version than `before` names, in words: how many customers moved, and where."""
    return [line for month, version in sorted(published.versions(session).items()) if version > before.get(month, 0)
            for line in _message(session, month, version)]  # fmt: skip


def _message(session: Session, month: date, version: int) -> Iterator[str]:
    rows = session.rows(
        f"select from_segment, to_segment, customers from {session.gold}.segment_restatements"
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
