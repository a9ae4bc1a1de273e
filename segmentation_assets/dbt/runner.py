"""dbt builds inside the run's own process.

The stock DbtCliResource starts dbt in a process of its own, which costs 17-30 s per call. Here `dbtRunner` runs in a
thread and hands its events, in the JSON that dbt would have printed, to dagster-dbt's own DbtCliInvocation, which turns
them into materialisations and check results. This is the only module that reaches into private parts of dagster-dbt and
dbt; the versions are pinned and tests/warehouse/test_dbt_in_process.py compares its events with the stock resource's.
"""

import json
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import dagster as dg
from dagster_dbt import DbtCliInvocation
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from dagster_dbt.core.dbt_event_iterator import (
    DbtDagsterEventType,
    _fetch_column_metadata,
    _fetch_row_count_metadata,
    _get_dbt_resource_props_from_event,
)
from packaging.version import Version

from segmentation_assets.dbt.lineage import known_lineage
from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.dbt.translator import SegmentationTranslator
from segmentation_assets.errors import UserError
from segmentation_assets.months import rollup_vars
from segmentation_assets.settings import variables_set
from segmentation_assets.warehouse.session import Warehouse

_END = object()
# Results come as events. Written to files as well, with the manifest, they take a quarter of a second more.
_EVENTS_ONLY = ("--no-use-colors", "--no-write-json", "--log-level", "none")


class DbtRunError(UserError):
    """What dbt said of a model or a project that failed."""


class _EventStream:
    """What DbtCliInvocation reads as a process's stdout: one JSON line per event, while the build goes on."""

    def __init__(self) -> None:
        self.lines: queue.Queue[object] = queue.Queue()
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        while (line := self.lines.get()) is not _END:
            yield cast("bytes", line)
            self.lines.task_done()

    def wait_until_read(self) -> None:
        while self.lines.unfinished_tasks and not self.closed:
            time.sleep(0.005)

    def __enter__(self) -> "_EventStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed = True


class _DbtThread:
    """dbtRunner in a thread, with the face of the subprocess.Popen that DbtCliInvocation expects."""

    def __init__(self, arguments: Sequence[str], manifest_file: Path) -> None:
        self.args = ["dbt", *arguments]
        self.stdout = _EventStream()
        self.returncode: int | None = None
        self._arguments = list(arguments)
        self._manifest_file = manifest_file
        self._on_event: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="dbt", daemon=True)

    def on_event(self, callback: Callable[[], None]) -> None:
        self._on_event = callback

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        from dbt.cli.main import dbtRunner
        from dbt.contracts.graph.manifest import Manifest
        from dbt_common.events.base_types import EventMsg
        from dbt_common.events.functions import msg_to_dict

        def publish(event: EventMsg) -> None:
            if event.info.level == "debug":
                return
            message = msg_to_dict(event)  # zeros and empty texts included, as in the lines of `dbt --log-format json`
            self._on_event()
            self.stdout.lines.put(json.dumps({"info": message["info"], "data": message.get("data", {})}).encode())

        try:
            # Read afresh for every build: compiling writes the SQL into the manifest's nodes.
            manifest = Manifest.from_msgpack(self._manifest_file.read_bytes())
            manifest.build_flat_graph()  # what macros see as `graph`; parsing would have made it
            result = dbtRunner(manifest=manifest, callbacks=[publish]).invoke(self._arguments)
            self.returncode = 0 if result.success else 1
            if result.exception is not None:
                self._tell(str(result.exception))
        except BaseException as error:  # noqa: BLE001 - told through the stream, as a process would
            self.returncode = 2
            self._tell(f"{type(error).__name__}: {error}")
        finally:
            self.stdout.lines.put(_END)

    def _tell(self, text: str) -> None:
        info = {"level": "error", "msg": text, "name": "MainEncounteredError", "invocation_id": ""}
        self.stdout.lines.put(json.dumps({"info": info, "data": {}}).encode())

    def wait(self, timeout: float | None = None) -> int:
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return cast("int", self.returncode)

    def send_signal(self, number: int) -> None:
        """An interrupted run cancels the statement under way; dbt then ends by itself."""
        del number
        from dbt.adapters.factory import FACTORY

        for adapter in cast("list[Any]", list(FACTORY.adapters.values())):
            adapter.cancel_open_connections()


class InProcessDbt(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """Runs `dbt build` for the selected assets of a run."""

    column_lineage: bool = True  # read from the SQL of each model, for about half a second each

    @contextmanager
    def build(
        self,
        context: dg.AssetExecutionContext,
        warehouse: Warehouse,
        months: tuple[date, date],
        translator: SegmentationTranslator,
        *,
        extra: Sequence[str] = (),
        variables: Mapping[str, Any] | None = None,
    ) -> Iterator[DbtCliInvocation]:
        """`dbt build` of what the run selected, for the months from the first to the last, both included. `variables`
        are further ones that models read when they run.

        Stream the invocation inside the `with`: the DuckDB file is locked there, and its connections are closed after.
        """
        selected = get_updated_cli_invocation_params_for_context(context, {}, translator)
        project = translator.project
        artifacts = (
            project.target_dir / "runs" / f"{context.op_execution_context.op_handle.name}-{context.run.run_id[:8]}"
        )
        month_vars = {
            "first_month": str(months[0]),
            "last_month": str(months[1]),
            "run_id": context.run.run_id,
            "run_date": str(date.today()),
            **rollup_vars(context.run.tags),
            **(variables or {}),
        }
        arguments = [
            *_EVENTS_ONLY, "build", *project.arguments(artifacts), *project.vars_arguments(month_vars),
            "--exclude-resource-type", "unit_test", *selected.selection_args, *extra,
        ]  # fmt: skip
        # `buildable`: a test runs with the last of the models it reads, not with each of them.
        selection = {"DBT_INDIRECT_SELECTION": selected.indirect_selection or "buildable"}
        with warehouse.exclusive(), project.environment(), variables_set(selection):
            from dbt.adapters.factory import reset_adapters

            reset_adapters()
            process = _DbtThread(arguments, project.manifest_path.with_name("partial_parse.msgpack"))
            invocation = DbtCliInvocation(
                process=cast("subprocess.Popen[bytes]", process),
                manifest=selected.manifest,
                project=selected.dbt_project,
                dagster_dbt_translator=selected.dagster_dbt_translator,
                project_dir=project_dir(),
                target_path=artifacts,
                raise_on_error=True,
                cli_version=Version(version("dbt-core")),
                context=context,
            )
            process.on_event(lambda: _use_adapter(invocation, process.stdout))
            process.start()
            try:
                yield invocation
            finally:
                process.stdout.closed = True
                process.wait()
                _close_connections()
                _prune(artifacts.parent)


def run_models(
    project: Project,
    warehouse: Warehouse,
    select: Sequence[str],
    variables: Mapping[str, object],
    schema_prefix: str,
    artifacts: Path,
) -> None:
    """`dbt run` of models with other rules, in schemas of other names, and outside of any Dagster asset.

    `schema_prefix` is put in front of the schema of every model, never of a source. `variables` replace those of the
    project as far as they are named. Raises DbtRunError.
    """
    from dbt.adapters.factory import reset_adapters
    from dbt.cli.main import dbtRunner

    arguments = [
        *_EVENTS_ONLY, "run", *project.arguments(artifacts),
        *project.vars_arguments({**variables, "schema_prefix": schema_prefix}), "--select", *select,
    ]  # fmt: skip
    with warehouse.exclusive(), project.environment():
        reset_adapters()
        try:
            result = dbtRunner(manifest=_renamed_manifest(project, schema_prefix)).invoke(arguments)
        finally:
            _close_connections()
    if result.exception is not None and not isinstance(result.exception, Exception):
        raise result.exception  # an interrupt, which dbt hands back like an error of its own
    if result.exception is not None:
        raise DbtRunError(str(result.exception).strip() or repr(result.exception)) from result.exception
    if not result.success:
        failed = [one for one in cast("Any", result.result).results if str(one.status) == "error"]
        raise DbtRunError("\n".join(str(one.message).strip() for one in failed) or "a model failed")


def _renamed_manifest(project: Project, schema_prefix: str) -> Any:
    """What parsing with the var schema_prefix would give, without the 5-10 s that it takes: vars become SQL only when a
    model is compiled, but its schema is written down when it is parsed.
    """
    from dbt.contracts.graph.manifest import Manifest

    manifest = Manifest.from_msgpack(project.manifest_path.with_name("partial_parse.msgpack").read_bytes())
    for node in cast("Any", manifest.nodes).values():
        node.schema = f"{schema_prefix}{node.schema}"
        node.relation_name = None  # what the old schema was written into; dbt makes names of the parts
    manifest.build_flat_graph()
    return manifest


def _close_connections() -> None:
    """Frees the DuckDB file, and lets the next build in this process begin with an adapter of its own."""
    from dbt.adapters.factory import FACTORY, reset_adapters

    for adapter in cast("list[Any]", list(FACTORY.adapters.values())):
        adapter.cleanup_connections()
        close = getattr(type(adapter.connections), "close_all_connections", None)
        if close is not None:
            close()
    reset_adapters()


def stream(
    invocation: DbtCliInvocation, *, column_lineage: bool = True, row_counts: bool = True
) -> Iterator[DbtDagsterEventType]:
    """The build's events as they happen, with the metadata of `.fetch_row_counts().fetch_column_metadata()`.

    Those two spin in a loop while they wait for dbt, which in one process takes the interpreter away from it: a build
    of seven models took 20 s instead of 5.
    """
    for event in invocation.stream():
        if isinstance(event, (dg.Output, dg.AssetMaterialization)):
            rows = (_fetch_row_count_metadata(invocation, event) if row_counts else None) or {}
            columns = _column_metadata(invocation, event, with_lineage=column_lineage)
            yield event.with_metadata({**event.metadata, **rows, **columns})
        else:
            yield event


def _column_metadata(
    invocation: DbtCliInvocation, event: dg.Output[Any] | dg.AssetMaterialization, *, with_lineage: bool
) -> dict[str, Any]:
    def fetch(with_column_lineage: bool) -> dict[str, Any]:
        return _fetch_column_metadata(invocation, event, with_column_lineage=with_column_lineage) or {}

    if not with_lineage:
        return fetch(False)

    model = model_of(invocation, event)
    # Kept beside the manifest, which the translator's project has.
    lineage = cast("SegmentationTranslator", invocation.dagster_dbt_translator).project.manifest_path.with_name(
        "lineage"
    )
    compiled = invocation.target_path.joinpath("compiled", model["package_name"], model["original_file_path"])
    return dict(known_lineage(lineage, model["name"], compiled, fetch))


def model_of(invocation: DbtCliInvocation, event: dg.Output[Any] | dg.AssetMaterialization) -> Mapping[str, Any]:
    """The manifest's entry of the model that an event is about."""
    return _get_dbt_resource_props_from_event(invocation, event)


def build_rows(invocation: DbtCliInvocation) -> Callable[[str], list[dict[str, Any]]]:
    """Queries through the connection of the build under way, which alone may have the DuckDB file open."""

    def rows_of(sql: str) -> list[dict[str, Any]]:
        adapter = cast("Any", invocation.adapter)
        with adapter.connection_named("segmentation_metadata"):
            table = adapter.execute(sql, fetch=True)[1]
        names = [name.lower() for name in table.column_names]
        return [dict(zip(names, row.values(), strict=True)) for row in table.rows]

    return rows_of


def _use_adapter(invocation: DbtCliInvocation, events: _EventStream) -> None:
    """The metadata of columns and rows come through the adapter dbt itself registers when the build begins.

    After the last node, and before it says so in any event, dbt closes every connection of the adapter. The reader may
    be fetching metadata through one of them just then, which DuckDB answers with "connection is busy" and a failed
    build.
    """
    from dbt.adapters.factory import FACTORY

    adapter = cast("Any", next(iter(FACTORY.adapters.values()), None))
    if invocation.adapter is not None or adapter is None:
        return
    close = adapter.cleanup_connections

    def close_when_all_is_read() -> None:
        events.wait_until_read()
        close()

    adapter.cleanup_connections = close_when_all_is_read
    invocation.adapter = adapter


def _prune(runs: Path, keep: int = 20) -> None:
    """The SQL of the last twenty builds is enough to read a failed one."""
    if runs.is_dir():
        for old in sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
