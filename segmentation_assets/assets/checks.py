"""Asset checks on segment_assignments: one per audit, per month. They read segment_audits; no rule is written here."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEventBatchMetadata, generate_event_batch_id

from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.publication import audits, findings
from segmentation_assets.report import share_chart
from segmentation_assets.warehouse.catalog import SILVER, table_exists
from segmentation_assets.warehouse.session import Session, Warehouse

# On the evaluation of a month that has no verdict of its own, only that of the range it was tested in.
SHARED_VERDICT = "verdict_of_the_range"
CANDIDATE = (SILVER, "segment_assignments")


def audit_checks(project: Project) -> dg.AssetChecksDefinition:
    """The blocking ones stop a run that has no month left to publish; in a range the good months go on."""

    portfolio = project.portfolio
    candidate = portfolio.key(*CANDIDATE)

    @dg.multi_asset_check(
        name=portfolio.name("segmentation_audit_checks"),
        specs=[
            dg.AssetCheckSpec(
                audit.name,
                asset=candidate,
                description=f"{audit.meaning} If it fails: {audit.advice}",
                blocking=audit.is_blocking,
                additional_deps=[portfolio.key(SILVER, "segment_audit_verdicts")],
                partitions_def=monthly_partitions(project.settings),
            )
            for audit in audits.AUDITS
        ],
        required_resource_keys=portfolio.resource_keys("warehouse"),
        pool=portfolio.pool,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        warehouse: Warehouse = portfolio.resource(context, "warehouse")
        months = MonthRange.from_context(context)
        with warehouse.session() as session:
            rows = audits.month_audits(session, months)
            shares = month_shares(session, months)
        picture = share_chart.shares_against_bands(shares, project.rules.segment_names)
        blocked = {str(row["snapshot_month"]) for row in rows if audits.is_blocking_failure(row)}
        none_is_left = len(blocked) == len({str(row["snapshot_month"]) for row in rows})
        for audit in audits.AUDITS:
            family = [row for row in rows if row["audit"] == audit.name]
            if not context.op_execution_context.has_partition_key:
                record_each_month(context.op_execution_context, candidate, audit, family)
            yield result(
                candidate, audit, family, shares, picture,
                stops=months.is_single or none_is_left, is_asked=audits.is_asked(audit, project.rules),
            )  # fmt: skip

    return checks


def result(
    asset_key: dg.AssetKey,
    audit: audits.Audit,
    rows: Sequence[dict[str, Any]],
    shares: Sequence[dict[str, Any]],
    picture: dg.MarkdownMetadataValue,
    *,
    stops: bool,
    is_asked: bool = True,
) -> dg.AssetCheckResult:
    """One result over all months of the run. No audit rows at all is a failure, never a pass, unless the rules leave
    nothing to measure."""
    failures = findings.failures(rows)
    return dg.AssetCheckResult(
        check_name=audit.name,
        asset_key=asset_key,
        passed=not failures and (bool(rows) or not is_asked),
        severity=dg.AssetCheckSeverity.ERROR if audit.is_blocking and stops else dg.AssetCheckSeverity.WARN,
        description=description(audit, rows) if rows or is_asked else audits.NO_BANDS,
        metadata={
            "failed_months": ", ".join(sorted({finding.month for finding in failures})) or "none",
            **findings.to_metadata(failures),
            "segments": shares_table(shares),
            "shares": picture,
            **measured(rows),
        },
    )


def description(audit: audits.Audit, rows: Sequence[dict[str, Any]]) -> str:
    """What the Dagster UI says of the check: what failed and what to do, else what it means that it passed."""
    failures = findings.failures(rows)
    if rows and not failures:
        lines = [audit.meaning]
    elif failures:
        lines = [*(finding.sentence for finding in failures), audit.advice]
    else:
        lines = ["There are no audits for this month.", audit.advice]
    return "\n".join([*lines, *(finding.acceptance for finding in findings.accepted(rows))])


def measured(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Numbers that Dagster draws over the months: the newest month's value, per segment where there are any."""
    newest = max((row["snapshot_month"] for row in rows), default=None)
    return {
        "measured" if row["customer_segment"] is None else f"measured: {row['customer_segment']}": round(
            float(row["measured"]), 6
        )
        for row in rows
        if row["snapshot_month"] == newest and row["measured"] is not None
    }


def record_each_month(
    context: dg.OpExecutionContext, asset_key: dg.AssetKey, audit: audits.Audit, rows: Sequence[dict[str, Any]]
) -> None:
    """Shows the months of a range passed or failed one by one: such a run yields a check once, and without a month.

    Recorded under the run's own id: a runless evaluation of the same month can be stored only once for ever.
    """
    evaluations = []
    for month, month_rows in groupby(rows, key=lambda row: str(row["snapshot_month"])):
        failures = findings.failures(list(month_rows))
        evaluations.append(
            dg.AssetCheckEvaluation(
                asset_key=asset_key,
                check_name=audit.name,
                passed=not failures,
                severity=dg.AssetCheckSeverity.ERROR if audit.is_blocking else dg.AssetCheckSeverity.WARN,
                description="\n".join(finding.sentence for finding in failures) or audit.meaning,
                partition=month,
                metadata=findings.to_metadata(failures),
            )
        )
    record(context, evaluations)


def evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    assert result.asset_key is not None and result.check_name is not None
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
    )


def record_on_months(context: dg.OpExecutionContext, result: dg.AssetCheckResult, months: MonthRange) -> None:
    """Shows what a dbt test said of a range on each of its months: it ran over all of them, and says of none alone."""
    assert result.asset_key is not None and result.check_name is not None
    evaluations = [
        dg.AssetCheckEvaluation(
            asset_key=result.asset_key,
            check_name=result.check_name,
            passed=result.passed,
            severity=result.severity,
            description=f"One verdict on {months}.",
            partition=str(month),
            metadata={SHARED_VERDICT: True},
        )
        for month in months
    ]
    record(context, evaluations)


def record(context: dg.OpExecutionContext, evaluations: Sequence[dg.AssetCheckEvaluation]) -> None:
    """Stored as one batch, as Dagster stores the months of a materialization."""
    batch = generate_event_batch_id()
    for number, evaluation in enumerate(evaluations, start=1):
        event = dg.DagsterEvent(
            event_type_value="ASSET_CHECK_EVALUATION",
            job_name=context.job_name,
            event_specific_data=evaluation,
            message=f"{evaluation.check_name} of {evaluation.partition}",
        )
        of_batch = DagsterEventBatchMetadata(batch, is_end=number == len(evaluations))
        context.instance.report_dagster_event(event, run_id=context.run_id, batch_metadata=of_batch)


def month_shares(session: Session, months: MonthRange) -> list[dict[str, Any]]:
    """Count, share, floor, band and last published month's share, per month and segment of the candidate."""
    return session.rows(
        f"""
        with counts as (
            select snapshot_month, customer_segment, count(*) as customers
            from {session.silver}.segment_assignments
            where snapshot_month >= ? and snapshot_month <= ?
            group by snapshot_month, customer_segment
        )
        select
            floors.snapshot_month, floors.customer_segment, coalesce(counts.customers, 0) as customers,
            floors.measured as share_pct, floors.lower_bound as floor_pct,
            bands.lower_bound as band_lower_pct, bands.upper_bound as band_upper_pct,
            {_share_of_last_month(session)} as last_month_share_pct
        from {session.silver}.segment_audits as floors
        left join {session.silver}.segment_audits as bands
            on floors.snapshot_month = bands.snapshot_month
            and floors.customer_segment = bands.customer_segment
            and bands.audit = 'share_is_within_the_expected_band'
        left join counts
            on floors.snapshot_month = counts.snapshot_month and floors.customer_segment = counts.customer_segment
        where
            floors.audit = 'every_segment_holds_the_minimum_share'
            and floors.snapshot_month >= ? and floors.snapshot_month <= ?
        order by floors.snapshot_month, floors.customer_segment
        """,
        (months.first, months.last) * 2,
    )


def _share_of_last_month(session: Session) -> str:
    """NULL until something was published."""
    if not table_exists(session, session.gold, "segment_summary"):
        return "null"
    return f"""(
        select max(previous.share_pct) from {session.gold}.segment_summary as previous
        where previous.customer_segment = floors.customer_segment
            and previous.snapshot_month = cast(date_trunc('month', floors.snapshot_month - 1) as date)
    )"""


def shares_table(shares: Sequence[dict[str, Any]]) -> dg.TableMetadataValue:
    columns = (
        "snapshot_month", "customer_segment", "customers", "share_pct",
        "floor_pct", "band_lower_pct", "band_upper_pct", "last_month_share_pct",
    )  # fmt: skip

    def plain(value: Any) -> str | int | float | None:
        if value is None or isinstance(value, (int, str)):
            return value
        return str(value) if isinstance(value, date) else round(float(value), 2)

    return dg.MetadataValue.table(
        records=[dg.TableRecord({column: plain(row[column]) for column in columns}) for row in shares],
        schema=dg.TableSchema(
            [
                dg.TableColumn(
                    column, "string" if column in columns[:2] else "float" if column.endswith("_pct") else "int"
                )
                for column in columns
            ]
        ),
    )
