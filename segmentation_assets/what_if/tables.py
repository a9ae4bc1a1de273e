"""The result of a what-if as tables and sentences: the same ones for a terminal and, in Markdown, for Dagster."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from segmentation_assets.outcomes import words
from segmentation_assets.publication import audits
from segmentation_assets.publication.findings import Finding
from segmentation_assets.text import markdown as markdown_text
from segmentation_assets.text import printable
from segmentation_assets.what_if.calibration import Bound, Calibration, plain
from segmentation_assets.what_if.compute import Month, Segment

# How many of the segments' and campaigns' columns are text; the others are numbers.
WORDS = {"segments": 1, "migrations": 2, "audiences": 1, "shares": 1}
# How many segments stand beside each other.
ACROSS = 7
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
            f"Customers who move: {month.moved:,} of {month.customers:,}"
            if month.is_published
            else f"Customers: {month.customers:,}",
            ("From", "To", "Customers"),
            [(old, new, f"{customers:,}") for (old, new), customers in month.moves.items()],
            if_empty="Nobody changes segment." if month.is_published else "The month is not published yet.",
        ),
        Shown(
            "audiences",
            "Audiences",
            ("Campaign", "Sent", "Change", "Held out", "Smallest effect"),
            [
                (
                    audience.campaign,
                    _arrow(audience.sent_before, audience.sent_after),
                    _change(audience.sent_before, audience.sent_after),
                    _arrow(audience.held_out_before, audience.held_out_after),
                    _arrow_of_percent(audience.smallest_before_pct, audience.smallest_after_pct),
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
    for audience in month.audiences:
        if audience.can_find.startswith(words.NOTHING_TO_FIND):
            yield f"{audience.campaign}: {audience.can_find}"
    if month.other_rules:
        yield (
            f"{month.month} was published under other rules than today's, so the difference holds that change too."
            f" `make month MONTH={month.month}` publishes it under today's."
        )
    if not month.is_published:
        yield (
            f"{month.month} is not published, so there is nothing to compare with. `make month MONTH={month.month}`"
            " publishes it, under today's rules."
        )
    elif any(None in (audience.sent_before, audience.sent_after) for audience in month.audiences):
        yield (
            "A dash: no audience of that campaign was published for the month, or the changed rules have none, or would"
            " make none; of the smallest effect, that none could be told from chance, or that an earlier version made"
            " the list."
        )


def shares(calibration: Calibration) -> list[Shown]:
    """Months down, segments across, a few of them at a time so that a terminal holds them."""
    found: list[Shown] = []
    for start in range(0, len(calibration.segments), ACROSS):
        some = calibration.segments[start : start + ACROSS]
        bands = [one.segment.expected_share_pct for one in some]
        rows = [
            [f"{month:%Y-%m}", *(f"{calibration.share(one.members, month):.1f}%" for one in some)]
            for month in calibration.months
        ]
        rows.append(["together", *(f"{calibration.share(one.members):.1f}%" for one in some)])
        if any(bands):
            rows.append(["expected", *(f"{band[0]:g}-{band[1]:g}%" if band else "-" for band in bands)])
        title = f"Shares under these rules, {calibration.months.label}"
        found.append(Shown("shares", title, ("Month", *(one.segment.name for one in some)), rows))
    return found


def bounds(calibration: Calibration) -> Iterator[str]:
    """Per segment with a band, the one bound that would bring it to the middle, or why none does."""
    for one in calibration.segments:
        band = one.segment.expected_share_pct
        if band is None:
            continue
        now, aim = calibration.share(one.members), f"of {band[0]:g}-{band[1]:g}%"
        name, bound = one.segment.name, calibration.reached(one)
        if not one.segment.criteria:
            yield f"{name}: {now:.1f}%, {aim}. It takes who is left, so no bound of its own moves it."
        elif calibration.is_in_the_middle(one):
            yield f"{name}: {now:.1f}%, the middle {aim}. Keep its bounds."
        elif bound is not None:
            yield (
                f"{name}: {_moved(bound)} gives {calibration.share(bound.members):.1f}%"
                f" ({_by_month(calibration, bound)}), now {now:.1f}%, the middle {aim} is"
                f' {(float(band[0]) + float(band[1])) / 2:g}%. SET="{bound.change(name)}"'
            )
        elif one.bounds:
            there = "within its band" if calibration.is_inside(one) else "not within its band"
            yield (
                f"{name}: {now:.1f}%, {aim}: {there}, and no single bound brings it to the middle. The nearest,"
                f" {_moved(one.bounds[0])}, gives {calibration.share(one.bounds[0].members):.1f}%."
            )
        else:
            yield f"{name}: {now:.1f}%, {aim}, and no single bound brings it there: nobody meets its other criteria."


def calibration_notes(calibration: Calibration) -> Iterator[str]:
    if any(one.segment.expected_share_pct for one in calibration.segments):
        yield (
            "Each bound is computed with everything else as it is. Segments are tried in this order, so a bound that"
            " is moved changes the segments after it too: move the first one, then calibrate again."
        )
    else:
        yield "No segment has an expected_share_pct, so there is no band to bring it to."


def _moved(bound: Bound) -> str:
    criterion = bound.criterion
    return f"{criterion.metric} {criterion.operator} from {criterion.bound} to {plain(bound.bound)}"


def _by_month(calibration: Calibration, bound: Bound) -> str:
    found = [calibration.share(bound.members, month) for month in calibration.months]
    return f"{min(found):.1f} to {max(found):.1f}% by month"


def render_calibration(calibration: Calibration) -> Group:
    """For a terminal."""
    parts: list[Table | Text] = [_table(one) for one in shares(calibration)]
    for line in (*bounds(calibration), *calibration_notes(calibration)):
        parts.append(Text(printable(line)))
    return Group(*parts)


def markdown_calibration(calibration: Calibration) -> dict[str, str]:
    lines = [*bounds(calibration), *calibration_notes(calibration)]
    return {
        "shares": "\n\n".join(_markdown(one) for one in shares(calibration)),
        "bounds": "\n".join(f"- {markdown_text(line)}" for line in lines),
    }


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
    return "\n\n".join(
        f"**{month.month}** {_markdown(table)}" for month in months for table in shown(month) if table.name == name
    )


def _markdown(one: Shown) -> str:
    rule = ["---" if at < WORDS[one.name] else "---:" for at in range(len(one.headings))]
    lines = [_line(row) for row in (one.headings, rule, *one.rows)] if one.rows else [one.if_empty]
    return "\n".join([one.title, "", *lines])


def markdown_notes(months: Sequence[Month]) -> str:
    return "\n".join(f"- {markdown_text(note)}" for month in months for note in notes(month))


def _table(one: Shown) -> Table:
    table = Table(title=one.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, heading in enumerate(one.headings):
        is_word = at < WORDS[one.name]
        table.add_column(
            printable(heading), justify="left" if is_word else "right", no_wrap=at > 0 and one.name != "shares"
        )
    for row in one.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _segment(segment: Segment) -> tuple[str, ...]:
    return (
        segment.name,
        _arrow(segment.before, segment.after),
        f"{'-' if segment.share_before is None else f'{segment.share_before:.1f}%'} → {segment.share_after:.1f}%",
        f"{segment.floor:g}%",
        f"{segment.band[0]:g}-{segment.band[1]:g}%" if segment.band else "-",
        next((word for audit, word in FAILURES.items() if audit in segment.failures), ""),
    )


def _arrow(before: int | None, after: int | None) -> str:
    return " → ".join("-" if number is None else f"{number:,}" for number in (before, after))


def _arrow_of_percent(before: float | None, after: float | None) -> str:
    return " → ".join("-" if number is None else f"{number:.0f}%" for number in (before, after))


def _change(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return "-"
    return f"{after - before:+,}" if after != before else "0"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"
