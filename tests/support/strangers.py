"""What another project may have in the same Dagster instance: runs and ticks by any name, in its own code location."""

import time

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id
from dagster_shared.error import SerializableErrorInfo

from segmentation_assets.automation.own_runs import Location

REPOSITORY = "__repository__"


def location(name: str) -> Location:
    return Location(name, REPOSITORY)


def _repository(name: str) -> RemoteRepositoryOrigin:
    target = LoadableTargetOrigin(module_name=name)
    return RemoteRepositoryOrigin(ManagedGrpcPythonEnvCodeLocationOrigin(target, name), REPOSITORY)


def add_run(
    instance: dg.DagsterInstance,
    code_location: str,
    status: dg.DagsterRunStatus,
    job: str = "monthly_segmentation",
    assets: frozenset[dg.AssetKey] | None = None,
) -> dg.DagsterRun:
    """Of November 2025, as the daemon or the UI starts one; without events, so that it was quiet since ever."""
    run = dg.DagsterRun(
        job,
        run_id=make_new_run_id(),
        status=status,
        tags={"dagster/partition": "2025-11-01"},
        asset_selection=assets,
        remote_job_origin=_repository(code_location).get_job_origin(job),
    )
    instance.add_run(run)
    return run


def add_failed_tick(instance: dg.DagsterInstance, code_location: str, sensor: str) -> None:
    origin = _repository(code_location).get_instigator_origin(sensor)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    instance.add_instigator_state(state)
    instance.create_tick(
        TickData(
            origin.get_id(),
            sensor,
            InstigatorType.SENSOR,
            TickStatus.FAILURE,
            time.time(),
            error=SerializableErrorInfo(f"{code_location} cannot be reached", [], "Error"),
            selector_id=state.selector_id,
        )
    )
