"""Whether the published tables in the warehouse are those this version writes.

dbt finds another set of columns too, but only when the month is computed, and proposes a full refresh, which would
throw published history away.
"""

import json
from typing import Any

from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import WarehouseError
from segmentation_assets.warehouse.session import Session


def check(session: Session, project: Project) -> None:
    """Raises WarehouseError, in one line, for published tables that lack a column or have one too many."""
    problems = [
        f"{table} {words}"
        for table, columns in published_columns(project).items()
        for words in _differences(columns, _present(session, *table.split(".")))
    ]
    if problems:
        raise WarehouseError(
            f"The database was made by another version of this pipeline: {'; '.join(problems)}. Nothing was computed."
            " Use the version that made it, or name another database (SEGMENTATION_DUCKDB_PATH, SNOWFLAKE_DATABASE)."
        )


def published_columns(project: Project) -> dict[str, set[str]]:
    """schema.table -> columns, of every table that is published by contract and written month by month."""
    nodes: dict[str, dict[str, Any]] = json.loads(project.manifest_path.read_text(encoding="utf-8"))["nodes"]
    return {
        f"{node['schema']}.{node['alias']}": set(node["columns"])
        for node in nodes.values()
        if node["resource_type"] == "model"
        and node["config"]["materialized"] in ("incremental", "log_table")
        and node["config"]["contract"]["enforced"]
        and node["config"]["on_schema_change"] == "fail"
    }


def _present(session: Session, schema: str, table: str) -> set[str]:
    rows = session.rows(
        "select lower(column_name) as name from information_schema.columns"
        " where lower(table_schema) = lower(?) and lower(table_name) = lower(?)",
        (schema, table),
    )
    return {row["name"] for row in rows}


def _differences(expected: set[str], present: set[str]) -> list[str]:
    if not present:  # not made yet
        return []
    named = (("lacks", expected - present), ("has the unknown", present - expected))
    return [
        f"{verb} column{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}" for verb, names in named if names
    ]
