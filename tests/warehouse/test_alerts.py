"""Failed checks and runs of real runs on DuckDB, told to a real HTTP receiver.

Locks out: an alert lost because the receiver was down when Dagster's own sensor fired; one that is told at every tick
or again after a restart; a warning nobody hears because the run was green; one dead receiver that silences others; a
range run that is told once per month and once more; an e-mail address, a password or a receiver's address in a message,
a log or Dagster's storage.
"""

import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from pytest_httpserver import HTTPServer

from segmentation_assets.alerts import events
from segmentation_assets.alerts.outbox import LONGEST_WAIT_SECONDS, Outbox
from segmentation_assets.alerts.receivers import receivers
from tests.support.alert_receiver import Receiver
from tests.support.command_line import CHECKOUT
from tests.support.known_mix import BUDGET, DECLINING, GROWING, STABLE, TRAVELERS, known_mix
from tests.support.own_runs import alert_tick, own_runs, portfolio
from tests.support.published_months import (
    CANDIDATE_AND_PUBLISHED,
    CANDIDATE_ASSETS,
    NO_TESTS,
    pipeline_at,
)
from tests.support.warehouse_fixture import Pipeline

OCTOBER, NOVEMBER = date(2025, 10, 1), date(2025, 11, 1)
GOOD = {TRAVELERS: 24, DECLINING: 16, GROWING: 24, BUDGET: 46, STABLE: 90}  # each within its band
NOBODY_TRAVELS = {**GOOD, TRAVELERS: 0, STABLE: 114}
FEW_TRAVEL = {**GOOD, TRAVELERS: 12, STABLE: 102}  # 6 %: above the floor, below the band
FLOOR = "every_segment_holds_the_minimum_share"
ON_FLOOR = f"{FLOOR} on segment_assignments"
ON_BAND = "share_is_within_the_expected_band on segment_assignments"
MADE = dg.AssetKey(["gold", "segment_summary"])
PASSWORD = "hunter2-is-not-a-word"
ONE_TICK = """
import dagster as dg
from tests.support.own_runs import alert_tick
print(alert_tick(dg.DagsterInstance.get()))
"""


@dataclass
class Service:
    """A Dagster home of its own, and the ticks of its alert sensor."""

    home: Path
    instance: dg.DagsterInstance

    @property
    def outbox(self) -> Outbox:
        return Outbox.load(portfolio().notes(self.instance))

    def tick(self) -> str:
        return alert_tick(self.instance)

    def tick_of_another_process(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", ONE_TICK], cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def waits_are_over(self) -> None:
        outbox = self.outbox
        for wait in outbox.waiting.values():
            wait.until = 0.0
        outbox.save()


@pytest.fixture
def service(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    home = shutil.copytree(empty_home, tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.delenv("SEGMENTATION_ALERT_URLS", raising=False)
    with dg.DagsterInstance.get() as instance:
        yield Service(home, instance)


@pytest.fixture
def httpserver() -> Iterator[HTTPServer]:
    """Threaded: a receiver that keeps one sender waiting answers the next one."""
    with HTTPServer(threaded=True) as server:
        yield server


@pytest.fixture
def receiver(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    found = Receiver(httpserver, "/everything")
    monkeypatch.setenv("SEGMENTATION_ALERT_URLS", found.url)
    return found


def failed_run(instance: dg.DagsterInstance, month: date = NOVEMBER, text: str = "it broke") -> None:
    """A run of ours that fails, with a warning and an error check before it: a second, without a warehouse."""

    @dg.asset(key=MADE, check_specs=[dg.AssetCheckSpec("warns", asset=MADE), dg.AssetCheckSpec("stops", asset=MADE)])
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(check_name="warns", passed=False, severity=dg.AssetCheckSeverity.WARN),
                dg.AssetCheckResult(check_name="stops", passed=False, description=text),
            ]
        )

    @dg.asset(deps=[made])
    def fails() -> None:
        raise dg.Failure(text)

    job = dg.define_asset_job("monthly_segmentation", tags=portfolio().tags)
    dg.Definitions(assets=[made, fails], jobs=[job]).resolve_job_def(job.name).execute_in_process(
        instance=instance, tags={"dagster/partition": str(month)}, raise_on_error=False
    )


OF_A_FAILED_RUN = {
    "[warn] warns on segment_summary failed of 2025-11-01",
    "[error] stops on segment_summary failed of 2025-11-01",
    "[error] The run of 2025-11-01 failed",
}


def test_checks_of_real_runs_fail_are_told_and_recover(service: Service, receiver: Receiver, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "segmentation.duckdb") as pipeline:
        pipeline.instance = service.instance

        def run(counts: dict[str, int], first: date, last: date | None = None) -> dg.ExecuteInProcessResult:
            pipeline.load(known_mix(NOVEMBER, counts))
            pipeline.execute("delete from silver.customer_period_spend")  # rolled up from the facts before
            return pipeline.run(first, last, select=CANDIDATE_ASSETS)

        publish_november(pipeline)
        assert not run(NOBODY_TRAVELS, NOVEMBER).success
        for _ in range(5):
            service.tick()
        error, failed = f"[error] {ON_FLOOR} failed of 2025-11-01", "[error] The run of 2025-11-01 failed"
        assert receiver.titles.count(error) == receiver.titles.count(failed) == 1
        body = receiver.body(error)
        assert "High-Value Travelers: 0 % of the customers (allowed: at least 5)\n" in body
        assert "Blocks: Publication of 2025-11-01" in body and "make accept" in body
        run_id = service.instance.get_runs()[0].run_id
        assert f"http://127.0.0.1:3000/runs/{run_id}" in body
        assert f"/assets/silver/segment_assignments?view=checks&checkDetail={FLOOR}" in body
        assert (
            "Why: Step segmentation_audit_checks: 1 blocking asset check failed with ERROR severity"
            in receiver.body(failed)
        )

        receiver.accepted.clear()
        assert run(FEW_TRAVEL, NOVEMBER).success
        for _ in range(3):
            service.tick()
        warned = f"[warn] {ON_BAND} failed of 2025-11-01"
        assert receiver.titles.count(f"[ok] {ON_FLOOR} passes again of 2025-11-01") == 1
        assert receiver.titles.count(warned) == 1
        assert "6 % of the customers (allowed: 10 to 15)" in receiver.body(warned)
        assert "Nothing: publication goes on" in receiver.body(warned)

        # A range run: November is mended, October lacks every segment but one. The months are told one by one, and the
        # overall result of the same check is not told once more.
        receiver.accepted.clear()
        assert run(GOOD, OCTOBER, NOVEMBER).success
        for _ in range(3):
            service.tick()
        assert [title for title in receiver.titles if FLOOR in title] == [f"[error] {ON_FLOOR} failed of 2025-10-01"]
        assert sorted(title for title in receiver.titles if ON_BAND in title) == [
            f"[ok] {ON_BAND} passes again of 2025-11-01",
            f"[warn] {ON_BAND} failed of 2025-10-01",
        ]
    assert receiver.sent_twice() == []


def publish_november(pipeline: Pipeline) -> None:
    """The views and tables that a run of the months finds."""
    pipeline.load(known_mix(NOVEMBER, GOOD))
    succeeded, said = pipeline.dbt(NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
    assert succeeded, said


def test_every_alert_arrives_once_though_the_receiver_was_down(service: Service, receiver: Receiver) -> None:
    receiver.mood = "refuses"
    failed_run(service.instance)
    service.tick()
    assert receiver.tried == 1, "a receiver that is down is not hammered with the rest"
    for _ in range(4):
        assert "3 waiting" in service.tick()
    assert receiver.tried == 1, "nor tried again before its wait is over"

    receiver.mood = "waits"
    service.waits_are_over()
    service.tick()
    assert receiver.tried == 2
    assert receiver.accepted == []

    receiver.mood = "takes"
    service.waits_are_over()
    for _ in range(10):
        service.tick()
    assert set(receiver.titles) == OF_A_FAILED_RUN
    assert len(receiver.titles) == len(OF_A_FAILED_RUN)


def test_a_dead_receiver_silences_nobody(
    service: Service, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, errors, warnings = (Receiver(httpserver, path) for path in ("/first", "/errors", "/warnings"))
    monkeypatch.setenv(
        "SEGMENTATION_ALERT_URLS",
        f"json://127.0.0.1:1/nobody {first.url} foo://unknown-to-apprise error={errors.url} warn={warnings.url}",
    )
    first.mood = "refuses"
    failed_run(service.instance)
    said = service.tick()
    assert "json (address 1) did not take it, 1 times in a row; 3 wait for it" in said
    assert "foo (address 3) in SEGMENTATION_ALERT_URLS is no address that Apprise speaks" in said
    assert set(errors.titles) == {title for title in OF_A_FAILED_RUN if title.startswith("[error]")}
    assert set(warnings.titles) == {title for title in OF_A_FAILED_RUN if title.startswith("[warn]")}

    first.mood = "takes"
    service.waits_are_over()
    service.tick()
    assert sorted(first.titles) == sorted(OF_A_FAILED_RUN)
    assert len(errors.titles) == 2
    assert len(warnings.titles) == 1


def test_a_message_that_one_receiver_refuses_does_not_hold_up_the_others(service: Service, receiver: Receiver) -> None:
    receiver.mood = "refuses"
    failed_run(service.instance)
    service.tick()
    (refused,) = [alert for alert in service.outbox.pending if alert.tries]
    receiver.mood = "takes"
    service.waits_are_over()
    service.tick()
    assert receiver.titles[-1] == refused.title, "it goes behind those not tried yet"
    assert sorted(receiver.titles) == sorted(OF_A_FAILED_RUN)


def test_restarts_and_a_kill_in_the_middle_tell_nothing_twice(
    service: Service, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, slow = Receiver(httpserver, "/quick"), Receiver(httpserver, "/slow")
    monkeypatch.setenv("SEGMENTATION_ALERT_URLS", f"{quick.url} {slow.url.replace('rto=1', 'rto=30')}")
    failed_run(service.instance)
    slow.mood = "waits"
    process = service.tick_of_another_process()
    try:
        assert slow.reached.wait(timeout=60), "the process never came as far as the second receiver"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert sorted(quick.titles) == sorted(OF_A_FAILED_RUN)

    slow.mood = "takes"
    process = service.tick_of_another_process()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    service.tick()
    assert sorted(quick.titles) == sorted(slow.titles) == sorted(OF_A_FAILED_RUN)


def test_months_of_ticks_later_nothing_is_told_again(service: Service, receiver: Receiver) -> None:
    failed_run(service.instance)
    service.tick()
    outbox = service.outbox
    # As after a restore of an old backup of the document: only what was told is remembered, each under its own key.
    outbox.pending, outbox.open, outbox.read_runs, outbox.watermark = [], {}, {}, None
    outbox.save()
    service.tick()
    assert sorted(receiver.titles) == sorted(OF_A_FAILED_RUN)


def test_without_addresses_nothing_fails_and_nothing_is_lost(
    service: Service, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_run(service.instance)
    assert service.tick() == "SEGMENTATION_ALERT_URLS names no address: nobody is told of failures."
    found = Receiver(httpserver, "/later")
    monkeypatch.setenv("SEGMENTATION_ALERT_URLS", found.url)
    service.tick()
    assert sorted(found.titles) == sorted(OF_A_FAILED_RUN)


def test_an_address_that_was_corrected_gets_what_waited(
    service: Service, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMENTATION_ALERT_URLS", "jason://127.0.0.1/mistyped")
    failed_run(service.instance)
    service.tick()
    monkeypatch.setenv("SEGMENTATION_ALERT_URLS", "not-an-address")
    service.tick()
    found = Receiver(httpserver, "/right")
    monkeypatch.setenv("SEGMENTATION_ALERT_URLS", found.url)
    service.tick()
    assert sorted(found.titles) == sorted(OF_A_FAILED_RUN)


def test_no_secret_and_no_address_anywhere(
    service: Service, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    down = f"json://robot:{PASSWORD}@127.0.0.1:1/hooks/T0KEN-of-the-path"
    monkeypatch.setenv("SEGMENTATION_ALERT_URLS", f"{down} foo://{PASSWORD} {receiver.url}")
    monkeypatch.setenv("SNOWFLAKE_PASSWORD", "s3cret-of-snowflake")
    failed_run(
        service.instance,
        text="Failed for jane.doe+card@example.com with s3cret-of-snowflake at https://user:pass@example.org/x",
    )
    with caplog.at_level(logging.DEBUG):
        said = service.tick()
    told = "\n".join(f"{message['title']}\n{message['message']}" for message in receiver.accepted)
    kept = "\n".join(
        str(row)
        for path in service.home.rglob("*.db")
        for row in _key_values(path)
    )  # fmt: skip
    assert "[e-mail address]" in told and "[secret]" in told
    assert "Failed for" in told, "the words around it are told"
    for text in (told, said, caplog.text, kept, repr(receivers(os.environ["SEGMENTATION_ALERT_URLS"])[0])):
        for secret in (PASSWORD, "T0KEN", "jane.doe", "s3cret", "user:pass"):
            assert secret not in text


def _key_values(path: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(path) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master")}
        return connection.execute("select key, value from kvs").fetchall() if "kvs" in tables else []


def test_a_wait_doubles_up_to_half_an_hour(service: Service, receiver: Receiver) -> None:
    receiver.mood = "refuses"
    failed_run(service.instance)
    outbox, clock = service.outbox, [0.0]
    events.collect(outbox, own_runs(), "http://127.0.0.1:3000")
    waits = []
    for _ in range(9):
        outbox.deliver(receivers(os.environ["SEGMENTATION_ALERT_URLS"])[0], seconds=30, now=lambda: clock[0])
        (wait,) = outbox.waiting.values()
        waits.append(wait.until - clock[0])
        clock[0] = wait.until
    assert waits[:4] == [30, 60, 120, 240]
    assert waits[-1] == LONGEST_WAIT_SECONDS
