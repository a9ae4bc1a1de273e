"""Dagster component: a portfolio as a YAML file of a dg project, `type: segmentation_assets.SegmentationComponent`.

What it makes is what definitions.py makes. Nothing of the pipeline is imported before that: dg imports this module to
list and to check components.
"""

from pathlib import Path
from typing import Any, Literal

import dagster as dg
from dagster.components.scaffold.scaffold import ScaffoldRequest, scaffold_with
from pydantic import Field

# Attributes that name a file or a folder: relative to the folder of the YAML file.
_PLACES = ("duckdb_path", "rules", "export_uri")


class SegmentationScaffolder(dg.Scaffolder):
    """A demo portfolio with its files in the project, to be pointed at the company's own tables."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        dg.scaffold_component(
            request,
            {
                "target": "duckdb",
                "source": "synthetic",
                "duckdb_path": "{{ context.project_root }}/data/segmentation.duckdb",
                "export_uri": "{{ context.project_root }}/exports",
            },
        )


@scaffold_with(SegmentationScaffolder)
class SegmentationComponent(dg.Component, dg.Model, dg.Resolvable):
    """Monthly customer segmentation: every customer in one of five segments, audited, published, and a list per
    campaign. What is not given is as the SEGMENTATION_ and SNOWFLAKE_ variables say; secrets are read there alone."""

    target: Literal["duckdb", "snowflake"] | None = Field(None, description="The engine that holds the tables.")
    source: Literal["synthetic", "completejourney", "warehouse"] | None = Field(
        None, description="Where the star schema comes from: a demo, or the tables that are there (warehouse)."
    )
    duckdb_path: str | None = Field(None, description="The DuckDB file; relative to the folder of this YAML file.")
    source_database: str | None = Field(
        None, description="The database of the star schema; the target's if nothing is given."
    )
    source_schema: str | None = Field(None, description="The schema of the star schema; gold if nothing is given.")
    gold_schema: str | None = Field(None, description="The schema of what is published; gold if nothing is given.")
    silver_schema: str | None = Field(None, description="The schema of what it is made of; silver by default.")
    rules: str | None = Field(
        None, description="A YAML file of segments, campaigns and bounds; relative to the folder of this one."
    )
    key_prefix: str | list[str] | None = Field(
        None, description="In front of every asset key and name: what makes room for a second portfolio."
    )
    export_uri: str | None = Field(
        None, description="Where campaign files go: a folder, relative to that of this file, or s3://, gs://, ..."
    )
    start_month: str | None = Field(None, description="The first month on offer, in quotes: '2025-01-01'.")
    customers: int | None = Field(None, description="How many customers the synthetic demo has.")
    autostart: bool | None = Field(None, description="Whether schedule and sensors are on from the start; off.")
    snowflake_account: str | None = Field(None, description="As SNOWFLAKE_ACCOUNT.")
    snowflake_user: str | None = Field(None, description="As SNOWFLAKE_USER.")
    snowflake_database: str | None = Field(None, description="As SNOWFLAKE_DATABASE: the tables' database.")
    snowflake_role: str | None = Field(None, description="As SNOWFLAKE_ROLE.")
    snowflake_warehouse: str | None = Field(None, description="As SNOWFLAKE_WAREHOUSE.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        from segmentation_assets.definitions import build_defs
        from segmentation_assets.settings import Settings

        given = self.model_dump(exclude={"key_prefix"}, exclude_none=True)
        for name in _PLACES:
            if name in given:
                given[name] = _anchored(given[name], context.path)
        return build_defs(Settings.given(**given), key_prefix=self.key_prefix or ())


def _anchored(place: str, folder: Path) -> str:
    """An address as it is."""
    return place if "://" in place or "::" in place else str(folder / Path(place).expanduser())
