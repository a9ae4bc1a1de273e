"""The gate in words: refuses to go on with months that are blocked, not audited or not published.

The gate itself is in the warehouse, where publication reads `segment_audits` (write-audit-publish); here a run that
asked for such a month is failed, saying why.
"""

from datetime import date

import dagster as dg

from segmentation_assets.months import months_between
from segmentation_assets.publication import audits, findings, published
from segmentation_assets.warehouse.session import Warehouse


def refuse_blocked(warehouse: Warehouse, months: tuple[date, date]) -> None:
    """Fail the run that asked for a month which the gate held back, in words an analyst can act on."""
    with warehouse.session() as session:
        rows = audits.month_audits(session, *months)
    if any(audits.is_blocking_failure(row) for row in rows):
        raise dg.Failure(description=findings.refusal(rows), allow_retries=False)


def refuse_unpublished(warehouse: Warehouse, months: tuple[date, date]) -> None:
    """A run is never green without what it was asked for: every month audited as it stands, and published."""
    refuse_blocked(warehouse, months)
    with warehouse.session() as session:
        audited = {str(row["snapshot_month"]) for row in audits.month_audits(session, *months)}
        unpublished = set(map(str, published.missing(session, months_between(*months))))
    asked = [str(month) for month in months_between(*months)]
    missing = [month for month in asked if month not in audited or month in unpublished]
    if missing:
        raise dg.Failure(
            description=f"Not published: {', '.join(missing)}. There are no audits of the present candidate:"
            " materialise segment_assignments and segment_audits of these months first.",
            allow_retries=False,
        )


def refuse_empty_audiences(warehouse: Warehouse, months: tuple[date, date]) -> None:
    """Audiences of a month that was never published would be empty, and their run green."""
    with warehouse.session() as session:
        missing = list(map(str, published.missing(session, months_between(*months))))
    if missing:
        raise dg.Failure(
            description=f"Not published, and so without audiences: {', '.join(missing)}."
            f" Publish first (`make month MONTH={missing[0]}`).",
            allow_retries=False,
        )


def refuse_blocked_audiences(warehouse: Warehouse, months: tuple[date, date]) -> None:
    """Fail the run whose lists were held back, saying that the segments are published all the same."""
    with warehouse.session() as session:
        rows = audits.audience_audits(session, *months)
    if any(audits.is_blocking_failure(row) for row in rows):
        raise dg.Failure(description=findings.audience_refusal(rows), allow_retries=False)
