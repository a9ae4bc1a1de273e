"""Which months are published, and whether a month's facts have all arrived. It only looks, and never waits.

A run that has the warehouse open is left alone: a look that cannot be had is had later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import cache
from typing import Any

import yaml
from filelock import FileLock, Timeout

from segmentation_assets import audits, sources
from segmentation_assets.dbt_project import project_dir, rules
from segmentation_assets.partitions import as_of_date
from segmentation_assets.warehouse import (
    GOLD,
    SILVER,
    DuckDBSession,
    DuckDBWarehouse,
    Session,
    Warehouse,
    source_schema,
    table_exists,
)

ARRIVAL = "facts_reach_the_end_of_the_month"


class WarehouseBusyError(Exception):
    """Something else has the DuckDB file open; one line to show."""


@contextmanager
def glance(warehouse: Warehouse) -> Iterator[Session | None]:
    """A session that reads; None where no DuckDB file has been made yet. Raises WarehouseBusyError instead of waiting.

    `Warehouse.session` waits for minutes for a run or a notebook, which is longer than Dagster lets a tick take.
    """
    if not isinstance(warehouse, DuckDBWarehouse):
        with warehouse.session(read_only=True) as session:
            yield session
        return
    import duckdb

    try:
        with FileLock(f"{warehouse.path}.lock", is_singleton=True, thread_local=False).acquire(timeout=0):
            connection = duckdb.connect(warehouse.path, read_only=True)
            try:
                connection.execute("set TimeZone = 'UTC'")
                yield DuckDBSession(connection)
            finally:
                connection.close()
    except Timeout as error:
        raise WarehouseBusyError("A run has the DuckDB file open.") from error
    except (duckdb.IOException, duckdb.ConnectionException) as error:
        told = str(error)
        if "does not exist" in told:
            yield None
        elif "Could not set lock" in told or "different configuration" in told:
            raise WarehouseBusyError("Another process has the DuckDB file open.") from error
        else:
            raise


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
    blocking: set[str] = {
        row["audit"] for row in audits.month_audits(session, month, month) if audits.is_blocking_failure(row)
    }
    return blocking == {ARRIVAL}


@cache
def approved_statuses() -> tuple[str, ...]:
    project: dict[str, Any] = yaml.safe_load((project_dir() / "dbt_project.yml").read_text(encoding="utf-8"))
    return tuple(project["vars"]["approved_statuses"])
