"""Fails runs whose process is gone, which Dagster would call STARTED for ever.

A run holds a locked file while it executes. The operating system frees the lock however the process ends: by kill -9,
by a power-off, by a container that goes away. A process id is given to somebody else after a restart, and a heartbeat
takes a suspended laptop or a long statement for a death; a lock does neither. It says nothing about another machine, so
a run that names another one is left to Dagster's `max_runtime_seconds`.
"""

import gc
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import dagster as dg
from filelock import FileLock, Timeout

MACHINE = "segmentation/machine"
# Between the run's first event and its lock, and between its lock's end and its last event.
QUIET_SECONDS = 60
# Started by code that holds no lock (a notebook's execute_in_process): it may be quiet for long and live.
QUIET_SECONDS_WITHOUT_LOCK = 6 * 3600


def machine() -> str:
    return socket.gethostname()


def lock_path(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / "running" / f"{run_id}.lock"


@contextmanager
def held(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold the run's lock; where Dagster keeps nothing there is nobody to ask for it."""
    if not instance.is_persistent:
        yield
        return
    path = lock_path(instance, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, thread_local=False):
        yield
    path.unlink(missing_ok=True)


class LockHoldingExecutor(dg.Executor):
    """Another executor's execution, with the run's lock held."""

    def __init__(self, inner: dg.Executor) -> None:
        self.inner = inner

    @property
    def retries(self) -> Any:
        return self.inner.retries

    @property
    def step_dependency_config(self) -> Any:
        return self.inner.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        instance, run_id = plan_context.instance, plan_context.dagster_run.run_id
        with held(instance, run_id):
            instance.add_run_tags(run_id, {MACHINE: machine()})
            # What was loaded until now stays: having the garbage collector walk it all again took 1.2 s of a run of 25.
            gc.freeze()
            try:
                yield from self.inner.execute(plan_context, execution_plan)
            finally:
                gc.unfreeze()


@dg.executor(name="in_process", config_schema=cast("Any", dg.in_process_executor.config_schema))
def in_process_with_lock(context: dg.InitExecutorContext) -> dg.Executor:
    """Every step in one process, as dagster's own, and the run's lock held meanwhile."""
    create = dg.in_process_executor.executor_creation_fn
    assert create is not None
    return LockHoldingExecutor(create(context))


def is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun, now: float) -> bool:
    quiet = now - last_event_at(instance, run.run_id)
    on = run.tags.get(MACHINE)
    path = lock_path(instance, run.run_id)
    if on is None and not path.exists():
        return quiet > QUIET_SECONDS_WITHOUT_LOCK
    if (on is not None and on != machine()) or quiet <= QUIET_SECONDS:
        return False
    if not path.exists():
        return True
    try:
        FileLock(path).acquire(timeout=0).lock.release()
    except Timeout:
        return False
    return True


def last_event_at(instance: dg.DagsterInstance, run_id: str) -> float:
    records = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    return records[0].event_log_entry.timestamp if records else 0.0


def fail_dead_runs(
    instance: dg.DagsterInstance, is_ours: Callable[[dg.DagsterRun], bool], now: float | None = None
) -> list[str]:
    """End those of our runs whose process is gone, and free their places; their ids. Others' are left as they are."""
    now = time.time() if now is None else now
    ended: list[str] = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        run = record.dagster_run
        if not is_ours(run) or not is_dead(instance, run, now):
            continue
        # It may have ended between the list and the look at its lock.
        present = instance.get_run_by_id(run.run_id)
        if present is None or present.status != dg.DagsterRunStatus.STARTED:
            continue
        instance.report_run_failed(
            present,
            "The process of this run is gone (power-off, kill -9, or a container that was stopped). What it published"
            " is whole, and the next run of the month puts right whatever else it left.",
        )
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(run.run_id)
    remove_locks_of_finished_runs(instance)
    return ended


def remove_locks_of_finished_runs(instance: dg.DagsterInstance) -> None:
    """Killed runs leave theirs, those that Dagster's own monitoring ended too."""
    for path in lock_path(instance, "").parent.glob("*.lock"):
        run = instance.get_run_by_id(path.stem)
        if run is not None and run.is_finished:
            path.unlink(missing_ok=True)
