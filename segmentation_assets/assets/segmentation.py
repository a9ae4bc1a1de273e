"""The dbt models as assets: staging, the candidate month, what is published, the audiences, and the insights.

Several builds, because the checks of the candidate stand between it and publication. The gate itself is in the
warehouse.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from segmentation_assets import asset_columns, asset_numbers, asset_tags, audits, checks, distribution, schema_version
from segmentation_assets.assets.star_schema import check_source
from segmentation_assets.dbt import InProcessDbt, build_rows, model_of, stream
from segmentation_assets.dbt_project import manifest_path, project_dir, rules
from segmentation_assets.months_of_runs import months_of_run
from segmentation_assets.partitions import monthly_partitions, months_between
from segmentation_assets.readiness import published_months
from segmentation_assets.sources import SourceError
from segmentation_assets.warehouse import GOLD, Warehouse, WarehouseError

OWNERS = ["team:customer-analytics"]


class SegmentationTranslator(DagsterDbtTranslator):
    """dagster-dbt's own translation, and the months on the checks that dbt's tests become."""

    def get_asset_spec(self, manifest: Any, unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        model = self.get_resource_props(manifest, unique_id)
        campaign = model["config"].get("meta", {}).get("campaign")
        return spec.replace_attributes(
            owners=spec.owners or OWNERS,
            tags={**spec.tags, **asset_tags.tags(model["schema"], model["columns"])},
            description="\n\n".join([*campaign_words(campaign), spec.description or ""]),
            metadata={**spec.metadata, **campaign_metadata(campaign)},
        )

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Any, unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        """A test that looks only at the asked months is a check of those months; any other is one of the table."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        where = self.get_resource_props(manifest, unique_id)["config"].get("where") or ""
        if spec is None or "__asked_months" not in where:
            return spec
        return dg.AssetCheckSpec(
            spec.name,
            asset=spec.asset_key,
            description=spec.description,
            additional_deps=spec.additional_deps,
            blocking=spec.blocking,
            metadata=spec.metadata,
            automation_condition=spec.automation_condition,
            partitions_def=monthly_partitions(),
        )


def campaign_words(name: str | None) -> list[str]:
    """Objective and actions of the campaign that a model names in its meta."""
    return [
        words
        for campaign in rules().campaigns
        if campaign.name == name
        for words in (campaign.objective, "\n".join(f"- {action}" for action in campaign.actions))
        if words
    ]


def campaign_metadata(name: str | None) -> dict[str, Any]:
    return {
        key: value
        for campaign in rules().campaigns
        if campaign.name == name
        for key, value in (
            ("segment", campaign.segment),
            ("objective", campaign.objective),
            ("actions", "; ".join(campaign.actions)),
        )
    }


def translator() -> SegmentationTranslator:
    return SegmentationTranslator(
        DagsterDbtTranslatorSettings(enable_code_references=True, enable_source_tests_as_checks=True)
    )


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
    def staging(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        refuse_broken_source(warehouse)
        # The views know no month, but the tests of the facts look at those of the run. Without any, as when the views
        # are materialised alone, there is nothing to look at.
        months = [date.fromisoformat(month) for month in months_of_run(context.run)] or [date(2000, 1, 1)]
        try:
            yield from build(context, dbt, warehouse, (months[0], months[-1]))
        except DagsterDbtCliRuntimeError:
            # A broken contract also fails tests of the facts; say it in words.
            refuse_broken_source(warehouse, (months[0], months[-1]))
            raise

    @dbt_assets(select="path:models/metrics config.group:segments_candidate", name="candidate", **monthly)
    def candidate(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        refuse_broken_source(warehouse, asked_months(context))
        yield from build(context, dbt, warehouse, asked_months(context))

    @dbt_assets(select="config.group:segments_published", name="publication", **monthly)
    def publication(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        months = asked_months(context)
        try:
            yield from build(context, dbt, warehouse, months)
        except DagsterDbtCliRuntimeError:
            # The same refusal also fails a dbt test; say it in words. Any other failure speaks for itself.
            refuse_blocked(warehouse, months)
            raise
        refuse_unpublished(warehouse, months)

    @dbt_assets(select="path:models/audiences", name="audiences", **monthly)
    def audiences(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        months = asked_months(context)
        refuse_empty_audiences(warehouse, months)
        yield from build(context, dbt, warehouse, months)

    @dbt_assets(select="path:models/insights", name="insights", **monthly)
    def insights(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        yield from build(context, dbt, warehouse, asked_months(context))

    return [staging, candidate, publication, audiences, insights]


def asked_months(context: dg.AssetExecutionContext) -> tuple[date, date]:
    keys = context.partition_key_range
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)


def build(
    context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: Warehouse, months: tuple[date, date]
) -> Iterator[Any]:
    """The build's events as they happen, with what the tables hold on the assets they are about."""
    started = time.monotonic()
    with dbt.build(context, warehouse, months, translator()) as invocation:
        rows_of = build_rows(invocation)
        numbers = MaterializationNumbers(context, rows_of, months)
        for event in stream(invocation, column_lineage=dbt.column_lineage, row_counts=False):
            if not isinstance(event, dg.Output):
                yield event
                if isinstance(event, dg.AssetCheckResult) and months[0] < months[1] and is_of_months(context, event):
                    checks.record_on_months(context.op_execution_context, event, months_between(*months))
                continue
            key = context.asset_key_for_output(event.output_name)
            if key.path[-1] in distribution.TABLES:
                rows = distribution.shares(rows_of, distribution.TABLES[key.path[-1]], *months)
                distribution.attach(context, key, rows, time.monotonic() - started)
            yield numbers.put_on(event, key, model_of(invocation, event))
            yield from numbers.filled_by(key)


def is_of_months(context: dg.AssetExecutionContext, result: dg.AssetCheckResult) -> bool:
    assert result.asset_key is not None and result.check_name is not None
    key = dg.AssetCheckKey(result.asset_key, result.check_name)
    return context.assets_def.get_spec_for_check_key(key).partitions_def is not None


class MaterializationNumbers:
    """Puts the numbers of a step's tables on their materialisations, those of a month on the month's own."""

    def __init__(
        self, context: dg.AssetExecutionContext, rows_of: asset_numbers.RowsOf, months: tuple[date, date]
    ) -> None:
        self._context, self._rows_of, self._months = context, rows_of, months
        self._empty: dict[dg.AssetKey, asset_numbers.Model] = {}  # until another model fills them

    @cached_property
    def _waterfalls(self) -> Mapping[tuple[str, date], Mapping[str, int]]:
        return asset_numbers.waterfalls(self._rows_of, *self._months)

    def put_on(self, event: dg.Output[Any], key: dg.AssetKey, model: asset_numbers.Model) -> dg.Output[Any]:
        told: dict[str, Any] = dict(event.metadata)
        columns = told.get(asset_columns.SCHEMA)
        if isinstance(columns, dg.TableSchemaMetadataValue):
            told[asset_columns.SCHEMA] = asset_columns.described(columns.schema, model)
        if asset_numbers.filled_by(model):
            self._empty[key] = model
            return event.with_metadata(told)
        if asset_numbers.month_column(model) is None:
            return event.with_metadata({**told, **asset_numbers.of_table(model, self._rows_of)})
        found = asset_numbers.of_months(model, self._rows_of, *self._months)
        # Of the asset itself: the views have checks of months, which gives their definition partitions.
        if self._context.assets_def.specs_by_key[key].partitions_def is None:
            return event.with_metadata({**told, **asset_numbers.of_range(found)})
        campaign = model["config"]["meta"].get("campaign")
        for month, numbers in found.items():
            waterfall = self._waterfalls[campaign, month] if campaign else None
            sizes = asset_numbers.of_audience(waterfall) if waterfall else {}
            self._context.add_asset_metadata({**numbers, **sizes}, asset_key=key, partition_key=str(month))
        return event.with_metadata(told)

    def filled_by(self, filler: dg.AssetKey) -> Iterator[dg.AssetObservation]:
        """Of tables that `filler` has filled since they were materialised; Dagster wants parents told first."""
        for key, model in self._empty.items():
            if asset_numbers.filled_by(model) == filler.path[-1]:
                for month, numbers in asset_numbers.of_months(model, self._rows_of, *self._months).items():
                    yield dg.AssetObservation(key, partition=str(month), metadata=numbers)


def refuse_broken_source(warehouse: Warehouse, months: tuple[date, date] | None = None) -> None:
    """Fail before anything is computed. Before the views and before the candidate: either may run alone."""
    try:
        check_source(warehouse, months)
        with warehouse.session() as session:
            schema_version.check(session)
    except (SourceError, WarehouseError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def refuse_blocked(warehouse: Warehouse, months: tuple[date, date]) -> None:
    """Fail the run that asked for a month which the gate held back, in words an analyst can act on."""
    with warehouse.session() as session:
        rows = audits.month_audits(session, *months)
    if any(audits.is_blocking_failure(row) for row in rows):
        raise dg.Failure(description=audits.refusal(rows), allow_retries=False)


def refuse_unpublished(warehouse: Warehouse, months: tuple[date, date]) -> None:
    """A run is never green without what it was asked for: every month audited as it stands, and published."""
    refuse_blocked(warehouse, months)
    with warehouse.session() as session:
        audited = {str(row["snapshot_month"]) for row in audits.month_audits(session, *months)}
        published = {
            str(row["snapshot_month"])
            for row in session.rows(f"select distinct snapshot_month from {GOLD}.customer_segment_history")
        }
    asked = [str(month) for month in months_between(*months)]
    missing = [month for month in asked if month not in audited or month not in published]
    if missing:
        raise dg.Failure(
            description=f"Not published: {', '.join(missing)}. There are no audits of the present candidate:"
            " materialise segment_assignments and segment_audits of these months first.",
            allow_retries=False,
        )


def refuse_empty_audiences(warehouse: Warehouse, months: tuple[date, date]) -> None:
    """Audiences of a month that was never published would be empty, and their run green."""
    with warehouse.session() as session:
        published = published_months(session)
    missing = [str(month) for month in months_between(*months) if month not in published]
    if missing:
        raise dg.Failure(
            description=f"Not published, and so without audiences: {', '.join(missing)}."
            f" Publish first (`make month MONTH={missing[0]}`).",
            allow_retries=False,
        )
