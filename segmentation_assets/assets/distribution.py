"""The distribution of a month's segments, as numbers (which Dagster draws over the months) and a picture."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import dagster as dg

from segmentation_assets.months import MonthRange
from segmentation_assets.report import share_chart
from segmentation_assets.rules.load import Rules
from segmentation_assets.warehouse.catalog import GOLD, SILVER

# The assets that carry it, and the table each counts.
TABLES: Mapping[str, tuple[str, str]] = {
    "segment_assignments": (SILVER, "segment_assignments"),
    "customer_segment_history": (GOLD, "customer_segment_history"),
    "segment_summary": (GOLD, "customer_segment_history"),
}
# A picture takes longer than the numbers in it, and is kept with every event.
PICTURED = ("segment_assignments", "segment_summary")


def shares(
    rows_of: Callable[[str], list[dict[str, Any]]], rules: Rules, table: str, months: MonthRange
) -> list[dict[str, Any]]:
    """Per month and segment: customers, share_pct, spend_last_90_days and the expected band. `rows_of` runs a query."""
    counts = rows_of(
        f"""
        select
            snapshot_month, customer_segment, count(*) as customers, sum(spend_last_90_days) as spend_last_90_days,
            100.0 * count(*) / sum(count(*)) over (partition by snapshot_month) as share_pct
        from {table}
        where snapshot_month >= cast('{months.first}' as date) and snapshot_month <= cast('{months.last}' as date)
        group by snapshot_month, customer_segment
        order by snapshot_month, customer_segment
        """
    )
    bands = {segment.name: segment.expected_share_pct for segment in rules.segments if segment.expected_share_pct}
    for row in counts:
        row["band_lower_pct"], row["band_upper_pct"] = bands.get(row["customer_segment"], (None, None))
    return counts


def attach(
    context: dg.AssetExecutionContext, key: dg.AssetKey, rules: Rules, rows: Sequence[dict[str, Any]], seconds: float
) -> None:
    """Log the months' distributions and the time they took; attach both to the materialisations about to be yielded."""
    for month, month_rows in groupby(rows, key=lambda row: row["snapshot_month"]):
        segments = list(month_rows)
        told = ", ".join(
            f"{row['customer_segment']} {row['customers']:,} ({row['share_pct']:.1f}%)" for row in segments
        )
        context.log.info(f"{month}: {told}; the run took {seconds:.1f} s for this step.")
        metadata: dict[str, Any] = {
            "customers": int(sum(row["customers"] for row in segments)),
            "spend_last_90_days": float(sum(row["spend_last_90_days"] for row in segments)),
            "recalculation_seconds": round(seconds, 2),
        }
        if key.path[-1] in PICTURED:
            metadata["shares_against_bands"] = share_chart.shares_against_bands(segments, rules.segment_names)
        for row in segments:
            metadata[f"customers: {row['customer_segment']}"] = int(row["customers"])
            metadata[f"share_pct: {row['customer_segment']}"] = round(float(row["share_pct"]), 4)
        context.add_asset_metadata(metadata, asset_key=key, partition_key=str(month))
