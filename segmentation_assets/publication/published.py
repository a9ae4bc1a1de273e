"""Published months, their newest versions, and whether a table was made from them."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from segmentation_assets.errors import UserError
from segmentation_assets.months import MonthRange, month_after
from segmentation_assets.warehouse.catalog import columns_of, rows_if_there, table_exists
from segmentation_assets.warehouse.session import Session

LOG = "segment_publications"
# What a derived table is stamped with -> how many months back the version lies that it names.
STAMPS = {"content_hash": 0, "previous_content_hash": 1, "base_content_hash": 3}


class NotPublishedError(UserError):
    """A month is asked for that nobody published, or nothing is published at all; one line with what to do."""


def months(session: Session) -> list[date]:
    """In order; none where nothing was ever published."""
    return list(_newest(session))


def _newest(session: Session) -> dict[date, dict[str, Any]]:
    """Of each published month, in order, the newest row of segment_publications."""
    rows = rows_if_there(
        session,
        session.gold,
        LOG,
        f"select * from {session.gold}.{LOG}"
        " qualify row_number() over (partition by snapshot_month order by version desc) = 1 order by snapshot_month",
    )
    return {row["snapshot_month"]: row for row in rows}


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
    return _newest(session).get(month)


def newest_versions(session: Session, asked: MonthRange) -> dict[date, dict[str, Any]]:
    """The newest row of segment_publications of every month of the range that is published."""
    return {month: row for month, row in _newest(session).items() if month in asked}


def versions(session: Session) -> dict[date, int]:
    """The number of the newest version of every published month."""
    rows = session.rows(
        f"select snapshot_month, max(version) as version from {session.gold}.{LOG} group by snapshot_month"
    )
    return {row["snapshot_month"]: int(row["version"]) for row in rows}


def outdated(session: Session, tables: Sequence[str], month: date, may_be_empty: Sequence[str] = ()) -> list[str]:
    """The tables of gold that have a row of the month which was not made from the months as they are published now.

    A month may be published again without what is made from it, as when a run stops between the two. Rows that an
    earlier version made carry no stamp, and are outdated. So is a table without rows of the month, unless it
    `may_be_empty`, as a list that nobody is on.
    """
    stamps = {table: [name for name in STAMPS if name in columns_of(session, session.gold, table)] for table in tables}
    asked = " union all ".join(
        f"select distinct '{table}' as made, "
        + ", ".join(f"{name if name in names else 'cast(null as varchar)'} as {name}" for name in STAMPS)
        + f" from {session.gold}.{table} where snapshot_month = date '{month}'"
        for table, names in stamps.items()
        if names
    )
    rows = session.rows(asked) if asked else []
    published = {name: newest_version(session, month_after(month, -back)) for name, back in STAMPS.items()}

    def is_current(table: str) -> bool:
        found = [[row[name] for name in stamps[table]] for row in rows if row["made"] == table]
        versions = [published[name] for name in stamps[table]]
        expected = [version and version["content_hash"] for version in versions]
        return bool(stamps[table]) and (found == [expected] or (table in may_be_empty and not found))

    return [table for table in tables if not is_current(table)]
