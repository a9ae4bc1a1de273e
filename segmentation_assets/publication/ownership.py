"""Whose a table or view is. What this pipeline makes carries its mark; what somebody else made is never written to.

macros/publication/ownership.sql asks the same when plain dbt starts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmentation_assets.dbt.campaign_models import OF_EVERY_LIST
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import WarehouseError
from segmentation_assets.warehouse.catalog import columns_of, tables_of
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Session, Warehouse
from segmentation_assets.warehouse.snowflake import SnowflakeSession

# At the end of the comment of every table and view.
MARK = "Made by customer-segmentation."
LOG = "segment_publications"
# By these the log of publications is known, of whatever version.
# Columns that a table of anybody's about customers has.
OF_ANYBODYS = frozenset({"snapshot_month", "customer_id", "customer_key", "email", "first_name", "last_name"})
OF_THE_LOG = frozenset({"snapshot_month", "version", "rules_hash", "published_at"})
# What is no model: made in Python, from its first version on with these columns. In the published schema.
OF_STEPS = {
    "campaign_outcomes": ("snapshot_month", "campaign", "window_start", "window_end"),
    "program_outcomes": ("snapshot_month", "holdout_epoch", "entry_month", "entered_target_customers"),
}
# The same in the schema of what that is made of.
OF_ERASURE = {"erased_customers": ("erased_hash", "salt", "erased_at")}

Table = tuple[str, str]  # schema and name, in lower case


@dataclass(frozen=True)
class Relation:
    """A table or view of one of our names that is in the warehouse."""

    schema: str
    name: str
    is_view: bool
    comment: str
    columns: frozenset[str]

    @property
    def is_marked(self) -> bool:
        return MARK in self.comment


def refuse_foreign(warehouse: Warehouse, project: Project) -> None:
    """Raises WarehouseError where a table or view has a name that the pipeline would write to, and is not its own.
    Reads only."""
    if isinstance(warehouse, DuckDBWarehouse) and not Path(warehouse.path).exists():
        return
    with warehouse.session(read_only=True) as session:
        refuse_foreign_in(session, project)


def refuse_foreign_in(session: Session, project: Project) -> None:
    names = foreign(found(session, declared(project)), declared(project))
    if names:
        raise WarehouseError(
            f"{', '.join(names)}: this pipeline did not make {'it' if len(names) == 1 else 'them'}, and would write"
            " there. Nothing was touched. Name schemas for its tables that are free (SEGMENTATION_GOLD_SCHEMA,"
            " SEGMENTATION_SILVER_SCHEMA), or rename what is in the way."
        )


def declared(project: Project) -> dict[Table, tuple[str, ...]]:
    """Every table and view that the pipeline writes, with its columns in order."""
    models = {
        (entry["schema"].lower(), entry["alias"].lower()): tuple(column.lower() for column in entry["columns"])
        for entry in project.entries.values()
        if entry["resource_type"] == "model" and entry["config"]["materialized"] != "ephemeral"
    }
    gold, silver = project.settings.gold_schema.lower(), project.settings.silver_schema.lower()
    steps = {(gold, name): columns for name, columns in OF_STEPS.items()}
    return models | steps | {(silver, name): columns for name, columns in OF_ERASURE.items()}


def with_former_lists(
    session: Session, names: Mapping[Table, tuple[str, ...]], gold: str
) -> dict[Table, tuple[str, ...]]:
    """`names`, and the lists of campaigns that the rules no longer have: their tables stay, known by their columns."""
    lists = {
        (schema, name): tuple(columns_of(session, schema, name))
        for (schema, name), columns in sorted(tables_of(session, {gold.lower()}).items())
        if name.startswith("audience_") and (schema, name) not in names and columns >= set(OF_EVERY_LIST)
    }
    return {**names, **lists}


def found(session: Session, names: Mapping[Table, Sequence[str]]) -> list[Relation]:
    """What there is of those names."""
    schemas = {schema for schema, _ in names}
    columns = tables_of(session, schemas)
    return [
        Relation(*table, is_view, comment or "", frozenset(columns.get(table, ())))
        for table, is_view, comment in _comments(session, schemas)
        if table in names
    ]


def foreign(relations: Sequence[Relation], names: Mapping[Table, Sequence[str]]) -> list[str]:
    """Those that are not ours, by name.

    Ours without a mark are of a run that was killed before it set one, with every column that is declared, or of an
    earlier version, with the log of publications beside it: two of them at least are all that it has, or where it has
    others too, two say more than whose row it is and of which month.
    """
    has_log = any(one.name == LOG and one.columns >= OF_THE_LOG for one in relations)

    def is_earlier(one: Relation) -> bool:
        shared = one.columns & set(names[one.schema, one.name])
        return len(shared) >= 2 and (shared == one.columns or len(shared - OF_ANYBODYS) >= 2)

    return sorted(
        f"{one.schema}.{one.name}"
        for one in relations
        if not one.is_marked
        and not one.columns >= set(names[one.schema, one.name])
        and not (has_log and is_earlier(one))
    )


def _comments(session: Session, schemas: set[str]) -> Iterator[tuple[Table, bool, str | None]]:
    if not isinstance(session, SnowflakeSession):
        places = ", ".join("?" * len(schemas))
        query = f"""
            select schema_name, table_name as name, false as is_view, comment from duckdb_tables()
            where database_name = current_database() and lower(schema_name) in ({places})
            union all
            select schema_name, view_name, true, comment from duckdb_views()
            where database_name = current_database() and lower(schema_name) in ({places})
        """
        rows = session.rows(query, (*schemas, *schemas))
    else:
        # SHOW needs no warehouse. The emulator says no view's comment.
        rows = [
            {**row, "is_view": row["kind"] != "TABLE"}
            for schema in sorted(schemas)
            for row in session.show("objects", schema)
        ]
    for row in rows:
        yield (row["schema_name"].lower(), row["name"].lower()), bool(row["is_view"]), row["comment"]
