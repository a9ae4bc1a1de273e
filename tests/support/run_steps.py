"""A process that runs the Dagster job: definitions and caches are read from the environment once per process.

It loads the graph, then reads steps from its input, one JSON object a line, and answers each with a line that says what
it did:
    {"do": "run", "first": ..., "last": ..., "selection": ..., "variables": {...}, "network_seconds": ...}
    {"do": "execute", "sql": ...}    a statement on the warehouse
    {"do": "dbt", "arguments": [...], "vars": {...}}    as plain dbt, which passes no rules of its own
    {"do": "what if", "changes": ..., "first": ..., "last": ...}    its tables
    {"do": "erase", "customers": [...]}    what was removed where, in counts
    {"do": "outdated"}    what `make restate` finds, and what it says of versions
`selection` is one of SELECTIONS or a list of asset keys, `variables` hold for that step only.
"""

import json
import os
import sys
import traceback
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from segmentation_assets.assets.checks import CANDIDATE
from segmentation_assets.automation.jobs import monthly_segmentation
from segmentation_assets.cli.dbt import dbt_environment, parsed
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import InProcessDbt
from segmentation_assets.definitions import build_defs
from segmentation_assets.months import month_after
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.privacy.erase import erase
from segmentation_assets.publication import audits, restatements
from segmentation_assets.warehouse.session import Session, Warehouse, warehouse
from segmentation_assets.warehouse.snowflake import SnowflakeWarehouse
from segmentation_assets.what_if import compute as what_if
from segmentation_assets.what_if import tables as what_if_tables
from segmentation_assets.what_if.calibration import calibrate
from tests.support.recording_emulator import as_an_account_is_asked, recorded

MARK = "STEP "
RECORD = "SEGMENTATION_TEST_RECORD"  # the file of tests/support/recording_emulator.py
# Without the tests of the models, which the first run has shown to run.
MODELS = dg.AssetSelection.groups("staging", "metrics", "segments_candidate", "segments_published").without_checks()
SELECTIONS = {
    "models": MODELS,
    "models and audits": MODELS
    | dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey(CANDIDATE), audit.name) for audit in audits.AUDITS)),
}
# A statement the emulator cannot answer is sent again until then.
NETWORK_SECONDS = 120


def run(instance: dg.DagsterInstance, step: dict[str, Any]) -> dict[str, Any]:
    wanted = step.get("selection")
    limited = SnowflakeWarehouse(login_seconds=15, network_seconds=step.get("network_seconds", NETWORK_SECONDS))
    # Lineage is read from the same SQL every time: once is enough to show that it can be.
    definitions = build_defs(resources={"warehouse": limited, "dbt": InProcessDbt(column_lineage=wanted is None)})
    if wanted is None:
        job = definitions.resolve_job_def(monthly_segmentation)
    else:
        selection = (
            SELECTIONS[wanted]
            if isinstance(wanted, str)
            else dg.AssetSelection.assets(*map(dg.AssetKey, wanted)).without_checks()
        )
        part = dg.define_asset_job(
            "part", selection=selection, executor_def=dg.in_process_executor, partitions_def=monthly_partitions()
        )
        definitions = dg.Definitions.merge(definitions, dg.Definitions(jobs=[part]))
        job = definitions.resolve_job_def("part")
    result = job.execute_in_process(
        instance=instance,
        tags={"dagster/asset_partition_range_start": step["first"], "dagster/asset_partition_range_end": step["last"]},
        raise_on_error=False,
    )
    failures = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    evaluations = result.get_asset_check_evaluations()
    return {
        "success": result.success,
        "run_id": result.run_id,
        "materialized": sorted(
            {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}
        ),
        "failed_steps": {event.step_key: told(event.step_failure_data) for event in failures},
        "checks": len(evaluations),
        "failed_checks": [
            evaluation.check_name
            for evaluation in evaluations
            if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
        ],
    }


def told(failure: Any) -> str:
    """What a person reads of a failed step: the description of a dg.Failure, or the error at the root."""
    if failure.user_failure_data:
        return str(failure.user_failure_data.description)
    error = failure.error
    while error.cause:
        error = error.cause
    return str(error.message)


def published() -> list[list[str]]:
    """Per month: rows and money of the history, and the newest version in the log."""
    with warehouse().session() as session:
        rows = session.rows(
            """
            select history.snapshot_month, count(*) as n, cast(sum(lifetime_value) as decimal(38, 2)) as money,
                max(log.version) as version
            from gold.customer_segment_history as history
            left join (select snapshot_month, max(version) as version from gold.segment_publications group by 1) as log
                on history.snapshot_month = log.snapshot_month
            group by history.snapshot_month order by 1
            """
        )
    return [[str(value) for value in row.values()] for row in rows]


def tables_of_what_if(on: Warehouse, changes: str, first: date, last: date) -> list[str]:
    """And of a calibration that begins two months before `first`, which nobody has published."""
    names = ("segments", "migrations", "audiences")
    months = what_if.compute(Project.load(), on, changes, "", str(first), str(last))
    calibrated = calibrate(Project.load(), on, changes, "", str(month_after(first, -2)), str(last))
    return [
        *(what_if_tables.markdown(months, name) for name in names),
        what_if_tables.markdown_notes(months),
        *what_if_tables.markdown_calibration(calibrated).values(),
    ]


def of_restatements(session: Session) -> list[str]:
    found = restatements.find(session)
    return [
        *(found.message() if found else ()),
        *restatements.facts_of_nobody(session),
        *restatements.changes(session, {}),
    ]


def plain_dbt(arguments: list[str], variables: dict[str, Any]) -> dict[str, Any]:
    from dbt.cli.main import dbtRunner

    project, said = Project.load(), []
    with dbt_environment(project, project.dbt_dir, project.target_dir):
        result = dbtRunner(manifest=parsed(project), callbacks=[lambda event: said.append(event.info.msg)]).invoke(
            ["--log-level", "none", *arguments, "--vars", json.dumps({"rules_are_passed": False, **variables})]
        )
    return {"success": result.success, "said": "\n".join([*said, str(result.exception or "")])}


def answer(instance: dg.DagsterInstance, step: dict[str, Any]) -> dict[str, Any]:
    if step["do"] == "execute":
        with warehouse().session() as session:
            session.execute(step["sql"])
        return {}
    if step["do"] == "dbt":
        return plain_dbt(step["arguments"], step["vars"])
    if step["do"] == "what if":
        first, last = (date.fromisoformat(step[name]) for name in ("first", "last"))
        return {"tables": tables_of_what_if(warehouse(), step["changes"], first, last)}
    if step["do"] == "outdated":
        with warehouse().session(read_only=True) as session:
            return {"said": of_restatements(session)}
    if step["do"] == "erase":
        done = erase(Project.load(), warehouse(), step["customers"])
        dies = done.tables.last_copy_dies
        said = "\n".join(done.lines())
        return {
            "rows": done.tables.rows, "last_copy_dies": dies and str(dies), "said": said, "published": published(),
        }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in step.get("variables", {}).items():
            patch.setenv(name, value)
        before = asked_so_far()
        done = run(instance, step)
        asked = asked_so_far()[len(before) :]
    return {**done, "asked": counted(asked), "published": published()}


def asked_so_far() -> list[dict[str, Any]]:
    """What the server has written down; nothing where none does."""
    record = os.environ.get(RECORD)
    return recorded(Path(record)) if record else []


def counted(asked: list[dict[str, Any]]) -> dict[str, int]:
    """How many logins, and statements as an account would get them; of these how many look into INFORMATION_SCHEMA, and
    how many are data tests."""
    statements = as_an_account_is_asked(asked)
    return {
        "logins": sum(line["asked"] == "login" for line in asked),
        "statements": len(statements),
        "on information_schema": sum("information_schema" in sql for sql in statements),
        "tests": sum("should_warn" in sql for sql in statements),
    }


def main() -> None:
    # While the caller makes the data: what the first step would import.
    import dagster_snowflake  # noqa: F401  # pyright: ignore[reportUnusedImport]
    import dbt.adapters.snowflake
    import dbt.cli.main  # noqa: F401

    build_defs()
    instance = dg.DagsterInstance.ephemeral()
    for line in sys.stdin:
        try:
            done = answer(instance, json.loads(line))
        except Exception:  # noqa: BLE001 - the test that asked shows it
            done = {"error": traceback.format_exc()}
        sys.stdout.write("\n" + MARK + json.dumps(done) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
