"""One run of the monthly job from the command line: executes it, follows it, and reports what came of it."""

import contextlib
import logging
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

import dagster as dg

from segmentation_assets.assets import star_schema
from segmentation_assets.automation.dead_runs import MACHINE, fail_dead_runs, held, machine
from segmentation_assets.automation.jobs import monthly_segmentation
from segmentation_assets.automation.own_runs import OwnRuns
from segmentation_assets.cli import mishaps, terminal
from segmentation_assets.cli.home import dagster_home, dagster_instance
from segmentation_assets.cli.interrupts import interrupts
from segmentation_assets.cli.progress import PhaseReporter, Phases, plain_name
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import UserError
from segmentation_assets.months import MonthRange, month_after
from segmentation_assets.partitions import check_months
from segmentation_assets.publication import audits, findings, migration, ownership, published
from segmentation_assets.text import counted, listed
from segmentation_assets.warehouse.catalog import table_exists
from segmentation_assets.warehouse.session import Session, warehouse

FINDINGS_SHOWN = 3


@dataclass(frozen=True)
class Outcome:
    """What a run left: why it failed, which checks warned, and which of its tables it did not get to."""

    run_id: str
    failure: str | None  # None: it succeeded
    failed_steps: tuple[str, ...]
    warnings: tuple[str, ...]
    not_made: tuple[str, ...]

    @property
    def came_to_publication(self) -> bool:
        """Then a month without a new version is one that did not change."""
        return "customer_segment_history" not in self.not_made


@dataclass(frozen=True)
class Standing:
    """The versions of the months that were asked for, as the publications log has them."""

    published: Mapping[date, int]  # by this run
    before: Mapping[date, int]  # by an earlier run, and not again by this one
    missing: tuple[date, ...]

    def lines(self, *, came_to_publication: bool) -> list[str]:
        kept = "Published before and unchanged" if came_to_publication else "Published before and as it was"
        return [
            *([f"Published: {versions(self.published)}."] if self.published else []),
            *([f"{kept}: {versions(self.before)}."] if self.before else []),
            *([f"Not published: {ranges(self.missing)}."] if self.missing else []),
        ]


def compute(months: MonthRange, rollup_from: date | None = None, again: str = "") -> int:
    """One run of the monthly job for the months; the exit code.

    `rollup_from` is an earlier month from which on the facts are rolled up anew, `again` the command that repeats it.
    """
    check_months(months)
    project = check_settings()
    log = dagster_home() / mishaps.LOG
    started = time.monotonic()
    again = again or (
        f"make month MONTH={months}" if months.is_single else f"make backfill FROM={months.first} TO={months.last}"
    )
    terminal.say(f"Computing {months} from the source {project.settings.source!r}; the full log is {log}")
    outcome = execute(project, months, rollup_from, log)
    interrupts.check()  # Dagster ends an interrupted run like a failed one
    seconds = time.monotonic() - started
    if outcome.failure is not None:
        report_failure(outcome, seconds)
        report_standing(outcome, months)
        terminal.complain(f"Next: mend the cause, then {again}. Details: make ui")
        return 1
    with warehouse().session(read_only=True) as session:
        standing = read_standing(session, outcome.run_id, months)
        summary = newest_summary(session, months)
    if summary:
        terminal.say()
        show_segments(project, summary)
    report_success(outcome, standing, seconds, project)
    return 0


def report_success(outcome: Outcome, standing: Standing, seconds: float, project: Project | None = None) -> None:
    warned = f" with {counted(len(outcome.warnings), 'warning')}" if outcome.warnings else ""
    terminal.say()
    terminal.say(f"Done{warned} in {seconds:.0f} s{':' if warned else '.'}", "yellow" if warned else "green")
    for warning in outcome.warnings:
        terminal.say(f"  - {warning}")
    for line in standing.lines(came_to_publication=True):
        terminal.say(line)
    newest = max([*standing.published, *standing.before], default="...")
    if project is not None:
        # An address may hold a password.
        uri = project.settings.export_uri
        folder = "(SEGMENTATION_EXPORT_URI)" if "://" in uri else uri
        terminal.say(f"Campaign files: {folder}/<campaign>/{newest}/manifest.json; report: {folder}/reports/{newest}/")
    terminal.say(
        "Next: make ui shows the run, its checks and the lineage;"
        f" make why CUSTOMER=... MONTH={newest} explains one customer."
    )


def report_failure(outcome: Outcome, seconds: float) -> None:
    first, *others = outcome.failed_steps or ("",)
    more = f" and {counted(len(others), 'step')} more" if others else ""
    where = f" in {first}{more}" if first else ""
    terminal.complain(f"\nThe run failed{where} after {seconds:.0f} s.", "red")
    terminal.complain(f"{outcome.failure}\n")
    if outcome.warnings:
        terminal.complain(f"{counted(len(outcome.warnings), 'warning')} besides:")
        for warning in outcome.warnings:
            terminal.complain(f"  - {warning}")


def report_standing(outcome: Outcome, months: MonthRange) -> None:
    """What is published in spite of the failure, and what that month still lacks."""
    try:
        with warehouse().session(read_only=True) as session:
            standing = read_standing(session, outcome.run_id, months)
    except UserError as error:
        terminal.complain(f"What is published cannot be read: {error}")
        return
    for line in standing.lines(came_to_publication=outcome.came_to_publication):
        terminal.complain(line)
    if outcome.came_to_publication and outcome.not_made:
        terminal.complain(f"Did not follow: {listed(list(outcome.not_made), most=12)}.")


def check_settings() -> Project:
    """What a person may have mistyped is told in a line before a run is started, and not as the run's failure."""
    project = Project.load()
    with terminal.working("Reading the rules and the models (in a new clone they are parsed first) ..."):
        ownership.refuse_foreign(warehouse(project.settings), project)
        star_schema.refuse_to_replace(warehouse(project.settings), project.settings)
        migration.bring_up_to_date(warehouse(), project)
    return project


def execute(project: Project, months: MonthRange, rollup_from: date | None, log: Path) -> Outcome:
    """The run. What Dagster, dbt and other libraries say meanwhile goes to `log`, nothing of it to the terminal."""
    run_id = str(uuid.uuid4())
    with (
        log.open("w", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
        dagster_instance(log.parent) as instance,
        held(instance, run_id),
    ):
        with terminal.working("Reading the definitions ..."):
            from segmentation_assets.definitions import build_defs

            log_of_run = RunLog()
            definitions = build_defs(loggers={"run_log": log_of_run.definition()}, project=project)
            job = definitions.resolve_job_def(monthly_segmentation)
            phases = Phases(steps_of(definitions, job))
            fail_dead_runs(instance, OwnRuns.of_commands(project.portfolio).owns)
        with (
            terminal.progress_bar(phases.planned) as show,
            log_of_run.handed_to(file, PhaseReporter(phases, terminal.say, show)),
        ):
            result = job.execute_in_process(
                instance=instance,
                run_config={"loggers": {"run_log": {}}},
                partition_key=months.partition_key,
                run_id=run_id,
                tags={MACHINE: machine(), **months.run_tags(rollup_from)},
                raise_on_error=False,
            )
    events = result.all_events
    failed = (str(event.step_key) for event in events if event.event_type_value == "STEP_FAILURE")
    return Outcome(
        run_id,
        None if result.success else failure_of(events, months),
        tuple(dict.fromkeys(plain_name(step) for step in failed)),
        warnings_of(events, failed=not result.success),
        tuple(key.path[-1] for key in phases.not_made()),
    )


class RunLog:
    """The logger of a run, made before the run is: hands every record on to the handlers of the moment."""

    def __init__(self) -> None:
        self._handlers: list[logging.Handler] = []

    def definition(self) -> dg.LoggerDefinition:
        @dg.logger({}, description="Phases for a person at a terminal, everything for the log file.")
        def run_log(context: dg.InitLoggerContext) -> logging.Logger:
            logger = logging.Logger(f"segmentation.{context.run_id}", level=logging.DEBUG)
            for handler in self._handlers:
                logger.addHandler(handler)
            return logger

        return run_log

    @contextlib.contextmanager
    def handed_to(self, file: TextIO, reporter: PhaseReporter) -> Iterator[None]:
        to_file = logging.StreamHandler(file)
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._handlers = [to_file, reporter]
        try:
            yield
        finally:
            self._handlers = []


def steps_of(definitions: dg.Definitions, job: dg.JobDefinition) -> dict[str, list[dg.AssetKey]]:
    """What each step of the job makes; a step of checks alone makes nothing."""
    made = {
        assets.node_def.name: list(assets.keys)
        for assets in definitions.assets or ()
        if isinstance(assets, dg.AssetsDefinition) and assets.is_executable
    }
    return {node.name: made.get(node.name, []) for node in job.nodes_in_topological_order}


def failure_of(events: Sequence[dg.DagsterEvent], months: MonthRange) -> str:
    """The first failed step's reason in words."""
    failed = next((event for event in events if event.event_type_value == "STEP_FAILURE"), None)
    if failed is None:
        return "The run did not finish."
    data = failed.step_failure_data
    if data.error is not None and data.error.cls_name == "DagsterAssetCheckFailedError":
        with warehouse().session(read_only=True) as session:
            return findings.refusal(audits.month_audits(session, months))
    said = (data.user_failure_data.description if data.user_failure_data else None) or _cause(data.error)
    mishap = mishaps.explained_text(said) if said else None
    if mishap is not None:
        return mishap
    return said.partition("Errors parsed from dbt logs:")[2].strip() or said or "It gave no reason."


def _cause(error: Any) -> str:
    """The innermost error's own words."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else ""


def warnings_of(events: Sequence[dg.DagsterEvent], *, failed: bool) -> tuple[str, ...]:
    """The checks that did not hold and did not stop the run, each by name with what it found."""
    checks: dict[dg.AssetCheckKey, dg.AssetCheckEvaluation] = {}
    for event in events:
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            checks[evaluation.asset_check_key] = evaluation
    return tuple(
        warning(check)
        for check in checks.values()
        if not check.passed
        # A failed run tells of what blocked it as its failure.
        and not (failed and (check.severity == dg.AssetCheckSeverity.ERROR or is_blocking(check)))
    )


def is_blocking(check: dg.AssetCheckEvaluation) -> bool:
    audit = audits.BY_NAME.get(check.check_name)
    return audit is not None and audit.is_blocking


def warning(check: dg.AssetCheckEvaluation) -> str:
    found = findings.from_metadata(check.metadata)
    if found:
        shown = [f"{finding.month} {finding.measurement}" for finding in found[:FINDINGS_SHOWN]]
        more = [f"{len(found) - FINDINGS_SHOWN} more"] if len(found) > FINDINGS_SHOWN else []
        return f"{check.check_name}: {'; '.join([*shown, *more])}"
    said = findings.failed_rows(check.metadata) or " ".join((check.description or "failed").split())
    return f"{check.check_name} on {check.asset_key.path[-1]}: {said}"


def read_standing(session: Session, run_id: str, months: MonthRange) -> Standing:
    newest = published.newest_versions(session, months)
    by_this_run = {month for month, row in newest.items() if row["run_id"] == run_id}
    version = {month: int(row["version"]) for month, row in newest.items()}
    return Standing(
        {month: version[month] for month in version if month in by_this_run},
        {month: version[month] for month in version if month not in by_this_run},
        tuple(month for month in months if month not in newest),
    )


def ranges(months: Sequence[date]) -> str:
    """`2025-01-01 to 2025-03-01, 2025-06-01`: neighbours are joined."""
    found: list[MonthRange] = []
    for month in sorted(months):
        if found and month_after(found[-1].last) == month:
            found[-1] = MonthRange(found[-1].first, month)
        else:
            found.append(MonthRange.single(month))
    return ", ".join(run.label for run in found)


def versions(of: Mapping[date, int]) -> str:
    """`2025-01-01 to 2025-03-01 (version 1), 2025-04-01 (version 2)`."""
    by_version = sorted(of.items(), key=lambda item: (item[1], item[0]))
    groups = [
        (version, [month for month, _ in months]) for version, months in groupby(by_version, key=lambda item: item[1])
    ]
    return ", ".join(f"{ranges(months)} (version {version})" for version, months in groups)


def newest_summary(session: Session, months: MonthRange) -> list[dict[str, Any]]:
    """Of the newest published month among `months`."""
    if not table_exists(session, session.gold, "segment_summary"):
        return []
    return session.rows(
        f"select * from {session.gold}.segment_summary where snapshot_month = (select max(snapshot_month)"
        f" from {session.gold}.segment_summary where snapshot_month >= ? and snapshot_month <= ?)",
        (months.first, months.last),
    )


def show_segments(project: Project, rows: list[dict[str, Any]]) -> None:
    order = {segment.name: number for number, segment in enumerate(project.rules.segments)}
    bands = {one.name: one.expected_share_pct for one in project.rules.segments if one.expected_share_pct}
    rows.sort(key=lambda row: order.get(row["customer_segment"], len(order)))
    terminal.say(terminal.segments_table(rows[0]["snapshot_month"], rows, bands))
