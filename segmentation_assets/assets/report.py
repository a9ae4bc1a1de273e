"""The month's report: one HTML file beside the exports.

What it says is in report/data.py, how it looks in page.py and charts.py there.
"""

import base64
import time
from typing import Any

import dagster as dg

from segmentation_assets.dbt import tags as asset_tags
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import as_failure
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.months import MonthRange
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.privacy import evidence
from segmentation_assets.publication.migration import bring_up_to_date_once
from segmentation_assets.report import drawing
from segmentation_assets.report import page as report_page
from segmentation_assets.report.data import Report, read_report
from segmentation_assets.warehouse.catalog import GOLD, SILVER
from segmentation_assets.warehouse.session import Warehouse

GROUP = "activation"
FILE = "segment_report.html"
# Metadata is kept with every event and sent to the browser whole.
LARGEST_PICTURE_BYTES = 200_000
READS = (
    *(
        [GOLD, table]
        for table in (
            "customer_segment_history", "segment_summary", "segment_transitions", "segment_publications",
            "segment_rules", "hero_metrics", "criteria_overlap", "audience_waterfall", "campaign_outcomes",
            "program_outcomes",
        )
    ),
    [SILVER, "segment_audits"],
)  # fmt: skip


def report_asset(project: Project) -> dg.AssetsDefinition:
    portfolio = project.portfolio

    @dg.asset(
        key=portfolio.key(GROUP, "segment_report"),
        group_name=GROUP,
        partitions_def=monthly_partitions(project.settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            *(portfolio.key(*path) for path in READS),
            *(portfolio.key(GOLD, f"audience_{campaign.name}") for campaign in project.rules.campaigns),
        ],
        kinds={"python", "html"},
        owners=["team:customer-analytics"],
        tags=asset_tags.tags(GROUP, {}),
        description="One HTML file per month: headline numbers, shares against their bands, migration, overlap of"
        " criteria, value, audiences, campaign outcomes, audits and definitions. It opens offline and holds no personal"
        " data: reports/<month>/segment_report.html beside the exports. Beside it is evidence.json: version, rules,"
        " audits with bounds and measured values, acceptances and who published, for whoever examines the month.",
        required_resource_keys=portfolio.resource_keys("exports", "warehouse"),
        pool=portfolio.pool,
    )
    def segment_report(context: dg.AssetExecutionContext) -> None:
        warehouse: Warehouse = portfolio.resource(context, "warehouse")
        exports: ExportStore = portfolio.resource(context, "exports")
        months = MonthRange.from_context(context)
        with as_failure():
            bring_up_to_date_once(warehouse, project, context.run.run_id)
            with warehouse.session(read_only=True) as session:
                # All are read before the first is written: a range goes out whole or not at all.
                reports = [read_report(session, project.rules, month) for month in months]
                packs = {month: evidence.evidence(session, project, exports, month) for month in months}
            for report in reports:
                metadata = write(exports, report)
                path = evidence.write_made(exports, report.month, packs[report.month])
                metadata["evidence"] = dg.MetadataValue.path(path)
                context.add_asset_metadata(metadata, asset_key=context.asset_key, partition_key=str(report.month))

    return segment_report


def write(store: ExportStore, report: Report) -> dict[str, Any]:
    """The file, and what its materialisation shows."""
    started = time.monotonic()
    drawn = report_page.pictures(report)
    page = report_page.render(report, drawn)
    path = store.write_report(report.month, FILE, page)
    metadata: dict[str, Any] = {
        "path": dg.MetadataValue.path(path),
        "bytes": len(page),
        "version": report.version,
        "customers": report.totals.customers,
        "audits_not_passed": sum(audit.verdict != "passed" for audit in report.audits),
    }
    shown = {
        "shares": drawn.shares,
        "Contacts per person": {"Contacts per person": drawn.contacts},
        "Who left where": {"Who left where": drawn.leavers},
    }
    metadata["contacts"] = report.contacts.sentence
    for name, pictures in shown.items():
        picture = drawing.png(pictures) if all(pictures.values()) else b""
        if 0 < len(picture) < LARGEST_PICTURE_BYTES:
            metadata[name] = dg.MetadataValue.md(
                f"![{name}](data:image/png;base64,{base64.b64encode(picture).decode()})"
            )
    metadata["Execution Duration"] = round(time.monotonic() - started, 3)
    return metadata
