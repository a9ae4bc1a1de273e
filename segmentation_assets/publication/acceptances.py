"""A person's acceptance of a failed audit, the only way past the gate: month, audit, who and why, in the warehouse."""

from datetime import UTC, date, datetime

from segmentation_assets.errors import UserError
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import audits
from segmentation_assets.publication.findings import Finding
from segmentation_assets.text import without_addresses
from segmentation_assets.warehouse.catalog import table_exists
from segmentation_assets.warehouse.session import Session


class AcceptanceError(UserError):
    """There is nothing to accept as asked; one line that says what there is."""


def accept(session: Session, month: date, audit: str, segment: str | None, who: str, why: str) -> str:
    """Accept the failures of `audit` in `month` as they are measured now. Raises AcceptanceError."""
    if not who.strip() or not why.strip():
        raise AcceptanceError(
            "WHO and WHY must both say something: they are shown on the check and kept with the month."
        )
    if without_addresses(why) != why or _names_somebody(session, why):
        raise AcceptanceError(
            "WHY names a customer, by id or address, and is kept and shown for ever: say what was found, not of whom."
        )
    only = MonthRange.single(month)
    rows = [*audits.month_audits(session, only), *audits.audience_audits(session, only)]
    if not rows:
        raise AcceptanceError(f"There are no audits of {month}: compute it first (make month MONTH={month}).")
    blocking = [row for row in rows if audits.is_blocking_failure(row)]
    chosen = [row for row in blocking if row["audit"] == audit and segment in (None, row["customer_segment"])]
    if not chosen:
        failed = sorted({f"{row['audit']} ({row['customer_segment'] or 'the month'})" for row in blocking})
        raise AcceptanceError(
            f"{audit!r}{f' of {segment!r}' if segment else ''} is no failed blocking audit of {month};"
            f" to be accepted: {', '.join(failed) or 'none'}."
        )
    if any(row.get("content_hash") is None for row in chosen):
        raise AcceptanceError(
            f"The audits of {month} name no candidate, as an earlier version of this pipeline made them:"
            f" compute the month again first (make month MONTH={month}), then accept what it finds."
        )
    # What was seen, to the last column: another candidate, or more rows or money, is another acceptance.
    seen = ("customer_segment", "measured", "content_hash", "decision_hash", "failed_rows", "affected_spend",
            "facts_hash")  # fmt: skip
    accepted_at = datetime.now(tz=UTC).replace(tzinfo=None, microsecond=0)
    for row in chosen:
        session.execute(
            f"insert into {session.silver}.segment_audit_overrides"
            f" (snapshot_month, audit, accepted_by, reason, accepted_at, {', '.join(seen)})"
            f" values (?, ?, ?, ?, ?{', ?' * len(seen)})",
            (month, audit, who.strip(), why.strip(), accepted_at, *(row[column] for column in seen)),
        )
    return "\n".join(f"Accepted by {who.strip()}: {Finding.of_row(row).sentence}" for row in chosen)


def _names_somebody(session: Session, why: str) -> bool:
    """A word with a digit, as a date or an amount has one too, may be a customer's id."""
    words = sorted({word.strip(".,;:!?()'\"") for word in why.split() if any(map(str.isdigit, word))})
    history = f"{session.gold}.customer_segment_history"
    if not words or not table_exists(session, session.gold, "customer_segment_history"):
        return False
    some = ", ".join("?" * len(words))
    (found,) = session.rows(f"select count(*) as n from {history} where customer_id in ({some})", words)
    return bool(found["n"])
