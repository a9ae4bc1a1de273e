"""The star schema: external assets in a warehouse that has one, or the assets that fill it for the demo sources."""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from segmentation_assets.dbt import columns as asset_columns
from segmentation_assets.dbt import tags as asset_tags
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import as_failure
from segmentation_assets.months import as_of_date, last_closed_month, month_after
from segmentation_assets.privacy import in_tables
from segmentation_assets.publication import ownership
from segmentation_assets.settings import Settings
from segmentation_assets.sources import contract, mark
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBSession, DuckDBWarehouse
from segmentation_assets.warehouse.session import Session, Warehouse
from segmentation_assets.warehouse.snowflake import SnowflakeSession

if TYPE_CHECKING:
    import duckdb

GROUP = "star_schema"
HISTORY_MONTHS = 24
CUSTOMERS = 50_000
TABLES = {
    "fct_transactions": "One row per card transaction, of every status.",
    "dim_customer": "One row per customer and version (SCD type 2).",
    "dim_merchant_category": "One row per merchant category.",
    "dim_date": "One row per calendar day.",
    "marketing_suppressions": "One row per customer who must not be contacted, and why. May be absent.",
}
# Of what a company may have and no demo makes.
FURTHER = {
    "contact_history": "One row per contact that another system made. May be absent.",
    "campaign_eligibility": "One row per customer who may not get an offer, and why. May be absent.",
}
DEMO_SOURCES = {
    "synthetic": "a synthetic card portfolio",
    "completejourney": "the Complete Journey transactions (dunnhumby)",
}


def specs(project: Project, tables: Mapping[str, str] = TABLES) -> list[dg.AssetSpec]:
    """Keys as dagster-dbt gives its sources, so that lineage joins up."""
    settings = project.settings
    is_made = settings.source in DEMO_SOURCES and tables is TABLES
    kinds = {"python" if is_made else "table", settings.target}
    return [
        dg.AssetSpec(
            project.portfolio.key("star_schema", name),
            description=f"{grain} Filled from {DEMO_SOURCES[settings.source] if is_made else 'outside this pipeline'}.",
            group_name=GROUP,
            kinds=kinds,
            owners=["team:customer-analytics"],
            tags=asset_tags.tags("star_schema", project.entries[name]["columns"]),
            metadata=asset_columns.of_source(project, name),
        )
        for name, grain in tables.items()
    ]


def star_schema_assets(project: Project) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    settings = project.settings
    if settings.source == "warehouse":
        return [*specs(project), *specs(project, FURTHER)]

    portfolio = project.portfolio

    @dg.multi_asset(
        specs=specs(project),
        name=portfolio.name("segmentation_star_schema"),
        required_resource_keys=portfolio.resource_keys("warehouse"),
        pool=portfolio.pool,
    )
    def star_schema(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        warehouse: Warehouse = portfolio.resource(context, "warehouse")
        started = time.monotonic()
        with as_failure():
            ownership.refuse_foreign(warehouse, project)
        with warehouse.session() as session:
            with as_failure():
                said = fill(session, settings)
                in_tables.remove_from_demo(session, project)
            context.log.info(said)
            seconds = round(time.monotonic() - started, 2)
            star = StarSchema(session, settings, project.rules)
            columns = columns_of(star)
            counts = ", ".join(f"(select count(*) from {star.sql(table)}) as {table}" for table in TABLES)
            rows = session.rows(f"select {counts}")[0]
            for table in TABLES:
                yield dg.MaterializeResult(
                    asset_key=portfolio.key("star_schema", table),
                    metadata={
                        "dagster/row_count": rows[table],
                        "Execution Duration": seconds,
                        asset_columns.SCHEMA: asset_columns.described(columns[table], project.entries[table]),
                    },
                )

    return [star_schema, *specs(project, FURTHER)]


def columns_of(star: StarSchema) -> dict[str, dg.TableSchema]:
    """Names and types of the star schema's tables, as they are read."""
    return {
        table: dg.TableSchema(
            [
                dg.TableColumn(name, kind)
                for name, kind in star.session.types(f"select * from {star.sql(table)} where 1 = 0").items()
            ]
        )
        for table in TABLES
    }


def fill(session: Session, settings: Settings) -> str:
    """Make the demo source's tables, unless they are there already; says in a sentence what it did.

    Raises SourceError where there are tables of their names that no demo made.
    """
    schema = settings.source_schema
    mark.refuse_foreign_tables(session, settings)
    found = mark.recorded(session, schema)
    wanted = recipe(settings, found)
    if found == wanted:
        return f"The star schema is complete already ({wanted})."
    if isinstance(session, DuckDBSession):
        _build(session.connection, settings, wanted)
    elif isinstance(session, SnowflakeSession):
        import duckdb

        from segmentation_assets.sources.snowflake_load import copy_tables

        # In a file, not in memory: 50,000 customers are 13.5 million facts.
        with tempfile.TemporaryDirectory() as folder, closing(duckdb.connect(f"{folder}/star_schema.duckdb")) as local:
            _build(local, settings, wanted)
            copy_tables(
                session,
                local,
                schema,
                is_emulator=settings.snowflake.is_emulator,
                has_tags=bool(settings.snowflake.personal_data_tag),
            )
        mark.write(session, schema, wanted, _tables_of(settings))
    return f"Filled the star schema ({wanted})."


def refuse_to_replace(warehouse: Warehouse, settings: Settings) -> None:
    """Raises SourceError where the demo of the settings would replace tables that no demo made."""
    is_new = isinstance(warehouse, DuckDBWarehouse) and not Path(warehouse.path).exists()
    if settings.source == "warehouse" or is_new:
        return
    with warehouse.session(read_only=True) as session:
        mark.refuse_foreign_tables(session, settings)


def _build(connection: "duckdb.DuckDBPyConnection", settings: Settings, wanted: str) -> None:
    if settings.source == "synthetic":
        from segmentation_assets.sources import synthetic

        last = last_closed_month()
        synthetic.build(
            connection,
            settings.source_schema,
            customers=mark.customers_of(wanted),
            first_month=first_month(last),
            last_month=last,
            recipe=wanted,
        )
    else:
        from segmentation_assets.sources import completejourney

        completejourney.build(connection, settings.source_schema, recipe=wanted)


def first_month(last: date) -> date:
    return month_after(last, 1 - HISTORY_MONTHS)


def recipe(settings: Settings, found: str | None = None) -> str:
    """What the tables are made of, kept in their mark: the same recipe gives the same rows. A portfolio of the recipe
    `found` keeps its size, and is given the months that have closed since."""
    if settings.source == "synthetic":
        last = last_closed_month()
        customers = settings.customers or (mark.customers_of(found) if found else CUSTOMERS)
        return f"synthetic, {customers} customers, {first_month(last)} to {last}"
    from segmentation_assets.sources import completejourney

    return completejourney.RECIPE


def _tables_of(settings: Settings) -> tuple[str, ...]:
    """What the demo of the settings makes."""
    from segmentation_assets.sources import completejourney

    return completejourney.TABLES if settings.source == "completejourney" else tuple(TABLES)


def check_source(
    warehouse: Warehouse, project: Project, ranges: Sequence[contract.Range] = (), *, reads_facts: bool = True
) -> None:
    """Raises SourceError when the star schema breaks the source contract; single facts are looked at in the ranges."""
    with warehouse.session() as session:
        contract.check(
            StarSchema(session, project.settings, project.rules),
            before=as_of_date(last_closed_month()),
            ranges=ranges,
            allow_formula_ids=project.rules.exports.allow_formula_ids,
            reads_facts=reads_facts,
        )
