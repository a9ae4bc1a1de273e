"""Published months, their newest versions, and whether a table was made from them."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from segmentation_assets.errors import UserError
from segmentation_assets.months import MonthRange, month_after
from segmentation_assets.warehouse.catalog import columns_of, table_exists
from segmentation_assets.warehouse.session import Session

LOG = "segment_publications"
# What a derived table is stamped with -> how many months back the version lies that it names.
STAMPS = {"content_hash": 0, "previous_content_hash": 1, "base_content_hash": 3}


class NotPublishedError(UserError):
    """A month is asked for that nobody published, or nothing is published at all; one line with what to do."""


def months(session: Session) -> list[date]:
    """In order; none where nothing was ever published."""
    if not table_exists(session, session.gold, LOG):
        return []
    rows = session.rows(f"select distinct snapshot_month from {session.gold}.{LOG} order by snapshot_month")
    return [row["snapshot_month"] for row in rows]


def first_month_with_contact_details(session: Session, retention_months: int) -> date | None:
    """Names and addresses are kept of so many months, the newest published one the last of them; None before there is
    one. By what is published, not by the clock: the same run gives the same files."""
    known = months(session)
    return month_after(known[-1], 1 - retention_months) if known else None


def required_months(session: Session) -> list[date]:
    """In order, one at least. Raises NotPublishedError."""
    if not table_exists(session, session.gold, LOG):
        raise NotPublishedError("Nothing has been published yet: run `make run` first.")
    found = months(session)
    if not found:
        raise NotPublishedError("No month is published: publish one first (`make month MONTH=...`).")
    return found


def require(session: Session, wanted: Iterable[date]) -> None:
    """Raises NotPublishedError for the first month that is not published; it names the nearest that are."""
    published = required_months(session)
    for month in wanted:
        if month not in published:
            nearest = sorted(sorted(published, key=lambda other: abs((other - month).days))[:3])
            raise NotPublishedError(
                f"Month {month} is not published; the nearest that are: {', '.join(map(str, nearest))}."
            )


def missing(session: Session, wanted: Iterable[date]) -> list[date]:
    """The months that are not published, in the order given."""
    published = set(months(session))
    return [month for month in wanted if month not in published]


def newest_version(session: Session, month: date) -> dict[str, Any] | None:
    """The month's newest row of segment_publications; None where it was never published."""
    if not table_exists(session, session.gold, LOG):
        return None
    rows = session.rows(
        f"select * from {session.gold}.{LOG} where snapshot_month = ? order by version desc limit 1", (month,)
    )
    return rows[0] if rows else None


def newest_versions(session: Session, asked: MonthRange) -> dict[date, dict[str, Any]]:
    """The newest row of segment_publications of every month of the range that is published."""
    if not table_exists(session, session.gold, LOG):
        return {}
    rows = session.rows(
        f"select * from {session.gold}.{LOG} where snapshot_month between ? and ? order by snapshot_month, version",
        (asked.first, asked.last),
    )
    return {row["snapshot_month"]: row for row in rows}


def versions(session: Session) -> dict[date, int]:
    """The number of the newest version of every published month."""
    rows = session.rows(
        f"select snapshot_month, max(version) as version from {session.gold}.{LOG} group by snapshot_month"
    )
    return {row["snapshot_month"]: int(row["version"]) for row in rows}


def is_current(session: Session, table: str, month: date, *, may_be_empty: bool = False) -> bool:
    """Whether every row of the month in gold.`table` was made from the months as they are published now.

    A month may be published again without what is made from it, as when a run stops between the two. Rows that an
    earlier version made carry no stamp, and are not current. Neither is a table without rows of the month, unless it
    `may_be_empty`, as a list that nobody is on.
    """
    columns = columns_of(session, session.gold, table)
    stamps = [name for name in STAMPS if name in columns]
    if not stamps:
        return False
    found = session.rows(
        f"select distinct {', '.join(stamps)} from {session.gold}.{table} where snapshot_month = ?", (month,)
    )
    named = {stamp: newest_version(session, month_after(month, -STAMPS[stamp])) for stamp in stamps}
    expected = {stamp: version and version["content_hash"] for stamp, version in named.items()}
    return found == [expected] or (may_be_empty and not found)
