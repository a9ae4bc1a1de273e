"""A person's acceptance of a failed audit, the only way past the gate: month, audit, who and why, in the warehouse."""

from datetime import UTC, date, datetime

from segmentation_assets.errors import UserError
from segmentation_assets.publication import audits
from segmentation_assets.publication.findings import Finding
from segmentation_assets.warehouse.catalog import SILVER
from segmentation_assets.warehouse.session import Session


class AcceptanceError(UserError):
    """There is nothing to accept as asked; one line that says what there is."""


def accept(session: Session, month: date, audit: str, segment: str | None, who: str, why: str) -> str:
    """Accept the failures of `audit` in `month` as they are measured now. Raises AcceptanceError."""
    if not who.strip() or not why.strip():
        raise AcceptanceError(
            "WHO and WHY must both say something: they are shown on the check and kept with the month."
        )
    rows = [*audits.month_audits(session, month, month), *audits.audience_audits(session, month, month)]
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
    for row in chosen:
        session.execute(
            f"insert into {SILVER}.segment_audit_overrides"
            " (snapshot_month, audit, customer_segment, measured, accepted_by, reason, accepted_at)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            (month, audit, row["customer_segment"], row["measured"], who.strip(), why.strip(),
             datetime.now(tz=UTC).replace(tzinfo=None, microsecond=0)),
        )  # fmt: skip
    return "\n".join(f"Accepted by {who.strip()}: {Finding.of_row(row).sentence}" for row in chosen)
