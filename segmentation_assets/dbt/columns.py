"""Columns, table names and code references of the assets that dbt does not make, in the words of the dbt project.

The star schema is described in models/staging/sources.yml, and a campaign's files have the columns of its audience.
What dbt makes gets the same from dagster-dbt, but for the words that a materialisation's columns carry.
"""

import re
from collections.abc import Sequence
from typing import Any

import dagster as dg

from segmentation_assets.dbt.project import Entry, Project, project_dir
from segmentation_assets.rules.source_contract import CONTRACT, WORDS
from segmentation_assets.sources.star_schema import parts_of

SCHEMA, LINEAGE, TABLE_NAME = "dagster/column_schema", "dagster/column_lineage", "dagster/table_name"


def table_name(project: Project, beside: str, table: str) -> str:
    """`table` in the database and schema of the model or source named `beside`."""
    entry = project.entries[beside]
    return f"{entry['database']}.{entry['schema']}.{table}"


def described(schema: dg.TableSchema, entry: Entry) -> dg.TableSchema:
    """The columns as the warehouse has them, with what the project says of them.

    dagster-dbt puts types on a materialisation and descriptions on the definition. dbt calls every text of DuckDB
    `character varying(256)`, a bound that no column has.
    """
    documented = {name.lower(): column for name, column in entry["columns"].items()}

    def column(found: dg.TableColumn) -> dg.TableColumn:
        said = documented.get(found.name.lower(), {})
        never_null = any(constraint["type"] == "not_null" for constraint in said.get("constraints", []))
        return dg.TableColumn(
            found.name,
            re.sub(r"^character varying\(\d+\)$", "varchar", found.type.lower()),
            " ".join(said.get("description", "").split()) or None,
            constraints=dg.TableColumnConstraints(nullable=not never_null),
        )

    return dg.TableSchema([column(found) for found in schema.columns])


def of_source(project: Project, table: str) -> dict[str, Any]:
    """What the definition of a source table shows: the columns that the contract asks for, and their kinds."""
    asked = dg.TableSchema([dg.TableColumn(name, WORDS[kinds]) for name, kinds in CONTRACT[table].items()])
    file = str(project_dir() / project.entries[table]["original_file_path"])
    return {
        SCHEMA: described(asked, project.entries[table]),
        TABLE_NAME: _place(project, table),
        "dagster/code_references": dg.CodeReferencesMetadataValue(
            code_references=[dg.LocalFileCodeReference(file_path=file)]
        ),
    }


def _place(project: Project, table: str) -> str:
    """The company's table that the rules map, or the contract's where it is."""
    parts = parts_of(project.settings, project.rules, table)
    database = [] if len(parts) > 2 else [str(project.entries[table]["database"])]
    return ".".join([*database, *(part.strip('"') for part in parts)])


def of_files(project: Project, audience: str, columns: Sequence[str]) -> dict[str, Any]:
    """The columns of a campaign's files and where each comes from: the column of that name in the audience."""
    entry = project.entries[audience]
    types = {name: str(column["data_type"]) for name, column in entry["columns"].items()}
    schema = dg.TableSchema([dg.TableColumn(column, types[column]) for column in columns if column in types])
    parent = project.portfolio.key(entry["config"]["schema"], audience)
    return {SCHEMA: described(schema, entry), LINEAGE: copied(parent, columns)}


def copied(parent: dg.AssetKey, columns: Sequence[str]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage({column: [dg.TableColumnDep(parent, column)] for column in columns})
