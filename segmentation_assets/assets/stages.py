"""The dbt models as assets: staging, the candidate month, what is published, the audiences, and the insights.

Several builds, because the checks of the candidate stand between it and publication. The gate itself is in the
warehouse.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any

import dagster as dg
from dagster_dbt import DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from segmentation_assets.assets import checks, distribution
from segmentation_assets.assets.star_schema import check_source
from segmentation_assets.dbt import columns as asset_columns
from segmentation_assets.dbt import metadata as asset_numbers
from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.dbt.runner import InProcessDbt, build_rows, model_of, stream
from segmentation_assets.dbt.translator import SegmentationTranslator
from segmentation_assets.errors import as_failure
from segmentation_assets.months import months_between, months_of_run
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.publication.gate import (
    refuse_blocked,
    refuse_blocked_audiences,
    refuse_empty_audiences,
    refuse_unpublished,
)
from segmentation_assets.publication.migration import bring_up_to_date
from segmentation_assets.warehouse.session import Warehouse


def dbt_asset_definitions(project: Project) -> list[dg.AssetsDefinition]:
    translator = SegmentationTranslator(project)
    shared: dict[str, Any] = {
        "manifest": project.manifest_path,
        "project": DbtProject(project_dir()),
        "dagster_dbt_translator": translator,
        "pool": "warehouse",
    }
    monthly = {
        **shared,
        "partitions_def": monthly_partitions(project.settings),
        "backfill_policy": dg.BackfillPolicy.single_run(),
    }

    @dbt_assets(select="path:models/staging", name="staging", **shared)
    def staging(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        refuse_broken_source(project, warehouse)
        # The views know no month, but the tests of the facts look at those of the run. Without any, as when the views
        # are materialised alone, there is nothing to look at.
        months = [date.fromisoformat(month) for month in months_of_run(context.run)] or [date(2000, 1, 1)]
        try:
            yield from build(context, dbt, warehouse, translator, (months[0], months[-1]))
        except DagsterDbtCliRuntimeError:
            # A broken contract also fails tests of the facts; say it in words.
            refuse_broken_source(project, warehouse, (months[0], months[-1]))
            raise

    @dbt_assets(select="path:models/metrics config.group:segments_candidate", name="candidate", **monthly)
    def candidate(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        refuse_broken_source(project, warehouse, asked_months(context))
        yield from build(context, dbt, warehouse, translator, asked_months(context))

    @dbt_assets(select="config.group:segments_published", name="publication", **monthly)
    def publication(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        months = asked_months(context)
        try:
            yield from build(context, dbt, warehouse, translator, months)
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
        try:
            yield from build(context, dbt, warehouse, translator, months)
        except DagsterDbtCliRuntimeError:
            # The same refusal also fails a dbt test; say it in words. Any other failure speaks for itself.
            refuse_blocked_audiences(warehouse, months)
            raise

    @dbt_assets(select="path:models/insights", name="insights", **monthly)
    def insights(
        context: dg.AssetExecutionContext, dbt: InProcessDbt, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Any]:
        yield from build(context, dbt, warehouse, translator, asked_months(context))

    return [staging, candidate, publication, audiences, insights]


def asked_months(context: dg.AssetExecutionContext) -> tuple[date, date]:
    keys = context.partition_key_range
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)


def build(
    context: dg.AssetExecutionContext,
    dbt: InProcessDbt,
    warehouse: Warehouse,
    translator: SegmentationTranslator,
    months: tuple[date, date],
) -> Iterator[Any]:
    """The build's events as they happen, with what the tables hold on the assets they are about."""
    started = time.monotonic()
    with as_failure():
        bring_up_to_date(warehouse, translator.project)
    with dbt.build(context, warehouse, months, translator) as invocation:
        rows_of = build_rows(invocation)
        rules = translator.project.rules
        numbers = MaterializationNumbers(context, rows_of, [campaign.name for campaign in rules.campaigns], months)
        for event in stream(invocation, column_lineage=dbt.column_lineage, row_counts=False):
            if not isinstance(event, dg.Output):
                yield event
                if isinstance(event, dg.AssetCheckResult) and months[0] < months[1] and is_of_months(context, event):
                    checks.record_on_months(context.op_execution_context, event, months_between(*months))
                continue
            key = context.asset_key_for_output(event.output_name)
            if key.path[-1] in distribution.TABLES:
                rows = distribution.shares(rows_of, rules, distribution.TABLES[key.path[-1]], *months)
                distribution.attach(context, key, rules, rows, time.monotonic() - started)
            yield numbers.put_on(event, key, model_of(invocation, event))
            yield from numbers.filled_by(key)


def is_of_months(context: dg.AssetExecutionContext, result: dg.AssetCheckResult) -> bool:
    assert result.asset_key is not None and result.check_name is not None
    key = dg.AssetCheckKey(result.asset_key, result.check_name)
    return context.assets_def.get_spec_for_check_key(key).partitions_def is not None


class MaterializationNumbers:
    """Puts the numbers of a step's tables on their materialisations, those of a month on the month's own."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        rows_of: asset_numbers.RowsOf,
        campaigns: Sequence[str],
        months: tuple[date, date],
    ) -> None:
        self._context, self._rows_of, self._campaigns, self._months = context, rows_of, campaigns, months
        self._empty: dict[dg.AssetKey, asset_numbers.Model] = {}  # until another model fills them

    @cached_property
    def _waterfalls(self) -> Mapping[tuple[str, date], Mapping[str, int]]:
        return asset_numbers.waterfalls(self._rows_of, self._campaigns, *self._months)

    def put_on(self, event: dg.Output[Any], key: dg.AssetKey, model: asset_numbers.Model) -> dg.Output[Any]:
        told: dict[str, Any] = dict(event.metadata)
        columns = told.get(asset_columns.SCHEMA)
        if isinstance(columns, dg.TableSchemaMetadataValue):
            told[asset_columns.SCHEMA] = asset_columns.described(columns.schema, model)
        if asset_numbers.filled_by(model):
            self._empty[key] = model
            return event.with_metadata(told)
        if not asset_numbers.is_counted(model):
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


def refuse_broken_source(project: Project, warehouse: Warehouse, months: tuple[date, date] | None = None) -> None:
    """Fail before anything is computed. Before the views and before the candidate: either may run alone."""
    with as_failure():
        check_source(warehouse, project.rules, months)
