"""What runs by itself once the service is started.

Locks out: a sensor that nobody switches on, or that is on where nobody asked for it; a published table without the
coarse alarm, or one that calls a month published on time stale; a check whose name alone has to say what it looks for.
"""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from segmentation_assets.automation.freshness import DEADLINE, WITHIN
from segmentation_assets.dbt.project import Project
from segmentation_assets.definitions import build_defs, defs
from segmentation_assets.months import TIME_ZONE


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return build_defs().get_repository_def()


ALWAYS_ON = ("segmentation_alerts", "segmentation_catch_up", "segmentation_runs_left_started")


def switched_on(repository: dg.RepositoryDefinition) -> dict[str, str]:
    return {one.name: one.default_status.value for one in [*repository.sensor_defs, *repository.schedule_defs]}


def test_everything_starts_by_itself_in_a_deployment_of_its_own_but_what_republishes_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEGMENTATION_AUTOSTART", "yes")
    assert switched_on(build_defs().get_repository_def()) == {
        **dict.fromkeys((*ALWAYS_ON, "monthly_segmentation_schedule"), "RUNNING"),
        "segmentation_restate": "STOPPED",
    }


def test_assets_chosen_in_the_ui_run_in_one_process_where_the_deployment_is_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process for each step would wait for the file that another one has open. Elsewhere the executor is theirs."""

    def executor() -> str | None:
        found = defs().executor
        return found.name if isinstance(found, dg.ExecutorDefinition) else None

    assert executor() is None
    monkeypatch.setenv("SEGMENTATION_AUTOSTART", "1")
    assert executor() == "in_process"


def test_nothing_starts_by_itself_in_somebody_elses(repository: dg.RepositoryDefinition) -> None:
    assert set(switched_on(repository).values()) == {"STOPPED"}


def test_every_published_table_has_the_coarse_alarm_and_nothing_else_has(repository: dg.RepositoryDefinition) -> None:
    graph = repository.asset_graph
    with_alarm = {key for key in graph.get_all_asset_keys() if graph.get(key).freshness_policy is not None}
    published = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name == "segments_published"}
    assert with_alarm == published
    assert dg.AssetKey(["gold", "customer_segments"]) in published


@pytest.mark.parametrize(("month", "hours"), [(1, 48), (3, 48), (11, 49)])
def test_the_alarm_counts_what_was_published_from_the_1st_on(month: int, hours: int) -> None:
    """2026-11-01 has 25 hours: there the alarm overlooks the month's first hour, in which nothing runs."""
    zone = ZoneInfo(TIME_ZONE)
    first, deadline = (datetime(2026, month, day, tzinfo=zone).astimezone(UTC) for day in (1, 3))
    assert DEADLINE == "0 0 3 * *"
    assert deadline - first == timedelta(hours=hours)
    assert deadline - WITHIN <= datetime(2026, month, 1, 2, tzinfo=zone).astimezone(UTC)


def test_every_check_says_what_it_looks_for(repository: dg.RepositoryDefinition) -> None:
    manifest = json.loads(Project.load().manifest_path.read_text(encoding="utf-8"))
    dbts_own = {
        node["name"]
        for node in manifest["nodes"].values()
        if (node.get("test_metadata") or {}).get("name") in ("unique", "not_null", "accepted_values", "relationships")
    }
    specs = {spec.key: spec for assets in repository.assets_defs_by_key.values() for spec in assets.check_specs}
    assert len(specs) > 150
    assert [spec.name for spec in specs.values() if not spec.description and spec.name not in dbts_own] == []
