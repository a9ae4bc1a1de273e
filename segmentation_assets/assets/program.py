"""What all campaigns together did: everybody else's spend against that of the universal holdout."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from segmentation_assets.assets import outcome_tables as asset_tables
from segmentation_assets.dbt import columns as asset_columns
from segmentation_assets.dbt import tags as asset_tags
from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange
from segmentation_assets.outcomes import pooled, words
from segmentation_assets.outcomes.table import Column, Table
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.report import outcome_chart
from segmentation_assets.text import markdown
from segmentation_assets.warehouse.catalog import GOLD, table_exists
from segmentation_assets.warehouse.session import Session, Warehouse

NAME = "program_outcomes"
READS = "program_outcome_groups"
TABLE = Table(
    NAME,
    "Outcomes of all campaigns together.",
    (
        Column("snapshot_month", "date", "The month whose last 90 days are compared, by its first day.",
               ("snapshot_month",)),
        Column("holdout_epoch", "varchar", "The calendar year that the universal holdout is drawn for.",
               ("holdout_epoch",)),
        Column("entry_month", "date", "The year's first month with a universal holdout, whose customers are compared.",
               ("entry_month",)),
        *pooled.COLUMNS,
    ),
)  # fmt: skip
NAMES = TABLE.names
OFF = (
    "Nobody is in a universal holdout that is old enough: universal_holdout_pct of the rules keeps a share of the"
    " mailboxes out of every campaign, and three months later it is compared with everybody else."
)


def program_asset(project: Project) -> dg.AssetsDefinition:
    portfolio = project.portfolio
    key, read = portfolio.key(GOLD, NAME), portfolio.key(GOLD, READS)

    @dg.asset(
        key=key,
        group_name="activation",
        partitions_def=monthly_partitions(project.settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[read],
        kinds={"python", "table"},
        owners=["team:customer-analytics"],
        description="One row per month with a universal holdout: what the customers of the year's first month spent in"
        " the 90 days before the as-of date, those kept out of every campaign against everybody else, adjusted by their"
        " spend before. Empty without a universal_holdout_pct.",
        tags=asset_tags.tags(GOLD, {}),
        metadata={
            asset_columns.SCHEMA: asset_tables.schema(TABLE),
            asset_columns.TABLE_NAME: asset_columns.table_name(project, READS, NAME),
        },
        required_resource_keys=portfolio.resource_keys("warehouse"),
        pool=portfolio.pool,
    )
    def program_outcomes(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        warehouse: Warehouse = portfolio.resource(context, "warehouse")
        months = MonthRange.from_context(context)
        started = time.monotonic()
        with warehouse.session() as session:
            rows = outcomes(groups(session, months.first))
            TABLE.replace_from(session, months.first, rows)
        seconds = round(time.monotonic() - started, 3)
        for month in months:
            context.add_asset_metadata(of_month(rows, month), asset_key=key, partition_key=str(month))
        asked = [row for row in rows if row["snapshot_month"] in months]
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "what_all_campaigns_did": dg.MetadataValue.md(
                    "\n".join(f"- {markdown(told(row))}" for row in asked) or OFF
                ),
                **asset_tables.picture("effects", outcome_chart.effects(asked[-1:])),
                "outcomes": asset_tables.shown(TABLE, asked),
                "Execution Duration": seconds,
                asset_columns.SCHEMA: asset_tables.schema(TABLE),
                asset_columns.LINEAGE: asset_tables.lineage(TABLE, read),
            },
        )

    return program_outcomes


def groups(session: Session, first: date) -> list[dict[str, Any]]:
    if not table_exists(session, session.gold, READS):
        return []
    return session.rows(
        f"select * from {session.gold}.{READS} where snapshot_month >= ? order by snapshot_month, treatment_group",
        (first,),
    )


def outcomes(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    pairs: dict[date, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        pairs.setdefault(row["snapshot_month"], {})[row["treatment_group"]] = row
    found: list[dict[str, Any]] = []
    for month, pair in pairs.items():
        row = next(iter(pair.values()))
        found.append(
            {
                "snapshot_month": month,
                "holdout_epoch": row["holdout_epoch"],
                "entry_month": row["entry_month"],
                **pooled.compared([pooled.entry_month(pair)], row["winsorised_at_pct"]),
            }
        )
    return found


def of_month(rows: Sequence[Mapping[str, Any]], month: date) -> dict[str, Any]:
    """To be drawn over the months."""
    numbers: dict[str, Any] = {"dagster/row_count": 0}
    for row in rows:
        if row["snapshot_month"] == month:
            drawn = {"effect": row["adjusted_effect"], "smallest_effect": row["smallest_effect"]}
            numbers |= {"dagster/row_count": 1}
            numbers |= {name: round(value, 2) for name, value in drawn.items() if value is not None}
    return numbers


def told(row: Mapping[str, Any]) -> str:
    who = f"All campaigns together, the 90 days to the end of {row['snapshot_month']:%Y-%m}"
    return " ".join(filter(None, (words.effect_sentence(who, row), words.money_sentence(row))))
