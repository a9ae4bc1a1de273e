"""What each campaign did: the spend of those it was sent to against those held back, 90 days on."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from segmentation_assets.assets import outcome_tables as asset_tables
from segmentation_assets.dbt import columns as asset_columns
from segmentation_assets.dbt import tags as asset_tags
from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange, as_of_date, month_after
from segmentation_assets.outcomes import money, pooled, words
from segmentation_assets.outcomes.statistics import SPLIT_P_VALUE, Group, compare, split_p_value
from segmentation_assets.outcomes.table import Column, Table
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.report import outcome_chart
from segmentation_assets.rules.load import Campaign
from segmentation_assets.text import markdown
from segmentation_assets.warehouse.catalog import GOLD
from segmentation_assets.warehouse.session import Session, Warehouse

NAME = "campaign_outcomes"
CHECK = "holdout_split_is_as_planned"
# As far back as campaign_outcome_groups brings audience months up to date: a window of 90 days closes in the third
# month after, or in the fourth.
MONTHS_BACK = 4
_SAMPLES = ("mean_spend", "stddev_spend", "customers")
OF_THE_LIST = (
    Column("snapshot_month", "date", "The audience month, by its first day.", ("snapshot_month",)),
    Column("campaign", "varchar", "The campaign.", ("campaign",)),
    Column("window_start", "date", "First day that counts, the as-of date of the audience month.", ("window_start",)),
    Column("window_end", "date", "First day that no longer counts, 90 days later.", ("window_end",)),
    Column("target_customers", "bigint", "Customers of the month's list that it was sent to.", ("customers",)),
    Column("holdout_customers", "bigint", "Customers of the month's list who were held back.", ("customers",)),
    Column(
        "target_mean_spend", "double", "Spend per target customer in the window; NULL without one.", ("mean_spend",)
    ),
    Column(
        "holdout_mean_spend",
        "double",
        "Spend per held-out customer in the window; NULL without one.",
        ("mean_spend",),
    ),
    Column(
        "spend_difference",
        "double",
        "Target less holdout, of this month's list alone. Whoever was won back has left it: read adjusted_effect.",
        ("mean_spend",),
    ),
    Column(
        "difference_lower_95",
        "double",
        "Lower end of the difference's 95 % interval (Welch); NULL for a group below two.",
        _SAMPLES,
    ),
    Column("difference_upper_95", "double", "Upper end of the same interval.", _SAMPLES),
    Column(
        "p_value",
        "double",
        "How likely so large a difference is if the campaign did nothing (Welch's t-test, two-sided).",
        _SAMPLES,
    ),
    Column("planned_holdout_pct", "double", "Share the rules hold back now, in percent."),
    Column(
        "sample_ratio_p_value",
        "double",
        "How likely a split this far from the planned one is by chance (exact binomial test).",
        ("customers",),
    ),
    Column(
        "content_hash",
        "varchar",
        "Content hash of the published version of the month that the lists were made from; NULL where they carry none.",
        ("content_hash",),
    ),
)
# Of all who came to a list of the campaign in the epoch for the first time, up to this month.
OF_THE_EPOCH = (
    Column(
        "holdout_epoch",
        "varchar",
        "The epoch whose draw decided who is held back: a year, a quarter, or never where it is drawn once. The columns"
        " after it are about all customers whose first appearance on the campaign's lists of the epoch was in this"
        " month or before it, each in the 90 days from it.",
        ("holdout_epoch",),
    ),
    Column("first_entry_month", "date", "The first month of the epoch that is counted.", ("snapshot_month",)),
    Column("entry_months", "bigint", "Months of the epoch that are counted, this one included.", ("snapshot_month",)),
)
TABLE = Table(NAME, "Outcomes of campaigns.", (*OF_THE_LIST, *OF_THE_EPOCH, *pooled.COLUMNS, *money.COLUMNS))
NAMES = TABLE.names
READS = "campaign_outcome_groups"


def outcomes_asset(project: Project) -> dg.AssetsDefinition:
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
        description="One row per audience month and campaign: what the campaign did so far in the epoch, by everybody's"
        " first appearance on its lists, in the 90 days from it and adjusted by the spend before; and what target"
        " and holdout of the month's own list spent. A run makes the audience months whose window has closed by then:"
        " usually the one three months back.",
        tags=asset_tags.tags(GOLD, {}),
        metadata={
            asset_columns.SCHEMA: asset_tables.schema(TABLE),
            asset_columns.TABLE_NAME: asset_columns.table_name(project, READS, NAME),
        },
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=key,
                description="The holdout is as large as planned, give or take chance. If not, the groups differ by more"
                " than the campaign, and no difference in spend can be put down to it.",
                partitions_def=monthly_partitions(project.settings),
            )
        ],
        required_resource_keys=portfolio.resource_keys("warehouse"),
        pool=portfolio.pool,
    )
    def campaign_outcomes(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        warehouse: Warehouse = portfolio.resource(context, "warehouse")
        run_months = MonthRange.from_context(context)
        first = month_after(run_months.first, -MONTHS_BACK)
        started = time.monotonic()
        with warehouse.session() as session:
            # All months: a row holds those of its epoch before it, and those after a month made again changed with it.
            found = outcomes(groups(session), project.rules.campaigns)
            rows = [row for row in found if row["snapshot_month"] >= first]
            TABLE.replace_from(session, first, rows)
        seconds = round(time.monotonic() - started, 3)
        for month in run_months:
            context.add_asset_metadata(newly_due(rows, month), asset_key=key, partition_key=str(month))
        due = [row for row in rows if row["snapshot_month"] <= run_months.last]
        months = sorted({str(row["snapshot_month"]) for row in due})
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "audience_months": ", ".join(months) or "none is due yet",
                "what_the_campaigns_did": dg.MetadataValue.md(told(due)),
                **asset_tables.picture("effects", outcome_chart.effects(newest_of_epochs(due))),
                "outcomes": asset_tables.shown(TABLE, due),
                "Execution Duration": seconds,
                asset_columns.SCHEMA: asset_tables.schema(TABLE),
                asset_columns.LINEAGE: asset_tables.lineage(TABLE, read),
            },
            check_results=[split_check(key, due)],
        )

    return campaign_outcomes


def newly_due(rows: Sequence[Mapping[str, Any]], month: date) -> dict[str, Any]:
    """Numbers of the audience months whose window has closed in `month`, to be drawn over the months of the runs."""
    due = [row for row in rows if month < row["window_end"] <= as_of_date(month)]
    drawn = {"spend_difference": "spend_difference", "effect": "adjusted_effect", "smallest_effect": "smallest_effect"}
    numbers = {
        f"{word}: {row['campaign']}": round(row[column], 2)
        for word, column in drawn.items()
        for row in due
        if row[column] is not None
    }
    return {"dagster/row_count": len(due), **numbers}


def newest_of_epochs(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Per campaign and epoch the row of the newest month, which holds all before it."""
    newest = {(row["campaign"], row["holdout_epoch"]): row for row in rows if row["holdout_epoch"] is not None}
    return list(newest.values())


def told(rows: Sequence[Mapping[str, Any]]) -> str:
    sentences = [
        f"- {markdown(' '.join(filter(None, (words.campaign_sentence(row), words.money_sentence(row)))))}"
        for row in newest_of_epochs(rows)
    ]
    return "\n".join(sentences) or "No audience month is due yet."


def groups(session: Session) -> list[dict[str, Any]]:
    return session.rows(
        f"select * from {session.gold}.{READS} order by snapshot_month, campaign, treatment_group",
    )


def outcomes(rows: Sequence[Mapping[str, Any]], campaigns: Iterable[Campaign]) -> list[dict[str, Any]]:
    """One row of campaign_outcomes per month and campaign, of the two rows of campaign_outcome_groups."""
    rules = {campaign.name: campaign for campaign in campaigns}
    totals = pooled.running_totals(rows)
    pairs: dict[tuple[date, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        pairs.setdefault((row["snapshot_month"], row["campaign"]), {})[row["treatment_group"]] = row
    found = []
    for (month, campaign), pair in pairs.items():
        target, holdout = (_group(pair[name]) for name in ("target", "holdout"))
        comparison, rule = compare(target, holdout), rules.get(campaign)
        planned = float(rule.holdout_pct) if rule else None
        found.append(
            {
                "snapshot_month": month,
                "campaign": campaign,
                "window_start": pair["target"]["window_start"],
                "window_end": pair["target"]["window_end"],
                "target_customers": target.customers,
                "holdout_customers": holdout.customers,
                "target_mean_spend": target.mean,
                "holdout_mean_spend": holdout.mean,
                "spend_difference": comparison.difference,
                "difference_lower_95": comparison.lower,
                "difference_upper_95": comparison.upper,
                "p_value": comparison.p_value,
                "planned_holdout_pct": planned,
                "sample_ratio_p_value": None
                if planned is None
                else split_p_value(target.customers, holdout.customers, planned),
                "content_hash": pair["target"]["content_hash"],
                **of_the_epoch(totals.get((month, campaign)), rule),
            }
        )
    return found


def of_the_epoch(total: Mapping[str, Any] | None, rule: Campaign | None) -> dict[str, Any]:
    if total is None:
        return {**{column.name: None for column in OF_THE_EPOCH}, **pooled.NOTHING, **money.NOTHING}
    compared = pooled.compared(total["months"], total["winsorised_at_pct"])
    margin = None if rule is None or rule.margin_pct is None else float(rule.margin_pct)
    cost = float(rule.cost_per_contact) if rule else 0.0
    contacts = sum(month.target.contacts for month in total["months"])
    return {
        **{column.name: total[column.name] for column in OF_THE_EPOCH},
        **compared,
        **money.earned(compared, contacts, margin, cost),
    }


def _group(row: Mapping[str, Any]) -> Group:
    mean, deviation = (None if row[key] is None else float(row[key]) for key in ("mean_spend", "stddev_spend"))
    return Group(int(row["customers"]), mean, deviation)


def split_check(asset_key: dg.AssetKey, rows: Sequence[Mapping[str, Any]]) -> dg.AssetCheckResult:
    off = [
        row for row in rows if row["sample_ratio_p_value"] is not None and row["sample_ratio_p_value"] < SPLIT_P_VALUE
    ]
    sentences = [
        f"{row['snapshot_month']}, {row['campaign']}: {row['holdout_customers']:,} of"
        f" {row['holdout_customers'] + row['target_customers']:,} customers were held back,"
        f" {row['planned_holdout_pct']:g} % were planned;"
        f" chance alone does that with p = {row['sample_ratio_p_value']:.1g}."
        for row in off
    ]
    advice = (
        "Do not read these differences in spend: whatever moved customers between the groups may have moved their"
        " spend. Look for a changed holdout_pct, customers deleted from one group, and lists not made by"
        " audience_candidates."
    )
    sound = "Every split is within what chance does." if rows else "No audience month is due yet."
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=CHECK,
        passed=not off,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join([*sentences, advice]) if off else sound,
        metadata={"campaigns_off": len(off), "campaigns": len(rows), "smallest_p_value_accepted": SPLIT_P_VALUE},
    )
