"""The result of a what-if as tables and sentences: the same ones for a terminal and, in Markdown, for Dagster."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from segmentation_assets.publication import audits
from segmentation_assets.publication.findings import Finding
from segmentation_assets.text import markdown as markdown_text
from segmentation_assets.text import printable
from segmentation_assets.what_if.compute import Month, Segment

# How many of the segments' and campaigns' columns are text; the others are numbers.
WORDS = {"segments": 1, "migrations": 2, "audiences": 1}
# In one word, the worst first; the sentences below the tables say the rest.
FAILURES = {
    "every_segment_holds_the_minimum_share": "FLOOR",
    audits.BAND: "band",
}


@dataclass(frozen=True)
class Shown:
    name: str  # segments, migrations or audiences
    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    if_empty: str = ""


def shown(month: Month) -> list[Shown]:
    """The month's three tables."""
    return [
        Shown(
            "segments",
            f"Segments of {month.month:%B %Y}",
            ("Segment", "Customers", "Share", "Floor", "Expected", "Fails"),
            [_segment(segment) for segment in month.segments],
        ),
        Shown(
            "migrations",
            f"Customers who move: {month.moved:,} of {month.customers:,}",
            ("From", "To", "Customers"),
            [(old, new, f"{customers:,}") for (old, new), customers in month.moves.items()],
            if_empty="Nobody changes segment.",
        ),
        Shown(
            "audiences",
            "Audiences",
            ("Campaign", "Sent", "Change", "Held out"),
            [
                (
                    audience.campaign,
                    _arrow(audience.sent_before, audience.sent_after),
                    _change(audience.sent_before, audience.sent_after),
                    _arrow(audience.held_out_before, audience.held_out_after),
                )
                for audience in month.audiences
            ],
        ),
    ]


def notes(month: Month) -> Iterator[str]:
    """What the gate would say, and what else is in the difference."""
    if month.is_publishable:
        yield f"{month.month} would pass the gate."
    else:
        yield f"{month.month} would NOT pass the gate: it would be held back until somebody accepts what blocks it."
    for row in month.failures:
        blocks = audits.is_blocking_failure(row)
        effect = "blocks" if blocks else "accepted" if row["severity"] == "error" else "warns"
        yield f"{effect}: {Finding.of_row(row).sentence}"
    for row in month.list_failures:
        yield f"no new lists: {Finding.of_row(row).sentence}"
    if month.other_rules:
        yield (
            f"{month.month} was published under other rules than today's, so the difference holds that change too."
            f" `make month MONTH={month.month}` publishes it under today's."
        )
    if any(None in (audience.sent_before, audience.sent_after) for audience in month.audiences):
        yield (
            "A dash: no audience of that campaign was published for the month, or the changed rules have none, or would"
            " make none."
        )


def render(months: Sequence[Month]) -> Group:
    """For a terminal."""
    parts: list[Table | Text] = []
    for month in months:
        for one in shown(month):
            if one.rows:
                parts.append(_table(one))
            else:
                parts.append(Text(f"{one.title}. {one.if_empty}\n"))
        parts.extend(Text(printable(note)) for note in notes(month))
        parts.append(Text(""))
    return Group(*parts)


def markdown(months: Sequence[Month], name: str) -> str:
    """The tables called `name` (segments, migrations or audiences) of all months, below each other."""
    blocks = []
    for month in months:
        one = next(table for table in shown(month) if table.name == name)
        rule = ["---" if at < WORDS[name] else "---:" for at in range(len(one.headings))]
        lines = [_line(row) for row in (one.headings, rule, *one.rows)] if one.rows else [one.if_empty]
        blocks.append("\n".join([f"**{month.month}** {one.title}", "", *lines]))
    return "\n\n".join(blocks)


def markdown_notes(months: Sequence[Month]) -> str:
    return "\n".join(f"- {markdown_text(note)}" for month in months for note in notes(month))


def _table(one: Shown) -> Table:
    table = Table(title=one.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, heading in enumerate(one.headings):
        table.add_column(heading, justify="left" if at < WORDS[one.name] else "right", no_wrap=at > 0)
    for row in one.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _segment(segment: Segment) -> tuple[str, ...]:
    return (
        segment.name,
        _arrow(segment.before, segment.after),
        f"{segment.share_before:.1f}% → {segment.share_after:.1f}%",
        f"{segment.floor:g}%",
        f"{segment.band[0]:g}-{segment.band[1]:g}%" if segment.band else "-",
        next((word for audit, word in FAILURES.items() if audit in segment.failures), ""),
    )


def _arrow(before: int | None, after: int | None) -> str:
    return " → ".join("-" if number is None else f"{number:,}" for number in (before, after))


def _change(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return "-"
    return f"{after - before:+,}" if after != before else "0"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"
