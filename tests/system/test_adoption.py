"""Another company takes the pipeline in: their dg project, their Dagster home as it is, their runs and definitions.

Locks out: a component that dg does not find, scaffold or check; merged definitions that do not load in a code location;
a run of ours that needs our own executor or event log; a stranger's run that is failed or told of; a home whose
settings we write into.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from pytest_httpserver import HTTPServer

from tests.support import strangers
from tests.support.alert_receiver import Receiver
from tests.support.command_line import CHECKOUT, settings
from tests.support.published_by_job import NEWEST, Published

PROJECT = """
[project]
name = "company"
version = "1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "company"
"""
DEFINITIONS = '''
from pathlib import Path

import dagster as dg


class Untouchable(dg.ConfigurableIOManager):
    def handle_output(self, context, obj):
        raise AssertionError(f"{context.step_key} handed {obj!r} over")

    def load_input(self, context):
        raise AssertionError(f"{context.asset_key} was asked for")


@dg.asset(key=["gold", "orders"])
def orders() -> None: ...


@dg.job
def monthly_segmentation():
    """Of the same name as ours."""


@dg.sensor(job=monthly_segmentation)
def alerts():
    return dg.SkipReason("theirs")


@dg.definitions
def defs() -> dg.Definitions:
    theirs = dg.Definitions(
        assets=[orders],
        jobs=[monthly_segmentation],
        sensors=[alerts],
        resources={"warehouse": "theirs", "io_manager": Untouchable()},
        executor=dg.multiprocess_executor,
    )
    return dg.Definitions.merge(theirs, dg.load_from_defs_folder(path_within_project=Path(__file__).parent))
'''
# One process for all of them: each alone imports everything that has a component.
DG = """
import json, sys
from dagster_dg_cli.cli import cli
for words in json.loads(sys.argv[1]):
    print("$", *words, flush=True)
    cli(words, standalone_mode=False)
"""
SECONDS = 240


@dataclass
class Company:
    folder: Path
    environment: dict[str, str]
    ours: Published
    said: list[str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def start(self, *words: str, log: str) -> "subprocess.Popen[bytes]":
        with (self.folder / log).open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", *words],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=file,
            )

    def dg(self, *commands: list[str]) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", DG, json.dumps(commands)],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def company(published_by_job: Published, empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """Two published months of ours in a DuckDB file, and a project that has scaffolded the component for them."""
    folder = tmp_path_factory.mktemp("company")
    shutil.copytree(empty_home, folder / "home")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "company" / "defs").mkdir(parents=True)
    for name in ("__init__.py", "defs/__init__.py"):
        (folder / "company" / name).touch()
    (folder / "company" / "definitions.py").write_text(DEFINITIONS)
    environment = settings(
        DAGSTER_HOME=str(folder / "home"), PYTHONPATH=f"{folder}:{CHECKOUT}",
        DG_CLI_CONFIG=str(folder / "dg.toml"), DO_NOT_TRACK="1", DAGSTER_DISABLE_TELEMETRY="1",
    )  # fmt: skip
    found = Company(folder, environment, published_by_job, [])
    component = "segmentation_assets.SegmentationComponent"
    found.said.append(found.dg(["list", "components"], ["scaffold", "defs", component, "segments"], ["check", "yaml"]))
    written = folder / "company" / "defs" / "segments" / "defs.yaml"
    made: dict[str, Any] = yaml.safe_load(written.read_text())
    assert made["type"] == component
    made["attributes"] |= {
        "source": "warehouse",
        "duckdb_path": str(published_by_job.database),
        "export_uri": "lists",
        "key_prefix": "cards",
        "autostart": True,
    }
    written.write_text(yaml.safe_dump(made))
    found.said.append(found.dg(["check", "yaml"], ["check", "defs"]))
    return found


def test_dg_finds_scaffolds_and_checks_the_component(company: Company) -> None:
    scaffolded, checked = company.said
    assert "segmentation_assets.SegmentationComponent" in scaffolded
    assert scaffolded.count("All component YAML validated successfully") == 1
    assert "All component YAML validated successfully" in checked
    assert "All definitions loaded successfully" in checked


@dataclass
class Adopted:
    company: Company
    receiver: Receiver
    before: dict[str, Any]
    after: dict[str, Any]
    failed: dg.DagsterRun
    dead: dg.DagsterRun
    report: Path
    ended: dict[str, dg.DagsterRunStatus]
    materialized: set[str]


def their_run(instance: dg.DagsterInstance) -> str:
    @dg.op
    def fails() -> None:
        raise dg.Failure("theirs broke")

    @dg.job(name="monthly_segmentation", tags={"dagster/partition": "2025-11-01"})
    def job() -> None:
        fails()

    return job.execute_in_process(instance=instance, raise_on_error=False).run_id


def seen(instance: dg.DagsterInstance, runs: list[str]) -> dict[str, Any]:
    """All that the instance says of runs."""
    return {
        run_id: (record.dagster_run, record.update_timestamp, [entry.message for entry in instance.all_logs(run_id)])
        for run_id in runs
        for record in instance.get_run_records(dg.RunsFilter(run_ids=[run_id]))
    }


def ticked(instance: dg.DagsterInstance, sensor: str) -> bool:
    states = [state for state in instance.all_instigator_state() if state.instigator_name == sensor]
    return any(
        tick.end_timestamp is not None
        for state in states
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)
    )


@pytest.fixture(scope="module")
def adopted(company: Company) -> Iterator[Adopted]:
    (company.folder / "workspace.yaml").write_text(
        yaml.safe_dump(
            {"load_from": [{"python_module": {"module_name": "company.definitions", "location_name": "company"}}]}
        )
    )
    report = ["cards/activation/segment_report", "--partition", str(NEWEST)]
    with HTTPServer(threaded=True) as server, dg.DagsterInstance.from_config(str(company.home)) as instance:
        receiver = Receiver(server, "/everything")
        status = dg.DagsterRunStatus
        theirs = [
            their_run(instance),
            strangers.add_run(instance, "theirs", status.STARTED).run_id,
            strangers.add_run(instance, "theirs", status.FAILURE).run_id,
            strangers.add_run(instance, "company", status.STARTED).run_id,
            strangers.add_run(instance, "company", status.FAILURE, job="nightly").run_id,
        ]
        strangers.add_failed_tick(instance, "theirs", "cards_segmentation_catch_up")
        failed, dead = (
            strangers.add_run(instance, "company", one, job="cards_monthly_segmentation")
            for one in (status.FAILURE, status.STARTED)
        )
        before = seen(instance, theirs)
        company.environment["SEGMENTATION_ALERT_URLS"] = receiver.url
        daemon = company.start("-m", "dagster._daemon", "run", "-w", "workspace.yaml", log="daemon.log")
        materialize = company.start(
            "-m", "dagster", "asset", "materialize", "-m", "company.definitions", "--select", *report, log="report.log"
        )
        try:
            until = time.monotonic() + SECONDS
            wanted = (
                "cards_segmentation_alerts",
                "cards_segmentation_runs_left_started",
                "cards_segmentation_catch_up",
            )
            while not all(ticked(instance, sensor) for sensor in wanted):
                assert time.monotonic() < until, (company.folder / "daemon.log").read_text()
                time.sleep(0.5)
            assert materialize.wait(SECONDS) == 0, (company.folder / "report.log").read_text()
        finally:
            for process in (materialize, daemon):
                process.terminate()
                process.wait(30)
        yield Adopted(
            company, receiver, before, seen(instance, theirs), failed, dead,
            company.folder / "company" / "defs" / "segments" / "lists" / "reports" / str(NEWEST),
            {run.run_id: run.status for run in instance.get_runs()},
            {key.to_user_string() for key in instance.all_asset_keys()},
        )  # fmt: skip


def test_nothing_of_theirs_is_changed(adopted: Adopted) -> None:
    assert adopted.after == adopted.before
    assert (adopted.company.home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_our_dead_run_is_ended_and_our_failed_one_told_and_nothing_of_theirs(adopted: Adopted) -> None:
    assert adopted.ended[adopted.dead.run_id] == dg.DagsterRunStatus.FAILURE
    bodies = [message["message"] for message in adopted.receiver.accepted]
    ours = (adopted.failed.run_id, adopted.dead.run_id)
    assert any(adopted.failed.run_id in body for body in bodies)
    # The dead run's end is told at this look of the sensor or the next.
    assert [body for body in bodies if not any(run_id in body for run_id in ours)] == []


def test_our_assets_run_under_their_executor_and_event_log(adopted: Adopted) -> None:
    assert "cards/activation/segment_report" in adopted.materialized
    assert (adopted.report / "segment_report.html").stat().st_size > 10_000
    log = (adopted.company.folder / "report.log").read_text()
    assert "multiprocess" in log
