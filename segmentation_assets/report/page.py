"""The monthly report as one HTML file. What it says is in data.py, its pictures in charts.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import jinja2
from markupsafe import Markup

from segmentation_assets.report import charts as report_charts
from segmentation_assets.report import outcome_chart
from segmentation_assets.report.data import Metrics, Report
from segmentation_assets.report.drawing import element, svg
from segmentation_assets.text import printable

MOST_SENTENCES = 5
TEMPLATE = "segment_report.html.j2"
# Column of hero_metrics, what it is called, and how it is written: count, money or percent.
HEADLINES = (
    ("customers", "Customers", "count"),
    ("active_customers", "Active customers", "count"),
    ("avg_lifetime_value", "Lifetime value per customer", "money"),
    ("avg_monthly_spend", "Monthly spend per customer", "money"),
    ("avg_transaction_value", "Average transaction", "cents"),
    ("spend_last_90_days", "Spend of the last 90 days", "money"),
    ("retention_pct", "Retention over three months", "percent"),
    ("churned_customers", "Churned", "count"),
    ("reactivated_customers", "Reactivated", "count"),
    ("new_customers", "New", "count"),
)


def shown(value: object) -> object:
    """What a template writes out: text as it may be shown, markup of our own as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@dataclass(frozen=True)
class Pictures:
    """The charts of a report as SVG. One without anything to show is an empty text."""

    shares: Mapping[str, str]  # per segment
    values: Mapping[str, str]  # per measure
    overlap: str
    effects: str
    contacts: str
    leavers: str


def pictures(report: Report) -> Pictures:
    return Pictures(
        shares={name: svg(chart) for name, chart in report_charts.share_charts(report).items()},
        values={name: svg(chart) for name, chart in report_charts.value_charts(report).items()},
        overlap=svg(report_charts.overlap_chart(report)),
        effects=svg(outcome_chart.effects([effect.row for effect in report.effects])),
        contacts=svg(report_charts.contacts_chart(report)),
        leavers=svg(report_charts.leavers_chart(report)),
    )


def render(report: Report, drawn: Pictures) -> bytes:
    """The same report gives the same bytes. The pictures are its own."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=count,
        money=money,
        signed_money=signed_money,
        cents=cents,
        percent=percent,
        signed=signed,
        month_name=month_name,
    )
    page = environment.get_template(TEMPLATE).render(
        report=report,
        colours=report_charts.colours(report.segments),
        headlines=headlines(report.totals, report.totals_before),
        share_pictures={
            name: element(picture, f"{name}: share of the customers over twelve months")
            for name, picture in drawn.shares.items()
        },
        value_pictures={name: element(picture, f"{name}, per segment") for name, picture in drawn.values.items()},
        overlap_picture=element(drawn.overlap, "Who meets the criteria of two segments or campaigns, in percent"),
        overlap_sentences=overlap_sentences(report),
        effect_picture=element(drawn.effects, "Effect of each campaign with its interval"),
        contacts_picture=element(drawn.contacts, "People by how often they were contacted"),
        leavers_picture=element(drawn.leavers, "Customers who left each segment, by where they went"),
        flow_picture=report_charts.flow_picture(report.flows, report.segments),
        moves=[
            flow
            for flow in sorted(report.flows, key=lambda flow: -flow.customers)
            if flow.from_segment != flow.to_segment
        ][:8],
    )
    return (page.strip() + "\n").encode()


def overlap_sentences(report: Report) -> list[str]:
    """The largest overlaps: of segments, the earlier of which takes them, and of campaigns of different segments."""
    priority = {name: number for number, name in enumerate(report.segments)}
    order = sorted(report.overlaps, key=lambda row: (-row.customers_of_both, row.name, row.other_name))
    found = [row for row in order if row.customers_of_both]
    segments = [
        f"{_who_meet(row.customers)} the criteria of {row.name}; {count(row.customers_of_both)} of them"
        f" ({percent(row.overlap_pct)}) those of {row.other_name} too, which comes first."
        for row in found
        if row.kind == row.other_kind == "segment" and priority.get(row.name, 0) > priority.get(row.other_name, 0)
    ]
    campaigns = [
        f"{_who_meet(row.customers_of_both)} the criteria of both {row.name} and {row.other_name}: each is"
        " on the list of their own segment's campaign at most."
        for row in found
        if row.kind == row.other_kind == "campaign"
        and row.name < row.other_name
        and _segment(report, row.name) != _segment(report, row.other_name)
    ]
    return [
        *(segments[:MOST_SENTENCES] or ["Nobody meets the criteria of two segments."]),
        *(campaigns[:MOST_SENTENCES] or ["Nobody meets the criteria of campaigns of two segments."]),
    ]


def _who_meet(customers: int) -> str:
    return "1 customer meets" if customers == 1 else f"{count(customers)} customers meet"


def _segment(report: Report, campaign: str) -> str:
    return next((one.campaign.segment for one in report.audiences if one.campaign.name == campaign), "")


def headlines(now: Metrics, before: Metrics | None) -> list[tuple[str, str, str]]:
    """Label, value and change on last month. Counts and money change by percent, small counts and percents by units."""
    return [
        (label, written(getattr(now, name), kind), change(name, kind, now, before)) for name, label, kind in HEADLINES
    ]


def change(name: str, kind: str, now: Metrics, before: Metrics | None) -> str:
    if before is None:
        return "no month before it was published"
    value, past = getattr(now, name), getattr(before, name)
    if value is None or past is None:
        return "nothing to compare with"
    if kind == "percent":
        told = f"{signed(value - past)} points"
    elif name in ("churned_customers", "reactivated_customers", "new_customers"):
        told = f"{value - past:+,}"
    elif past > 0:
        told = f"{signed(100 * (value / past - 1))} %"
    else:
        return "nothing to compare with"
    return f"{told} on last month" if told[0] in "+-" and told != "+0" else "as last month"


def written(value: float | None, kind: str) -> str:
    return {"count": count, "money": money, "cents": cents, "percent": percent}[kind](value)


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


money = count


def signed_money(value: float | None) -> str:
    return "–" if value is None else f"{value:+,.0f}"


def cents(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def signed(value: float | None) -> str:
    """One decimal, with its sign; what rounds to nothing has none."""
    if value is None:
        return "–"
    rounded = round(value, 1)
    return f"{rounded:+,.1f}" if rounded else "0.0"


def month_name(month: date) -> str:
    return f"{report_charts.MONTH_NAMES[month.month - 1]} {month.year}"
