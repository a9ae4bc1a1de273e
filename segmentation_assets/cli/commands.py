"""The commands behind `make`: the same jobs as in the Dagster UI, on the same instance, and what came of them."""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

from segmentation_assets.atomic import atomically
from segmentation_assets.cli.terminal import console, errors, segments_table
from segmentation_assets.errors import UserError, WarehouseError
from segmentation_assets.months import last_closed_month, month_after, parse_month
from segmentation_assets.partitions import check_months, source_bounds
from segmentation_assets.settings import Settings, load_env_file, set_variable
from segmentation_assets.warehouse.catalog import GOLD
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import warehouse

if TYPE_CHECKING:
    from segmentation_assets.dbt.project import Project

MONTHS_OF_A_FIRST_RUN = 12
NO_SPACE = "No space left on device"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segmentation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="publish the last 12 closed months").set_defaults(run=run)
    month = commands.add_parser("month", help="compute and publish one month")
    month.add_argument("month")
    month.set_defaults(run=lambda given: compute(parse_month(given.month, "MONTH"), parse_month(given.month, "MONTH")))
    backfill = commands.add_parser("backfill", help="compute a range of months in one run")
    backfill.add_argument("first")
    backfill.add_argument("last")
    backfill.set_defaults(run=lambda given: compute(parse_month(given.first, "FROM"), parse_month(given.last, "TO")))
    why = commands.add_parser("why", help="explain one customer's segment")
    why.add_argument("customer")
    why.add_argument("month")
    why.set_defaults(run=explain)
    accept = commands.add_parser("accept", help="accept a failed audit as it was measured")
    accept.add_argument("month")
    accept.add_argument("audit")
    accept.add_argument("--segment", default="")
    accept.add_argument("--who", required=True)
    accept.add_argument("--why", required=True)
    accept.set_defaults(run=accept_audit)
    restate = commands.add_parser("restate", help="recompute the months whose facts changed, and those after them")
    restate.set_defaults(run=restate_months)
    what_if = commands.add_parser("what-if", help="published months under changed rules; publishes nothing")
    what_if.add_argument("--set", default="", help="Declining.spend_change_pct=-25,churn_prevention.cap=500")
    what_if.add_argument("--rules", default="", help="a YAML file whose rules are taken instead of today's")
    what_if.add_argument("--month", default="", help="the newest published one if not given")
    what_if.add_argument("--first", default="")
    what_if.add_argument("--last", default="")
    what_if.set_defaults(run=show_what_if)
    snapshot = commands.add_parser("snapshot", help="copy the published tables to a DuckDB file for readers")
    snapshot.add_argument("to")
    snapshot.set_defaults(run=take_snapshot)
    commands.add_parser("ui", help="Dagster on loopback").set_defaults(run=serve)
    given = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = given.run
    try:
        load_env_file()
        return command(given)
    except UserError as error:
        errors.print(f"[red]error:[/red] {error}", markup=True, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        errors.print("Interrupted. The next run puts right whatever was left; published months are whole.")
        return 130


def dagster_home() -> Path:
    home = Settings.from_environment().dagster_home
    settings = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not settings.exists():
            # Half a file, left by a kill, would be read as Dagster's defaults from then on.
            with atomically(settings) as partial:
                shutil.copy(Path(__file__).parents[1] / "dagster_home" / "dagster.yaml", partial)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise WarehouseError(
            f"DAGSTER_HOME is {home}, which cannot be written: {error.strerror}. Name a folder that can."
        ) from error
    set_variable("DAGSTER_HOME", str(home))
    return home


@contextlib.contextmanager
def dagster_instance(home: Path) -> Iterator[Any]:
    """The instance of DAGSTER_HOME. Two commands that open a new home at once would both create Dagster's SQLite
    tables, and one of them would fail: they open it one after the other."""
    import dagster as dg
    from filelock import FileLock

    with contextlib.ExitStack() as opened:
        with FileLock(home / "opening.lock"):
            instance = opened.enter_context(dg.DagsterInstance.get())
        yield instance


def run(given: argparse.Namespace) -> int:
    del given
    first, last = source_bounds()
    last = last or last_closed_month()
    return compute(max(first, month_after(last, 1 - MONTHS_OF_A_FIRST_RUN)), last)


def compute(first: date, last: date, rollup_from: date | None = None) -> int:
    """One run of the monthly job for the months, both included.

    `rollup_from` is an earlier month from which on the facts are rolled up anew.
    """
    check_months(first, last)
    project = check_settings()
    log = dagster_home() / "last-run.log"
    started = time.monotonic()
    months = f"{first} to {last}" if first < last else str(first)
    console.print(
        f"Computing {months} from the source {project.settings.source!r}; the full log is {log}", soft_wrap=True
    )
    succeeded, failure = _execute(project, first, last, rollup_from, log)
    seconds = time.monotonic() - started
    if not succeeded:
        errors.print(f"\n[red]The run failed[/red] after {seconds:.0f} s.\n{failure}", soft_wrap=True)
        errors.print("\nThe published tables are as they were for the months named. Details: [bold]make ui[/bold]")
        return 1
    show_newest(project)
    console.print(f"\nDone in {seconds:.0f} s. Next: [bold]make ui[/bold] shows the run, its checks and the lineage;")
    console.print("      [bold]make why CUSTOMER=... MONTH=...[/bold] explains one customer.")
    return 0


def check_settings() -> "Project":
    """What a person may have mistyped is told in a line before a run is started, and not as the run's failure."""
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.publication import migration

    project = Project.load()
    migration.bring_up_to_date(warehouse(), project)
    return project


def _execute(project: "Project", first: date, last: date, rollup_from: date | None, log: Path) -> tuple[bool, str]:
    from segmentation_assets.automation.dead_runs import MACHINE, fail_dead_runs, held, machine
    from segmentation_assets.automation.jobs import monthly_segmentation
    from segmentation_assets.cli.terminal import progress_logger
    from segmentation_assets.definitions import build_defs
    from segmentation_assets.months import tags_of_months
    from segmentation_assets.publication import audits

    run_id = str(uuid.uuid4())
    definitions = build_defs(loggers={"progress": progress_logger}, project=project)
    with (
        log.open("w", encoding="utf-8") as file,
        dagster_instance(log.parent) as instance,
        contextlib.redirect_stdout(file),
        held(instance, run_id),
    ):
        fail_dead_runs(instance)
        result = definitions.resolve_job_def(monthly_segmentation).execute_in_process(
            instance=instance,
            run_config={"loggers": {"progress": {}}},
            # A single month is a run of that partition; its checks then carry the month.
            partition_key=str(first) if first == last else None,
            run_id=run_id,
            tags={MACHINE: machine(), **tags_of_months(first, last, rollup_from)},
            raise_on_error=False,
        )
    for event in result.all_events:
        if event.event_type_value == "STEP_FAILURE":
            data = event.step_failure_data
            if data.error is not None and data.error.cls_name == "DagsterAssetCheckFailedError":
                with warehouse().session() as session:
                    return False, audits.refusal(audits.month_audits(session, first, last))
            told = data.user_failure_data.description if data.user_failure_data else _cause(data.error)
            of_dbt = told.partition("Errors parsed from dbt logs:")[2].strip() if told else ""
            if told and NO_SPACE in told:
                line = next(line.strip() for line in told.splitlines() if NO_SPACE in line)
                return False, f"The disk is full: {line}. Free space and run the same again."
            return False, of_dbt or told or f"Step {event.step_key} failed."
    return result.success, "" if result.success else "The run did not finish."


def _cause(error: Any) -> str:
    """The innermost error's own words."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message if error is not None else ""


def show_newest(project: "Project") -> None:
    with warehouse().session(read_only=True) as session:
        rows = session.rows(
            f"select * from {GOLD}.segment_summary"
            f" where snapshot_month = (select max(snapshot_month) from {GOLD}.segment_summary)"
        )
    order = {segment.name: number for number, segment in enumerate(project.rules.segments)}
    bands = {segment.name: segment.expected_share_pct for segment in project.rules.segments}
    rows.sort(key=lambda row: order.get(row["customer_segment"], len(order)))
    console.print()
    console.print(segments_table(rows[0]["snapshot_month"], rows, bands))


def explain(given: argparse.Namespace) -> int:
    from segmentation_assets.publication import explanations

    with warehouse().session(read_only=True) as session:
        explanation = explanations.explain(session, given.customer, parse_month(given.month, "MONTH"))
    console.print(explanations.render(explanation))
    return 0


def accept_audit(given: argparse.Namespace) -> int:
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.publication import acceptances, migration

    month = parse_month(given.month, "MONTH")
    migration.bring_up_to_date(warehouse(), Project.load())
    with warehouse().session() as session:
        accepted = acceptances.accept(session, month, given.audit, given.segment or None, given.who, given.why)
    console.print(accepted)
    console.print(f"Next: [bold]make month MONTH={month}[/bold] publishes it, unless the measured value has changed.")
    return 0


def restate_months(given: argparse.Namespace) -> int:
    del given
    from segmentation_assets.assets.star_schema import check_source
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.publication import migration, published, restatements

    with warehouse().session(read_only=True) as session:
        published.required_months(session)
    check_source(warehouse())
    migration.bring_up_to_date(warehouse(), Project.load())
    with warehouse().session(read_only=True) as session:
        found = restatements.find(session)
        before = published.versions(session)
        unowned = restatements.facts_of_nobody(session)
    if found is None:
        console.print(
            "Nothing differs: every published month is what its facts make of it. Nothing was computed.", soft_wrap=True
        )
        if unowned:
            errors.print("\n".join(unowned), soft_wrap=True)
        return 0
    console.print("\n".join(found.words()), soft_wrap=True)
    code = compute(found.first, found.last, found.rollup_from)
    with warehouse().session(read_only=True) as session:
        changed = restatements.changes(session, before)
        left = restatements.find(session)
        unowned = restatements.facts_of_nobody(session)
    console.print()
    console.print("\n".join(changed or ["No published month changed."]), soft_wrap=True)
    if left is not None and left.changed:
        errors.print(f"\nFacts and rollup still differ: {restatements.months(left.changed)}. {restatements.LOST_FACTS}")
    if unowned:
        errors.print("\n".join(unowned), soft_wrap=True)
    return 1 if left is not None else code


def show_what_if(given: argparse.Namespace) -> int:
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.rules.edits import WhatIfError
    from segmentation_assets.what_if import compute as what_if
    from segmentation_assets.what_if import tables as what_if_tables

    if given.month and (given.first or given.last):
        raise WhatIfError(f"MONTH is {given.month!r}, and FROM or TO is given too; give one month or a range.")
    started = time.monotonic()
    console.print("Computing published months with changed rules, beside what is published ...", soft_wrap=True)
    months = what_if.compute(
        Project.load(), warehouse(), given.set, given.rules, given.month or given.first, given.month or given.last,
        names="MONTH MONTH" if given.month else "FROM TO",
    )  # fmt: skip
    console.print()
    console.print(what_if_tables.render(months))
    console.print(
        f"Done in {time.monotonic() - started:.0f} s; nothing was published or changed. Next: write the change into"
        " dbt_models/dbt_project.yml (or the file of SEGMENTATION_RULES) and run [bold]make month MONTH=...[/bold]",
        soft_wrap=True,
    )
    return 0


def take_snapshot(given: argparse.Namespace) -> int:
    from segmentation_assets.publication import reader_copy

    found, to = warehouse(), Path(given.to).expanduser().absolute()
    if not isinstance(found, DuckDBWarehouse):
        raise WarehouseError("SEGMENTATION_TARGET is 'snowflake', where everybody may read while a run writes.")
    copied = reader_copy.take(found, to)
    console.print(f"{copied} tables and views are in {to}. Open it read-only; a reader keeps the file it has opened.")
    return 0


def serve(given: argparse.Namespace) -> int:
    del given
    dagster_home()
    console.print("Dagster on http://127.0.0.1:3000 (stop with Ctrl-C)")
    dagster_dev = ["-m", "dagster", "dev", "-m", "segmentation_assets.definitions"]
    os.execvp(sys.executable, [sys.executable, *dagster_dev, "-h", "127.0.0.1", "-p", "3000"])


if __name__ == "__main__":
    raise SystemExit(main())
