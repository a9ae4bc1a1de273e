"""The dbt models as assets: staging, the candidate month, what is published, and the audiences.

Three builds, because the checks of the candidate stand between it and publication. The gate itself is in the warehouse.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from segmentation_assets import audits
from segmentation_assets.dbt import InProcessDbt, manifest_path, project_dir, stream
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.warehouse import GOLD, Warehouse

OWNERS = ["team:customer-analytics"]


class SegmentationTranslator(DagsterDbtTranslator):
    """dagster-dbt's own translation, and the months on the checks that dbt's tests become."""

    def get_asset_spec(self, manifest: Any, unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        return spec.replace_attributes(owners=spec.owners or OWNERS)


def translator() -> SegmentationTranslator:
    return SegmentationTranslator(DagsterDbtTranslatorSettings(enable_code_references=True))


def dbt_asset_definitions() -> list[dg.AssetsDefinition]:
    manifest, project = manifest_path(), DbtProject(project_dir())
    shared: dict[str, Any] = {
        "manifest": manifest,
        "project": project,
        "dagster_dbt_translator": translator(),
        "pool": "warehouse",
    }
    monthly = {
        **shared,
        "partitions_def": monthly_partitions(),
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }

    @dbt_assets(select="path:models/staging", name="staging", **shared)
    def staging(context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]) -> Iterator[Any]:
        month = date(2000, 1, 1)  # views know no month, but every build names one
        yield from build(context, dbt, warehouse, (month, month))

    @dbt_assets(select="path:models/metrics config.group:segments_candidate", name="candidate", **monthly)
    def candidate(context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]) -> Iterator[Any]:
        yield from build(context, dbt, warehouse, asked_months(context))

    @dbt_assets(select="config.group:segments_published", name="publication", **monthly)
    def publication(context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]) -> Iterator[Any]:
        months = asked_months(context)
        try:
            yield from build(context, dbt, warehouse, months)
        except DagsterDbtCliRuntimeError:
            refuse_unpublished(warehouse, months)
            raise
        refuse_unpublished(warehouse, months)

    @dbt_assets(select="path:models/audiences", name="audiences", **monthly)
    def audiences(context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]) -> Iterator[Any]:
        yield from build(context, dbt, warehouse, asked_months(context))

    return [staging, candidate, publication, audiences]


def asked_months(context: dg.AssetExecutionContext) -> tuple[date, date]:
    keys = context.partition_key_range
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)


def build(
    context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: Warehouse, months: tuple[date, date]
) -> Iterator[Any]:
    with dbt.build(context, warehouse, months, translator()) as invocation:
        yield from stream(invocation)


def refuse_unpublished(warehouse: Warehouse, months: tuple[date, date]) -> None:
    """Fail the run that asked for a month which the gate held back, in words an analyst can act on."""
    with warehouse.session() as session:
        rows = audits.month_audits(session, *months)
        published = {
            str(row["snapshot_month"])
            for row in session.rows(f"select distinct snapshot_month from {GOLD}.segment_publications")
        }
    if any(audits.is_blocking_failure(row) for row in rows):
        raise dg.Failure(description=audits.refusal(rows), allow_retries=False)
    audited = {str(row["snapshot_month"]) for row in rows}
    from segmentation_assets.partitions import months_between

    missing = [str(month) for month in months_between(*months) if str(month) not in audited or str(month) not in published]
    if missing:
        raise dg.Failure(
            description=f"Not published: {', '.join(missing)}. There are no audits of the present candidate:"
            " materialise segment_assignments and segment_audits of these months first.",
            allow_retries=False,
        )
