"""dbt's models and tests as Dagster assets and checks."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject

from segmentation_assets.dbt import tags as asset_tags
from segmentation_assets.dbt.project import Project
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.text import markdown

# In the metadata of a check that looks at the months of its run, be its asset partitioned or not.
OF_MONTHS = "segmentation/of_months"
OWNERS = ["team:customer-analytics"]


class SegmentationTranslator(DagsterDbtTranslator):
    """dagster-dbt's own translation, the months on the checks that dbt's tests become, and the portfolio's prefix.

    `is_monthly` says whether the assets it is used for have partitions: a check has none that its asset has not.
    """

    def __init__(self, project: Project, *, is_monthly: bool = True) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_code_references=True, enable_source_tests_as_checks=True))
        self.project = project
        self.is_monthly = is_monthly

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """A published model keeps its key through its versions: dagster-dbt would call one that has them by its alias
        alone, without the schema."""
        key = super().get_asset_key({**dbt_resource_props, "version": None})
        return key.with_prefix(self.project.portfolio.key_prefix)

    def get_asset_spec(self, manifest: Any, unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        spec = super().get_asset_spec(manifest, unique_id, project)
        model = self.get_resource_props(manifest, unique_id)
        campaign = model["config"].get("meta", {}).get("campaign")
        source = self._code_of(campaign)
        return spec.replace_attributes(
            owners=spec.owners or OWNERS,
            tags={**spec.tags, **asset_tags.tags(model["config"].get("schema") or model["schema"], model["columns"])},
            description="\n\n".join([*self._campaign_words(campaign), spec.description or ""]),
            metadata={**spec.metadata, **self._campaign_metadata(campaign), **source},
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
            metadata={**spec.metadata, OF_MONTHS: True},
            automation_condition=spec.automation_condition,
            partitions_def=monthly_partitions(self.project.settings) if self.is_monthly else None,
        )

    def _code_of(self, campaign: str | None) -> dict[str, Any]:
        """A campaign's model is made: what there is to read and to change is its entry in the rules."""
        if campaign is None:
            return {}
        reference = dg.LocalFileCodeReference(file_path=str(self.project.file_of("campaigns")))
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}

    def _campaign_words(self, name: str | None) -> list[str]:
        """Objective and actions of the campaign that a model names in its meta."""
        return [
            words
            for campaign in self.project.rules.campaigns
            if campaign.name == name
            for words in (
                markdown(campaign.objective),
                "\n".join(f"- {markdown(action)}" for action in campaign.actions),
            )
            if words
        ]

    def _campaign_metadata(self, name: str | None) -> dict[str, Any]:
        return {
            key: value
            for campaign in self.project.rules.campaigns
            if campaign.name == name
            for key, value in (
                ("segment", campaign.segment),
                ("channel", campaign.channel),
                ("objective", campaign.objective),
                ("actions", "; ".join(campaign.actions)),
            )
        }
