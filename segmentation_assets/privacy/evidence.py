"""Evidence pack of a published month: one JSON file with all that decided it, to rebuild it and to answer an examiner.

It names segments, rules, bounds and who accepted what; no customer. It is made of what the warehouse keeps, so that the
same month gives the same file, and lies beside the report.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from segmentation_assets.dbt.personal_data import NONE, of_table
from segmentation_assets.dbt.project import Project
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.months import as_of_date
from segmentation_assets.publication import published
from segmentation_assets.warehouse.catalog import columns_of
from segmentation_assets.warehouse.session import Session

FILE = "evidence.json"
FORMAT = "customer-segmentation evidence 1"
# What it is made of, and by which columns the rows of a month stand in order.
GOLD_TABLES = {
    "segment_restatements": ("version", "from_segment", "to_segment"),
    "segment_summary": ("customer_segment",),
    "segment_transitions": ("from_segment", "to_segment"),
    "audience_waterfall": ("campaign", "step_number"),
    "audience_log": ("made_at", "campaign"),
    "campaign_outcome_groups": ("campaign", "treatment_group"),
}
SILVER_TABLES = {
    "segment_audit_verdicts": ("audit", "customer_segment"),
    "segment_audit_overrides": ("accepted_at", "audit", "customer_segment"),
    "audience_audit_verdicts": ("audit",),
}


def evidence(session: Session, project: Project, store: ExportStore, month: date) -> dict[str, Any]:
    """Raises NotPublishedError."""
    published.require(session, [month])
    newest = published.newest_version(session, month)
    assert newest is not None  # it is required
    versions = _rows(session, session.gold, "segment_publications", ("version",), f"snapshot_month = date '{month}'")
    body: dict[str, Any] = {
        "format": FORMAT,
        "snapshot_month": str(month),
        "as_of_date": str(as_of_date(month)),
        "pipeline": {
            "version": version("customer-segmentation"),
            "project": project.fingerprint(),
            "engine": project.settings.target,
            "source": project.settings.source,
        },
        "published": {
            "version": newest["version"],
            "published_at": _plain(newest["published_at"]),
            "by_run": newest["run_id"],
            "rules_hash": newest["rules_hash"],
            "decision_hash": newest.get("decision_hash"),
            "content_hash": newest["content_hash"],
            "customers": newest["customers"],
            "verdict": newest["audits_verdict"],
            "accepted_with": newest["override_reason"],
        },
        "versions": versions,
        "rules": _rows(
            session, session.gold, "segment_rules", ("segment_priority", "criterion_number"),
            f"rules_hash = '{newest['rules_hash']}'",
        ),
        "decision": _rows(
            session, session.gold, "segment_decisions", ("entry",), f"decision_hash = '{newest.get('decision_hash')}'",
        ),
        "campaigns_today": project.rules.raw.get("campaigns"),
        "protected_characteristics": {
            "refused": list(project.rules.privacy.protected),
            "accepted_with_a_reason": dict(project.rules.privacy.accepted),
        },
        **{
            name: _rows(session, schema, name, order, f"snapshot_month = date '{month}'")
            for schema, tables in ((session.gold, GOLD_TABLES), (session.silver, SILVER_TABLES))
            for name, order in tables.items()
            if _names_no_customer(project, name)
        },
        "exports": _exports(store, month),
        "to_rebuild": [
            "Install the version of the pipeline above; name the rules of `decision` in the file of SEGMENTATION_RULES"
            " (metrics, segments, category_groups, audits and statuses are its entries).",
            f"make month MONTH={month}: with the facts of then it gives the content_hash above, and no new version.",
            f"make restate says whether the facts are still those of then; make what-if MONTH={month} compares other"
            " rules with them.",
        ],
    }  # fmt: skip
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, default=_plain)
    return {**json.loads(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def write(session: Session, project: Project, store: ExportStore, month: date) -> str:
    """The file beside the month's report; its address. Raises NotPublishedError and ExportError."""
    return write_made(store, month, evidence(session, project, store, month))


def write_made(store: ExportStore, month: date, made: Mapping[str, Any]) -> str:
    return store.write_evidence(month, FILE, f"{json.dumps(made, indent=1, ensure_ascii=False)}\n".encode(), FORMAT)


def _names_no_customer(project: Project, table: str) -> bool:
    return of_table(project.entries[table]["columns"]) == NONE


def _rows(session: Session, schema: str, table: str, order: Iterable[str], where: str) -> list[Mapping[str, Any]]:
    """None of a table that an earlier version did not have, or that lacks what the rows are chosen by."""
    there = columns_of(session, schema, table)
    if where.split()[0] not in there:
        return []
    ordered = ", ".join(column for column in order if column in there)
    # The report, which is read in the same session, asks some of the same.
    rows = session.rows_once(f"select * from {schema}.{table} where {where} order by {ordered}")
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: object) -> object:
    """Money as text, so that no cent is lost, and moments as they are written. Nothing else is in a table."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (Decimal, date)):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing that evidence holds")


def _exports(store: ExportStore, month: date) -> list[dict[str, Any]]:
    kept = ("campaign", "version", "channel", "publication", "left_since", "suppressed_since", "unreachable_since",
            "customers_sha256", "contact_details")  # fmt: skip
    found: list[dict[str, Any]] = []
    for campaign in store.campaigns():
        manifest = store.manifest(campaign, month) if month in store.exported_months(campaign) else None
        if manifest:
            files = {name: {key: entry[key] for key in ("rows", "sha256")} for name, entry in manifest["files"].items()}
            found.append({**{key: manifest[key] for key in kept if key in manifest}, "files": files})
    return found
