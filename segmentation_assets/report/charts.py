"""The charts of the monthly report, in Vega-Lite; drawing.py draws them. A chart without anything to show is empty.

Text, axes and grid take the page's own colour (currentColor), so one picture serves light and dark; the colours of the
segments are of middle lightness for the same reason.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from segmentation_assets.report.data import Flow, Metrics, Report
from segmentation_assets.report.drawing import PAGES_INK, Chart, escaped

PALETTE = ("#3f7fbf", "#d9772b", "#459a55", "#a867b0", "#8a7a1f", "#c94f5d", "#2a97a0", "#8d6e5a")
OUTSIDE = "#7d8590"  # those who come from nowhere or leave
OUTSIDERS = ("Not a customer before", "No longer a customer")
# Not the locale's: the same report is the same file everywhere.
MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
# More squares than these nobody can tell apart.
MOST_IN_A_PICTURE = 20
# Drawn at the width of a phone, so that on one the letters keep their size.
WIDTH = 300


def colours(segments: Sequence[str]) -> dict[str, str]:
    return {segment: PALETTE[number % len(PALETTE)] for number, segment in enumerate(segments)}


def share_charts(report: Report) -> dict[str, Chart]:
    """Per segment, its share over the months as a line over its expected band. A month not published is a gap."""
    shares = {(share.month, share.segment): share.share_pct for share in report.shares}
    names = [MONTH_NAMES[month.month - 1][:3] for month in report.months]
    charts: dict[str, Chart] = {}
    for segment, colour in colours(report.segments).items():
        values = [
            {"month": name, "share": shares.get((month, segment))}
            for name, month in zip(names, report.months, strict=True)
        ]
        encoding = {
            "x": {
                "field": "month", "type": "ordinal", "title": None, "sort": names, "scale": {"domain": names},
                # Every second month, the newest among them: twelve names run into each other.
                "axis": {"labelAngle": 0, "values": names[1::2]},
            },
            "y": {
                "field": "share", "type": "quantitative", "title": "% of customers",
                "scale": {"zero": True, "nice": True},
            },
        }  # fmt: skip
        number = {"type": "text", "dy": -11, "dx": -3, "fontSize": 12, "fontWeight": "bold", "color": PAGES_INK}
        over_months: list[Chart] = [
            {"mark": {"type": "line", "color": colour, "strokeWidth": 2}},
            # A month alone between two gaps has no line: the points show it.
            {
                "mark": {"type": "circle", "color": colour, "size": 28, "opacity": 1},
                "transform": [{"filter": "isValid(datum.share)"}],
            },
            {
                "mark": number,
                "encoding": {"text": {"field": "share", "type": "quantitative", "format": ".1f"}},
                "transform": [{"filter": f"datum.month == '{names[-1]}' && isValid(datum.share)"}],
            },
        ]
        layers = [{"data": {"values": values}, "encoding": encoding, "layer": over_months}]
        band = report.bands.get(segment)
        if band:
            bounds = {"y": {"field": "lower", "type": "quantitative"}, "y2": {"field": "upper"}}
            layers.insert(
                0,
                {
                    "data": {"values": [{"lower": band[0], "upper": band[1]}]},
                    "mark": {"type": "rect", "color": colour, "opacity": 0.22},
                    "encoding": bounds,
                },
            )
        charts[segment] = {"width": WIDTH - 60, "height": 120, "layer": layers}
    return charts


def value_charts(report: Report) -> dict[str, Chart]:
    """Bars per segment: total and average lifetime value, and average monthly spend."""
    wanted: dict[str, list[float | None]] = {
        "Total lifetime value": [row.total_lifetime_value for row in report.metrics],
        "Lifetime value per customer": [row.avg_lifetime_value for row in report.metrics],
        "Monthly spend per customer": [row.avg_monthly_spend for row in report.metrics],
    }
    return {title: bars(report.metrics, values, colours(report.segments)) for title, values in wanted.items()}


def bars(metrics: Sequence[Metrics], values: Sequence[float | None], palette: Mapping[str, str]) -> Chart:
    records = [
        {"segment": row.segment, "value": value, "label": f"{row.segment}: {short_number(value)}"}
        for row, value in zip(metrics, values, strict=True)
    ]
    names = [row.segment for row in metrics]
    scale = {"domain": names, "range": [palette[name] for name in names]}
    return {
        "width": WIDTH - 10,
        "height": {"step": 36},
        "data": {"values": records},
        "encoding": {"y": {"field": "segment", "type": "nominal", "title": None, "sort": names, "axis": None}},
        # The name stands over its bar: beside it, it would take half the width of a phone.
        "layer": [
            {
                "mark": {"type": "bar", "height": 12, "yOffset": 7},
                "encoding": {
                    "x": {
                        "field": "value", "type": "quantitative", "title": None, "axis": None, "scale": {"zero": True},
                    },
                    "color": {"field": "segment", "type": "nominal", "scale": scale, "legend": None},
                },
            },
            labels(align="left", dy=-7),
        ],
    }  # fmt: skip


def labels(**mark: Any) -> Chart:
    """A layer with the field `label` at the left of its row."""
    return {
        "mark": {"type": "text", "fontSize": 12, "color": PAGES_INK, **mark},
        "encoding": {"text": {"field": "label", "type": "nominal"}, "x": {"value": 0}},
    }


def overlap_chart(report: Report) -> Chart:
    """A square per pair: of those who meet the criteria of the row, the percentage who meet those of the column too.
    Rows are numbered, columns are the numbers."""
    known = {(row.kind, row.name) for row in report.overlaps}
    named = [
        *(("segment", name) for name in report.segments),
        *(("campaign", audience.campaign.name) for audience in report.audiences),
    ]
    shown = [one for one in named if one in known][:MOST_IN_A_PICTURE]
    if len(shown) < 2:
        return {}
    place = {one: number for number, one in enumerate(shown, start=1)}
    rows = [f"{place[one]}  {one[1]}" for one in shown]
    values = [
        {
            "row": rows[place[row.kind, row.name] - 1],
            "column": str(place[row.other_kind, row.other_name]),
            "share": row.overlap_pct,
            "label": f"{row.overlap_pct:.0f}" if row.customers_of_both else "",
        }
        for row in report.overlaps
        if (row.kind, row.name) in place and (row.other_kind, row.other_name) in place
    ]
    return {
        "width": {"step": 24},
        "height": {"step": 22},
        "padding": room(left=30),
        "data": {"values": values},
        "encoding": {
            "y": {"field": "row", "type": "nominal", "title": None, "sort": rows, "axis": {"labelLimit": 170}},
            "x": {
                "field": "column", "type": "nominal", "title": "% who meet the criteria of this one too",
                "sort": [str(number) for number in place.values()], "axis": {"labelAngle": 0, "orient": "top"},
            },
        },
        # Of the accent's colour, the stronger the more; the number stands in the page's own colour.
        "layer": [
            {
                "mark": {"type": "rect", "color": PALETTE[0]},
                "encoding": {
                    "opacity": {
                        "field": "share", "type": "quantitative", "legend": None,
                        "scale": {"domain": [0, 100], "range": [0, 0.75]},
                    }
                },
            },
            {
                "mark": {"type": "text", "fontSize": 10, "color": PAGES_INK},
                "encoding": {"text": {"field": "label", "type": "nominal"}},
            },
        ],
    }  # fmt: skip


def contacts_chart(report: Report) -> Chart:
    """A bar of people for each number of contacts."""
    people = report.contacts.people
    if not people:
        return {}
    values = [{"times": str(times), "people": people.get(times, 0)} for times in range(1, max(people) + 1)]
    return {
        "width": WIDTH - 60,
        "height": 140,
        "data": {"values": values},
        "encoding": {
            "x": {
                "field": "times", "type": "ordinal", "title": "times contacted", "sort": None,
                "axis": {"labelAngle": 0},
            },
            "y": {"field": "people", "type": "quantitative", "title": "people", "scale": {"zero": True}},
        },
        "layer": [
            {"mark": {"type": "bar", "color": PALETTE[0]}},
            {
                "mark": {"type": "text", "dy": -8, "fontSize": 12, "color": PAGES_INK},
                "encoding": {"text": {"field": "people", "type": "quantitative", "format": ","}},
            },
        ],
    }  # fmt: skip


def leavers_chart(report: Report) -> Chart:
    """A bar for each segment of last month, of those who left it, in the colours of where they are now."""
    palette = {**colours(report.segments), OUTSIDERS[1]: OUTSIDE}
    values = [
        {"from": segment, "to": flow.to_segment, "customers": flow.customers}
        for segment, flows in report.leavers.items()
        for flow in flows
    ]
    if not values:
        return {}
    reached = [name for name in palette if any(value["to"] == name for value in values)]
    return {
        "width": WIDTH - 120,
        "height": {"step": 24},
        "padding": room(left=30),
        "data": {"values": values},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {
                "field": "from", "type": "nominal", "title": None, "sort": list(report.leavers),
                "axis": {"labelLimit": 170},
            },
            "x": {
                "field": "customers", "type": "quantitative", "title": "customers who left", "scale": {"zero": True},
            },
            "color": {
                "field": "to", "type": "nominal", "legend": None,
                "scale": {"domain": reached, "range": [palette[name] for name in reached]},
            },
        },
    }  # fmt: skip


def short_number(value: float | None) -> str:
    if value is None:
        return "none"
    for size, unit in ((1e9, " bn"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:,.1f}{unit}"
    return f"{value:,.0f}"


def room(left: int = 5, right: int = 5) -> dict[str, int]:
    """The font that a page has may be wider than the one that the chart was measured in: room for its labels."""
    return {"left": left, "right": right, "top": 5, "bottom": 5}


# The flow picture: two columns of nodes as high as their customers, and a ribbon for each pair.
FLOW_WIDTH, FLOW_HEIGHT, NODE_WIDTH, NODE_GAP, LABEL_HEIGHT = 360, 420, 9, 8, 15


def flow_picture(flows: Sequence[Flow], segments: Sequence[str]) -> Markup:
    """Last month's segments on the left, this month's on the right. An empty picture without flows."""
    if not flows:
        return Markup("")
    palette = {**colours(segments), OUTSIDERS[0]: OUTSIDE, OUTSIDERS[1]: OUTSIDE}
    left, right = (columns(flows, segments, side) for side in ("from_segment", "to_segment"))
    total = sum(flow.customers for flow in flows)
    gaps = max(len(left), len(right)) - 1
    scale = (FLOW_HEIGHT - gaps * NODE_GAP) / total
    starts = [tops(column, scale) for column in (left, right)]
    used = [dict(top) for top in starts]
    order = {name: number for number, name in enumerate([*left, *right])}
    parts = []
    for flow in sorted(flows, key=lambda flow: (order[flow.from_segment], order[flow.to_segment])):
        height = flow.customers * scale
        y0, y1 = used[0][flow.from_segment], used[1][flow.to_segment]
        used[0][flow.from_segment] += height
        used[1][flow.to_segment] += height
        words = f"{flow.from_segment} to {flow.to_segment}: {flow.customers:,}"
        colour = palette.get(flow.from_segment, OUTSIDE)
        x0, x1, half = NODE_WIDTH, FLOW_WIDTH - NODE_WIDTH, FLOW_WIDTH / 2
        parts.append(
            f'<path d="M{x0},{y0:.2f} C{half},{y0:.2f} {half},{y1:.2f} {x1},{y1:.2f} L{x1},{y1 + height:.2f}'
            f' C{half},{y1 + height:.2f} {half},{y0 + height:.2f} {x0},{y0 + height:.2f} Z" fill="{colour}"'
            f' fill-opacity="{0.25 if flow.from_segment == flow.to_segment else 0.6}"><title>{escaped(words)}</title>'
            "</path>"
        )
    for column, top, x, text_x, anchor in (
        (left, starts[0], 0, NODE_WIDTH + 5, "start"),
        (right, starts[1], FLOW_WIDTH - NODE_WIDTH, FLOW_WIDTH - NODE_WIDTH - 5, "end"),
    ):
        middles = {name: top[name] + customers * scale / 2 for name, customers in column.items()}
        for (name, customers), y in zip(column.items(), apart(list(middles.values())), strict=True):
            parts.append(
                f'<rect x="{x}" y="{top[name]:.2f}" width="{NODE_WIDTH}" height="{max(customers * scale, 1):.2f}"'
                f' fill="{palette.get(name, OUTSIDE)}"/><text x="{text_x}" y="{y + 4:.2f}" text-anchor="{anchor}">'
                f"{escaped(name)} <tspan>{customers:,}</tspan></text>"
            )
    words = f"How {total:,} customers moved between the segments since last month"
    return Markup(
        f'<svg class="flow" role="img" aria-label="{escaped(words)}" viewBox="0 -8 {FLOW_WIDTH} {FLOW_HEIGHT + 16}">'
        + "".join(parts)
        + "</svg>"
    )


def columns(flows: Sequence[Flow], segments: Sequence[str], side: str) -> dict[str, int]:
    """Customers per node of one side, segments in order of priority and those from outside last."""
    counts: dict[str, int] = {}
    for flow in flows:
        name = getattr(flow, side)
        counts[name] = counts.get(name, 0) + flow.customers
    rank = {name: number for number, name in enumerate([*segments])}
    ordered = sorted(counts, key=lambda name: (name in OUTSIDERS, rank.get(name, len(rank)), name))
    return {name: counts[name] for name in ordered}


def tops(column: Mapping[str, int], scale: float) -> dict[str, float]:
    found, y = {}, 0.0
    for name, customers in column.items():
        found[name] = y
        y += customers * scale + NODE_GAP
    return found


def apart(middles: Sequence[float]) -> list[float]:
    """The places of labels, each as near to its own as the next ones and the picture's end let it."""
    placed = []
    for middle in middles:
        placed.append(max(middle, placed[-1] + LABEL_HEIGHT) if placed else middle)
    limit = float(FLOW_HEIGHT)
    for number in reversed(range(len(placed))):
        placed[number] = min(placed[number], limit)
        limit = placed[number] - LABEL_HEIGHT
    return placed
