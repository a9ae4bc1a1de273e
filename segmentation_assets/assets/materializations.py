"""Puts the numbers of a step's tables on their materialisations, those of a month on the month's own.

Which numbers a model has is said in dbt/metadata.py; the shares of the segments are in distribution.py.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any

import dagster as dg

from segmentation_assets.assets import distribution
from segmentation_assets.dbt import columns as asset_columns
from segmentation_assets.dbt import metadata as asset_numbers
from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange
from segmentation_assets.outcomes import words


class MaterializationNumbers:
    """The numbers of one build: `count` asks for those of some tables, `put_on` puts them on one after the other."""

    def __init__(
        self, context: dg.AssetExecutionContext, rows_of: asset_numbers.RowsOf, project: Project, months: MonthRange
    ) -> None:
        self._context, self._rows_of, self._rules, self._months = context, rows_of, project.rules, months
        self._schemas = project.settings.schemas
        self._started = time.monotonic()
        self._empty: dict[dg.AssetKey, asset_numbers.Model] = {}  # until another model fills them
        self._shares: dict[str, list[dict[str, Any]]] = {}  # by table; none of it is made twice in a build
        self._counted: dict[str, asset_numbers.Counted] = {}  # by model

    @cached_property
    def _waterfalls(self) -> Mapping[tuple[str, date], Mapping[str, int]]:
        campaigns = [campaign.name for campaign in self._rules.campaigns]
        return asset_numbers.waterfalls(self._rows_of, self._schemas["silver"], campaigns, self._months)

    @cached_property
    def _spreads(self) -> Mapping[tuple[str, date], asset_numbers.Spread]:
        return asset_numbers.spreads(self._rows_of, self._schemas, self._months)

    def count(self, models: Sequence[asset_numbers.Model]) -> None:
        """Asks for the rows of tables that were just made, and of those that these have filled."""
        made = {model["name"] for model in models}
        empty = [*models, *self._empty.values()]
        asked = [model for model in models if asset_numbers.is_counted(model) and not asset_numbers.filled_by(model)]
        asked += [model for model in empty if asset_numbers.filled_by(model) in made]
        found = asset_numbers.of_models(asked, self._rows_of, self._months)
        self._counted = {model["name"]: counted for model, counted in zip(asked, found, strict=True)}

    def put_on(
        self, event: dg.Output[Any], model: asset_numbers.Model
    ) -> Iterator[dg.Output[Any] | dg.AssetObservation]:
        """The event with its numbers, and what it lets be said of tables before it."""
        key = self._context.asset_key_for_output(event.output_name)
        self._attach_shares(key)
        yield event.with_metadata({**event.metadata, **self._of_table(event, key, model)})
        yield from self._filled_by(key)

    def _attach_shares(self, key: dg.AssetKey) -> None:
        if key.path[-1] in distribution.TABLES:
            schema, name = distribution.TABLES[key.path[-1]]
            table = f"{self._schemas[schema]}.{name}"
            if table not in self._shares:
                self._shares[table] = distribution.shares(self._rows_of, self._rules, table, self._months)
            distribution.attach(self._context, key, self._rules, self._shares[table], time.monotonic() - self._started)

    def _of_table(self, event: dg.Output[Any], key: dg.AssetKey, model: asset_numbers.Model) -> Mapping[str, Any]:
        """What the step's own event carries; the months' numbers are attached to theirs."""
        columns = event.metadata.get(asset_columns.SCHEMA)
        described = (
            {asset_columns.SCHEMA: asset_columns.described(columns.schema, model)}
            if isinstance(columns, dg.TableSchemaMetadataValue)
            else {}
        )
        if asset_numbers.filled_by(model):
            self._empty[key] = model
            return described
        if not asset_numbers.is_counted(model):
            return described
        counted = self._counted[model["name"]]
        if asset_numbers.month_column(model) is None:
            return {**described, **counted.whole}
        found = counted.months
        # Of the asset itself: the views have checks of months, which gives their definition partitions.
        if self._context.assets_def.specs_by_key[key].partitions_def is None:
            return {**described, **asset_numbers.of_range(found)}
        campaign = model["config"]["meta"].get("campaign")
        for month, numbers in found.items():
            waterfall = self._waterfalls[campaign, month] if campaign else None
            sizes = asset_numbers.of_audience(waterfall) if waterfall else {}
            if campaign and waterfall:
                spread = self._spreads.get((campaign, month), asset_numbers.Spread(None, None))
                sizes |= of_holdout(waterfall, spread)
            self._context.add_asset_metadata({**numbers, **sizes}, asset_key=key, partition_key=str(month))
        return described

    def _filled_by(self, filler: dg.AssetKey) -> Iterator[dg.AssetObservation]:
        """Of tables that `filler` has filled since they were materialised; Dagster wants parents told first."""
        for key, model in self._empty.items():
            if asset_numbers.filled_by(model) == filler.path[-1]:
                for month, numbers in self._counted[model["name"]].months.items():
                    yield dg.AssetObservation(key, partition=str(month), metadata=numbers)


def of_holdout(waterfall: Mapping[str, int], spread: asset_numbers.Spread) -> dict[str, Any]:
    """What a list's holdout can find, before anything is sent."""
    sizes = waterfall["sent"], waterfall["holdout"]
    pct = words.smallest_pct(*sizes, *spread)
    told = {"what_the_holdout_can_find": words.can_find(*sizes, *spread)}
    return told if pct is None else {**told, "smallest_effect_pct": round(pct, 1)}
