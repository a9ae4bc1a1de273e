"""Finding: one failed audit of a month as data. A check keeps it as metadata; each reader renders it from here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import dagster as dg

from segmentation_assets.publication.audits import BY_NAME, is_blocking_failure
from segmentation_assets.text import counted

METADATA = "findings"


@dataclass(frozen=True)
class Finding:
    audit: str
    month: str
    customer_segment: str | None  # None: about the month
    measured: float
    lower_bound: float | None
    upper_bound: float | None
    failed_rows: int
    unit: str  # what `measured` counts, agreeing with it in number
    affected_spend: float | None = None  # of what broke it, where the audit knows
    accepted_by: str | None = None
    reason: str | None = None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Finding":
        """From a row of `audits.month_audits`."""
        audit, measured = BY_NAME[row["audit"]], float(row["measured"])
        return cls(
            audit=audit.name,
            month=str(row["snapshot_month"]),
            customer_segment=row["customer_segment"],
            measured=measured,
            lower_bound=None if row["lower_bound"] is None else float(row["lower_bound"]),
            upper_bound=None if row["upper_bound"] is None else float(row["upper_bound"]),
            failed_rows=int(row["failed_rows"] or 0),
            unit=audit.unit_of_one if measured == 1 else audit.unit,
            affected_spend=None if row.get("affected_spend") is None else float(row["affected_spend"]),
            accepted_by=row["accepted_by"],
            reason=row["reason"],
        )

    @property
    def allowed(self) -> str:
        """`0`, `at least 5`, `at most 0.25` or `5 to 10`."""
        lower, upper = self.lower_bound, self.upper_bound
        if lower is not None and upper is not None:
            return f"{lower:g} to {upper:g}"
        if lower is not None:
            return f"at least {lower:g}"
        return "0" if upper == 0 else f"at most {upper:g}"

    @property
    def measurement(self) -> str:
        """Without month and audit, for readers that show them beside it: `Declining: 4.9 % of ... (allowed: ...)`."""
        about = f"{self.customer_segment}: " if self.customer_segment else ""
        money = f"; {self.affected_spend:,.2f} of spend" if self.affected_spend else ""
        return f"{about}{self.measured:.6g} {self.unit} (allowed: {self.allowed}{money})"

    @property
    def sentence(self) -> str:
        about = ", " if self.customer_segment else ": "
        return f"{self.month}: {self.audit}{about}{self.measurement}."

    @property
    def acceptance(self) -> str:
        return f"Accepted by {self.accepted_by} ({self.reason}): {self.sentence}"


def failures(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """What nobody accepted."""
    return [Finding.of_row(row) for row in rows if not row["passed"] and row["accepted_by"] is None]


def accepted(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    return [Finding.of_row(row) for row in rows if not row["passed"] and row["accepted_by"] is not None]


def to_metadata(findings: Sequence[Finding]) -> dict[str, dg.MetadataValue[Any]]:
    """The check's table of findings; none without a finding. Who accepted one is said in the description alone."""
    if not findings:
        return {}
    kept = [{k: v for k, v in asdict(finding).items() if k not in ("accepted_by", "reason")} for finding in findings]
    types = {
        **dict.fromkeys(("measured", "lower_bound", "upper_bound", "affected_spend"), "float"),
        "failed_rows": "int",
    }
    schema = dg.TableSchema([dg.TableColumn(name, types.get(name, "string")) for name in kept[0]])
    return {METADATA: dg.MetadataValue.table([dg.TableRecord(record) for record in kept], schema)}


def from_metadata(metadata: Mapping[str, Any]) -> list[Finding] | None:
    """None for a check that keeps none: a dbt test, or an audit recorded by an earlier version of this package."""
    table = metadata.get(METADATA)
    if not isinstance(table, dg.TableMetadataValue):
        return None
    known = {field.name for field in fields(Finding)}
    try:
        return [Finding(**{k: v for k, v in record.data.items() if k in known}) for record in table.records]  # pyright: ignore[reportArgumentType]
    except TypeError:  # a field is missing: kept by a version with another set of them
        return None


def failed_rows(metadata: Mapping[str, dg.MetadataValue[Any]]) -> str:
    """What a dbt test leaves instead: the number of rows that broke it, never the rows. Empty for other checks."""
    return "; ".join(
        f"{counted(int(value.value), 'failed row')} (allowed: 0)"
        for name, value in metadata.items()
        if name.endswith("failed_row_count")
    )


def audience_refusal(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a run says that was asked for lists which may not be made: what was published, what did not follow."""
    blocking = [Finding.of_row(row) for row in rows if is_blocking_failure(row)]
    months = sorted({finding.month for finding in blocking})
    audits = list(dict.fromkeys(finding.audit for finding in blocking))
    return "\n".join(
        [
            f"The segments of {', '.join(months)} are published. The audiences and their files did not follow; lists"
            " made before are as they were.",
            *(f"- {finding.sentence}{_ids(finding)}" for finding in blocking),
            "What to do, then `make month` once more:",
            *(f"- {audit}: {BY_NAME[audit].advice}" for audit in audits),
            f'- to go on all the same: make accept MONTH={months[0]} AUDIT={audits[0]} WHO="..." WHY="..."',
        ]
    )


def _ids(finding: Finding) -> str:
    """By count, never by value."""
    endings = {"did_not_shrink": "lost", "match_customers": "of nobody", "matches_customers": "of nobody"}
    of = next((words for ending, words in endings.items() if finding.audit.endswith(ending)), "")
    counts = "id" if finding.audit.startswith("suppressions_") else "row"
    return f" That is {counted(finding.failed_rows, counts)} {of}." if of else ""


def refusal(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a run says that was asked for a month which may not be published."""
    blocking = [Finding.of_row(row) for row in rows if is_blocking_failure(row)]
    months = sorted({finding.month for finding in blocking})
    advice = list(dict.fromkeys(f"{finding.audit}: {BY_NAME[finding.audit].advice}" for finding in blocking))
    return "\n".join(
        [
            f"Not published: {', '.join(months)}. Each keeps its last published version, if it has one.",
            *(f"- {finding.sentence}" for finding in blocking),
            "What to do:",
            *(f"- {line}" for line in advice),
        ]
    )
