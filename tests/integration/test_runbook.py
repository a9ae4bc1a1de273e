"""docs/runbook.md against the checks that exist and a published portfolio.

Locks out: a check that nobody can look up, an entry about a check that is no more, a query that has stopped running,
and an entry that calls a check harmless which stops publication, or the other way round.
"""

import json
import re
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import dagster as dg
import pytest
import sqlglot

from segmentation_assets import audits
from segmentation_assets.dbt_project import manifest_path
from segmentation_assets.definitions import build_defs
from segmentation_assets.sources import synthetic
from tests.integration.conftest import NOVEMBER, SEPTEMBER, pipeline_at
from tests.warehouse_fixture import Pipeline

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
ENTRIES = dict(re.findall(r"^### (.*)\n((?:(?!^##).*\n)*)", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE))
QUERIES = [pytest.param(query, id=heading) for heading, text in ENTRIES.items() for query in re.findall(
    r"```sql\n(.*?)```", text, re.DOTALL
)]  # fmt: skip
HISTORY = dg.AssetKey(["gold", "customer_segment_history"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Three months of a small portfolio, with everything the job makes."""
    with pipeline_at(tmp_path_factory.mktemp("runbook") / "segmentation.duckdb") as pipeline:
        with pipeline.connection() as connection:
            synthetic.build(
                connection, "gold", customers=600, first_month=date(2025, 1, 1), last_month=NOVEMBER, sized_at=NOVEMBER
            )
        assert pipeline.run(SEPTEMBER, NOVEMBER).success
        yield pipeline


@cache
def checks() -> dict[dg.AssetCheckKey, str]:
    """Every check of the definitions, and what its failure stops in the monthly job."""
    graph = build_defs().resolve_asset_graph()
    nodes = json.loads(manifest_path().read_text(encoding="utf-8"))["nodes"].values()
    severities = {node["name"]: node["config"]["severity"].lower() for node in nodes if node["resource_type"] == "test"}
    before_publication = graph.get_ancestor_asset_keys(HISTORY)

    def stopped_by(group: str) -> str:
        """A failed step makes none of what is downstream of it."""
        step = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name == group}
        later = set(step)
        while more := {child for key in later for child in graph.get(key).child_keys} - later:
            later |= more
        later -= step
        groups = {graph.get(key).group_name for key in later}
        if "audiences" in groups:
            return "Blocks audiences and exports"
        exports = any(key.path[-1].startswith("export_") for key in later)
        return "Blocks exports" if exports else "Blocks the report"

    found: dict[dg.AssetCheckKey, str] = {}
    for key in graph.asset_check_keys:
        if key.name in audits.BY_NAME:
            stops = audits.BY_NAME[key.name].is_blocking
        else:  # the checks that are no dbt tests only warn, and say so in their definition
            stops = severities[key.name] == "error" if key.name in severities else graph.get(key).blocking
        if not stops:
            found[key] = "Warns"
        elif key.asset_key in before_publication:
            found[key] = "Blocks publication"
        else:
            found[key] = stopped_by(graph.get(key.asset_key).group_name)
    return found


def patterns(heading: str) -> list[str]:
    return re.findall(r"`([^`]+)`", heading)


def entries_of(name: str) -> list[str]:
    return [heading for heading in ENTRIES for pattern in patterns(heading) if fnmatchcase(name, pattern)]


def test_every_check_has_exactly_one_entry() -> None:
    found = {key.name: entries_of(key.name) for key in checks()}
    assert {name: headings for name, headings in found.items() if len(headings) != 1} == {}


def test_every_entry_is_about_a_check() -> None:
    names = {key.name for key in checks()}
    assert [
        pattern
        for heading in ENTRIES
        for pattern in patterns(heading)
        if not any(fnmatchcase(name, pattern) for name in names)
    ] == []


def test_every_entry_says_what_its_checks_stop() -> None:
    said = {
        heading: re.findall(r"^\*\*((?:Blocks|Warns)[^*]*)\*\*$", text, re.MULTILINE)
        for heading, text in ENTRIES.items()
    }
    assert {
        key.to_user_string(): (said[heading], stops)
        for key, stops in checks().items()
        for heading in entries_of(key.name)
        if said[heading] != [stops]
    } == {}


def test_every_entry_has_its_parts_once() -> None:
    parts = ("**Means**", "**Likely**", "```sql\n", "**Then**")
    assert {heading for heading, text in ENTRIES.items() if any(text.count(part) != 1 for part in parts)} == set()


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_runs_and_shows_no_address(whole: Pipeline, query: str) -> None:
    assert "email" not in whole.frame(query).columns


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_snowflake_sql_too(query: str) -> None:
    (statement,) = sqlglot.parse(query, dialect="snowflake")
    assert statement is not None
    assert not re.search(r"\bfilter\s*\(|\border by all\b|\bgroup by all\b", query)
