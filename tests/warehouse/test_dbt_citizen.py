"""What another dbt project, and a person of dbt's, finds in this one: exposures, access, versions, tags, freshness.

Locks out: an exposure of a campaign that nobody declared, a declared campaign, export or report without one, or one
that says to read what it does not; a table of gold that others may not refer to, a working table that they may; a
published table without a version; a test that Dagster shows no more since what it tests has one.
"""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from segmentation_assets.dbt.personal_data import of_table
from segmentation_assets.dbt.project import Project
from segmentation_assets.definitions import build_defs

Manifest = Mapping[str, Any]


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return json.loads(Project.load().manifest_path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def models(manifest: Manifest) -> Mapping[str, Any]:
    return {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}


def exposed(manifest: Manifest) -> dict[str, set[str]]:
    """Exposure -> the models that it says to read."""
    return {
        exposure["name"]: {manifest["nodes"][parent]["name"] for parent in exposure["depends_on"]["nodes"]}
        for exposure in manifest["exposures"].values()
    }


def test_what_is_exposed_is_what_dagster_makes_of_it(manifest: Manifest) -> None:
    project, graph = Project.load(), build_defs().resolve_asset_graph()

    def read_by(asset: str) -> set[str]:
        """The models that an asset is made from; what Python makes of one in between is looked through."""
        found: set[str] = set()
        for parent in graph.get(dg.AssetKey(["activation", asset])).parent_keys:
            made_by_dbt = parent.path[-1] in project.entries
            found |= {parent.path[-1]} if made_by_dbt else {key.path[-1] for key in graph.get(parent).parent_keys}
        return found

    campaigns = {campaign.name for campaign in project.rules.campaigns}
    assets = {key.path[-1] for key in graph.get_all_asset_keys() if key.path[0] == "activation"}
    found = exposed(manifest)
    assert {name for name in found if not name.startswith("campaign_")} == assets
    assert {name for name in found if name.startswith("campaign_")} == {f"campaign_{name}" for name in campaigns}
    for asset in assets:
        assert found[asset] == read_by(asset), asset
    for campaign in campaigns:
        assert found[f"campaign_{campaign}"] == {f"audience_{campaign}", "campaign_outcome_groups"}


def test_what_is_published_is_public_and_versioned_and_nothing_else_is(models: Mapping[str, Any]) -> None:
    assert {node["config"]["access"] for node in models.values()} == {"public", "protected"}
    for name, node in models.items():
        is_published = node["schema"] == "gold"
        assert (node["config"]["access"] == "public") == is_published, name
        assert ("published" in node["tags"]) == is_published, name
        has_details = of_table(node["columns"]) == "contact-details"
        assert ("contact_details" in node["tags"]) == has_details, name
        # The columns of a list are those that the campaign shows: its contract is in the rules.
        keeps_columns = is_published and node["group"] in ("segments_published", "insights")
        assert (node.get("version"), node["latest_version"]) == ((1, 1) if keeps_columns else (None, None)), name
        assert not keeps_columns or node["config"]["contract"]["enforced"], name
        assert node["alias"] == name, "users' SQL names it"


def test_every_test_of_several_models_is_shown_on_the_one_it_names(manifest: Manifest) -> None:
    shown = {
        key.name
        for assets in build_defs().get_repository_def().assets_defs_by_key.values()
        for key in assets.check_keys
    }
    named = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["config"].get("meta", {}).get("dagster", {}).get("ref")
    }
    assert len(named) > 10
    assert named <= shown
