"""One asset per campaign: the files marketing picks up.

Whom they name is read in exports/audience.py, what they hold is in files.py, where they lie in store.py there.
Logs, metadata and errors carry counts only, never an address.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from segmentation_assets.dbt import columns as asset_columns
from segmentation_assets.dbt import tags as asset_tags
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import as_failure
from segmentation_assets.exports import files as export_files
from segmentation_assets.exports.audience import (
    Today,
    ask_today,
    exported_columns,
    read_audience,
    refuse_unpublished,
)
from segmentation_assets.exports.files import Baseline
from segmentation_assets.exports.store import MANIFEST, ExportStore
from segmentation_assets.months import MonthRange
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.privacy import retention
from segmentation_assets.publication import ownership
from segmentation_assets.publication.migration import bring_up_to_date_once
from segmentation_assets.rules.load import Campaign, Rules
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.text import markdown
from segmentation_assets.warehouse.catalog import GOLD
from segmentation_assets.warehouse.session import Session, Warehouse

GROUP = "activation"
CHECK = "campaign_reaches_somebody"


def export_assets(project: Project) -> list[dg.AssetsDefinition]:
    return [export_asset(project, campaign) for campaign in project.rules.campaigns]


def export_asset(project: Project, campaign: Campaign) -> dg.AssetsDefinition:
    portfolio = project.portfolio
    key = portfolio.key(GROUP, f"export_{campaign.name}")
    columns = asset_columns.of_files(project, f"audience_{campaign.name}", exported_columns(campaign))
    listed = project.entries[f"audience_{campaign.name}"]["columns"]

    @dg.asset(
        key=key,
        group_name=GROUP,
        partitions_def=monthly_partitions(project.settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[portfolio.key(GOLD, f"audience_{campaign.name}"), portfolio.key(GOLD, "audience_waterfall")],
        kinds={"python", "csv", "parquet"},
        owners=["team:customer-analytics"],
        description="\n\n".join(
            [
                f"The files of {campaign.name}, {markdown(campaign.segment)}. {markdown(campaign.objective)}",
                "\n".join(f"- {markdown(action)}" for action in campaign.actions),
                "One folder per month: manifest.json names the files of the current version.",
            ]
        ),
        tags=asset_tags.tags(GROUP, {name: listed[name] for name in exported_columns(campaign)}),
        metadata={
            "segment": campaign.segment,
            "audience_code": campaign.audience_code,
            "channel": campaign.channel,
            "objective": campaign.objective,
            "actions": "; ".join(campaign.actions),
            asset_columns.SCHEMA: columns[asset_columns.SCHEMA],
        },
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=key,
                description="The month's list has at least one customer to send the campaign to.",
                partitions_def=monthly_partitions(project.settings),
            )
        ],
        required_resource_keys=portfolio.resource_keys("exports", "warehouse"),
        pool=portfolio.pool,
    )
    def export(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        warehouse: Warehouse = portfolio.resource(context, "warehouse")
        exports: ExportStore = portfolio.resource(context, "exports")
        months = MonthRange.from_context(context)
        with as_failure():
            bring_up_to_date_once(warehouse, project, context.run.run_id)
            # Inside the session: on DuckDB it keeps a second run from the same folders.
            with warehouse.session(read_only=True) as session:
                refuse_unpublished(session, months)
                star = StarSchema(session, project.settings, project.rules)
                today = ask_today(session, campaign, star)
                told = {month: export_month(session, exports, campaign, month, star, today) for month in months}
                removed = sweep(exports, project.rules, campaign.name)
                is_due = retention.is_due(session, project.rules)
            blanked: list[retention.Blanked] = []
            if is_due:
                with warehouse.session() as session:
                    # What is older than the rules keep names and addresses for, of this campaign and of former ones.
                    blanked = [
                        retention.blank(session, exports, project.rules, name)
                        for name in {
                            **dict.fromkeys(own_and_former(exports, project.rules, campaign.name)),
                            **dict.fromkeys(former_lists(session, project)),
                        }
                    ]
            stale = stale_months(exports, campaign.name, months.last)
        if stale:
            told[months.last]["stale_months"] = ", ".join(map(str, stale))
            context.log.warning(f"added.csv and removed.csv of {stale_message(stale)}")
        told[months.last]["replaced_versions_removed"] = removed
        told[months.last]["rows_without_contact_details_now"] = sum(one.rows for one in blanked)
        for month, metadata in told.items():
            context.add_asset_metadata({**metadata, **columns}, asset_key=key, partition_key=str(month))
        empty = [str(month) for month, metadata in told.items() if not metadata["dagster/row_count"]]
        yield dg.MaterializeResult(asset_key=key, check_results=[reach(key, empty)])

    return export


def reach(key: dg.AssetKey, empty: Sequence[str]) -> dg.AssetCheckResult:
    words = (
        f"Nobody is on the list of {', '.join(empty)}: gold.audience_waterfall shows the step that left nobody over."
    )
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=CHECK,
        passed=not empty,
        severity=dg.AssetCheckSeverity.WARN,
        description=words if empty else "Every month's list has somebody on it.",
        metadata={"empty_months": ", ".join(empty) or "none"},
    )


def export_month(
    session: Session,
    store: ExportStore,
    campaign: Campaign,
    month: date,
    star: StarSchema,
    today: Today | None = None,
) -> dict[str, Any]:
    """Write the month's files against the last exported month before it; the numbers for its materialisation.

    Raises ExportError where the audience is not there or not that of the published month.
    """
    started = time.monotonic()
    audience = read_audience(session, campaign, month, star, today)
    replaced = store.manifest(campaign.name, month)
    baseline = last_export(store, campaign.name, month)
    files = export_files.files_of(audience, baseline)
    manifest = export_files.manifest_of(audience, files, baseline, replaced)
    store.write(campaign.name, month, {name: file.content for name, file in files.items()}, manifest)
    return {
        "dagster/row_count": len(audience.rows),
        "Execution Duration": round(time.monotonic() - started, 3),
        "added": files[export_files.ADDED].rows,
        "removed": files[export_files.REMOVED].rows,
        "left_since": audience.left_since,
        "suppressed_since": audience.suppressed_since,
        "unreachable_since": audience.unreachable_since,
        "compared_with": str(baseline.month) if baseline else "nothing, as no month before was exported",
        "audience_code": campaign.audience_code,
        "channel": campaign.channel,
        "version": manifest["version"],
        "publication_version": audience.publication["version"],
        "manifest": f"{store.location(campaign.name, month)}/{MANIFEST}",
        **{f"waterfall: {step}": customers for step, customers in audience.waterfall.items()},
    }


def sweep(store: ExportStore, rules: Rules, campaign: str) -> int:
    """Remove what was replaced long enough ago, of any month; also of campaigns that the rules no longer have."""
    keep, now = timedelta(days=rules.exports.replaced_versions_days), datetime.now(UTC)
    return sum(store.sweep(name, now, keep) for name in own_and_former(store, rules, campaign))


def own_and_former(store: ExportStore, rules: Rules, campaign: str) -> list[str]:
    """Campaigns that an export of `campaign` sees to: itself, and those that the rules no longer have."""
    others = {one.name for one in rules.campaigns} - {campaign}
    return list(dict.fromkeys([campaign, *(name for name in store.campaigns() if name not in others)]))


def former_lists(session: Session, project: Project) -> list[str]:
    """Campaigns that the rules no longer have and the warehouse has lists of, wherever their files went."""
    declared = ownership.declared(project)
    known = ownership.with_former_lists(session, dict.fromkeys(declared, ()), session.gold)
    return [name.removeprefix("audience_") for schema, name in known if (schema, name) not in declared]


def last_export(store: ExportStore, campaign: str, month: date) -> Baseline | None:
    earlier = store.last_exported_month(campaign, month)
    manifest = store.manifest(campaign, earlier) if earlier else None
    if earlier is None or manifest is None:
        return None
    content = store.file(campaign, earlier, manifest, export_files.FULL_PARQUET)
    return Baseline(earlier, export_files.customers_in(content))


def stale_months(store: ExportStore, campaign: str, after: date) -> list[date]:
    """Later months whose added and removed no longer lead from the list exported before them."""
    months = [month for month in store.exported_months(campaign) if month >= after]
    manifests = [store.manifest(campaign, month) for month in months]
    pairs = zip(months[1:], manifests, manifests[1:], strict=False)
    return [
        month for month, before, manifest in pairs if manifest and not export_files.is_compared_with(manifest, before)
    ]


def stale_message(stale: Sequence[date]) -> str:
    months = ", ".join(map(str, stale))
    return (
        f"{months} no longer lead from the list before: export {'it' if len(stale) == 1 else 'them'} again, in order."
    )
