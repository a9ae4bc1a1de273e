"""Whether a month's facts have all arrived, and whether it was held back by them. It only looks, and never waits.

A run that has the warehouse open is left alone: a look that cannot be had is had later.
"""

from datetime import date, timedelta

from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange, as_of_date
from segmentation_assets.publication import audits
from segmentation_assets.warehouse.catalog import table_exists
from segmentation_assets.warehouse.session import Session

ARRIVAL = {"facts_reach_the_end_of_the_month", "no_usual_day_is_without_facts"}


def missing_facts(session: Session, month: date, project: Project) -> str | None:
    """What is missing before the month may be computed, in a sentence; None when all has arrived, or nobody can say.

    The facts, the measures and the bounds are those of the audits facts_reach_the_end_of_the_month and
    no_usual_day_is_without_facts: a fact on the last day says nothing of the days before it. A demo source makes
    its facts in the run itself. Where no run has made the view on the facts yet, nobody can say what will count: the
    run is not held back, and says itself what is wrong.
    """
    if project.settings.source != "warehouse" or not table_exists(session, session.silver, "stg_transactions"):
        return None
    as_of = as_of_date(month)
    # Of the month, which is nearly always enough; all history is read only where the month has no fact at all.
    newest = _newest_fact(session, as_of, since=month) or _newest_fact(session, as_of)
    last_day = as_of - timedelta(days=1)
    if newest is None:
        return f"There are no approved facts before {as_of}."
    newest = date.fromisoformat(str(newest)[:10])
    missing = (last_day - newest).days
    if missing <= project.rules.audits.facts_may_end_days_early:
        return _absent_days(session, project, month)
    days = str(last_day) if missing == 1 else f"{newest + timedelta(days=1)} to {last_day}"
    return f"The facts of {month} end on {newest}: {days} {'has' if missing == 1 else 'have'} not arrived."


def _newest_fact(session: Session, before: date, since: date | None = None) -> object:
    bounds = [before] if since is None else [before, since]
    (row,) = session.rows(
        f"select max(transaction_date) as newest from {session.silver}.stg_transactions where transaction_date < ?"
        + (" and transaction_date >= ?" if since else ""),
        bounds,
    )
    return row["newest"]


def _absent_days(session: Session, project: Project, month: date) -> str | None:
    if not table_exists(session, session.silver, "fact_days"):
        return None  # of an earlier version: the run makes the view, and its audit says the same
    rows = session.rows(
        f"select fact_day from {session.silver}.fact_days where snapshot_month = ? and is_absent order by fact_day",
        (month,),
    )
    if not rows or len(rows) <= project.rules.audits.absent_days_max:
        return None
    first, last = (str(rows[place]["fact_day"])[:10] for place in (0, -1))
    if len(rows) == 1:
        return f"The facts of {month} lack a day that usually has some: {first}."
    return f"The facts of {month} lack {len(rows)} days that usually have some, from {first} to {last}."


def only_facts_were_missing(session: Session, month: date) -> bool:
    """Whether the month's last computation was held back by nothing but facts that had not arrived."""
    if not table_exists(session, session.silver, "segment_audits"):
        return False
    if not table_exists(session, session.silver, "segment_audit_verdicts"):
        return True  # it ran under an earlier version, and what held it back shows only when it runs again
    rows = audits.month_audits(session, MonthRange.single(month))
    blocking: set[str] = {row["audit"] for row in rows if audits.is_blocking_failure(row)}
    return bool(blocking) and blocking <= ARRIVAL
