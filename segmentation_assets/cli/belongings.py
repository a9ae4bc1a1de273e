"""What is this pipeline's own in the warehouse and on this machine, and how each of it is removed. Removes nothing."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from segmentation_assets.dbt.campaign_models import TESTS
from segmentation_assets.dbt.project import Project
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.publication import ownership
from segmentation_assets.settings import variable
from segmentation_assets.sources import mark
from segmentation_assets.warehouse import lease
from segmentation_assets.warehouse.catalog import quoted, table_exists
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse, files_of
from segmentation_assets.warehouse.session import Session, Warehouse


def lines(project: Project, warehouse: Warehouse) -> Iterator[str]:
    """Statements that drop what is in the warehouse, then commands that remove what is on this machine."""
    if isinstance(warehouse, DuckDBWarehouse) and not Path(warehouse.path).exists():
        yield f"-- In the warehouse: nothing, there is no DuckDB file at {warehouse.path}."
    else:
        with warehouse.session(read_only=True) as session:
            statements = list(in_warehouse(session, project))
        yield f"-- In the warehouse: {len(statements) or 'nothing of ours'}{' statements' if statements else '.'}"
        yield from statements
    yield "# On this machine:"
    yield from on_this_machine(project, warehouse)


def in_warehouse(session: Session, project: Project) -> Iterator[str]:
    """Views before the tables that they read, then the schemas that hold nothing else."""
    names = ownership.with_former_lists(session, ownership.declared(project), project.settings.gold_schema)
    present = ownership.found(session, names)
    foreign = set(ownership.foreign(present, names))
    ours = [one for one in present if f"{one.schema}.{one.name}" not in foreign]
    for one in sorted(ours, key=lambda one: (not one.is_view, one.schema, one.name)):
        yield f"drop {'view' if one.is_view else 'table'} if exists {one.schema}.{one.name};"
    demo = [(project.settings.source_schema, table) for table in mark.tables_of_demo(session, project.settings)]
    for schema, table in demo:
        yield f"drop table if exists {quoted(session, schema)}.{table};"
    failures = [*stored_failures(session, project), *between_runs(session)]
    for schema, table in failures:
        yield f"drop table if exists {schema}.{table};"
    gone = {(one.schema, one.name) for one in ours} | {(schema.lower(), table) for schema, table in (*demo, *failures)}
    for schema in sorted({schema for schema, _ in gone}):
        rows = session.rows(
            "select lower(table_name) as name from information_schema.tables where lower(table_schema) = ?", (schema,)
        )
        if all((schema, row["name"]) in gone for row in rows):
            yield f"drop schema if exists {quoted(session, schema)};"


def stored_failures(session: Session, project: Project) -> Iterator[tuple[str, str]]:
    """The tables of rows that failed a test, which are called as the test."""
    for schema, tables in project.stored_failures.items():
        rows = session.rows(
            "select lower(table_name) as name from information_schema.tables where lower(table_schema) = lower(?)"
            " order by 1",
            (schema,),
        )
        yield from ((schema.lower(), row["name"]) for row in rows if row["name"] in tables or _of_a_list(row["name"]))


def between_runs(session: Session) -> Iterator[tuple[str, str]]:
    """What keeps two runs apart on Snowflake, of which no model tells."""
    for table in lease.TABLES if session.folds_names else ():
        if table_exists(session, session.silver, table):
            yield session.silver.lower(), table


def _of_a_list(table: str) -> bool:
    """Named as a test of a campaign's list, be the campaign among the rules or not: dbt cuts a long name and adds a
    hash."""
    return any(
        table.startswith(f"{test}_audience_") or re.fullmatch(f"{test[:30]}_[0-9a-f]{{32}}", table) for test in TESTS
    )


def on_this_machine(project: Project, warehouse: Warehouse) -> Iterator[str]:
    settings = project.settings
    if isinstance(warehouse, DuckDBWarehouse):
        path = Path(warehouse.path)
        if path.exists():
            yield "# the database, with whatever else is in it"
        yield from (_removal(file) for file in files_of(path) if file.exists())
    # Only what lies beside a manifest of ours.
    store = ExportStore(settings.export_uri)
    for campaign in store.campaigns():
        for month in store.exported_months(campaign):
            yield f"# an export, with names and addresses: {store.location(campaign, month)}"
    if settings.dagster_home.is_dir():
        if variable("DAGSTER_HOME"):
            yield f"# {settings.dagster_home}: Dagster's, named by DAGSTER_HOME; not ours to remove"
        else:
            yield _removal(settings.dagster_home)
    if project.target_dir.is_dir():
        yield _removal(project.target_dir)


def _removal(path: Path) -> str:
    return f"rm -r {shlex.quote(str(path))}"
