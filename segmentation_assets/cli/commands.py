"""Commands: what can be typed, and the help text. What a run does is in run.py, how it looks in terminal.py."""

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

# Before Dagster and dbt are imported, which happens in the commands: help and mistyped words answer at once.
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")

MONTHS_OF_A_FIRST_RUN = 12
FAILED, MISTAKEN, INTERRUPTED = 1, 2, 130
UI_PORT = 3000


class Command(click.Command):
    """Reads `.env` once the words are understood."""

    def invoke(self, ctx: click.Context) -> object:
        from segmentation_assets.settings import load_env_file

        load_env_file()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None  # as click says it, less an empty line


class InOrder(click.Group):
    """Lists its commands in the order they are written in, which is the order they are needed in."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def segmentation() -> None:
    """Monthly customer segmentation: the jobs of the Dagster UI, on the same instance, from a terminal.

    A month is 2025-11, or any day of it (2025-11-01). Settings come from the environment (SEGMENTATION_..., see the
    README). Exit codes: 0 done, 1 the run failed, 2 mistyped or not possible as asked, 130 Ctrl-C, 143 SIGTERM.
    """


@segmentation.command()
def run() -> int:
    """Publish the last 12 closed months and show the result.

    On the demo source the portfolio is made first.
    """
    from segmentation_assets.cli.run import compute
    from segmentation_assets.months import MonthRange, last_closed_month, month_after
    from segmentation_assets.partitions import source_bounds

    first, last = source_bounds()
    last = last or last_closed_month()
    first = max(first, month_after(last, 1 - MONTHS_OF_A_FIRST_RUN))
    return compute(MonthRange(first, last), again="make run")


@segmentation.command()
@click.argument("month")
def month(month: str) -> int:
    """Compute and publish one MONTH."""
    from segmentation_assets.cli.run import compute
    from segmentation_assets.months import MonthRange, parse_month

    return compute(MonthRange.single(parse_month(month, "MONTH")))


@segmentation.command()
@click.argument("first")
@click.argument("last")
def backfill(first: str, last: str) -> int:
    """Compute and publish FIRST to LAST in one run.

    Both are included. Each fact is read once, not once per month.
    """
    from segmentation_assets.cli.run import compute
    from segmentation_assets.months import MonthRange, parse_month

    return compute(MonthRange(parse_month(first, "FROM"), parse_month(last, "TO")))


@segmentation.command()
def restate() -> int:
    """Recompute published months whose facts changed.

    Every published month after the first such month is computed again too.
    """
    from segmentation_assets.assets.star_schema import check_source
    from segmentation_assets.cli import terminal
    from segmentation_assets.cli.run import compute
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.publication import migration, published, restatements
    from segmentation_assets.warehouse.session import warehouse

    project = Project.load()
    with warehouse().session(read_only=True) as session:
        published.required_months(session)
    with terminal.working("Comparing the published months with their facts ..."):
        check_source(warehouse(), project)
        migration.bring_up_to_date(warehouse(), project)
        with warehouse().session(read_only=True) as session:
            found = restatements.find(session)
            before = published.versions(session)
            unowned = restatements.facts_of_nobody(session)
    if found is None:
        terminal.say("Nothing differs: every published month is what its facts make of it. Nothing was computed.")
        if unowned:
            terminal.complain("\n".join(unowned))
        return 1 if unowned else 0
    terminal.say("\n".join(found.message()))
    code = compute(found.months, found.rollup_from, again="make restate")
    with warehouse().session(read_only=True) as session:
        changed = restatements.changes(session, before)
        left = restatements.find(session)
        unowned = restatements.facts_of_nobody(session)
    terminal.say()
    terminal.say("\n".join(changed or ["No published month changed."]))
    if left is not None and left.changed:
        terminal.complain(
            f"\nFacts and rollup still differ: {restatements.listed(left.changed)}. {restatements.LOST_FACTS}"
        )
    if unowned:
        terminal.complain("\n".join(unowned))
    return 1 if left is not None or unowned else code


@segmentation.command()
@click.argument("customer")
@click.argument("month", default="")
def why(customer: str, month: str) -> int:
    """Explain a CUSTOMER's segment in a published MONTH.

    The newest if none is given. An id that is there only in other letters or leading zeros is taken for it.
    """
    from segmentation_assets.cli import terminal
    from segmentation_assets.months import parse_month
    from segmentation_assets.publication import explanations
    from segmentation_assets.warehouse.session import warehouse

    with warehouse().session(read_only=True) as session:
        explanation = explanations.explain(session, customer, parse_month(month, "MONTH") if month else None)
    if explanation.customer_id != customer:
        terminal.say(f"There is no customer {customer!r}; this is {explanation.customer_id}.")
    terminal.say(explanations.render(explanation))
    return 0


@segmentation.command()
@click.option("--set", "changes", default="", metavar="CHANGES",
              help="Changed bounds, as Declining.spend_change_pct=-25,churn_prevention.cap=500.")  # fmt: skip
@click.option("--rules", default="", metavar="FILE", help="A YAML file whose rules are taken instead of today's.")
@click.option("--month", default="", help="One published month; the newest if nothing is given.")
@click.option("--first", default="", help="First month of a range.")
@click.option("--last", default="", help="Last month of a range.")
@click.option("--calibrate", is_flag=True,
              help="Shares of the last 12 closed months, and what brings each into its band.")  # fmt: skip
def what_if(changes: str, rules: str, month: str, first: str, last: str, calibrate: bool) -> int:
    """Compute under changed rules, publish nothing.

    For one month or a range of them, published or not; the newest published one if none is given.
    """
    from segmentation_assets.cli import terminal
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.rules.edits import WhatIfError, is_changed
    from segmentation_assets.warehouse.session import warehouse
    from segmentation_assets.what_if import calibration, compute, tables

    if month and (first or last):
        raise WhatIfError(f"MONTH is {month!r}, and FROM or TO is given too; give one month or a range.")
    started = time.monotonic()
    typed = (changes, rules, month or first, month or last)
    names = "MONTH MONTH" if month else "FROM TO"
    if calibrate:
        terminal.say("Computing the shares that the rules give, month by month ...")
        with terminal.working("Computing ..."):
            calibrated = calibration.calibrate(Project.load(), warehouse(), *typed, names=names)
        terminal.say()
        terminal.say(tables.render_calibration(calibrated))
        terminal.say(f"Done in {time.monotonic() - started:.0f} s; nothing was published or changed.")
        return 0
    terminal.say("Computing months with changed rules, beside what is published ...")
    with terminal.working("Computing ..."):
        months = compute.compute(Project.load(), warehouse(), *typed, names=names)
    terminal.say()
    terminal.say(tables.render(months))
    done = f"Done in {time.monotonic() - started:.0f} s; nothing was published or changed. Next:"
    write = "write the change into dbt_models/dbt_project.yml (or the file of SEGMENTATION_RULES) and run"
    terminal.say(f"{done} {write if is_changed(changes, rules) else 'run'} make month MONTH=...")
    return 0


@segmentation.command()
@click.option("--from", "schema", default="", metavar="SCHEMA",
              help="Write a first mapping of a schema's tables instead, by guessing.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def check_source(schema: str, as_json: bool) -> int:
    """Say what keeps a star schema from being published.

    Columns and what they are mapped to, statuses, categories, customers, days, and the shares that the rules would
    give. Exit code 1 where a month could not be computed.
    """
    from segmentation_assets.cli import source

    return source.write_mapping(schema) if schema else source.check(as_json=as_json)


@segmentation.command()
@click.argument("month")
@click.argument("audit")
@click.option("--segment", default="", help="Only this segment's failure of the audit.")
@click.option("--who", required=True, help="Who accepts it; kept with the month.")
@click.option("--why", required=True, help="The reason; kept with the month.")
def accept(month: str, audit: str, segment: str, who: str, why: str) -> int:
    """Accept a MONTH's failed AUDIT as it was measured.

    Another measured value has to be accepted again.
    """
    from segmentation_assets.cli import terminal
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.months import parse_month
    from segmentation_assets.publication import acceptances, migration
    from segmentation_assets.warehouse.catalog import table_exists
    from segmentation_assets.warehouse.session import warehouse

    asked = parse_month(month, "MONTH")
    with warehouse().session(read_only=True) as session:
        if not table_exists(session, session.silver, "segment_audits"):
            raise acceptances.AcceptanceError(f"Nothing has been audited yet: make month MONTH={asked} does.")
    migration.bring_up_to_date(warehouse(), Project.load())
    with warehouse().session() as session:
        accepted = acceptances.accept(session, asked, audit, segment or None, who, why)
    terminal.say(accepted)
    terminal.say(f"Next: make month MONTH={asked} publishes it, unless the measured value has changed.")
    return 0


@segmentation.command()
@click.argument("to")
def snapshot(to: str) -> int:
    """Copy the published tables to the DuckDB file TO."""
    from segmentation_assets.assets import outcomes, program
    from segmentation_assets.cli import terminal
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.errors import WarehouseError
    from segmentation_assets.publication import reader_copy
    from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
    from segmentation_assets.warehouse.session import warehouse

    found, path = warehouse(), Path(to).expanduser().absolute()
    if not isinstance(found, DuckDBWarehouse):
        raise WarehouseError("SEGMENTATION_TARGET is 'snowflake', where everybody may read while a run writes.")
    with terminal.working(f"Copying to {path} ..."):
        outcomes_tables = {one.NAME: one.NAMES for one in (outcomes, program)}
        copied = reader_copy.take(found, path, Project.load(), outcomes_tables)
    terminal.say(f"{copied} tables and views are in {path}. Open it read-only; a reader keeps the file it has opened.")
    return 0


@segmentation.command()
@click.option("--customer", default="", help="The customer_id.")
@click.option("--file", default="", help="A file with one customer_id a line, or a CSV file with them in front.")
def erase(customer: str, file: str) -> int:
    """Remove people from all that this pipeline wrote.

    Tables, stored failures, export files, copies for readers, reports, Dagster's storage and logs. Published totals
    stay, and nobody comes back by a backfill. Killed on its way, it completes when it is typed again.
    """
    from segmentation_assets.assets import outcomes, program
    from segmentation_assets.cli import terminal
    from segmentation_assets.cli.home import dagster_home, dagster_instance
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.privacy.erase import asked
    from segmentation_assets.privacy.erase import erase as erase_people
    from segmentation_assets.warehouse.session import warehouse

    customers = asked(customer, file)
    project = Project.load()
    further = {one.NAME: one.NAMES for one in (outcomes, program)}
    with dagster_instance(dagster_home()) as instance:
        done = erase_people(project, warehouse(project.settings), customers, terminal.say, instance, further)
    terminal.say("\n".join(done.lines()))
    return 0


@segmentation.command()
@click.argument("month")
def evidence(month: str) -> int:
    """Write the evidence pack of a published MONTH.

    One file beside the month's report: version, rules, audits, acceptances, exports, and how to rebuild it.
    """
    from segmentation_assets.cli import terminal
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.exports.store import ExportStore
    from segmentation_assets.months import parse_month
    from segmentation_assets.privacy import evidence as packs
    from segmentation_assets.warehouse.session import warehouse

    project = Project.load()
    store = ExportStore(project.settings.export_uri)
    with warehouse(project.settings).session(read_only=True) as session:
        terminal.say(packs.write(session, project, store, parse_month(month, "MONTH")))
    return 0


@segmentation.command()
def personal_data() -> int:
    """Print what is held of a person, and where.

    Every table, file and store: what it holds, why, for how long, and who may read it.
    """
    from segmentation_assets.cli import terminal
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.privacy import register

    terminal.say("\n".join(register.lines(register.register(Project.load()))))
    return 0


AS_THEY_ARE = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@segmentation.command(context_settings=AS_THEY_ARE)
@click.option("--month", default="", help="The month; the newest published one if nothing is given.")
@click.option("--first", default="", help="First month of a range.")
@click.option("--last", default="", help="Last month of a range.")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="DBT_ARGUMENTS...")
def dbt(month: str, first: str, last: str, arguments: tuple[str, ...]) -> int:
    """Run dbt under this project's rules and months.

    What follows is dbt's own, as it is: segmentation dbt --month 2025-11 build --select hero_metrics
    """
    from segmentation_assets.cli.dbt import run_dbt
    from segmentation_assets.months import MonthError, MonthRange, parse_month

    if month and (first or last):
        raise MonthError(f"--month is {month!r}, and --first or --last is given too; give one month or a range.")
    if bool(first) != bool(last):
        raise MonthError(f"{'--last' if first else '--first'} is missing; a range has both.")
    if month or first:
        asked = MonthRange(
            parse_month(month or first, "--month" if month else "--first"), parse_month(month or last, "--last")
        )
        return run_dbt(arguments, asked)
    return run_dbt(arguments, None)


@segmentation.command()
@click.argument("folder")
def dbt_project(folder: str) -> int:
    """Write the dbt project of the rules into FOLDER.

    With the models of the campaigns, for plain dbt and for the packages of another project.
    """
    from segmentation_assets.cli import terminal
    from segmentation_assets.dbt.generated import write_for_others
    from segmentation_assets.dbt.project import Project

    to = Path(folder).expanduser().absolute()
    write_for_others(Project.load().files, to)
    terminal.say(f"The project is in {to}. Write it again after a change of the rules, and after an upgrade.")
    return 0


@segmentation.command(context_settings=AS_THEY_ARE)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="MF_ARGUMENTS...")
def mf(arguments: tuple[str, ...]) -> int:
    """Ask the published metrics with MetricFlow.

    What follows is mf's own, as it is: segmentation mf query --metrics customers --group-by metric_time__month
    """
    from segmentation_assets.cli.dbt import run_metricflow

    return run_metricflow(arguments)


@segmentation.command()
def semantic_view() -> int:
    """Print the metrics as a semantic view of Snowflake's."""
    import json

    from segmentation_assets.cli import terminal
    from segmentation_assets.dbt import semantic_view as view
    from segmentation_assets.dbt.project import Project

    project = Project.load()
    definitions = json.loads(project.manifest_path.with_name("semantic_manifest.json").read_text(encoding="utf-8"))
    settings = project.settings
    database = settings.snowflake.database if settings.target == "snowflake" else ""
    terminal.say(view.ddl(definitions, database=database).rstrip())
    return 0


@segmentation.command()
def rules_schema() -> int:
    """Print the JSON schema of a rules file, for editors."""
    from segmentation_assets.cli import terminal
    from segmentation_assets.rules.json_schema import rules_schema_text

    terminal.say(rules_schema_text().rstrip())
    return 0


@segmentation.command()
@click.option("--list", "listed", is_flag=True, help="Name what is ours, with what removes it.")
def uninstall(listed: bool) -> int:
    """Name every table, schema and file of this pipeline's.

    Nothing is removed: what is printed removes it, and can be read first.
    """
    from segmentation_assets.cli import belongings, terminal
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.errors import UserError
    from segmentation_assets.warehouse.session import warehouse

    if not listed:
        raise UserError(
            "uninstall removes nothing by itself: uninstall --list names what is ours, and what removes it."
        )
    project = Project.load()
    for line in belongings.lines(project, warehouse(project.settings)):
        terminal.say(line)
    return 0


@segmentation.command()
@click.option("--port", default="", help=f"Of 127.0.0.1; {UI_PORT} if none is given.")
def ui(port: str) -> int:
    """Dagster on http://127.0.0.1:3000, or another port."""
    from segmentation_assets.cli import terminal
    from segmentation_assets.cli.home import dagster_home
    from segmentation_assets.errors import SettingsError
    from segmentation_assets.settings import Settings, anchor_paths, set_variable, variable

    if port and (not re.fullmatch("[0-9]{1,5}", port) or not 1 <= int(port) <= 65535):
        raise SettingsError(f"PORT is {port!r}; it has to be a whole number from 1 to 65535, as 3001.")
    number = int(port or UI_PORT)
    if _is_taken(number):
        raise SettingsError(
            f"Port {number} of 127.0.0.1 is in use: end what listens there, perhaps another make ui, or take another"
            f" one: make ui PORT={number + 1 if number < 65535 else UI_PORT}."
        )
    address = f"http://127.0.0.1:{number}"
    # This deployment is the person's own.
    if not variable("SEGMENTATION_AUTOSTART"):
        set_variable("SEGMENTATION_AUTOSTART", "1")
    home = dagster_home()
    # Dagster lets the .env of the folder it runs in override the environment. It was read already, so that what the
    # environment had holds: Dagster runs where there is none.
    anchor_paths(Settings.from_environment())
    set_variable("SEGMENTATION_UI_URL", address, unless_set=True)  # where the links in alerts lead
    os.chdir(home)
    terminal.say(f"Dagster on {address} (stop with Ctrl-C)")
    dagster_dev = ["-m", "segmentation_assets.ui.development", "-m", "segmentation_assets.definitions"]
    os.execvp(sys.executable, [sys.executable, *dagster_dev, "-h", "127.0.0.1", "-p", str(number)])


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; what a person can put right is one line on stderr. Without arguments, those of the process, which
    ends as a shell expects of one that a signal ended."""
    if arguments is not None:
        return _main(list(arguments))
    from segmentation_assets.cli.interrupts import interrupts, leave
    from segmentation_assets.private import keep_to_owner

    try:
        with interrupts.heard():
            keep_to_owner()
            code = _main(None)
    except BaseException:
        # Whatever was raised on the way out of an interrupted command, the signal is why.
        if not interrupts.code:
            raise
        code = interrupts.code
    if interrupts.code:
        interrupts.end()
    if code:
        leave(code)
    return code


def _main(arguments: list[str] | None) -> int:
    from segmentation_assets.cli import mishaps, terminal

    logging.getLogger("segmentation_assets.warehouse.duckdb").addHandler(terminal.waits)
    try:
        return segmentation.main(arguments, prog_name="segmentation", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return MISTAKEN
    except click.UsageError as error:
        asked = error.ctx.command_path if error.ctx else "segmentation"
        terminal.error(f"{error.format_message()} (see {asked} --help)")
        return MISTAKEN
    except click.Abort:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort of the process: a line, and the traceback in the log
        if isinstance(error, _user_error()):
            # dbt's own words of a full disk, where a view is made before the run.
            mishap = mishaps.explained_text(str(error)) if type(error).__name__ == "DbtRunError" else None
            if mishap:
                terminal.complain(mishap)
                return FAILED
            terminal.error(str(error))
            return MISTAKEN
        terminal.error(mishaps.explained(error) or mishaps.unforeseen(error))
        return FAILED


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _user_error() -> type[Exception]:
    """Imported where one has been raised: beside it stands Dagster, which takes two seconds."""
    from segmentation_assets.errors import UserError

    return UserError
