"""`dbt docs generate` on a published portfolio.

Locks out: a project whose own documentation cannot be made, and published tables or columns that say nothing in it.
"""

import json

from tests.support.published_months import NOVEMBER, PUBLISHED_ASSETS
from tests.support.warehouse_fixture import Pipeline


def test_the_documentation_is_made_and_describes_what_is_published(published: Pipeline) -> None:
    succeeded, said = published.dbt(NOVEMBER, command="docs generate", artifacts=True)
    assert succeeded, said
    folder = published.path.parent / "dbt"
    assert (folder / "index.html").stat().st_size > 100_000
    catalog, manifest = (json.loads((folder / name).read_text()) for name in ("catalog.json", "manifest.json"))
    catalogued = {node["metadata"]["name"]: node for node in catalog["nodes"].values()}
    described = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    for asset in PUBLISHED_ASSETS:
        _, table = asset.split("/")
        assert described[table]["description"], table
        columns = described[table]["columns"]
        assert catalogued[table]["columns"], table
        silent = [name for name in catalogued[table]["columns"] if not columns[name.lower()]["description"]]
        assert silent == [], table
