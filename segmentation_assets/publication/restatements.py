"""Published months that are no longer what their facts make of them: which they are, and what a new version changed.

The audit `rollup_equals_the_facts` looks back from a month that is being computed. This looks at all of history, and at
the published months themselves: a run that was stopped between the rollup and publication, or one of an old month
alone, leaves a rollup that is right and published months after it that are not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from segmentation_assets.months import MonthRange, month_after
from segmentation_assets.warehouse.catalog import GOLD, SILVER, table_exists
from segmentation_assets.warehouse.session import Session

NEEDED = ((SILVER, "stg_transactions"), (SILVER, "customer_period_spend"), (GOLD, "customer_segment_history"))
LOST_FACTS = (
    "Look for facts whose customer_key is missing from dim_customer, or whose date is missing from dim_date:"
    " no customer's sums can hold them."
)


class RestatementError(ValueError):
    """There is nothing published that could be restated; one line."""


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

    def words(self) -> list[str]:
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


def published_months(session: Session) -> list[date]:
    """In order. Raises RestatementError when there is none."""
    if not all(table_exists(session, schema, table) for schema, table in NEEDED):
        raise RestatementError("Nothing has been published yet: run `make run` first.")
    rows = session.rows(f"select distinct snapshot_month from {GOLD}.customer_segment_history order by 1")
    if not rows:
        raise RestatementError("No month is published: publish one first (`make month MONTH=...`).")
    return [row["snapshot_month"] for row in rows]


def find(session: Session) -> Restatement | None:
    """What has to be restated; None when nothing differs. Raises RestatementError when nothing is published."""
    published = published_months(session)
    changed = changed_months(session, month_after(published[-1]))
    outdated = tuple(outdated_months(session))
    starts = [month for month in published if changed and month >= min(changed)] + list(outdated)
    return Restatement(changed, outdated, MonthRange(min(starts), published[-1])) if starts else None


def changed_months(session: Session, before: date) -> dict[date, tuple[int, Any]]:
    """Calendar months before `before` whose facts and rollup differ, over all of history."""
    rows = session.rows(f"""
        with facts as (
            select
                cast(date_trunc('month', transactions.transaction_date) as date) as calendar_month,
                count(*) as transaction_count,
                sum(transactions.amount) as spend,
                sum(case when categories.category_group = 'travel' then transactions.amount else 0 end) as travel,
                sum(case when categories.category_group = 'necessities' then transactions.amount else 0 end) as needed
            from {SILVER}.stg_transactions as transactions
            left join {SILVER}.stg_merchant_categories as categories
                on transactions.category_key = categories.category_key
            where transactions.transaction_date < date '{before}'
            group by 1
        ),
        rolled_up as (
            select
                cast(date_trunc('month', period_start) as date) as calendar_month,
                sum(transaction_count) as transaction_count,
                sum(spend) as spend,
                sum(travel_spend) as travel,
                sum(necessities_spend) as needed
            from {SILVER}.customer_period_spend
            where period_start < date '{before}'
            group by 1
        ),
        differences as (
            select
                coalesce(facts.calendar_month, rolled_up.calendar_month) as calendar_month,
                coalesce(facts.transaction_count, 0) - coalesce(rolled_up.transaction_count, 0) as transaction_count,
                -- Whole cents: where sums come back as doubles they differ by the order they were added up in.
                cast(coalesce(facts.spend, 0) - coalesce(rolled_up.spend, 0) as decimal(38, 2)) as spend,
                cast(coalesce(facts.travel, 0) - coalesce(rolled_up.travel, 0) as decimal(38, 2)) as travel,
                cast(coalesce(facts.needed, 0) - coalesce(rolled_up.needed, 0) as decimal(38, 2)) as needed
            from facts
            full outer join rolled_up on facts.calendar_month = rolled_up.calendar_month
        )
        select calendar_month, transaction_count, spend
        from differences
        where transaction_count <> 0 or spend <> 0 or travel <> 0 or needed <> 0
        order by calendar_month
    """)
    return {row["calendar_month"]: (int(row["transaction_count"]), row["spend"]) for row in rows}


def outdated_months(session: Session) -> list[date]:
    """Published months whose totals are not those of the rollup, which a later run may have put right."""
    rows = session.rows(f"""
        with published as (
            select
                snapshot_month,
                sum(total_transactions) as transaction_count,
                sum(lifetime_value) as spend,
                sum(spend_last_90_days) as last_90,
                sum(spend_prior_90_days) as prior_90
            from {GOLD}.customer_segment_history
            group by snapshot_month
        ),
        counted as (
            select
                history.snapshot_month,
                sum(rolled_up.transaction_count) as transaction_count,
                sum(rolled_up.spend) as spend,
                sum(
                    case
                        when rolled_up.period_start >= history.segment_assigned_date - 90 then rolled_up.spend
                        else 0
                    end
                ) as last_90,
                sum(
                    case
                        when rolled_up.period_start < history.segment_assigned_date - 90
                            and rolled_up.period_start >= history.segment_assigned_date - 180 then rolled_up.spend
                        else 0
                    end
                ) as prior_90
            from {GOLD}.customer_segment_history as history
            inner join {SILVER}.customer_period_spend as rolled_up
                on
                    history.customer_id = rolled_up.customer_id
                    and rolled_up.period_start < history.segment_assigned_date
            group by history.snapshot_month
        )
        select published.snapshot_month
        from published
        left join counted on published.snapshot_month = counted.snapshot_month
        where
            published.transaction_count <> coalesce(counted.transaction_count, 0)
            or cast(published.spend - coalesce(counted.spend, 0) as decimal(38, 2)) <> 0
            or cast(published.last_90 - coalesce(counted.last_90, 0) as decimal(38, 2)) <> 0
            or cast(published.prior_90 - coalesce(counted.prior_90, 0) as decimal(38, 2)) <> 0
        order by 1
    """)
    return [row["snapshot_month"] for row in rows]


def versions(session: Session) -> dict[date, int]:
    """The newest version of every published month."""
    rows = session.rows(
        f"select snapshot_month, max(version) as version from {GOLD}.segment_publications group by snapshot_month"
    )
    return {row["snapshot_month"]: int(row["version"]) for row in rows}


def changes(session: Session, before: Mapping[date, int]) -> list[str]:
    """Each month with a newer version than `before` names, in words: how many customers moved, and where."""
    return [line for month, version in sorted(versions(session).items()) if version > before.get(month, 0)
            for line in _words(session, month, version)]  # fmt: skip


def _words(session: Session, month: date, version: int) -> Iterator[str]:
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
