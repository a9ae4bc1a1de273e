"""Which month is run when: facts that are late, months missed while nothing ran, runs whose process is gone.

Locks out: a month computed from half its facts because the clock said so; a late month that waits for a person; months
skipped for good after downtime, or run newest first; a month asked for by both the schedule and the catch-up; a failed
month that is run again and again; a run left STARTED by a power-off that holds the queue.
"""

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
from dagster._core.test_utils import create_run_for_test

from segmentation_assets.alerts.events import collect
from segmentation_assets.alerts.outbox import Outbox
from segmentation_assets.automation import catch_up, due_months
from segmentation_assets.automation.claims import CATCH_UP, SCHEDULE, asked_lately, claim
from segmentation_assets.automation.dead_runs import MACHINE, QUIET_SECONDS, fail_dead_runs
from segmentation_assets.definitions import build_defs
from segmentation_assets.settings import Settings
from segmentation_assets.warehouse.duckdb import DuckDBSession, DuckDBWarehouse
from tests.support.command_line import CHECKOUT
from tests.support.own_runs import own_runs, portfolio, surroundings
from tests.support.published_months import refusal
from tests.support.warehouse_fixture import Pipeline

NEW_YORK = ZoneInfo("America/New_York")
AUGUST, SEPTEMBER, OCTOBER, NOVEMBER = (date(2025, month, 1) for month in (8, 9, 10, 11))
JOB = "monthly_segmentation"


def at(month: int, day: int, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(2025, month, day, hour, minute, tzinfo=NEW_YORK)


@dataclass
class Service:
    instance: dg.DagsterInstance
    warehouse: DuckDBWarehouse
    verdicts: str  # the statement that dbt made the view with

    def facts_until(self, day: date) -> None:
        with duckdb.connect(self.warehouse.path) as connection:
            connection.execute("create schema if not exists gold")
            connection.execute(
                "create or replace table gold.fct_transactions as select cast(unnest(generate_series(date '2025-06-01',"
                " cast(? as date), interval 1 day)) as date) as transaction_date, 'approved' as transaction_status",
                [day],
            )
            connection.execute("create schema if not exists silver")
            connection.execute(
                "create or replace view silver.stg_transactions as select transaction_date from gold.fct_transactions"
                " where transaction_status = 'approved'"
            )

    def publish(self, *months: date) -> None:
        with duckdb.connect(self.warehouse.path) as connection:
            connection.execute("create schema if not exists gold")
            connection.execute(
                "create table if not exists gold.segment_publications (snapshot_month date, version integer)"
            )
            connection.executemany("insert into gold.segment_publications values (?, 1)", [[month] for month in months])

    def audited(self, month: date, failed: str) -> None:
        """One blocking audit of the month failed, and nobody accepted it."""
        with duckdb.connect(self.warehouse.path) as connection:
            connection.execute("create schema if not exists silver")
            connection.execute(
                "create or replace table silver.segment_audits as select cast(? as date) as snapshot_month,"
                " ? as audit, cast(null as varchar) as customer_segment, 2.0 as measured, null::double as lower_bound,"
                " 0.0 as upper_bound, 1 as failed_rows, 'error' as severity, false as passed, 'c' as content_hash,"
                " 'd' as decision_hash, null::decimal(38, 2) as affected_spend, null::varchar as facts_hash",
                [month, failed],
            )
            connection.execute(
                "create or replace table silver.segment_audit_overrides (snapshot_month date, audit varchar,"
                " customer_segment varchar, measured double, accepted_by varchar, reason varchar, content_hash varchar,"
                " decision_hash varchar, failed_rows bigint, affected_spend decimal(38, 2), facts_hash varchar)"
            )
            connection.execute("drop view if exists silver.segment_audit_verdicts")
            connection.execute(self.verdicts)

    def tick_came(self, month: date) -> None:
        """The schedule's tick of the month came, found facts missing, and skipped."""
        claim(portfolio().notes(self.instance), month, SCHEDULE, due_months.due(month), asks=False)

    def evaluate(self, now: datetime) -> tuple[date | None, str]:
        return catch_up.evaluate(surroundings(self.instance, self.warehouse), now)

    def run(
        self, month: date, status: dg.DagsterRunStatus, tags: dict[str, str] | None = None, job: str = JOB
    ) -> dg.DagsterRun:
        tags = {"dagster/partition": str(month), **portfolio().tags, **(tags or {})}
        return create_run_for_test(self.instance, job_name=job, status=status, tags=tags)

    def told(self) -> list[str]:
        """The titles of what waits to be told, which is all of it: nobody takes it here."""
        outbox = Outbox.load(portfolio().notes(self.instance))
        collect(outbox, own_runs(), "http://127.0.0.1:3000")
        return [alert.title for alert in outbox.pending]


@pytest.fixture
def service(
    empty_home: Path, published_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    with duckdb.connect(str(published_file), read_only=True) as connection:
        ((verdicts,),) = connection.execute(
            "select sql from duckdb_views() where view_name = 'segment_audit_verdicts'"
        ).fetchall()
    home = shutil.copytree(empty_home, tmp_path / "home")
    path = tmp_path / "segmentation.duckdb"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
    with dg.DagsterInstance.get() as instance:
        yield Service(instance, DuckDBWarehouse(path=str(path)), verdicts)


def test_a_month_waits_for_its_facts_and_is_run_when_they_arrive(service: Service) -> None:
    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 28))
    service.tick_came(NOVEMBER)
    month, words = service.evaluate(at(12, 1, 2, 30))
    assert month is None
    assert words == (
        "2025-11-01: The facts of 2025-11-01 end on 2025-11-28: 2025-11-29 to 2025-11-30 have not arrived."
    )
    assert service.evaluate(at(12, 1, 2, 59))[0] is None
    service.facts_until(date(2025, 11, 29))
    assert "2025-11-30 has not arrived" in service.evaluate(at(12, 1, 3))[1]
    service.facts_until(date(2025, 11, 30))
    assert service.evaluate(at(12, 1, 3, 29))[0] is None, "the plan says every 30 minutes"
    assert service.evaluate(at(12, 1, 3, 30))[0] == NOVEMBER
    assert service.told() == [], "it waited as planned: nobody is called"


def test_an_overdue_month_is_told_once_and_its_arrival_too(service: Service) -> None:
    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 29))
    service.tick_came(NOVEMBER)
    late = "[error] 2025-11-01 is overdue"
    service.evaluate(at(12, 2, 23, 59))
    assert service.told() == []
    for minutes in range(0, 600, 30):
        service.evaluate(at(12, 3) + timedelta(minutes=minutes))
    assert service.told() == [late]
    body = Outbox.load(portfolio().notes(service.instance)).pending[0].body
    assert "should have been published by 2025-12-03" in body
    assert "2025-11-30 has not arrived" in body

    service.facts_until(date(2025, 12, 9))
    assert service.evaluate(at(12, 10))[0] == NOVEMBER
    service.publish(NOVEMBER)
    for hour in range(13, 18):
        assert service.evaluate(at(12, 10, hour))[0] is None
    assert service.told() == [late, "[ok] 2025-11-01 is published after all"]


def test_missed_months_are_run_in_order_and_told_once(service: Service) -> None:
    service.publish(AUGUST)
    service.facts_until(date(2025, 12, 4))
    asked: list[date] = []
    now = at(12, 5)
    for _ in range(40):
        now += timedelta(minutes=1)
        month, words = service.evaluate(now)
        if month is None:
            under_way = service.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            if under_way and now.minute % 4 == 0:
                done = date.fromisoformat(under_way[0].tags["dagster/partition"])
                service.publish(done)
                service.instance.report_dagster_event(
                    dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=JOB), run_id=under_way[0].run_id
                )
            elif under_way:
                assert "is under way" in words
        else:
            asked.append(month)
            service.run(month, dg.DagsterRunStatus.STARTED)
    assert asked == [SEPTEMBER, OCTOBER, NOVEMBER]
    assert service.evaluate(now)[1] == "Every month is published through 2025-11-01."
    assert service.told() == [f"[error] The scheduled run of {month} was missed" for month in asked]


def test_a_month_whose_run_failed_is_a_persons(service: Service) -> None:
    service.publish(AUGUST)
    service.facts_until(date(2025, 11, 30))
    service.audited(SEPTEMBER, "every_segment_holds_the_minimum_share")
    failed = service.run(SEPTEMBER, dg.DagsterRunStatus.FAILURE)
    assert service.evaluate(at(11, 1, 4))[0] == OCTOBER, "it does not hold the next month back either"
    service.publish(OCTOBER)
    month, words = service.evaluate(at(11, 1, 5))
    assert month is None
    assert words == f"2025-09-01: Its run {failed.run_id[:8]} ended as FAILURE."


def test_nobodys_warehouse_is_asked_while_a_person_is_awaited(service: Service) -> None:
    """Each look wakes a warehouse for a minute: 48 a day spent the credits of the run that was awaited."""
    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 30))
    service.audited(NOVEMBER, "every_segment_holds_the_minimum_share")
    service.run(NOVEMBER, dg.DagsterRunStatus.FAILURE)
    assert "ended as FAILURE" in service.evaluate(at(12, 1, 5))[1]
    path = Path(service.warehouse.path)
    away = path.rename(path.with_name("away.duckdb"))  # a look would say that nothing is published
    for hours in range(1, 24):
        words = service.evaluate(at(12, 1, 5) + timedelta(hours=hours))[1]
        assert words.endswith("ended as FAILURE.\nLooked for again at 2025-12-02T05:00:00-05:00.")
    assert service.evaluate(at(12, 2, 6))[1] == "Nothing has been published yet."
    away.rename(path)
    service.evaluate(at(12, 2, 7))
    # What the person did is seen at once, where Dagster's own records show it; a new month is, too.
    service.run(NOVEMBER, dg.DagsterRunStatus.SUCCESS)
    service.publish(NOVEMBER)
    assert service.evaluate(at(12, 2, 8))[1] == "Every month that is due is published."
    assert service.evaluate(at(12, 2, 9))[1] == "Every month is published through 2025-11-01."


def test_facts_that_do_not_come_are_looked_for_ever_less_often(service: Service) -> None:
    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 29))
    looks, now = [], at(12, 2, 22)
    while now < at(12, 4, 0):
        if "Looked for again" not in service.evaluate(now)[1]:
            looks.append(now)
        now += timedelta(minutes=10)
    pauses = [(before, (after - before) / timedelta(hours=1)) for before, after in itertools.pairwise(looks)]
    overdue_from = due_months.deadline(NOVEMBER)
    assert {pause for look, pause in pauses if look < overdue_from} == {0.5}
    assert [pause for look, pause in pauses if look >= overdue_from] == [0.5, 1, 2, 4, 6, 6]


def test_facts_are_not_read_again_where_the_catalogue_says_that_none_came(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Snowflake, whose catalogue answers without a warehouse. Here it is a count, and what is read is listed."""
    read: list[str] = []
    rows = DuckDBSession.rows

    def size_of(session: DuckDBSession, schema: str, table: str) -> str:
        ((found,),) = session.connection.execute(f"select count(*) from {schema}.{table}").fetchall()
        return f"{found} rows"

    def listed(session: DuckDBSession, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        read.append(sql)
        return rows(session, sql, parameters)

    monkeypatch.setattr(DuckDBSession, "size_of", size_of)
    monkeypatch.setattr(DuckDBSession, "rows", listed)

    def looked(now: datetime) -> tuple[date | None, str, bool]:
        read.clear()
        month, words = service.evaluate(now)
        return month, words, any("stg_transactions" in sql for sql in read)

    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 28))
    service.tick_came(NOVEMBER)
    waits = "2025-11-01: The facts of 2025-11-01 end on 2025-11-28: 2025-11-29 to 2025-11-30 have not arrived."
    assert looked(at(12, 1, 3)) == (None, waits, True)
    for minutes in range(30, 350, 30):
        month, words, facts_were_read = looked(at(12, 1, 3) + timedelta(minutes=minutes))
        assert month is None
        assert words.startswith(f"{waits}\nNo fact has come or gone since (181 rows).\nLooked for again at 2025-12-01T")
        assert words.count("\n") == 2, "nothing is said twice"
        assert not facts_were_read
        assert not read, "nor is anything else asked"
    assert looked(at(12, 1, 9)) == (None, waits, True), "they may have been corrected"
    # What comes is seen at the next look, also when the month is overdue; and that it is, on time.
    assert looked(at(12, 1, 9, 30))[2] is False
    assert looked(at(12, 3, 0))[2] is True
    assert service.told() == ["[error] 2025-11-01 is overdue"]
    assert [looked(at(12, 3, 0) + timedelta(minutes=30 * look))[2] for look in range(1, 11)] == [False] * 10
    service.facts_until(date(2025, 11, 30))
    assert looked(at(12, 3, 5, 30))[0] == NOVEMBER


@pytest.mark.parametrize("page", [2, 7])
def test_a_month_that_failed_long_ago_is_found_on_whichever_page_its_run_is(
    service: Service, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """Runs of others and of other months have come since: more than are read at once, or just as many."""
    monkeypatch.setattr(catch_up, "RUNS_PER_PAGE", page)
    service.publish(AUGUST)
    service.facts_until(date(2025, 11, 30))
    service.audited(SEPTEMBER, "every_segment_holds_the_minimum_share")
    failed = service.run(SEPTEMBER, dg.DagsterRunStatus.FAILURE)
    later = [service.run(month, dg.DagsterRunStatus.SUCCESS) for month in (OCTOBER, NOVEMBER, OCTOBER)]
    for _ in range(3):
        create_run_for_test(service.instance, job_name="somebody_elses", status=dg.DagsterRunStatus.SUCCESS)
    found = catch_up.runs_by_month(surroundings(service.instance, service.warehouse))
    assert {month: [record.dagster_run.run_id for record in records] for month, records in found.items()} == {
        SEPTEMBER: [failed.run_id],
        OCTOBER: [later[2].run_id, later[0].run_id],
        NOVEMBER: [later[1].run_id],
    }
    service.publish(OCTOBER)
    assert service.evaluate(at(11, 1, 5)) == (None, f"2025-09-01: Its run {failed.run_id[:8]} ended as FAILURE.")


def test_a_month_that_ran_before_its_facts_is_run_again_a_few_times_at_most(service: Service) -> None:
    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 29))
    service.audited(NOVEMBER, "facts_reach_the_end_of_the_month")
    service.run(NOVEMBER, dg.DagsterRunStatus.FAILURE)
    assert service.evaluate(at(12, 1, 4))[0] is None
    service.facts_until(date(2025, 11, 30))
    assert service.evaluate(at(12, 1, 5))[0] == NOVEMBER
    for _ in range(catch_up.LATE_RUNS):
        service.run(NOVEMBER, dg.DagsterRunStatus.FAILURE, {catch_up.ASKED_BY: CATCH_UP})
    assert service.evaluate(at(12, 1, 8))[0] is None


def test_a_retry_that_dagster_has_announced_is_waited_for(service: Service) -> None:
    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 30))
    service.audited(NOVEMBER, "facts_reach_the_end_of_the_month")
    service.run(NOVEMBER, dg.DagsterRunStatus.FAILURE, {"dagster/will_retry": "true"})
    month, words = service.evaluate(datetime.now(tz=NEW_YORK))
    assert month is None
    assert "is under way" in words


def test_what_somebody_ran_of_a_month_says_nothing_about_it(service: Service) -> None:
    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 30))
    service.run(NOVEMBER, dg.DagsterRunStatus.FAILURE, job="__ASSET_JOB")
    assert service.evaluate(at(12, 1, 4))[0] == NOVEMBER


def test_a_new_service_runs_no_history(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.facts_until(date(2025, 11, 30))
    assert service.evaluate(at(11, 15))[0] is None
    assert service.evaluate(at(12, 1, 2, 29))[0] is None, "the schedule's tick comes first"
    assert service.evaluate(at(12, 1, 2, 30))[0] == NOVEMBER
    # Of a demo, months are published to try things out.
    monkeypatch.setenv("SEGMENTATION_SOURCE", "synthetic")
    assert due_months.expected_months({AUGUST}, at(11, 15), at(12, 1), Settings.from_environment()) == [NOVEMBER]
    monkeypatch.setenv("SEGMENTATION_SOURCE", "warehouse")
    assert due_months.expected_months({AUGUST}, at(11, 15), at(12, 1), Settings.from_environment()) == [
        AUGUST,
        SEPTEMBER,
        OCTOBER,
        NOVEMBER,
    ]


def test_a_look_never_waits_for_a_run(service: Service) -> None:
    service.publish(OCTOBER)
    service.facts_until(date(2025, 11, 30))
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, duckdb, time; c = duckdb.connect(sys.argv[1]); print('open', flush=True); time.sleep(60)",
            service.warehouse.path,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        month, words = service.evaluate(at(12, 1, 4))
        assert month is None
        assert words.startswith("Another process has the DuckDB file open.")
    finally:
        holder.kill()
        holder.communicate()
    assert service.evaluate(at(12, 1, 4, 1))[0] == NOVEMBER


def test_the_schedule_asks_only_for_a_month_that_is_ready(service: Service) -> None:
    repository = build_defs(resources={"warehouse": service.warehouse}).get_repository_def()
    (schedule,) = repository.schedule_defs

    def tick(moment: datetime) -> tuple[list[str | None], str | None]:
        with dg.build_schedule_context(
            service.instance, scheduled_execution_time=moment, repository_def=repository
        ) as context:
            found = schedule.evaluate_tick(context)
        return [request.partition_key for request in found.run_requests or []], found.skip_message

    service.publish(SEPTEMBER)
    service.facts_until(date(2025, 11, 28))
    # September is published, October is not: nobody ran it.
    assert tick(at(12, 1, 2)) == (
        [], "2025-10-01 is not published yet and is run before 2025-11-01. segmentation_catch_up looks again"
        " every 30 minutes."
    )  # fmt: skip
    service.publish(OCTOBER)
    asked, words = tick(at(12, 1, 2))
    assert asked == []
    assert words is not None
    assert "end on 2025-11-28: 2025-11-29 to 2025-11-30 have not arrived" in words
    service.facts_until(date(2025, 11, 30))
    now = datetime.now(tz=NEW_YORK)
    claim(portfolio().notes(service.instance), NOVEMBER, CATCH_UP, now)
    assert tick(at(12, 1, 2)) == ([], "The run of 2025-11-01 was asked for by segmentation_catch_up already.")
    claim(portfolio().notes(service.instance), NOVEMBER, CATCH_UP, now - timedelta(hours=2))
    assert tick(at(12, 1, 2)) == (["2025-11-01"], None)
    # And the other way round: what the schedule asked for a moment ago, catch_up does not ask for as well.
    assert asked_lately(portfolio().notes(service.instance), NOVEMBER, datetime.now(tz=NEW_YORK)) == SCHEDULE


SLEEPER = """
import sys, time
import dagster as dg
from segmentation_assets.automation.dead_runs import in_process_with_lock
from tests.support.own_runs import portfolio

@dg.op(pool="warehouse")
def sleeps():
    print("asleep", flush=True)
    time.sleep(300)

@dg.job(name="monthly_segmentation", executor_def=in_process_with_lock, tags=portfolio().tags)
def sleeping():
    sleeps()

if __name__ == "__main__":
    import sleeper
    dg.execute_job(dg.reconstructable(sleeper.sleeping), instance=dg.DagsterInstance.get())
"""


def test_a_run_whose_process_was_killed_is_failed_and_its_place_freed(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{CHECKOUT}")
    storage = service.instance.event_log_storage
    storage.set_concurrency_slots("warehouse", 1)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "sleeper.py")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "asleep\n"
        (run,) = service.instance.get_runs()
        later = datetime.now().timestamp() + 10 * QUIET_SECONDS
        assert fail_dead_runs(service.instance, own_runs().owns, later) == [], "it lives, however quiet it is"
    finally:
        process.kill()
        process.communicate()
    assert storage.get_concurrency_info("warehouse").claimed_slots
    assert fail_dead_runs(service.instance, own_runs().owns) == [], "a run that is just ending is given a minute"
    assert fail_dead_runs(service.instance, own_runs().owns, later) == [run.run_id]
    assert fail_dead_runs(service.instance, own_runs().owns, later) == []
    ended = service.instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE
    assert not storage.get_concurrency_info("warehouse").claimed_slots
    assert list((tmp_path / "home" / "running").iterdir()) == []


def test_a_run_of_another_machine_is_left_alone(service: Service) -> None:
    elsewhere = service.run(NOVEMBER, dg.DagsterRunStatus.STARTED, {MACHINE: "another"})
    later = datetime.now().timestamp() + 10 * QUIET_SECONDS
    assert fail_dead_runs(service.instance, own_runs().owns, later) == []
    found = service.instance.get_run_by_id(elsewhere.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.STARTED


def test_audiences_of_a_month_that_was_never_published_are_refused(pipeline: Pipeline) -> None:
    """Alone, they would be empty and their run green."""
    pipeline.execute("create schema gold")
    pipeline.execute("create table gold.segment_publications (snapshot_month date, version integer)")
    result = pipeline.run(NOVEMBER, select=["gold/audience_core_retention"])
    assert not result.success
    assert refusal(result) == (
        "Not published, and so without audiences: 2025-11-01. Publish first (`make month MONTH=2025-11-01`)."
    )
