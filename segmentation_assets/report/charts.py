"""The pictures of the monthly report, as SVG to stand in the page and as a PNG for metadata.

Text, axes and grid take the page's own colour (currentColor), so one picture serves light and dark; the colours of the
segments are of middle lightness for the same reason. Nothing in a picture is fetched from anywhere.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from segmentation_assets.report.data import Flow, Metrics, Report
from segmentation_assets.text import drawable, printable

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
SVG_NAMESPACES = re.compile(r' (?:xmlns(?::xlink)?|version)="[^"]*"')


def colours(segments: Sequence[str]) -> dict[str, str]:
    return {segment: PALETTE[number % len(PALETTE)] for number, segment in enumerate(segments)}


def share_charts(report: Report) -> dict[str, dict[str, Any]]:
    """Per segment, its share over the months as a line over its expected band. A month not published is a gap."""
    import altair

    shares = {(share.month, share.segment): share.share_pct for share in report.shares}
    names = [MONTH_NAMES[month.month - 1][:3] for month in report.months]
    charts: dict[str, dict[str, Any]] = {}
    for segment, colour in colours(report.segments).items():
        values = [
            {"month": name, "share": shares.get((month, segment))}
            for name, month in zip(names, report.months, strict=True)
        ]
        x = altair.X(
            "month:O",
            title=None,
            sort=names,
            scale=altair.Scale(domain=names),
            # Every second month, the newest among them: twelve names run into each other.
            axis=altair.Axis(labelAngle=0, values=names[1::2]),
        )
        y = altair.Y("share:Q", title="% of customers", scale=altair.Scale(zero=True, nice=True))
        line = altair.Chart(altair.Data(values=values)).encode(x=x, y=y)
        # A month alone between two gaps has no line: the points show it.
        layers = [
            line.mark_line(color=colour, strokeWidth=2),
            line.transform_filter("isValid(datum.share)").mark_circle(color=colour, size=28, opacity=1),
            line.transform_filter(f"datum.month == '{names[-1]}' && isValid(datum.share)")
            .mark_text(dy=-11, dx=-3, fontSize=12, fontWeight="bold", color="currentColor")
            .encode(text=altair.Text("share:Q", format=".1f")),
        ]
        band = report.bands.get(segment)
        if band:
            bounds = altair.Chart(altair.Data(values=[{"lower": band[0], "upper": band[1]}]))
            layers.insert(0, bounds.mark_rect(color=colour, opacity=0.22).encode(y="lower:Q", y2="upper:Q"))
        charts[segment] = specification(altair.layer(*layers).properties(width=WIDTH - 60, height=120))
    return charts


def value_charts(report: Report) -> dict[str, dict[str, Any]]:
    """Bars per segment: total and average lifetime value, and average monthly spend."""
    wanted: dict[str, list[float | None]] = {
        "Total lifetime value": [row.total_lifetime_value for row in report.metrics],
        "Lifetime value per customer": [row.avg_lifetime_value for row in report.metrics],
        "Monthly spend per customer": [row.avg_monthly_spend for row in report.metrics],
    }
    return {title: bars(report.metrics, values, colours(report.segments)) for title, values in wanted.items()}


def bars(metrics: Sequence[Metrics], values: Sequence[float | None], palette: Mapping[str, str]) -> dict[str, Any]:
    import altair

    records = [
        {"segment": row.segment, "value": value, "label": f"{row.segment}: {short_number(value)}"}
        for row, value in zip(metrics, values, strict=True)
    ]
    names = [row.segment for row in metrics]
    base = altair.Chart(altair.Data(values=records)).encode(
        y=altair.Y("segment:N", title=None, sort=names, axis=None),
        x=altair.X("value:Q", title=None, axis=None, scale=altair.Scale(zero=True)),
    )
    # The name stands over its bar: beside it, it would take half the width of a phone.
    chart = (
        base.mark_bar(height=12, yOffset=7).encode(
            color=altair.Color(
                "segment:N", scale=altair.Scale(domain=names, range=[palette[name] for name in names]), legend=None
            )
        )
        + base.mark_text(align="left", dy=-7, fontSize=12, color="currentColor").encode(
            text="label:N", x=altair.value(0)
        )
    ).properties(width=WIDTH - 10, height=altair.Step(36))
    return specification(chart)


def overlap_chart(report: Report) -> dict[str, Any] | None:
    """A square per pair: of those who meet the criteria of the row, the percentage who meet those of the column too.
    Rows are numbered, columns are the numbers. None where there are no two to compare."""
    import altair

    known = {(row.kind, row.name) for row in report.overlaps}
    named = [
        *(("segment", name) for name in report.segments),
        *(("campaign", audience.campaign.name) for audience in report.audiences),
    ]
    shown = [one for one in named if one in known][:MOST_IN_A_PICTURE]
    if len(shown) < 2:
        return None
    place = {one: number for number, one in enumerate(shown, start=1)}
    labels = [f"{place[one]}  {one[1]}" for one in shown]
    values = [
        {
            "row": labels[place[row.kind, row.name] - 1],
            "column": str(place[row.other_kind, row.other_name]),
            "share": row.overlap_pct,
            "label": f"{row.overlap_pct:.0f}" if row.customers_of_both else "",
        }
        for row in report.overlaps
        if (row.kind, row.name) in place and (row.other_kind, row.other_name) in place
    ]
    base = altair.Chart(altair.Data(values=values)).encode(
        y=altair.Y("row:N", title=None, sort=labels, axis=altair.Axis(labelLimit=170)),
        x=altair.X(
            "column:N",
            title="% who meet the criteria of this one too",
            sort=[str(number) for number in place.values()],
            axis=altair.Axis(labelAngle=0, orient="top"),
        ),
    )
    # Of the accent's colour, the stronger the more; the number stands in the page's own colour.
    squares = base.mark_rect(color=PALETTE[0]).encode(
        opacity=altair.Opacity("share:Q", scale=altair.Scale(domain=[0, 100], range=[0, 0.75]), legend=None)
    )
    numbers = base.mark_text(fontSize=10, color="currentColor").encode(text="label:N")
    return specification((squares + numbers).properties(width=altair.Step(24), height=altair.Step(22)), left=30)


def contacts_chart(report: Report) -> dict[str, Any]:
    """A bar of people for each number of contacts; none without any."""
    import altair

    people = report.contacts.people
    if not people:
        return {}
    values = [{"times": str(times), "people": people.get(times, 0)} for times in range(1, max(people) + 1)]
    base = altair.Chart(altair.Data(values=values)).encode(
        x=altair.X("times:O", title="times contacted", sort=None, axis=altair.Axis(labelAngle=0)),
        y=altair.Y("people:Q", title="people", scale=altair.Scale(zero=True)),
    )
    chart = base.mark_bar(color=PALETTE[0]) + base.mark_text(dy=-8, fontSize=12, color="currentColor").encode(
        text=altair.Text("people:Q", format=",")
    )
    return specification(chart.properties(width=WIDTH - 60, height=140))


def leavers_chart(report: Report) -> dict[str, Any]:
    """A bar for each segment of last month, of those who left it, in the colours of where they are now; none where
    nobody left."""
    import altair

    palette = {**colours(report.segments), OUTSIDERS[1]: OUTSIDE}
    values = [
        {"from": segment, "to": flow.to_segment, "customers": flow.customers}
        for segment, flows in report.leavers.items()
        for flow in flows
    ]
    if not values:
        return {}
    reached = [name for name in palette if any(value["to"] == name for value in values)]
    chart = altair.Chart(altair.Data(values=values)).mark_bar().encode(
        y=altair.Y("from:N", title=None, sort=list(report.leavers), axis=altair.Axis(labelLimit=170)),
        x=altair.X("customers:Q", title="customers who left", scale=altair.Scale(zero=True)),
        color=altair.Color(
            "to:N", legend=None, scale=altair.Scale(domain=reached, range=[palette[name] for name in reached])
        ),
    )  # fmt: skip
    return specification(chart.properties(width=WIDTH - 120, height=altair.Step(24)), left=30)


def short_number(value: float | None) -> str:
    if value is None:
        return "none"
    for size, unit in ((1e9, " bn"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:,.1f}{unit}"
    return f"{value:,.0f}"


def specification(chart: Any, left: int = 0, right: int = 0) -> dict[str, Any]:
    """The chart in Vega-Lite. Altair takes longer to check one and to join several than to draw them. The font that a
    page has may be wider than the one that the chart was measured in: `left` and `right` leave room for its labels."""
    room = {"padding": {"left": left or 5, "right": right or 5, "top": 5, "bottom": 5}} if left or right else {}
    return {**chart.to_dict(validate=False), **room}


def _shown(text: str) -> Markup:
    return escape(printable(text))


def svg(chart: Mapping[str, Any], words: str) -> Markup:
    """The chart (a specification) as an element of the page, read out as `words`."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(styled(chart, "currentColor"), allowed_base_urls=[])
    # In HTML an SVG needs no namespaces; without them the page holds no address at all.
    drawn = SVG_NAMESPACES.sub("", drawn)
    return Markup(drawn.replace("<svg ", f'<svg role="img" aria-label="{_shown(words)}" ', 1))


def png(charts: Mapping[str, Mapping[str, Any]]) -> bytes:
    """All charts (specifications) on one white picture, two in a row."""
    import vl_convert

    own = ("$schema", "config", "datasets", "padding")  # which the whole has once
    titled = [
        {"title": title, **{key: part for key, part in chart.items() if key not in own}}
        for title, chart in charts.items()
    ]
    joined = {
        "$schema": next(iter(charts.values()))["$schema"],
        "datasets": {name: rows for chart in charts.values() for name, rows in chart.get("datasets", {}).items()},
        "vconcat": [{"hconcat": titled[start : start + 2]} for start in range(0, len(titled), 2)],
    }
    # In the page's own colour a picture alone would be black on Dagster's dark background.
    spec = json.dumps(styled(joined, "#24292f")).replace('"currentColor"', '"#24292f"')
    return vl_convert.vegalite_to_png(spec.replace('"transparent"', '"white"'), scale=1, allowed_base_urls=[])


def styled(chart: Mapping[str, Any], ink: str) -> dict[str, Any]:
    axis = {
        "labelColor": ink, "titleColor": ink, "gridColor": ink, "domainColor": ink, "tickColor": ink,
        "gridOpacity": 0.15, "domainOpacity": 0.4, "tickOpacity": 0.4, "labelFontSize": 11, "titleFontSize": 11,
        "titleFontWeight": "normal",
    }  # fmt: skip
    config = {
        "background": "transparent",
        "font": "sans-serif",
        "axis": axis,
        "axisY": {"tickCount": 5},
        "title": {"color": ink},
        "view": {"stroke": None},
    }
    return {**drawable(chart), "config": config}


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
            f' fill-opacity="{0.25 if flow.from_segment == flow.to_segment else 0.6}"><title>{_shown(words)}</title>'
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
                f"{_shown(name)} <tspan>{customers:,}</tspan></text>"
            )
    words = f"How {total:,} customers moved between the segments since last month"
    return Markup(
        f'<svg class="flow" role="img" aria-label="{_shown(words)}" viewBox="0 -8 {FLOW_WIDTH} {FLOW_HEIGHT + 16}">'
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
