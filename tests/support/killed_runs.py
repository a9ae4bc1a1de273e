"""A process that forks runs of the pipeline which kill themselves, or are killed, with SIGKILL.

It loads the graph once, then reads one JSON object a line and runs each in a child with a process group of its own:
    {"folder": ..., "first": ..., "last": ..., "fault": {...} | null, "seconds": ... | null, "command": true | false}
`folder` holds the DuckDB file, DAGSTER_HOME and the exports. `fault` names the moment at which the child kills its
whole group; `seconds` lets this process do it after so long. With `command` the child is `segmentation month`; else it
is the same job without dbt's tests, which write nothing but their failures and take as long as everything else; with
`dbt`, plain dbt of the models and with the arguments and vars that it names; with `arguments`, that command line. The
answer is a line with the child's exit code (-9 where it was killed) and how long it took.

A fault is caused from outside the product: the wrappers below pass everything on, and end the process at one call.
"""

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

MARK = "RUN "
# A run takes half a minute; one that takes this long hangs, and is no kill.
LONGEST_SECONDS = 300
HUNG = 124
# What Python tells its audit hooks of: every way in which a write touches the file system.
TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
TABLES = ("staging", "metrics", "segments_candidate", "segments_published", "audiences", "insights")


def die() -> NoReturn:
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("unreachable")


class Countdown:
    """Ends the process at the `nth` time it is told, or so many milliseconds after it."""

    def __init__(self, nth: int, milliseconds: float | None = None) -> None:
        self.left, self.milliseconds, self.lock = nth, milliseconds, threading.Lock()

    def tell(self) -> None:
        with self.lock:
            self.left -= 1
            if self.left == 0:
                if self.milliseconds is None:
                    die()
                threading.Timer(self.milliseconds / 1000, die).start()


def at_statement(matches: str = "", nth: int = 1, milliseconds: float | None = None) -> None:
    """Before, or so long into, the nth statement that dbt sends and that matches. dbt sends several as one text: they
    are taken apart here, and executed one by one in the same transaction."""
    import duckdb
    from dbt.adapters.duckdb.environments.local import DuckDBCursorWrapper

    execute, pattern, countdown = DuckDBCursorWrapper.execute, re.compile(matches, re.S), Countdown(nth, milliseconds)

    def watched(self: Any, sql: str, bindings: Any = None) -> Any:
        parts = [sql] if bindings is not None else [part.query for part in duckdb.extract_statements(sql)] or [sql]
        result = None
        for part in parts:
            if pattern.search(part):
                countdown.tell()
            result = execute(self, part, bindings)
        return result

    DuckDBCursorWrapper.execute = watched


def at_session(matches: str, nth: int = 1) -> None:
    """Before the nth statement of a session of ours that matches."""
    from segmentation_assets.warehouse.duckdb import DuckDBSession

    execute, pattern, countdown = DuckDBSession.execute, re.compile(matches, re.S), Countdown(nth)

    def watched(self: DuckDBSession, sql: str, parameters: Any = ()) -> None:
        if pattern.search(sql):
            countdown.tell()
        execute(self, sql, parameters)

    DuckDBSession.execute = watched


def at_touch(under: str, nth: int = 1) -> None:
    """Before the nth file or folder below it is opened, renamed, made or removed."""
    countdown = Countdown(nth)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in TOUCHES and str(arguments[0]).startswith(under):
            countdown.tell()

    sys.addaudithook(hook)


def at_metadata(nth: int = 1) -> None:
    """Before the nth time that the columns of a model are asked for; its rows are counted after them."""
    from segmentation_assets.dbt.runner import DbtBuild

    DbtBuild._with_columns = _told(DbtBuild._with_columns, Countdown(nth))


def at_close(nth: int = 1, milliseconds: float = 0) -> None:
    """So long into the nth closing of the DuckDB file, when its log is written into it."""
    from dbt.adapters.duckdb.environments.local import LocalEnvironment

    LocalEnvironment.close = _told(LocalEnvironment.close, Countdown(nth, milliseconds))


def _told(function: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    def told(*arguments: Any, **named: Any) -> Any:
        countdown.tell()
        return function(*arguments, **named)

    return told


FAULTS: dict[str, Callable[..., None]] = {
    "statement": at_statement,
    "session": at_session,
    "touch": at_touch,
    "metadata": at_metadata,
    "close": at_close,
}


def run(asked: dict[str, Any]) -> int:
    folder = Path(asked["folder"])
    os.environ["SEGMENTATION_DUCKDB_PATH"] = str(folder / "segmentation.duckdb")
    os.environ["SEGMENTATION_EXPORT_URI"] = str(folder / "exports")
    os.environ["DAGSTER_HOME"] = str(folder / "home")
    if asked.get("fault"):
        fault = dict(asked["fault"])
        FAULTS[fault.pop("at")](**fault)
    first, last = date.fromisoformat(asked["first"]), date.fromisoformat(asked["last"])
    if asked.get("dbt"):
        from tests.support.warehouse_fixture import Pipeline

        return 0 if Pipeline(folder / "segmentation.duckdb").dbt(first, last, **asked["dbt"])[0] else 1
    from segmentation_assets.cli import commands

    if asked.get("arguments"):
        return commands.main(asked["arguments"])
    if asked.get("command"):
        return commands.main(["month", asked["first"]])
    return run_without_tests(first, last)


def run_without_tests(first: date, last: date) -> int:
    """What `segmentation month` does, of the same assets, without dbt's tests."""
    import uuid
    from dataclasses import replace

    import dagster as dg

    from segmentation_assets.automation.dead_runs import MACHINE, fail_dead_runs, held, machine
    from segmentation_assets.automation.own_runs import OwnRuns
    from segmentation_assets.cli.home import dagster_home, dagster_instance
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.definitions import build_defs
    from segmentation_assets.months import MonthRange

    groups = dg.AssetSelection.groups
    part = dg.define_asset_job(
        "part",
        selection=groups(*TABLES).without_checks() | groups("activation"),
        executor_def=dg.in_process_executor,
    )
    definitions = dg.Definitions.merge(build_defs(), dg.Definitions(jobs=[part]))
    own_runs = replace(OwnRuns.of_commands(Project.load().portfolio), jobs=frozenset({part.name}))
    run_id, months = str(uuid.uuid4()), MonthRange(first, last)
    with dagster_instance(dagster_home()) as instance, held(instance, run_id):
        fail_dead_runs(instance, own_runs.owns)
        result = definitions.resolve_job_def("part").execute_in_process(
            instance=instance,
            partition_key=months.partition_key,
            run_id=run_id,
            tags={MACHINE: machine(), **own_runs.portfolio.tags, **months.run_tags()},
            raise_on_error=False,
        )
    return 0 if result.success else 1


def fork(asked: dict[str, Any]) -> int:
    """The process id of a child that does what is asked and ends."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        log = os.open(Path(asked["folder"]) / "run.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = run(asked)
    except BaseException:  # noqa: BLE001 - told in the log, which the caller shows
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end_of(child: int, seconds: float | None) -> int:
    """Its exit code; it is killed after `seconds`, and as one that hangs when it takes far too long."""
    until = time.monotonic() + (LONGEST_SECONDS if seconds is None else seconds)
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if seconds is not None else HUNG


def main() -> None:
    # What a run would import: loaded once here, and there in every child.
    import dbt.adapters.duckdb
    import dbt.cli.main
    import dbt.contracts.graph.manifest
    import dbt.task.build  # noqa: F401

    from segmentation_assets.dbt.project import Project
    from segmentation_assets.definitions import build_defs

    build_defs(project=Project.load())
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.monotonic()
        code = end_of(fork(asked), asked.get("seconds"))
        sys.stdout.write(f"{MARK}{json.dumps({'code': code, 'took': time.monotonic() - began})}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
