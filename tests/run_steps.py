"""A process that runs the Dagster job: definitions and caches are read from the environment once per process.

Called with a JSON list of steps, it prints one JSON line that says what each did:
    ["run", first, last]    the months of the job, in this process
    ["execute", sql]        a statement on the warehouse
"""

import json
import sys
from typing import Any

import dagster as dg

from segmentation_assets.definitions import build_defs
from segmentation_assets.schedules import monthly_segmentation
from segmentation_assets.warehouse import warehouse

MARK = "STEPS "


def run(definitions: dg.Definitions, instance: dg.DagsterInstance, first: str, last: str) -> dict[str, Any]:
    result = definitions.resolve_job_def(monthly_segmentation).execute_in_process(
        instance=instance,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
        raise_on_error=False,
    )
    failures = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    return {
        "success": result.success,
        "run_id": result.run_id,
        "failed_steps": {
            event.step_key: str(getattr(event.event_specific_data, "user_failure_data", None) or event.message)
            for event in failures
        },
        "failed_checks": [
            evaluation.check_name
            for event in result.all_events
            if event.event_type_value == "ASSET_CHECK_EVALUATION"
            for evaluation in [event.asset_check_evaluation_data]
            if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
        ],
        "published": published(),
    }


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


def main() -> None:
    definitions, instance = build_defs(), dg.DagsterInstance.ephemeral()
    told: list[dict[str, Any]] = []
    for kind, *arguments in json.loads(sys.argv[1]):
        if kind == "run":
            told.append(run(definitions, instance, *arguments))
        else:
            with warehouse().session() as session:
                session.execute(*arguments)
            told.append({})
    sys.stdout.write("\n" + MARK + json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
