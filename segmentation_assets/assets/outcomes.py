"""What each campaign did: the spend of those it was sent to against those held back, 90 days on."""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from segmentation_assets.dbt import columns as asset_columns
from segmentation_assets.dbt import tags as asset_tags
from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange, as_of_date, month_after
from segmentation_assets.outcomes.statistics import SPLIT_P_VALUE, Group, compare, split_p_value
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.publication import ownership
from segmentation_assets.warehouse.catalog import GOLD, columns_of
from segmentation_assets.warehouse.session import Session, Warehouse

NAME = "campaign_outcomes"
CHECK = "holdout_split_is_as_planned"
# As far back as campaign_outcome_groups brings audience months up to date: a window of 90 days closes in the third
# month after, or in the fourth.
MONTHS_BACK = 4
# Column, type and meaning.
COLUMNS = (
    ("snapshot_month", "date", "The audience month, by its first day."),
    ("campaign", "varchar", "The campaign."),
    ("window_start", "date", "First day that counts, the as-of date of the audience month."),
    ("window_end", "date", "First day that no longer counts, 90 days later."),
    ("target_customers", "bigint", "Customers the campaign was sent to."),
    ("holdout_customers", "bigint", "Customers held back from it."),
    ("target_mean_spend", "double", "Spend per target customer in the window; NULL without one."),
    ("holdout_mean_spend", "double", "Spend per held-out customer in the window; NULL without one."),
    ("spend_difference", "double", "Target less holdout: what the campaign brought per customer."),
    (
        "difference_lower_95",
        "double",
        "Lower end of the difference's 95 % interval (Welch); NULL for a group below two.",
    ),
    ("difference_upper_95", "double", "Upper end of the same interval."),
    (
        "p_value",
        "double",
        "How likely so large a difference is if the campaign did nothing (Welch's t-test, two-sided).",
    ),
    ("planned_holdout_pct", "double", "Share the rules hold back now, in percent."),
    (
        "sample_ratio_p_value",
        "double",
        "How likely a split this far from the planned one is by chance (exact binomial test).",
    ),
    (
        "content_hash",
        "varchar",
        "Content hash of the published version of the month that the lists were made from; NULL where they carry none.",
    ),
)
NAMES = tuple(name for name, _, _ in COLUMNS)
SCHEMA = dg.TableSchema([dg.TableColumn(name, kind, text) for name, kind, text in COLUMNS])
READS = "campaign_outcome_groups"
_SAMPLES = ("mean_spend", "stddev_spend", "customers")
# Column of campaign_outcome_groups it is worked out from; the planned share is in the rules.
SOURCES = {
    **{name: (name,) for name in ("snapshot_month", "campaign", "window_start", "window_end", "content_hash")},
    **dict.fromkeys(("target_customers", "holdout_customers", "sample_ratio_p_value"), ("customers",)),
    **dict.fromkeys(("target_mean_spend", "holdout_mean_spend", "spend_difference"), ("mean_spend",)),
    **dict.fromkeys(("difference_lower_95", "difference_upper_95", "p_value"), _SAMPLES),
}


def lineage(read: dg.AssetKey) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(read, column) for column in columns] for name, columns in SOURCES.items()}
    )


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
        description="One row per audience month and campaign: what target and holdout spent in the 90 days from the"
        " as-of date, and whether the difference is more than chance. A run makes the audience months whose window has"
        " closed by then: usually the one three months back.",
        tags=asset_tags.tags(GOLD, NAMES),
        metadata={
            asset_columns.SCHEMA: SCHEMA,
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
        audience_months = MonthRange(month_after(run_months.first, -MONTHS_BACK), run_months.last)
        planned = {campaign.name: float(campaign.holdout_pct) for campaign in project.rules.campaigns}
        started = time.monotonic()
        with warehouse.session() as session:
            rows = outcomes(groups(session, audience_months), planned)
            replace_months(session, audience_months, rows)
        seconds = round(time.monotonic() - started, 3)
        for month in run_months:
            context.add_asset_metadata(newly_due(rows, month), asset_key=key, partition_key=str(month))
        months = sorted({str(row["snapshot_month"]) for row in rows})
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "audience_months": ", ".join(months) or "none is due yet",
                "outcomes": outcome_table(rows),
                "Execution Duration": seconds,
                asset_columns.SCHEMA: SCHEMA,
                asset_columns.LINEAGE: lineage(read),
            },
            check_results=[split_check(key, rows)],
        )

    return campaign_outcomes


def newly_due(rows: Sequence[Mapping[str, Any]], month: date) -> dict[str, Any]:
    """Numbers of the audience months whose window has closed in `month`, to be drawn over the months of the runs."""
    due = [row for row in rows if month < row["window_end"] <= as_of_date(month)]
    differences = {
        f"spend_difference: {row['campaign']}": round(row["spend_difference"], 2)
        for row in due
        if row["spend_difference"] is not None
    }
    return {"dagster/row_count": len(due), **differences}


def groups(session: Session, months: MonthRange) -> list[dict[str, Any]]:
    return session.rows(
        "select snapshot_month, campaign, treatment_group, window_start, window_end, customers, mean_spend,"
        f" stddev_spend, content_hash from {session.gold}.campaign_outcome_groups"
        " where snapshot_month >= ? and snapshot_month <= ?"
        " order by snapshot_month, campaign, treatment_group",
        (months.first, months.last),
    )


def outcomes(rows: Sequence[Mapping[str, Any]], planned_pct: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row of campaign_outcomes per month and campaign, of the two rows of campaign_outcome_groups."""
    pairs: dict[tuple[date, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        pairs.setdefault((row["snapshot_month"], row["campaign"]), {})[row["treatment_group"]] = row
    found = []
    for (month, campaign), pair in pairs.items():
        target, holdout = (_group(pair[name]) for name in ("target", "holdout"))
        comparison, planned = compare(target, holdout), planned_pct.get(campaign)
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
            }
        )
    return found


def _group(row: Mapping[str, Any]) -> Group:
    mean, deviation = (None if row[key] is None else float(row[key]) for key in ("mean_spend", "stddev_spend"))
    return Group(int(row["customers"]), mean, deviation)


def replace_months(session: Session, months: MonthRange, rows: Sequence[Mapping[str, Any]]) -> None:
    """The months become `rows`, in one transaction."""
    table = f"{session.gold}.{NAME}"
    session.execute(f"create table if not exists {table} ({', '.join(f'{name} {kind}' for name, kind, _ in COLUMNS)})")
    session.execute(f"comment on table {table} is 'Outcomes of campaigns. {ownership.MARK}'")
    present = columns_of(session, session.gold, NAME)
    for name, kind, _ in COLUMNS:
        if name not in present:  # made by an earlier version
            session.execute(f"alter table {table} add column if not exists {name} {kind}")
    session.execute("begin transaction")
    try:
        session.execute(
            f"delete from {table} where snapshot_month >= ? and snapshot_month <= ?", (months.first, months.last)
        )
        if rows:
            places = ", ".join([f"({', '.join('?' * len(NAMES))})"] * len(rows))
            values = [row[name] for row in rows for name in NAMES]
            session.execute(f"insert into {table} ({', '.join(NAMES)}) values {places}", values)
        session.execute("commit")
    except BaseException:
        session.execute("rollback")
        raise


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


def outcome_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    kinds = {"bigint": "int", "double": "float"}

    def plain(value: Any) -> str | int | float | None:
        if isinstance(value, date):
            return str(value)
        return round(value, 6) if isinstance(value, float) else value

    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: plain(row[name]) for name in NAMES}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, kinds.get(kind, "string")) for name, kind, _ in COLUMNS]),
    )
