"""The pipeline as a guest: definitions beside a stranger's, two portfolios in one instance, and runs that are not ours.

Locks out: definitions that load and do not validate; a job, sensor, op or resource whose name somebody has already; a
job that runs other people's assets and checks; an executor or IO manager of theirs that ours runs under; a portfolio
that reads the environment where it was given settings; a stranger's run that is failed, waited for, counted or told of.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import yaml

from segmentation_assets import SegmentationComponent
from segmentation_assets.alerts.events import collect
from segmentation_assets.alerts.outbox import Outbox
from segmentation_assets.automation import catch_up, restate
from segmentation_assets.automation.dead_runs import fail_dead_runs
from segmentation_assets.automation.own_runs import OwnRuns
from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.definitions import build_defs
from segmentation_assets.errors import SettingsError
from segmentation_assets.months import MonthRange
from segmentation_assets.portfolio import Portfolio
from segmentation_assets.settings import SOURCES, TARGETS, Settings
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support import strangers
from tests.support.command_line import CHECKOUT, settings
from tests.support.known_mix import BUDGET, DECLINING, GROWING, STABLE, TRAVELERS, known_mix
from tests.support.own_runs import own_runs
from tests.support.published_months import FILE
from tests.support.warehouse_fixture import Pipeline

OCTOBER, NOVEMBER = date(2025, 10, 1), date(2025, 11, 1)
PREFIX = ("cards", "emea")
MIX = {TRAVELERS: 24, DECLINING: 16, GROWING: 24, BUDGET: 46, STABLE: 90}
VIEWS = tuple(
    f"silver/{name}"
    for name in (
        "calendar_periods", "customer_contacts", "customer_mailboxes", "stg_customers", "stg_merchant_categories",
        "stg_transactions", "uncounted_transactions", "unknown_members",
    )
)  # fmt: skip
MEASURED = ("silver/customer_period_spend", "gold/segment_rules")
UI = "http://127.0.0.1:3000"


class Untouchable(dg.ConfigurableIOManager):
    """A stranger's: whatever it is handed was none of ours to hand over."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise AssertionError(f"{context.step_key} handed {obj!r} over")

    def load_input(self, context: dg.InputContext) -> object:
        raise AssertionError(f"{context.asset_key} was asked for")


def strangers_definitions() -> dg.Definitions:
    """By the plainest names that there are, and with a check on a table of ours."""

    @dg.asset(key=["gold", "orders"], group_name="staging")
    def orders() -> None: ...

    @dg.asset_check(asset=dg.AssetKey(["silver", "segment_assignments"]))
    def they_like_it() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    @dg.op
    def staging() -> None: ...

    @dg.job
    def what_if() -> None:
        staging()

    @dg.sensor(name="alerts", job=what_if)
    def alerts() -> dg.SkipReason:
        return dg.SkipReason("nothing")

    return dg.Definitions(
        assets=[orders],
        asset_checks=[they_like_it],
        jobs=[what_if],
        sensors=[alerts],
        resources={"warehouse": "theirs", "dbt": "theirs", "io_manager": Untouchable()},
        executor=dg.multiprocess_executor,
    )


@dataclass
class Merged:
    definitions: dg.Definitions
    plain: Pipeline
    prefixed: Pipeline

    def run(self, portfolio: Portfolio, months: MonthRange, *names: str) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def(portfolio.name("monthly_segmentation"))
        return job.execute_in_process(
            instance=self.plain.instance,
            asset_selection=[portfolio.key(*name.split("/")) for name in names] or None,
            partition_key=months.partition_key,
            tags=months.run_tags(),
            raise_on_error=False,
        )


def stricter_rules(folder: Path) -> str:
    """A first segment of those who spend 6,000 a month, not 5,000."""
    segments = yaml.safe_load((project_dir() / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]["segments"]
    segments[0]["criteria"][0]["at_least"] = 6000
    (folder / "rules.yml").write_text(yaml.safe_dump({"segments": segments}), encoding="utf-8")
    return str(folder / "rules.yml")


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Merged]:
    folder = tmp_path_factory.mktemp("merged")
    rules = stricter_rules(folder)

    def given(name: str, **more: Any) -> Settings:
        return Settings.given(duckdb_path=folder / name / FILE, export_uri=folder / name, **more)

    with dg.DagsterInstance.ephemeral() as instance:
        found = dg.Definitions.merge(
            strangers_definitions(),
            build_defs(given("plain", source="warehouse")),
            build_defs(given("prefixed", source="warehouse", rules=rules, autostart=True), key_prefix="cards/emea"),
        )
        plain, prefixed = (Pipeline(folder / name / FILE, instance) for name in ("plain", "prefixed"))
        for pipeline in (plain, prefixed):
            pipeline.path.parent.mkdir()
            pipeline.load(known_mix(NOVEMBER, MIX))
        yield Merged(found, plain, prefixed)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_definitions_are_valid_in_every_configuration(target: str, source: str) -> None:
    """Without an account's variables too, as in somebody's CI."""
    dg.Definitions.validate_loadable(build_defs(Settings.given(target=target, source=source)))


def test_dg_finds_nothing_wrong_with_the_project(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dg")), "check", "defs"],
        cwd=CHECKOUT,
        env=settings(DAGSTER_HOME=str(tmp_path), DG_CLI_CONFIG=str(tmp_path / "dg.toml"), DO_NOT_TRACK="1"),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All definitions loaded successfully" in done.stdout + done.stderr


def test_no_name_is_anybody_elses(merged: Merged) -> None:
    dg.Definitions.validate_loadable(merged.definitions)
    repository = merged.definitions.get_repository_def()
    switched = {one.name: one.default_status.value for one in [*repository.sensor_defs, *repository.schedule_defs]}
    ours = {"alerts", "catch_up", "restate", "runs_left_started"}
    assert set(switched) == {
        "alerts",
        *(f"segmentation_{name}" for name in ours), "monthly_segmentation_schedule",
        *(f"cards__emea_segmentation_{name}" for name in ours), "cards__emea_monthly_segmentation_schedule",
    }  # fmt: skip
    assert {name for name, status in switched.items() if status == "RUNNING"} == {
        "cards__emea_segmentation_alerts", "cards__emea_segmentation_catch_up",
        "cards__emea_segmentation_runs_left_started", "cards__emea_monthly_segmentation_schedule",
    }  # fmt: skip
    pools = {str(one.op.pool) for one in repository.assets_defs_by_key.values() if one.is_executable and one.op.pool}
    assert pools == {"segmentation_warehouse", "cards__emea_segmentation_warehouse"}


def test_the_jobs_hold_their_own_assets_and_checks_alone(merged: Merged) -> None:
    graph = merged.definitions.resolve_asset_graph()
    made = {key for key in graph.get_all_asset_keys() if graph.get(key).is_materializable}
    orders = dg.AssetKey(["gold", "orders"])
    prefixed = {key for key in made if tuple(key.path[:2]) == PREFIX}
    assert len(prefixed) == len(made - prefixed - {orders}) > 40
    for name, keys in (("", made - prefixed - {orders}), ("cards__emea_", prefixed)):
        job = merged.definitions.resolve_job_def(f"{name}monthly_segmentation")
        assert set(job.asset_layer.selected_asset_keys) == keys
        checks = job.asset_layer.asset_graph.asset_check_keys
        assert len(checks) > 150
        assert "they_like_it" not in {check.name for check in checks}
        assert job.executor_def.name == "in_process"
        assert job.run_tags.keys() == {"segmentation/portfolio"}


def test_two_portfolios_compute_each_by_its_own_settings(merged: Merged) -> None:
    plain = Portfolio.of(Settings.given(duckdb_path=merged.plain.path))
    prefixed = Portfolio.of(Settings.given(duckdb_path=merged.prefixed.path), PREFIX)
    assert plain.identity != prefixed.identity
    months = MonthRange(OCTOBER, NOVEMBER)
    run = merged.run(prefixed, months, *VIEWS, *MEASURED)
    assert run.success, [event.message for event in run.all_events if event.is_failure]
    assert merged.plain.rows("select count(*) from duckdb_tables() where schema_name = 'silver'") == [(0,)]
    assert merged.run(plain, MonthRange.single(NOVEMBER), *VIEWS, *MEASURED).success
    for pipeline, bound in ((merged.prefixed, 6000), (merged.plain, 5000)):
        assert pipeline.rows(
            "select distinct bound from gold.segment_rules where segment_priority = 1 and criterion_number = 1"
        ) == [(bound,)]
    # The partitions are those of the range, on prefixed keys; what a table was made from has them too.
    rollup = prefixed.key("silver", "customer_period_spend")
    told = [event for event in run.get_asset_materialization_events() if event.asset_key == rollup]
    assert {event.partition for event in told} == {str(OCTOBER), str(NOVEMBER)}
    lineage = told[-1].step_materialization_data.materialization.metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
    parents = {tuple(one.asset_key.path[:2]) for found in lineage.value.deps_by_column.values() for one in found}
    assert parents == {PREFIX}
    said = [entry.user_message for entry in merged.plain.instance.all_logs(run.run_id)]
    assert [text for text in said if "not selected" in text] == []


def test_a_prefix_that_cannot_be_part_of_a_name_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"key_prefix has 'e-mea'; its parts have letters, digits and _"):
        build_defs(Settings.given(), key_prefix="cards/e-mea")


def test_the_page_shows_definitions_that_load_and_a_component_that_resolves() -> None:
    page = (CHECKOUT / "docs" / "your_dagster.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    shown: dict[str, Any] = {"__name__": "shown"}
    exec(code, shown)
    jobs = shown["defs"]().get_repository_def().job_names
    assert {"cards_monthly_segmentation", "loans_monthly_segmentation"} <= set(jobs)
    component, _ = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    given = yaml.safe_load(component)
    assert given["type"] == "segmentation_assets.SegmentationComponent"
    resolved = SegmentationComponent.resolve_from_yaml(yaml.safe_dump(given["attributes"]))
    assert resolved.model_dump(exclude_none=True) == given["attributes"]
    first = re.findall(r"^\| (`[a-z_`, ]+) \|", page, re.MULTILINE)
    documented = {name for row in first for name in re.findall("`([a-z_]+)`", row)}
    documented = {f"snowflake{name}" if name.startswith("_") else name for name in documented}
    assert documented == set(SegmentationComponent.model_fields)


@dataclass
class Instance:
    dagster: dg.DagsterInstance
    ours: OwnRuns
    pipeline: Pipeline

    def told(self) -> list[str]:
        outbox = Outbox.load(self.ours.portfolio.notes(self.dagster))
        collect(outbox, self.ours, UI)
        return [alert.title for alert in outbox.pending]


@pytest.fixture
def instance(
    empty_home: Path, published_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Instance]:
    """Our code location is called `ours`; September to November 2025 are published."""
    shutil.copytree(empty_home, tmp_path / "home")
    path = Path(shutil.copy(published_file, tmp_path / "segmentation.duckdb"))
    monkeypatch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as opened:
        ours = replace(own_runs(), location=strangers.location("ours"))
        yield Instance(opened, ours, Pipeline(path, opened))


NO_JOB = "__ASSET_JOB"
OURS_AND_THEIRS = frozenset({dg.AssetKey(["gold", "customer_segments"]), dg.AssetKey(["gold", "orders"])})
SOMEBODY_ELSES: list[tuple[str, str, frozenset[dg.AssetKey] | None]] = [
    ("theirs", "monthly_segmentation", None),
    ("theirs", NO_JOB, frozenset({dg.AssetKey(["gold", "customer_segments"])})),
    ("ours", "nightly", None),
    ("ours", NO_JOB, frozenset({dg.AssetKey(["gold", "orders"])})),
    ("ours", NO_JOB, OURS_AND_THEIRS),
]
OURS: list[tuple[str, str, frozenset[dg.AssetKey] | None]] = [
    ("ours", "monthly_segmentation", None),
    ("ours", "segmentation_what_if", None),
    ("ours", NO_JOB, frozenset({dg.AssetKey(["gold", "customer_segments"])})),
]


def test_a_quiet_run_is_failed_where_it_is_ours_alone(instance: Instance) -> None:
    def started(runs: list[tuple[str, str, frozenset[dg.AssetKey] | None]]) -> set[str]:
        return {
            strangers.add_run(instance.dagster, where, dg.DagsterRunStatus.STARTED, job, assets).run_id
            for where, job, assets in runs
        }

    theirs, ours = started(SOMEBODY_ELSES), started(OURS)
    assert set(fail_dead_runs(instance.dagster, instance.ours.owns)) == ours
    still = {run.run_id for run in instance.dagster.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))}
    assert still == theirs


def test_a_failed_run_is_told_where_it_is_ours_alone(instance: Instance) -> None:
    for where, job, assets in SOMEBODY_ELSES:
        strangers.add_run(instance.dagster, where, dg.DagsterRunStatus.FAILURE, job, assets)
    for name in ("segmentation_catch_up", "hourly"):
        strangers.add_failed_tick(instance.dagster, "theirs", name)
    strangers.add_failed_tick(instance.dagster, "ours", "hourly")
    assert instance.told() == []
    strangers.add_run(instance.dagster, "ours", dg.DagsterRunStatus.FAILURE)
    strangers.add_failed_tick(instance.dagster, "ours", "segmentation_catch_up")
    told = instance.told()
    assert [title.partition(" on 20")[0] for title in told] == [
        "[error] The run of 2025-11-01 failed",
        "[error] segmentation_catch_up could not look",
    ]


def test_months_are_counted_by_our_runs_alone(instance: Instance) -> None:
    """By tags alone, a stranger's run of the same month would be one of ours, under way or failed."""
    warehouse = DuckDBWarehouse(path=str(instance.pipeline.path))
    place = catch_up.Surroundings(instance.dagster, instance.ours, warehouse, Project.load())
    instance.pipeline.execute("delete from gold.segment_publications where snapshot_month = '2025-11-01'")
    now = datetime(2025, 12, 1, 4, tzinfo=ZoneInfo("America/New_York"))
    for where, job, assets in SOMEBODY_ELSES:
        strangers.add_run(instance.dagster, where, dg.DagsterRunStatus.STARTED, job, assets)
        strangers.add_run(instance.dagster, where, dg.DagsterRunStatus.FAILURE, job, assets)
    assert catch_up.evaluate(place, now)[0] == NOVEMBER
    asked = restate.evaluate(instance.dagster, instance.ours, warehouse)
    assert "under way" not in str(getattr(asked, "skip_message", ""))
    run = strangers.add_run(instance.dagster, "ours", dg.DagsterRunStatus.STARTED)
    assert catch_up.evaluate(place, now)[1].startswith(f"{NOVEMBER}: Its run {run.run_id[:8]} is under way.")
    waits = restate.evaluate(instance.dagster, instance.ours, warehouse)
    assert isinstance(waits, dg.SkipReason)
    assert (waits.skip_message or "").startswith("A run is under way")


def test_notes_of_two_portfolios_lie_apart_and_those_of_an_earlier_version_are_gone_on_with(instance: Instance) -> None:
    instance.dagster.daemon_cursor_storage.set_cursor_values({"segmentation/months": '{"words": "of earlier"}'})
    plain = instance.ours.portfolio
    prefixed = replace(plain, key_prefix=PREFIX, identity="another")
    assert catch_up.Months.load(plain.notes(instance.dagster)).words == "of earlier"
    assert catch_up.Months.load(prefixed.notes(instance.dagster)).words == ""
    catch_up.Months(words="plain").save(plain.notes(instance.dagster))
    catch_up.Months(words="prefixed").save(prefixed.notes(instance.dagster))
    assert catch_up.Months.load(plain.notes(instance.dagster)).words == "plain"
    assert catch_up.Months.load(prefixed.notes(instance.dagster)).words == "prefixed"
