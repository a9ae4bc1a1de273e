"""Terminal: what is printed, and how. On a terminal with a bar or a spinner; in a file plain lines, never wrapped."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import IO, Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from segmentation_assets.text import printable, without_addresses

# Where there is no terminal there is no width to wrap or cut lines to.
UNWRAPPED = 10_000


def _console(file: IO[str] | None) -> Console:
    """Reads no markup: a segment may be called `[/red]`. Not on sys.stdout, which a run sends into its log."""
    return Console(file=file, highlight=False, markup=False, emoji=False)


console = _console(sys.__stdout__)
errors = _console(sys.__stderr__)


def say(what: RenderableType = "", style: str = "") -> None:
    """To stdout. A text may hold anything; a table's cells have been made `printable` by whoever filled them."""
    _print(console, Text(printable(what), style) if isinstance(what, str) else what)


def complain(text: str, style: str = "") -> None:
    """To stderr."""
    _print(errors, Text(printable(without_addresses(text)), style))


def error(text: str) -> None:
    """What a person can put right, in a line."""
    _print(errors, Text.assemble(("error:", "red"), " ", printable(without_addresses(text))))


def _print(to: Console, what: RenderableType) -> None:
    if not to.is_terminal:
        to.width = UNWRAPPED
    to.print(what)


class Waits(logging.Handler):
    """What keeps a command waiting is said while it waits, and not only in the log of a run."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


waits = Waits()


@contextmanager
def working(on: str) -> Iterator[None]:
    """A spinner while something takes longer than a person likes to look at nothing."""
    if not console.is_interactive:
        yield
        return
    with console.status(Text(printable(on))):
        yield


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[str, int], None]]:
    """`show(what is under way, how much is done)`; what is printed meanwhile appears above the bar."""
    if not console.is_interactive:
        yield lambda _what, _done: None
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False, refresh_per_second=5
    ) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda what, done: bar.update(task, description=printable(what), completed=done)


def segments_table(month: date, rows: Sequence[Mapping[str, Any]], bands: Mapping[str, Sequence[float]]) -> Table:
    """The newest month's segments; `bands` are the expected shares in percent, of those segments that have one."""
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
        band = bands.get(row["customer_segment"])
        inside = band is None or band[0] <= row["share_pct"] <= band[1]
        table.add_row(
            Text(printable(row["customer_segment"])),
            f"{row['customers']:,}",
            Text(f"{row['share_pct']:.1f}%", "" if inside else "yellow"),
            f"{band[0]:g}-{band[1]:g}%" if band else "-",
            f"{row['avg_lifetime_value']:,.0f}",
            f"{row['total_lifetime_value']:,.0f}",
        )
    return table
