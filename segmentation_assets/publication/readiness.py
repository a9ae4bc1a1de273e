"""Which months are published, and whether a month's facts have all arrived. It only looks, and never waits.

A run that has the warehouse open is left alone: a look that cannot be had is had later.
"""

from datetime import date, timedelta
from functools import cache
from typing import Any

import yaml

from segmentation_assets import sources
from segmentation_assets.dbt.project import project_dir, rules
from segmentation_assets.months import MonthRange, as_of_date
from segmentation_assets.publication import audits
from segmentation_assets.settings import source_schema
from segmentation_assets.warehouse.catalog import GOLD, SILVER, table_exists
from segmentation_assets.warehouse.session import Session

ARRIVAL = "facts_reach_the_end_of_the_month"


def published_months(session: Session) -> set[date]:
    if not table_exists(session, GOLD, "segment_publications"):
        return set()
    rows = session.rows(f"select distinct snapshot_month from {GOLD}.segment_publications")
    return {row["snapshot_month"] for row in rows}


def missing_facts(session: Session, month: date) -> str | None:
    """What is missing before the month may be computed, in a sentence; None when all has arrived, or nobody can say.

    The measure and the bound are those of the audit facts_reach_the_end_of_the_month. A demo source makes its facts in
    the run itself. Where there is no fact table at all, waiting would not help: the run says what is wrong.
    """
    if sources.source() != "warehouse" or not table_exists(session, source_schema(), "fct_transactions"):
        return None
    as_of, statuses = as_of_date(month), approved_statuses()
    (row,) = session.rows(
        f"select max(transaction_date) as newest from {source_schema()}.fct_transactions"
        f" where transaction_date < ? and transaction_status in ({', '.join('?' * len(statuses))})",
        (as_of, *statuses),
    )
    newest = row["newest"]
    last_day = as_of - timedelta(days=1)
    if newest is None:
        return f"There are no approved facts before {as_of}."
    newest = date.fromisoformat(str(newest)[:10])
    missing = (last_day - newest).days
    if missing <= rules().audits.facts_may_end_days_early:
        return None
    days = str(last_day) if missing == 1 else f"{newest + timedelta(days=1)} to {last_day}"
    return f"The facts of {month} end on {newest}: {days} {'has' if missing == 1 else 'have'} not arrived."


def only_facts_were_missing(session: Session, month: date) -> bool:
    """Whether the month's last computation was held back by nothing but facts that had not arrived."""
    if not table_exists(session, SILVER, "segment_audits"):
        return False
    rows = audits.month_audits(session, MonthRange.single(month))
    blocking: set[str] = {row["audit"] for row in rows if audits.is_blocking_failure(row)}
    return blocking == {ARRIVAL}


@cache
def approved_statuses() -> tuple[str, ...]:
    project: dict[str, Any] = yaml.safe_load((project_dir() / "dbt_project.yml").read_text(encoding="utf-8"))
    return tuple(project["vars"]["approved_statuses"])
