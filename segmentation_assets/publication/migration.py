"""Brings a database that an earlier version made up to this one: missing nullable columns and missing views.

dbt finds another set of columns too, but only when the month is computed, and proposes a full refresh, which would
throw published history away.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import Shown, run_models
from segmentation_assets.errors import WarehouseError
from segmentation_assets.publication import ownership
from segmentation_assets.warehouse.catalog import required_columns_of, tables_of, types_of
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Session, Warehouse
from segmentation_assets.warehouse.snowflake import SnowflakeSession

HISTORY = "customer_segment_history"
Table = tuple[str, str]  # schema and name
Found = Mapping[Table, set[str]]
Manifest = Mapping[str, Any]  # dbt's

_latest_run: dict[str, str] = {}  # of a database and project, the run that was brought up to date


@dataclass(frozen=True)
class Expected:
    """A table that is written month by month, as its contract describes it."""

    types: Mapping[str, str]  # of each column
    never_null: frozenset[str]
    may_have_more: bool  # dbt adds columns by itself, and leaves those that are no longer asked for


def check(session: Session, project: Project) -> None:
    """Raises WarehouseError, in one line, for a published table that no migration puts right."""
    manifest = _manifest(project)
    _refuse(session, tables_of(session, _schemas(manifest)), expected_tables(manifest))
    _refuse_other_types(session, project)


def bring_up_to_date_once(warehouse: Warehouse, project: Project, run_id: str) -> None:
    """For steps of a run that make no table: not where an earlier step of it in this process has."""
    if _latest_run.get(_place(warehouse, project)) != run_id:
        bring_up_to_date(warehouse, project, run_id)


def _place(warehouse: Warehouse, project: Project) -> str:
    return str((warehouse, project.manifest_path))


def bring_up_to_date(warehouse: Warehouse, project: Project, run_id: str = "") -> Shown:
    """Adds the columns and makes the views that an earlier version did not have; of a database without one, nothing.

    What was published before holds NULL in an added column, which its description explains. A column that somebody
    added to a table of ours stays as it is. Raises WarehouseError, before anything is changed, for a column whose
    values in published months nobody can know, and for one that is not ours and may not be NULL, as in our rows.

    Returns what Snowflake shows of our schemas, where it is still so.
    """
    with warehouse.exclusive():
        if isinstance(warehouse, DuckDBWarehouse) and not Path(warehouse.path).exists():
            return {}
        manifest = _manifest(project)
        expected = expected_tables(manifest)
        with warehouse.session() as session:
            ownership.refuse_foreign_in(session, project)
            found = tables_of(session, _schemas(manifest))
            _refuse(session, found, expected)
            _refuse_other_types(session, project)
            for (schema, table), column, kind in _missing_columns(found, expected):
                # Another run may have been faster, where nothing keeps two apart.
                session.execute(f"alter table {schema}.{table} add column if not exists {column} {kind}")
            shown = session.shown() if isinstance(session, SnowflakeSession) else {}
        views, are_all = _missing_views(found, manifest)
        if views:
            with tempfile.TemporaryDirectory(prefix="views_") as artifacts:
                run_models(project, warehouse, views, {}, "", Path(artifacts))
    if are_all:  # what a later step makes may be what a missing view reads
        _latest_run[_place(warehouse, project)] = run_id
    return {} if views else shown


def _refuse(session: Session, found: Found, tables: Mapping[Table, Expected]) -> None:
    required = required_columns_of(session, {schema for schema, _ in tables})
    problems = [
        f"{schema}.{table} {words}"
        for (schema, table), expected in tables.items()
        if (schema, table) in found
        for words in _differences(expected, found[schema, table], required.get((schema, table), set()))
    ]
    if problems:
        raise WarehouseError(
            f"The database was made by another version of this pipeline: {'; '.join(problems)}. Nothing was computed."
            " Use the version that made it, or name another database (SEGMENTATION_DUCKDB_PATH, SNOWFLAKE_DATABASE)."
        )


def _refuse_other_types(session: Session, project: Project) -> None:
    """Under one name no month may hold money and another a share: put into the other type, it is another number."""
    words = {"decimal(18,2)": "money", "bigint": "number"}
    metrics = project.rules.metrics
    if not metrics.further:
        return
    there = types_of(session, session.gold, HISTORY)
    for name in metrics.further:
        wanted = words.get(metrics.types[name], metrics.types[name])
        if there.get(name, wanted) != wanted:
            raise WarehouseError(
                f"metrics.{name} is a {wanted}, but {session.gold}.{HISTORY}.{name} holds a {there[name]} of months"
                " that were published under another definition of it. Nothing was computed. Give the metric another"
                f" name, or the definition that is a {there[name]}."
            )


def _differences(expected: Expected, present: set[str], required: set[str]) -> list[str]:
    named = (
        # Where dbt adds columns by itself, it adds these, too.
        ("lacks", set() if expected.may_have_more else (set(expected.types) - present) & expected.never_null, ""),
        ("has the unknown", required - set(expected.types), ", which may not be NULL and has no default"),
    )
    return [
        f"{verb} column{'s' if len(names) > 1 else ''} {', '.join(sorted(names))}{why}"
        for verb, names, why in named
        if names
    ]


def _missing_columns(found: Found, tables: Mapping[Table, Expected]) -> Iterator[tuple[Table, str, str]]:
    for table, expected in tables.items():
        for column, kind in expected.types.items():
            if table in found and column not in found[table] and column not in expected.never_null:
                yield table, column, kind


def _missing_views(found: Found, manifest: Manifest) -> tuple[list[str], bool]:
    """The models, of those whose parents are there or are made with them, and whether with these none is missing. None
    before the first run made any."""
    nodes = manifest["nodes"]

    def is_there(unique_id: str) -> bool:
        return (nodes[unique_id]["schema"].lower(), nodes[unique_id]["alias"].lower()) in found

    views = {
        unique_id: node
        for unique_id, node in nodes.items()
        if node["resource_type"] == "model" and node["config"]["materialized"] == "view"
    }
    if not any(map(is_there, views)):
        return [], False
    # A table that the next run makes anew, as its columns are not those of this version, is no parent to read yet.
    # Neither is a view of an earlier version, which lacks a column that this one describes.
    there = {*filter(is_there, nodes), *manifest["sources"]} - {
        unique_id
        for unique_id, node in nodes.items()
        if (unique_id in views or node["config"].get("meta", {}).get("is_made_anew_in_another_shape"))
        and not set(node["columns"]) <= found.get((node["schema"].lower(), node["alias"].lower()), set())
    }
    made: list[str] = []
    for unique_id in sorted(views, key=lambda view: len(_ancestors(manifest, view))):
        if unique_id not in there and there.issuperset(views[unique_id]["depends_on"]["nodes"]):
            there.add(unique_id)
            made.append(views[unique_id]["name"])
    return made, there.issuperset(views)


def _ancestors(manifest: Manifest, unique_id: str) -> set[str]:
    parents = set(manifest["parent_map"].get(unique_id, []))
    return parents.union(*(_ancestors(manifest, parent) for parent in parents))


def expected_tables(manifest: Manifest) -> Mapping[Table, Expected]:
    """Every table that is written month by month and whose columns have a type."""
    nodes: Mapping[str, Any] = manifest["nodes"]
    never_null = _never_null(manifest)
    expected: dict[Table, Expected] = {}
    for unique_id, node in nodes.items():
        if node["resource_type"] != "model" or node["config"]["materialized"] not in ("incremental", "log_table"):
            continue
        may_have_more = node["config"]["on_schema_change"] == "append_new_columns"
        types = {name: column["data_type"] for name, column in node["columns"].items() if column.get("data_type")}
        if types and (node["config"]["contract"]["enforced"] or may_have_more):
            expected[node["schema"].lower(), node["alias"].lower()] = Expected(
                types, frozenset(never_null.get(unique_id, ())), may_have_more
            )
    return expected


def _never_null(manifest: Manifest) -> Mapping[str, set[str]]:
    """Model -> the columns that its contract or a data test forbids to be NULL."""
    columns: dict[str, set[str]] = {}
    for unique_id, node in manifest["nodes"].items():
        for name, column in node["columns"].items():
            if any(constraint["type"] == "not_null" for constraint in column.get("constraints", [])):
                columns.setdefault(unique_id, set()).add(name)
        test = node.get("test_metadata") or {}
        if test.get("name") == "not_null":
            columns.setdefault(node["attached_node"], set()).add(test["kwargs"]["column_name"])
        elif test.get("name") == "columns_are_not_null":
            columns.setdefault(node["attached_node"], set()).update(test["kwargs"]["columns"])
    return columns


def _schemas(manifest: Manifest) -> set[str]:
    return {node["schema"].lower() for node in manifest["nodes"].values() if node["resource_type"] == "model"}


@cache
def _manifest(project: Project) -> Manifest:
    return json.loads(project.manifest_path.read_text(encoding="utf-8"))
