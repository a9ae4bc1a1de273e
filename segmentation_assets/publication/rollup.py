"""Which months of facts a run rolls up: those it is asked for, those the rollup lacks, those whose facts changed since.

The macro in_rollup_months rolls up the same months; of the changed ones it is told by the var `changed_months`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from segmentation_assets.months import MonthRange, as_of_date, month_after
from segmentation_assets.rules.load import Rules
from segmentation_assets.sources.contract import Range
from segmentation_assets.warehouse.catalog import columns_of, table_exists
from segmentation_assets.warehouse.session import Session

ROLLUP, FACTS = "customer_period_spend", "facts_by_day"
# Columns that an earlier rollup had otherwise, or not at all.
COLUMNS = ("customer_key", "amount_squares", "min_amount", "max_amount", "facts_hash")


@dataclass(frozen=True)
class Plan:
    ranges: tuple[Range, ...]  # of the dates that are rolled up
    changed: tuple[date, ...] = ()  # months of the windows before the asked ones whose facts are others by now

    def variables(self) -> dict[str, Any]:
        """What dbt has to be told beside the months."""
        return {"changed_months": [str(month) for month in self.changed]} if self.changed else {}


def plan(session: Session, rules: Rules, months: MonthRange, rollup_from: date | None = None) -> Plan:
    """The dates that a run of the months rolls up.

    Reads the facts of the windows before the first month once, by day: a late fact, or one that moved to another
    customer, is rolled up anew by the next month. What changed before the windows is for `make restate` to find.
    """
    first, end = months.first, months.as_of
    kept = months_kept(session, rules, end) if is_of_this_version(session) else []
    if not kept:
        return Plan(((None, end),))
    start = min(rollup_from or first, first)
    changed = tuple(month for month in changed_months(session, rules, first) if month < start)
    kept = [month for month in kept if month < start and month not in changed]
    ranges: list[Range] = []
    gap: date | None = None
    for month in [*kept, end]:
        if gap != month:
            ranges.append((gap, month))
        gap = month_after(month)
    return Plan(tuple(ranges), changed)


def is_of_this_version(session: Session) -> bool:
    """Whether there is a rollup that this version of the pipeline can read."""
    return set(COLUMNS) <= set(columns_of(session, session.silver, ROLLUP))


def months_kept(session: Session, rules: Rules, before: date) -> list[date]:
    """Months that the rollup has under today's category groups, in order."""
    rows = session.rows(
        "select distinct cast(date_trunc('month', period_start) as date) as month_start"
        f" from {session.silver}.{ROLLUP} where period_start < ? and category_groups_hash = ? order by 1",
        (before, category_groups_hash(rules)),
    )
    return [row["month_start"] for row in rows]


def changed_months(session: Session, rules: Rules, first: date) -> list[date]:
    """Months before `first`, back to where the published windows begin, whose facts are not those that were rolled
    up."""
    if not table_exists(session, session.silver, FACTS):
        return []
    # The view may be that of other rules, with other groups; the month is then rolled up anew for its hash.
    groups = {f"{group}_spend" for group in rules.category_groups} & set(columns_of(session, session.silver, FACTS))
    sums = ("transaction_count", "spend", *sorted(groups))
    start = (as_of_date(first) - timedelta(days=180)).replace(day=1)
    both = ((FACTS, "transaction_date"), (ROLLUP, "period_start"))
    asked = " union all ".join(_sums_sql(session, table, column, sums, start, first) for table, column in both)
    found: dict[str, dict[date, tuple[str, ...]]] = {FACTS: {}, ROLLUP: {}}
    for row in session.rows(asked):
        found[row["added_up"]][row["calendar_month"]] = tuple(row[name] for name in (*sums, "facts_hash"))
    facts, rolled_up = found[FACTS], found[ROLLUP]
    return sorted(month for month in {*facts, *rolled_up} if facts.get(month) != rolled_up.get(month))


def _sums_sql(session: Session, table: str, column: str, names: Sequence[str], start: date, end: date) -> str:
    # Decimals, compared as text: sums of money come back as doubles from some drivers, in which digits are lost.
    sums = ", ".join(f"cast(cast(sum({name}) as decimal(38, 4)) as varchar) as {name}" for name in names)
    month = f"cast(date_trunc('month', {column}) as date)"
    return (
        f"select '{table}' as added_up, {month} as calendar_month, {sums},"
        f" cast(cast(sum(facts_hash) as decimal(38, 0)) as varchar) as facts_hash from {session.silver}.{table}"
        f" where {column} >= date '{start}' and {column} < date '{end}' group by {month}"
    )


def category_groups_hash(rules: Rules) -> str:
    """What the macro of the same name gives."""
    noted = {**rules.rollup, "columns": COLUMNS}
    return hashlib.md5(json.dumps(noted, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
