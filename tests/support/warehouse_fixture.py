"""A warehouse in a temporary DuckDB file, and the two ways to compute months in it: plain dbt and the Dagster job."""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

from segmentation_assets.automation.jobs import monthly_segmentation
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import close_connections
from segmentation_assets.definitions import build_defs
from segmentation_assets.rules.load import Campaign
from segmentation_assets.settings import Settings
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Session
from tests.support.portfolio import Portfolio


def star_of(session: Session) -> StarSchema:
    """The star schema that a session reads, under the settings and rules of the environment."""
    project = Project.load()
    return StarSchema(session, project.settings, project.rules)


CANDIDATE = "path:models/staging path:models/metrics config.group:segments_candidate"


@dataclass
class Pipeline:
    path: Path
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = duckdb.connect(str(self.path))
        try:
            connection.execute("set TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    def warehouse(self) -> DuckDBWarehouse:
        named = Settings.from_environment()
        return DuckDBWarehouse(path=str(self.path), gold=named.gold_schema, silver=named.silver_schema)

    def load(self, portfolio: Portfolio) -> None:
        with self.connection() as connection:
            portfolio.load(connection)

    def frame(self, sql: str) -> pd.DataFrame:
        with self.connection() as connection:
            return connection.execute(sql).df()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection() as connection:
            return connection.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        with self.connection() as connection:
            connection.execute(sql)

    def dbt(
        self,
        first: date,
        last: date | None = None,
        select: str | None = None,
        variables: Mapping[str, object] | None = None,
        arguments: Sequence[str] = (),
        command: str = "build",
        run_vars: Mapping[str, object] | None = None,
        artifacts: bool = False,
    ) -> tuple[bool, list[str]]:
        """Plain dbt; whether it succeeded, and what it said at warn level or above. `variables` may change what the
        project is, and cost a parse of it, once; `run_vars` are read when models run. `artifacts` (manifest.json and
        run_results.json below dbt/) cost as much as the models of a small month."""
        from dbt import deprecations
        from dbt.cli.main import dbtRunner

        said: list[str] = []

        def listen(event: Any) -> None:
            if event.info.level in ("warn", "error"):
                said.append(event.info.msg)

        project = _for_campaigns(Project.load(), variables or {})
        manifest = _parsed(project, variables or {})
        months = {"first_month": str(first), "last_month": str(last or first)}
        with project.environment():
            close_connections()
            deprecations.reset_deprecations()  # or those of an earlier parse in this process are told again
            result = dbtRunner(manifest=manifest, callbacks=[listen]).invoke(
                [
                    "--log-level", "none", *([] if artifacts else ["--no-write-json"]), *command.split(),
                    *project.arguments(self.path.parent / "dbt"),
                    *project.vars_arguments({**months, **(variables or {}), **(run_vars or {})}),
                    *(["--select", select] if select else []), *arguments,
                ]
            )  # fmt: skip
            close_connections()
        if result.exception:
            said.append(str(result.exception))
        return bool(result.success), said

    def run(
        self, first: date, last: date | None = None, select: Sequence[str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """The Dagster job for the months, in this process; `select` names assets as group/name keys."""
        last = last or first
        job = build_defs(resources={"warehouse": self.warehouse()}).resolve_job_def(monthly_segmentation)
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in select] if select else None,
            partition_key=str(first) if first == last else None,
            tags=None
            if first == last
            else {
                "dagster/asset_partition_range_start": str(first),
                "dagster/asset_partition_range_end": str(last),
            },
            raise_on_error=False,
        )


# Of projects with variables, as dbt keeps them on the disk.
_manifests: dict[str, bytes] = {}


def _parsed(project: Project, variables: Mapping[str, object]) -> Any:
    """The manifest of the project with these variables; None where dbt refuses them, as the command then tells."""
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    key = f"{project.fingerprint()} {json.dumps(variables, sort_keys=True, default=str)}"
    if not variables:
        found = project.manifest_path.with_name("partial_parse.msgpack").read_bytes()
    elif not (found := _manifests.get(key, b"")):
        with tempfile.TemporaryDirectory() as folder, project.environment():
            parsed = dbtRunner().invoke(
                ["--log-level", "none", "parse", "--no-partial-parse", *project.arguments(Path(folder)),
                 *project.vars_arguments(variables)]
            )  # fmt: skip
            if not parsed.success:
                return None
            found = _manifests[key] = Path(folder, "partial_parse.msgpack").read_bytes()
    manifest = Manifest.from_msgpack(found)
    manifest.build_flat_graph()
    return manifest


def _for_campaigns(project: Project, variables: Mapping[str, Any]) -> Project:
    """Models are made for the campaigns of the rules: for those among the variables, where they are given."""
    if "campaigns" not in variables:
        return project
    raw = {**project.rules.raw, "campaigns": variables["campaigns"]}
    campaigns = tuple(map(Campaign.model_validate, variables["campaigns"]))
    replaced = project.rules.replaced | {"campaigns"}
    rules = project.rules.model_copy(update={"raw": raw, "campaigns": campaigns, "replaced": replaced})
    return dataclasses.replace(project, rules=rules)


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    path = tmp_path / "segmentation.duckdb"
    monkeypatch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
    with dg.DagsterInstance.ephemeral() as instance:
        yield Pipeline(path, instance)
