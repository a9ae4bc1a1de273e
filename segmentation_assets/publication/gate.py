"""The gate in words: refuses to go on with months that are blocked, not audited or not published.

The gate itself is in the warehouse, where publication demands that the candidate, its audits and the rules of its own
run be one (write-audit-publish, macro `gate`); here a run that asked for a month which it held back is failed, saying
why.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from segmentation_assets.months import MonthRange
from segmentation_assets.publication import audits, findings, published
from segmentation_assets.rules.load import Rules
from segmentation_assets.warehouse.session import Session, Warehouse


def refuse_blocked(warehouse: Warehouse, months: MonthRange) -> None:
    """Fail the run that asked for a month whose audits block it, in words an analyst can act on."""
    with warehouse.session() as session:
        _refuse_blocked(session, months)


def _refuse_blocked(session: Session, months: MonthRange) -> None:
    rows = audits.month_audits(session, months)
    if any(audits.is_blocking_failure(row) for row in rows):
        raise dg.Failure(description=findings.refusal(rows), allow_retries=False)


def refuse_unpublished(rules: Rules, warehouse: Warehouse, months: MonthRange) -> None:
    """A run is never green without what it was asked for: every month audited as it stands, by these rules, and
    published as it was audited."""
    with warehouse.session() as session:
        gate = {row["snapshot_month"]: row for row in _gate(session, months)}
        if any(month not in gate or gate[month]["is_blocked"] for month in months):
            _refuse_blocked(session, months)
        obstacles = list(_obstacles(session, rules, months, gate))
    if obstacles:
        raise dg.Failure(
            description="\n".join(
                [
                    f"Not published: {', '.join(str(month) for month, _ in obstacles)}."
                    " Each keeps its last published version, if it has one.",
                    *(f"- {month}: {words}" for month, words in obstacles),
                ]
            ),
            allow_retries=False,
        )


def _gate(session: Session, months: MonthRange) -> list[dict[str, Any]]:
    return session.rows(
        f"select * from {session.silver}.segment_gate where snapshot_month >= ? and snapshot_month <= ?",
        (months.first, months.last),
    )


def _obstacles(
    session: Session, rules: Rules, months: MonthRange, candidates: Mapping[date, Mapping[str, Any]]
) -> Iterator[tuple[date, str]]:
    """Each month that was not published as it is now, and what kept it, with what to do."""
    newest = published.newest_versions(session, months)
    for month in months:
        words = _obstacle(rules, candidates.get(month), newest.get(month))
        if words:
            yield month, f"{words} (make month MONTH={month})."


def _obstacle(rules: Rules, candidate: Mapping[str, Any] | None, newest: Mapping[str, Any] | None) -> str | None:
    if candidate is None:
        return "there is no candidate: materialise segment_assignments and segment_audits of the month first"
    if candidate["content_hash"] != candidate["stamped_content_hash"]:
        return (
            "the candidate was changed after it was computed, or made by an earlier version of this pipeline"
            f" (its rows have the content hash {_short(candidate['content_hash'])}, and say"
            f" {_short(candidate['stamped_content_hash'])}): compute it again"
        )
    if candidate["audited_content_hash"] != candidate["content_hash"]:
        because = (
            ""
            if candidate["audited_content_hash"]
            else ", or the rollup was made anew since, or from views of staging built under other rules"
        )
        return (
            "there are no audits of the present candidate (content hash"
            f" {_short(candidate['content_hash'])}, audited was {_short(candidate['audited_content_hash'])}){because}:"
            " compute and audit it in one run, with staging"
        )
    if candidate["audited_decision_hash"] != candidate["decision_hash"]:
        return (
            f"the candidate was made by decision {_short(candidate['decision_hash'])} and audited by"
            f" {_short(candidate['audited_decision_hash'])}, as rules or bounds were edited in between:"
            " compute it again"
        )
    if candidate["absent_audits"]:
        return (
            f"{candidate['absent_audits']} of its audits did not run ({candidate['first_absent_audit']}):"
            " compute it again"
        )
    if candidate["decision_hash"] != rules.decision_hash:
        return (
            f"the candidate was made and audited by decision {_short(candidate['decision_hash'])}, and this run reads"
            f" {_short(rules.decision_hash)}: segments, category groups, bounds or statuses were edited since."
            " Put the rules back, or compute it again by the present ones"
        )
    if newest is None or newest["content_hash"] != candidate["content_hash"]:
        return (
            "another run replaced the candidate or its audits while this one published"
            f" (content hash now {_short(candidate['content_hash'])}): run it again, alone"
        )
    return None


def _short(found: str | None) -> str:
    """As much of a hash as tells two apart."""
    return found[:12] if found else "none"


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


def refuse_blocked_audiences(warehouse: Warehouse, months: MonthRange) -> None:
    """Fail the run whose lists were held back, saying that the segments are published all the same."""
    with warehouse.session() as session:
        rows = audits.audience_audits(session, months)
    if any(audits.is_blocking_failure(row) for row in rows):
        raise dg.Failure(description=findings.audience_refusal(rows), allow_retries=False)
