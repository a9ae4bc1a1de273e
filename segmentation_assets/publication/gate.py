"""The gate in words: refuses to go on with months that are blocked, not audited or not published.

The gate itself is in the warehouse, where publication reads `segment_audits` (write-audit-publish); here a run that
asked for such a month is failed, saying why.
"""

import dagster as dg

from segmentation_assets.months import MonthRange
from segmentation_assets.publication import audits, findings, published
from segmentation_assets.warehouse.session import Warehouse


def refuse_blocked(warehouse: Warehouse, months: MonthRange) -> None:
    """Fail the run that asked for a month which the gate held back, in words an analyst can act on."""
    with warehouse.session() as session:
        rows = audits.month_audits(session, months)
    if any(audits.is_blocking_failure(row) for row in rows):
        raise dg.Failure(description=findings.refusal(rows), allow_retries=False)


def refuse_unpublished(warehouse: Warehouse, months: MonthRange) -> None:
    """A run is never green without what it was asked for: every month audited as it stands, and published."""
    refuse_blocked(warehouse, months)
    with warehouse.session() as session:
        audited = {str(row["snapshot_month"]) for row in audits.month_audits(session, months)}
        unpublished = set(map(str, published.missing(session, months)))
    asked = [str(month) for month in months]
    missing = [month for month in asked if month not in audited or month in unpublished]
    if missing:
        raise dg.Failure(
            description=f"Not published: {', '.join(missing)}. There are no audits of the present candidate:"
            " materialise segment_assignments and segment_audits of these months first.",
            allow_retries=False,
        )


def refuse_empty_audiences(warehouse: Warehouse, months: MonthRange) -> None:
    """Audiences of a month that was never published would be empty, and their run green."""
    with warehouse.session() as session:
        missing = list(map(str, published.missing(session, months)))
    if missing:
        raise dg.Failure(
            description=f"Not published, and so without audiences: {', '.join(missing)}."
            f" Publish first (`make month MONTH={missing[0]}`).",
            allow_retries=False,
        )
