"""What a person sees in the terminal: progress while a run works, and its result as a table. It decides nothing."""

import logging
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
from rich import box
from rich.console import Console
from rich.table import Table

# Not sys.stdout: dbt's own lines go there, and during a run into its log file.
console = Console(file=sys.__stdout__, highlight=False)
errors = Console(file=sys.__stderr__, highlight=False)


class Progress(logging.Handler):
    """One line per table and failed check as Dagster records them."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        line = self._line(event) if event is not None else None
        if line is not None and line not in self._told:
            self._told.add(line)
            console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/dim]  {line}")

    def _line(self, event: dg.DagsterEvent) -> str | None:
        match event.event_type_value:
            case "ASSET_MATERIALIZATION":
                return f"{event.asset_key.path[-1]}" if event.asset_key else None
            case "ASSET_CHECK_EVALUATION":
                check: Any = event.event_specific_data
                if check.passed:
                    return None
                color = "red" if check.severity == dg.AssetCheckSeverity.ERROR else "yellow"
                return f"[{color}]{check.severity.value}[/{color}] {check.check_name}: {check.description or ''}"
        return None


@dg.logger({}, description="Progress for a person at a terminal.")
def progress_logger(context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger(f"progress.{context.run_id}", level=logging.DEBUG)
    logger.addHandler(Progress())
    return logger


def segments_table(month: date, rows: Sequence[Mapping[str, Any]], bands: Mapping[str, Sequence[float]]) -> Table:
    """The newest month's segments; `bands` are the expected shares in percent."""
    table = Table(
        title=f"Segments of {month:%B %Y} (values are lifetime)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("Segment", no_wrap=True)
    for heading in ("Customers", "Share", "Expected", "Avg value", "Total value"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        low, high = bands.get(row["customer_segment"], (0.0, 100.0))
        inside = low <= row["share_pct"] <= high
        table.add_row(
            row["customer_segment"],
            f"{row['customers']:,}",
            f"{row['share_pct']:.1f}%" if inside else f"[yellow]{row['share_pct']:.1f}%[/yellow]",
            f"{low:g}-{high:g}%",
            f"{row['avg_lifetime_value']:,.0f}",
            f"{row['total_lifetime_value']:,.0f}",
        )
    return table
