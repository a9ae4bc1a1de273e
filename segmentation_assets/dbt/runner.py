"""dbt builds inside the run's own process.

The stock DbtCliResource starts dbt in a process of its own, which costs 17-30 s per call. Here `dbtRunner` runs in a
thread, and each of its events becomes Dagster's the moment it happens, through dagster-dbt's own public conversion.
tests/warehouse/test_dbt_in_process.py compares what is told with what the stock resource tells.
"""

import logging
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster_dbt import DbtProject
from dagster_dbt.asset_utils import get_updated_cli_invocation_params_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from segmentation_assets.dbt import failed_tests
from segmentation_assets.dbt.lineage import LINEAGE, column_lineage, known_lineage
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.translator import SegmentationTranslator
from segmentation_assets.errors import UserError
from segmentation_assets.months import MonthRange, rollup_vars
from segmentation_assets.private import make_folder, tighten
from segmentation_assets.settings import variables_set
from segmentation_assets.text import without_addresses
from segmentation_assets.warehouse.session import Warehouse

# What dbt's events become.
DagsterEvent = (
    dg.Output[Any] | dg.AssetMaterialization | dg.AssetCheckResult | dg.AssetCheckEvaluation | dg.AssetObservation
)
Model = Mapping[str, Any]  # a model's entry in dbt's manifest
# Of each schema in lower case, the rows of SHOW COLUMNS and SHOW OBJECTS under "columns" and "objects".
Shown = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]

logger = logging.getLogger(__name__)

# Results come as events. Written to files as well, with the manifest, they take a quarter of a second more.
_EVENTS_ONLY = ("--no-use-colors", "--no-write-json", "--log-level", "none")


# Of a node in dbt's words; after any other its session may be inside a transaction.
_ENDED_WELL = frozenset({"success", "pass", "fail", "warn", "skipped"})
# After the events of the last node, whose connections stay open until this is read.
_ALL_NODES_ENDED: dict[str, Any] = {}
MOST_SHOWN = 10_000
# Read by profiles.yml: the nodes of a build share a session of Snowflake's.
ONE_SESSION = {"ONE_SESSION_PER_BUILD": "1"}


class DbtRunError(UserError):
    """What dbt said of a model or a project that failed."""


class _Turns:
    """Lets nodes of dbt wait for the one that asks for many tests at once (macros/dbt_overrides)."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._asker: str | None = None

    def take(self, test: str) -> None:
        """Waits while another one asks."""
        with self._free:
            self._free.wait_for(lambda: self._asker in (None, test))
            self._asker = test

    def give_back(self, test: str) -> None:
        """And of a test that failed to, when its node has ended."""
        with self._free:
            if self._asker == test:
                self._asker = None
                self._free.notify_all()


class _DbtThread:
    """dbtRunner in a thread, and its events as dbt would print them as JSON, above debug level."""

    def __init__(self, arguments: Sequence[str], manifest_file: Path, shown: Shown) -> None:
        self.arguments, self._shown = list(arguments), shown
        self.succeeded = False
        self._manifest_file = manifest_file
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()  # None at the end
        self._is_reading, self._has_ended = False, False
        self._nodes, self._finished = sys.maxsize, 0
        self._turns = _Turns()
        self._made_models: dict[str, bool] = {}
        self._thread = threading.Thread(target=self._run, name="dbt", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def next_event(self) -> dict[str, Any] | None:
        """None at the end. An event counts as read when the next one is asked for."""
        if self._is_reading:
            self._is_reading = False
            self._events.task_done()
        event = self._events.get()
        self._is_reading, self._has_ended = event is not None, event is None
        return event

    def close(self) -> None:
        """Ends it. Where events are left, as after an interrupt, the statements under way are cancelled."""
        while not self._has_ended:
            cancel_statements()
            self.next_event()
        self._thread.join()

    def _run(self) -> None:
        from dbt.cli.main import dbtRunner
        from dbt.contracts.graph.manifest import Manifest

        try:
            # Read afresh for every build: compiling writes the SQL into the manifest's nodes.
            manifest = Manifest.from_msgpack(self._manifest_file.read_bytes())
            manifest.build_flat_graph()  # what macros see as `graph`; parsing would have made it
            # For macros/dbt_overrides/tests_of_a_table.sql.
            manifest.flat_graph["turns_of_tests"] = self._turns
            manifest.flat_graph["made_models"] = self._made_models
            manifest.flat_graph["shown_schemas"] = _as_dbt_shows(self._shown)
            result = dbtRunner(manifest=manifest, callbacks=[self._publish]).invoke(self.arguments)
            self.succeeded = result.success
            if result.exception is not None:
                self._tell(str(result.exception))
        except BaseException as error:  # noqa: BLE001 - told as an event, to the thread that reads them
            self._tell(f"{type(error).__name__}: {error}")
        finally:
            self._events.put(None)

    def _publish(self, event: Any) -> None:
        """Called by dbt, in the thread that says it."""
        from dbt_common.events.functions import msg_to_dict

        if event.info.name == "ConcurrencyLine":
            self._nodes = event.data.node_count
        elif event.info.name == "NodeFinished":
            # After the last node, and before it says so in any event, dbt closes every connection. Whoever reads may be
            # asking for a table's columns through one of them just then, so the last node ends when all is read.
            node, status = event.data.node_info.unique_id, event.data.run_result.status
            self._turns.give_back(node)
            if status == "success":  # what it wrote is committed by now
                self._made_models[node] = True
            if status not in _ENDED_WELL:
                roll_back()
            self._finished += 1
            if self._finished >= self._nodes:
                self._events.put(_ALL_NODES_ENDED)
                self._events.join()
        elif event.info.level != "debug":
            message = msg_to_dict(event)  # zeros and empty texts included, as in the lines of `dbt --log-format json`
            said = {"info": message["info"], "data": message.get("data", {})}
            # An engine quotes the value that a company's SQL cannot be computed of.
            self._events.put(said if event.info.level == "info" else _without_addresses(said))

    def _tell(self, text: str) -> None:
        info = {"level": "error", "msg": without_addresses(text), "name": "MainEncounteredError", "invocation_id": ""}
        self._events.put({"info": info, "data": {}})


def _without_addresses(said: Any) -> Any:
    if isinstance(said, dict):
        return {key: _without_addresses(value) for key, value in cast("dict[str, Any]", said).items()}
    if isinstance(said, list):
        return [_without_addresses(value) for value in cast("list[Any]", said)]
    return without_addresses(said) if isinstance(said, str) else said


def _as_dbt_shows(shown: Shown) -> dict[str, dict[str, Any]]:
    """For macros/dbt_overrides/snowflake_catalogue.sql. Of a schema with more than SHOW tells at once, nothing."""
    from dbt_common.clients.agate_helper import table_from_data_flat

    return {
        schema: {kind: table_from_data_flat(list(rows), list(rows[0])) for kind, rows in kinds.items()}
        for schema, kinds in shown.items()
        if set(kinds) == {"columns", "objects"} and all(0 < len(rows) < MOST_SHOWN for rows in kinds.values())
    }


class DbtBuild:
    """One `dbt build` under way: its events, and the connection that alone may have the DuckDB file open."""

    def __init__(
        self,
        thread: _DbtThread,
        manifest: Mapping[str, Any],
        translator: SegmentationTranslator,
        project: DbtProject | None,
        context: dg.AssetExecutionContext,
        artifacts: Path,
        months: MonthRange,
        *,
        column_lineage: bool,
    ) -> None:
        self._thread, self._manifest, self._translator = thread, manifest, translator
        self._project, self._context, self._artifacts = project, context, artifacts
        self._months, self._column_lineage = months, column_lineage
        self._columns: dict[str, tuple[str, dict[str, Any]]] = {}

    def stream(self) -> Iterator[DagsterEvent]:
        """As they happen. Raises DagsterDbtCliRuntimeError."""
        for events in self.batches(0.0):
            yield from events

    def batches(self, seconds: float) -> Iterator[list[DagsterEvent]]:
        """The events in their order, those together that came within some seconds; those of tables carry columns and
        column lineage, as `.fetch_column_metadata()` adds them.

        That method of the stock stream is not used: it waits for dbt in a loop, which in one process takes the
        interpreter away from it. A build of seven models took 20 s instead of 5. Raises DagsterDbtCliRuntimeError.
        """
        errors: list[str] = []
        held: list[DagsterEvent] = []
        began = time.monotonic()
        for event in iter(self._thread.next_event, None):
            if event is not _ALL_NODES_ENDED:
                held += self._read(event, errors)
            if event is _ALL_NODES_ENDED or time.monotonic() - began >= seconds:
                if held:
                    yield held
                held, began = [], time.monotonic()
        if held:
            yield held
        if errors or not self._thread.succeeded:
            command = " ".join(["dbt", *self._thread.arguments])
            told = (
                f"The dbt command\n\n`{command}`\n\nfailed; the step's stdout in the compute logs has all that it said."
            )
            raise DagsterDbtCliRuntimeError("\n\n".join([told, "Errors parsed from dbt logs:", *errors]))

    def _read(self, event: dict[str, Any], errors: list[str]) -> Iterator[DagsterEvent]:
        """What dbt said, as Dagster's events; what went wrong is added to the errors."""
        said = event["info"]["msg"]
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()
        found = self._failed_test(event)
        if found:
            sys.stdout.write(f"{found}\n")
        if event["info"]["level"] == "error":
            errors.append(found or said)
        for converted in self._converted(event, {}):
            if isinstance(converted, dg.Output):
                yield self._with_columns(event, converted)
            elif isinstance(converted, dg.AssetCheckResult) and found:
                yield converted._replace(description=found)
            else:
                yield converted

    def model_of(self, event: dg.Output[Any]) -> Model:
        """The manifest's entry of the model that an event is about."""
        return self._manifest["nodes"][cast("dg.TextMetadataValue", event.metadata["unique_id"]).text]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with self._adapter() as adapter:
            table = adapter.execute(sql, fetch=True)[1]
        names = [name.lower() for name in table.column_names]
        return [dict(zip(names, row.values(), strict=True)) for row in table.rows]

    def _failed_test(self, event: dict[str, Any]) -> str:
        """What a test that has just failed, or warned, found; nothing of any other event."""
        from dbt_common.exceptions import DbtRuntimeError

        data = event["data"]
        test = self._manifest["nodes"].get(data.get("node_info", {}).get("unique_id"), {})
        if event["info"]["name"] != "LogTestResult" or data.get("status") not in ("fail", "warn") or not test:
            return ""
        try:
            return failed_tests.message(test, self._manifest, self._months, self.rows)
        except DbtRuntimeError as error:
            logger.warning("%s is told without its rows: %s", test["name"], error)
            return ""

    def _converted(self, event: dict[str, Any], columns: dict[str, Any]) -> Iterator[DagsterEvent]:
        yield from DbtCoreCliEventMessage(event, columns).to_default_asset_events(
            manifest=self._manifest,
            dagster_dbt_translator=self._translator,
            context=self._context,
            target_path=self._artifacts,
            project=self._project,
        )

    def _with_columns(self, event: dict[str, Any], output: dg.Output[Any]) -> dg.Output[Any]:
        """The output once more, with its columns. Without them where the warehouse does not say what they are."""
        from dbt_common.exceptions import DbtRuntimeError

        model = self.model_of(output)
        try:
            return output.with_metadata(dict(self._metadata(event, model)))
        except DbtRuntimeError as error:
            logger.warning("%s is shown without its columns: %s", model["name"], error)
            return output

    def _metadata(self, event: dict[str, Any], model: Model) -> Mapping[str, Any]:
        # A monthly table has the columns that it had.
        made_anew = model["config"]["materialized"] not in ("incremental", "log_table")
        columns = self._columns_of(model["unique_id"], made_anew=made_anew)[1]
        (converted,) = self._converted(event, {"columns": columns})
        found = dict(cast("dg.Output[Any]", converted).metadata)
        lineage = self._lineage(model) if self._column_lineage else None
        return found if lineage is None else {**found, LINEAGE: lineage}

    def _lineage(self, model: Model) -> dg.TableColumnLineage | None:
        compiled = self._artifacts.joinpath("compiled", model["package_name"], model["original_file_path"])
        if not compiled.is_file():  # a model in Python, or an ephemeral one
            return None
        sql = compiled.read_text(encoding="utf-8")

        def work_out() -> dg.TableColumnLineage:
            parents = self._manifest["parent_map"].get(model["unique_id"], [])
            # Lists of earlier months are read by models that the lists of this one follow: no parents, but named.
            named = [key for key, node in self._manifest["nodes"].items() if f"{node.get('relation_name')}" in sql]
            read = dict(self._columns_of(entry) for entry in {*parents, *named, model["unique_id"]})
            return column_lineage(
                sql,
                self._manifest["metadata"]["adapter_type"],
                columns=self._columns_of(model["unique_id"])[1],
                read={
                    table: {name: told["data_type"] for name, told in found.items()} for table, found in read.items()
                },
                parents={self._columns_of(parent)[0]: self._key_of(parent) for parent in parents},
            )

        return known_lineage(self._translator.project.lineage_dir, model["name"], sql, work_out)

    def _key_of(self, unique_id: str) -> dg.AssetKey:
        return self._translator.get_asset_spec(self._manifest, unique_id, self._project).key

    def _columns_of(self, unique_id: str, *, made_anew: bool = False) -> tuple[str, dict[str, Any]]:
        """The name of a table and its columns, asked for once in a build, and once more when it was made anew in it."""
        if made_anew or unique_id not in self._columns:
            entry = self._manifest["nodes"].get(unique_id) or self._manifest["sources"][unique_id]
            with self._adapter() as adapter:
                relation = adapter.Relation.create(
                    database=entry["database"],
                    schema=entry["schema"],
                    identifier=entry.get("identifier") or entry["alias"],
                )
                found = _columns_or_none(adapter, relation)
            self._columns[unique_id] = str(relation), {column.name: {"data_type": column.data_type} for column in found}
        return self._columns[unique_id]

    @contextmanager
    def _adapter(self) -> Iterator[Any]:
        """The one that dbt itself registers when the build begins, with a connection for this thread."""
        from dbt.adapters.factory import get_adapter_by_type

        adapter = cast("Any", get_adapter_by_type(self._manifest["metadata"]["adapter_type"]))
        if adapter.type() == "snowflake":  # one session until the build ends
            adapter.acquire_connection("segmentation_metadata")
            yield adapter
            return
        with adapter.connection_named("segmentation_metadata"):
            yield adapter


def _columns_or_none(adapter: Any, relation: Any) -> list[Any]:
    """None of a table that a company may be without, and is."""
    from dbt_common.exceptions import DbtDatabaseError

    try:
        return adapter.get_columns_in_relation(relation)
    except DbtDatabaseError as error:
        if "002003" in str(error):  # does not exist
            return []
        raise


class InProcessDbt(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """Runs `dbt build` for the selected assets of a run."""

    column_lineage: bool = True  # read from the SQL of each model, where it is not known yet

    @contextmanager
    def build(
        self,
        context: dg.AssetExecutionContext,
        warehouse: Warehouse,
        months: MonthRange,
        translator: SegmentationTranslator,
        *,
        extra: Sequence[str] = (),
        variables: Mapping[str, Any] | None = None,
        prepare: Callable[[], Shown] = dict,
    ) -> Iterator[DbtBuild]:
        """`dbt build` of what the run selected, for the months. `variables` are further ones that models read when they
        run. `prepare` is called when nobody else writes; what it says of schemas, dbt does not ask for again.

        Stream the build inside the `with`: the DuckDB file is locked there, and its connections are closed after.
        """
        selected = get_updated_cli_invocation_params_for_context(context, {}, translator)
        project = translator.project
        artifacts = (
            project.target_dir / "runs" / f"{context.op_execution_context.op_handle.name}-{context.run.run_id[:8]}"
        )
        month_vars = {
            **months.dbt_vars(),
            "run_id": context.run.run_id,
            "run_date": str(date.today()),
            **rollup_vars(context.run),
            **(variables or {}),
        }
        arguments = [
            *_EVENTS_ONLY, "build", *project.arguments(artifacts), *project.vars_arguments(month_vars),
            "--exclude-resource-type", "unit_test", *selected.selection_args, *extra,
        ]  # fmt: skip
        # `buildable`: a test runs with the last of the models it reads, not with each of them.
        selection = {"DBT_INDIRECT_SELECTION": selected.indirect_selection or "buildable"}
        settings = variables_set(selection | ONE_SESSION)
        with warehouse.writing(context.run.run_id[:8]), project.environment(), settings:
            shown = prepare()
            close_connections()
            # What dbt leaves of a build may quote values: the SQL of a failed test, the message of an error.
            make_folder(artifacts.parent)
            tighten([artifacts.parent])
            thread = _DbtThread(arguments, project.manifest_path.with_name("partial_parse.msgpack"), shown)
            build = DbtBuild(
                thread,
                selected.manifest,
                translator,
                selected.dbt_project,
                context,
                artifacts,
                months,
                column_lineage=self.column_lineage,
            )
            thread.start()
            try:
                yield build
            finally:
                thread.close()
                close_connections()
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
    from dbt.cli.main import dbtRunner

    arguments = [
        *_EVENTS_ONLY, "run", *project.arguments(artifacts),
        *project.vars_arguments({**variables, "schema_prefix": schema_prefix}), "--select", *select,
    ]  # fmt: skip
    with warehouse.exclusive(), project.environment():
        close_connections()
        try:
            result = dbtRunner(manifest=_renamed_manifest(project, schema_prefix)).invoke(arguments)
        finally:
            close_connections()
    if result.exception is not None and not isinstance(result.exception, Exception):
        raise result.exception  # an interrupt, which dbt hands back like an error of its own
    if result.exception is not None:
        told = without_addresses(str(result.exception).strip() or repr(result.exception))
        raise DbtRunError(told) from result.exception
    if not result.success:
        failed = [one for one in cast("Any", result.result).results if str(one.status) == "error"]
        told = without_addresses("\n".join(str(one.message).strip() for one in failed))
        raise DbtRunError(told or "a model failed")


def compiled(project: Project, warehouse: Warehouse, text: str, variables: Mapping[str, object]) -> str:
    """A template of dbt's as SQL of the engine in use, as the project's macros make it. Raises DbtRunError."""
    from dbt.cli.main import dbtRunner

    with tempfile.TemporaryDirectory(prefix="compiled_") as artifacts, warehouse.exclusive(), project.environment():
        arguments = [
            *_EVENTS_ONLY, "compile", *project.arguments(Path(artifacts)), *project.vars_arguments(variables),
            "--inline", text,
        ]  # fmt: skip
        close_connections()
        try:
            result = dbtRunner(manifest=_renamed_manifest(project, "")).invoke(arguments)
        finally:
            close_connections()
    if not result.success:
        raise DbtRunError(str(result.exception or "the SQL cannot be compiled").strip())
    return str(cast("Any", result.result).results[0].node.compiled_code)


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


def roll_back() -> None:
    """Closes the session of the thread that asks, where it has one on Snowflake: what it had begun is rolled back."""
    from dbt.adapters.factory import FACTORY

    for adapter in cast("list[Any]", list(FACTORY.adapters.values())):
        connection = adapter.connections.get_if_exists()
        if adapter.type() == "snowflake" and connection is not None:
            adapter.connections.close(connection)


def close_connections() -> None:
    """Frees the DuckDB file, and lets the next build in this process begin with an adapter of its own.

    dbt-duckdb forgets its connection and leaves the closing to the garbage collector. Until that comes, a cursor that
    some thread still holds keeps the file open and the last tables in its write-ahead log: a copy of the file lacks
    them, and nobody opens it under another configuration. Closed, the connection closes its cursors too.
    """
    from dbt.adapters.factory import FACTORY, reset_adapters

    for adapter in cast("list[Any]", list(FACTORY.adapters.values())):
        adapter.cleanup_connections()
    reset_adapters()
    duckdb_connections = sys.modules.get("dbt.adapters.duckdb.connections")
    if duckdb_connections is not None:
        manager = duckdb_connections.DuckDBConnectionManager
        if manager._ENV is not None:  # `env()` raises where there is none
            manager._ENV.close()
        manager.close_all_connections()


def cancel_statements() -> None:
    """Those that dbt has under way, in whatever thread."""
    from dbt.adapters.factory import FACTORY

    for adapter in cast("list[Any]", list(FACTORY.adapters.values())):
        # A connection that its node closes meanwhile refuses to be interrupted; whoever cancels goes on and does so
        # again until dbt has ended.
        with suppress(Exception):
            adapter.cancel_open_connections()


def _prune(runs: Path, keep: int = 20) -> None:
    """The SQL of the last twenty builds is enough to read a failed one."""
    if runs.is_dir():
        for old in sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
