"""The monthly report, parsed: what it shows is what the tables hold, and nothing else gets in.

Locks out: a number that is not the table's, a customer's address or key in the page, a page that fetches something or
does not parse, bytes that change from run to run, a report of a month that was never published or of a version that is
not the published one, and a segment's name that becomes markup.
"""

import base64
import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import altair
import dagster as dg
import pytest
from jsonschema import ValidationError

from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange, as_of_date, month_after
from segmentation_assets.outcomes.words import can_find
from segmentation_assets.publication import audits
from segmentation_assets.report import charts as report_charts
from segmentation_assets.report import drawing, outcome_chart
from segmentation_assets.report import page as report_page
from segmentation_assets.report.data import AT_TIMES, Flow, ReportError, read_report
from segmentation_assets.sources import synthetic
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import NO_TESTS, pipeline_at, refusal
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
MONTHS = list(MonthRange(date(2026, 5, 1), date(2026, 10, 1)))
NEWEST = MONTHS[-1]
REPORT = "activation/segment_report"
SECTIONS = [
    "headlines", "shares", "migration", "overlap", "value", "audiences", "outcomes", "audits", "quality", "definitions",
]  # fmt: skip


@dataclass(frozen=True)
class Reported:
    file: Path
    folder: Path
    run: dg.ExecuteInProcessResult

    def path(self, month: date) -> Path:
        return self.folder / "reports" / str(month) / "segment_report.html"


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Six months of 700 customers; the newest two reported by one run."""
    folder = tmp_path_factory.mktemp("exports") / "files"
    with pipeline_at(tmp_path_factory.mktemp("report") / "segmentation.duckdb") as pipeline:
        with pipeline.connection() as connection:
            synthetic.build(connection, "gold", customers=700, first_month=date(2025, 1, 1), last_month=NEWEST)
        succeeded, said = pipeline.dbt(MONTHS[0], NEWEST, arguments=NO_TESTS)
        assert succeeded, said
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SEGMENTATION_EXPORT_URI", str(folder))
            run = pipeline.run(MONTHS[-2], NEWEST, select=["gold/campaign_outcomes", REPORT])
    assert run.success
    return Reported(pipeline.path, folder, run)


@pytest.fixture
def pipeline(reported: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A copy of the warehouse, and an empty folder of exports."""
    monkeypatch.setenv("SEGMENTATION_EXPORT_URI", str(tmp_path / "exports"))
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", reported.file) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def page(reported: Reported) -> ET.Element:
    return parsed(reported.path(NEWEST).read_bytes())


def parsed(content: bytes) -> ET.Element:
    """Strictly, as XML: an element that is not closed is an error."""
    return ET.fromstring(content)


def words(element: ET.Element | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).split())


def section(page: ET.Element, name: str) -> ET.Element:
    (found,) = page.findall(f".//section[@id='{name}']")
    return found


def table_rows(element: ET.Element) -> list[list[str]]:
    return [[words(cell) for cell in row.findall("td")] for row in element.findall(".//tbody/tr")]


def query(reported: Reported, sql: str) -> list[dict[str, Any]]:
    with DuckDBWarehouse(path=str(reported.file)).session(read_only=True) as session:
        return session.rows(sql)


def rendered(pipeline: Pipeline, month: date = NEWEST) -> bytes:
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        report = read_report(session, RULES, month)
    return report_page.render(report, report_page.pictures(report))


def test_without_expected_shares_no_band_is_drawn_or_told(pipeline: Pipeline) -> None:
    """One segment keeps its band; then none has one."""
    some = [*RULES.segments[:1], *(one.model_copy(update={"expected_share_pct": None}) for one in RULES.segments[1:])]
    none = [one.model_copy(update={"expected_share_pct": None}) for one in RULES.segments]
    for segments, banded in ((some, {RULES.segments[0].name}), (none, set[str]())):
        rules = RULES.model_copy(update={"segments": tuple(segments)})
        with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
            report = read_report(session, rules, NEWEST)
        assert set(report.bands) == banded
        charts = report_charts.share_charts(report)
        drawn = {name for name, chart in charts.items() if any("y2" in layer["encoding"] for layer in chart["layer"])}
        assert drawn == banded
        shares = section(parsed(report_page.render(report, report_page.pictures(report))), "shares")
        assert words(shares.find("h2")) == ("Shares against their bands" if banded else "Shares")
        assert words(shares).count("expected") == (2 if banded else 0)


def test_a_campaign_says_how_it_reaches_people(pipeline: Pipeline) -> None:
    """Where the channel needs no address, no step of the waterfall speaks of one."""
    campaigns = [*RULES.campaigns[:1], *(one.model_copy(update={"channel": "mail"}) for one in RULES.campaigns[1:])]
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        report = read_report(session, RULES.model_copy(update={"campaigns": tuple(campaigns)}), NEWEST)
    page = parsed(report_page.render(report, report_page.pictures(report)))
    by_email, *by_letter = section(page, "audiences").findall(".//article")
    assert "High-Value Travelers, by email." in words(by_email)
    assert "have a deliverable address" in words(by_email) and "are the only one at their address" in words(by_email)
    assert len(by_letter) == 4
    for card in by_letter:
        assert ", by mail." in words(card)
        assert "need no address" in words(card) and "deliverable" not in words(card)


def test_every_section_is_there_with_its_heading(page: ET.Element) -> None:
    assert [found.get("id") for found in page.findall(".//section")] == SECTIONS
    assert all(words(found.find("h2")) for found in page.findall(".//section"))
    assert words(page.find(".//h1")) == "Customer segments, October 2026"


# The criteria of the shipped segments and campaigns, written out; a campaign's are those of its segment and its own.
MET = {
    "High-Value Travelers": "avg_monthly_spend >= 5000 and travel_spend_pct >= 25",
    "Declining": "spend_change_pct <= -30 and spend_prior_90_days >= 2000",
    "New & Growing": "tenure_months <= 6 and spend_change_pct >= 50",
    "Budget-Conscious": "avg_monthly_spend < 1500 and necessities_spend_pct >= 60",
    "premium_rewards": "avg_monthly_spend >= 7500 and travel_spend_pct >= 25",
    "churn_prevention": "spend_change_pct <= -30 and spend_prior_90_days >= 2000 and lifetime_value >= 50000",
    "onboarding_acceleration": "tenure_months <= 6 and spend_change_pct >= 50 and avg_monthly_spend >= 3000",
    "everyday_rewards": "avg_monthly_spend < 1500 and necessities_spend_pct >= 60",
    "core_retention": "is_active",
}


def test_overlaps_are_counted_as_the_criteria_say(page: ET.Element, reported: Reported) -> None:
    counts = " union all ".join(
        f"select '{name}' as name, '{others}' as other_name, count(*) as customers_of_both from month"
        f" where ({one}) and ({other})"
        for name, one in MET.items()
        for others, other in MET.items()
    )
    month = f"with month as (from gold.customer_segment_history where snapshot_month = '{NEWEST}')"
    rows = query(reported, f"{month} {counts}")
    both_of = {(row["name"], row["other_name"]): row["customers_of_both"] for row in rows}
    wanted = {
        (name, other): (both_of[name, name], customers)
        for (name, other), customers in both_of.items()
        if name != other and both_of[name, name] and both_of[other, other]
    }
    found = query(reported, f"select * from gold.criteria_overlap where snapshot_month = '{NEWEST}'")
    assert {(one["name"], one["other_name"]): (one["customers"], one["customers_of_both"]) for one in found} == wanted
    assert {one["kind"] for one in found} == {"segment", "campaign"}
    both = [one for one in found if one["kind"] == one["other_kind"] == "segment" and one["customers_of_both"]]
    largest = max(both, key=lambda one: one["customers_of_both"])
    told = words(section(page, "overlap"))
    assert f"{largest['customers_of_both']:,} of them (" in told
    assert "which comes first." in told
    picture = section(page, "overlap").find(".//svg")
    assert picture is not None and "High-Value Travelers" in words(picture)


def test_headlines_are_those_of_hero_metrics(page: ET.Element, reported: Reported) -> None:
    before, now = query(
        reported,
        f"select * from gold.hero_metrics where customer_segment = 'All customers' and snapshot_month >= '{MONTHS[-2]}'"
        " order by snapshot_month",
    )
    cards = {
        words(card.find("span")): (words(card.find("b")), words(card.findall("span")[1]))
        for card in section(page, "headlines").findall(".//div[@class='card']")
    }
    growth = round((now["customers"] / before["customers"] - 1) * 100, 1)
    assert growth > 0
    assert cards["Customers"] == (f"{now['customers']:,}", f"{growth:+.1f} % on last month")
    assert cards["Active customers"][0] == f"{now['active_customers']:,}"
    assert cards["Lifetime value per customer"][0] == f"{now['avg_lifetime_value']:,.0f}"
    assert cards["Average transaction"][0] == f"{now['avg_transaction_value']:,.2f}"
    assert cards["Spend of the last 90 days"] == (
        f"{now['spend_last_90_days']:,.0f}", f"{now['spend_month_over_month_pct']:+.1f} % on last month",
    )  # fmt: skip
    assert cards["Retention over three months"][0] == f"{now['retention_pct']:.1f} %"
    assert cards["New"][0] == str(now["new_customers"])
    assert len(cards) == 10


def test_shares_and_values_are_those_of_the_tables(page: ET.Element, reported: Reported) -> None:
    shares = query(
        reported,
        "select customer_segment, share_pct, share_pct - lag(share_pct) over"
        " (partition by customer_segment order by snapshot_month) as change"
        f" from gold.segment_summary qualify snapshot_month = '{NEWEST}'",
    )
    figures = {words(found.find("h3")): found for found in section(page, "shares").findall(".//figure")}
    assert set(figures) == {row["customer_segment"] for row in shares}
    bands = {segment.name: segment.expected_share_pct for segment in RULES.segments}
    for row in shares:
        caption = words(figures[row["customer_segment"]].find("figcaption"))
        lower, upper = bands[row["customer_segment"]]
        assert caption.startswith(f"{row['share_pct']:.1f} %, expected {lower} to {upper} %, ")
        assert abs(float(caption.split(", ")[2].split()[0]) - row["change"]) <= 0.0501
        drawn = figures[row["customer_segment"]].find("svg")
        assert drawn is not None and f"{row['share_pct']:.1f}" in words(drawn)
    found = {cells[0]: cells[1:] for cells in table_rows(section(page, "value"))}
    heroes = query(reported, f"select * from gold.hero_metrics where snapshot_month = '{NEWEST}'")
    assert len(found) == len(heroes) == 6
    for row in heroes:
        assert found[row["customer_segment"]] == [
            f"{row['customers']:,}", f"{row['active_customers']:,}", f"{row['total_lifetime_value']:,.0f}",
            f"{row['avg_transaction_value']:,.2f}", f"{row['spend_last_90_days']:,.0f}",
            f"{report_page.signed(row['spend_month_over_month_pct'])} %", f"{row['retention_pct']:.1f} %",
            str(row["churned_customers"]), str(row["reactivated_customers"]), str(row["new_customers"]),
        ]  # fmt: skip


def test_the_flow_picture_holds_every_transition(page: ET.Element, reported: Reported) -> None:
    (picture,) = section(page, "migration").findall("svg")
    told = sorted(words(title) for title in picture.iter("title"))
    transitions = query(reported, f"select * from gold.segment_transitions where snapshot_month = '{NEWEST}'")
    assert told == sorted(f"{row['from_segment']} to {row['to_segment']}: {row['customers']:,}" for row in transitions)
    moves = table_rows(section(page, "migration"))
    moved = [row["customers"] for row in transitions if row["from_segment"] != row["to_segment"]]
    assert [int(cells[2].replace(",", "")) for cells in moves] == sorted(moved, reverse=True)[:8]


def test_audiences_outcomes_audits_and_definitions(page: ET.Element, reported: Reported) -> None:
    steps = query(
        reported,
        f"select * from gold.audience_waterfall where snapshot_month = '{NEWEST}' order by campaign, step_number",
    )
    cards = {words(card.find("h3")): card for card in section(page, "audiences").iter("article")}
    assert set(cards) == {campaign.name for campaign in RULES.campaigns}
    for campaign in RULES.campaigns:
        # Steps that the shipped rules have nothing for, and that so leave nobody out, are not shown.
        counts = [
            f"{row['customers']:,}" for row in steps
            if row["campaign"] == campaign.name and row["step"] not in AT_TIMES
        ]  # fmt: skip
        assert [cells[1] for cells in table_rows(cards[campaign.name])] == counts
        assert campaign.objective in words(cards[campaign.name])
        (listed,) = (row for row in steps if (row["campaign"], row["step"]) == (campaign.name, "within_cap"))
        sizes = [row["customers"] for row in steps if row["campaign"] == campaign.name][-2:]
        held_back, sent = sizes
        found = can_find(sent, held_back, listed["mean_spend"], listed["stddev_spend"])
        assert found in words(cards[campaign.name])
        assert campaign.actions[0] in words(cards[campaign.name])
    due = query(
        reported,
        f"select * from gold.campaign_outcomes where window_end <= '{as_of_date(NEWEST)}'"
        " qualify snapshot_month = max(snapshot_month) over () order by campaign",
    )
    assert due
    epochs, by_list = (table_rows(table) for table in section(page, "outcomes").findall(".//table"))
    assert [cells[:3] for cells in by_list] == [
        [row["campaign"], f"{row['target_customers']:,}", f"{row['holdout_customers']:,}"] for row in due
    ]
    # All months of 2026 whose windows have closed, as the newest of them has them.
    assert [cells[:6] for cells in epochs] == [
        [
            f"{row['campaign']}, 2026",
            f"{row['entered_target_customers']:,}",
            f"{row['entered_holdout_customers']:,}",
            _with_interval(row, "adjusted_effect", "adjusted"),
            _with_interval(row, "plain_effect", "plain"),
            _with_interval(row, "winsorised_effect", "winsorised"),
        ]
        for row in due
    ]
    assert {row["entry_months"] for row in due} == {3}
    told = words(section(page, "outcomes"))
    for row in due:
        if row["smallest_effect"] is not None:
            assert f"An effect below {row['smallest_effect']:,.0f} a customer" in told
    failed = query(
        reported,
        f"select distinct audit from silver.segment_audits where not passed and snapshot_month = '{NEWEST}'",
    )
    verdicts = [cells[1] for cells in table_rows(section(page, "audits"))]
    assert verdicts.count("warned") == len(failed) and verdicts.count("passed") == len(audits.AUDITS) - len(failed)
    definitions = [words(item) for item in section(page, "definitions").findall(".//li")]
    assert "avg_monthly_spend at least 5,000 and travel_spend_pct at least 25" in definitions[0]
    assert "everybody else" in definitions[-1]
    assert len(definitions) == 5


def _with_interval(row: dict[str, Any], effect: str, bounds: str) -> str:
    low, high = row[f"{bounds}_lower_95"], row[f"{bounds}_upper_95"]
    shown = "–" if row[effect] is None else f"{row[effect]:+,.0f}"
    return shown if low is None else f"{shown}{low:+,.0f} to {high:+,.0f}"


def test_contacts_per_person_and_who_left_where_are_those_of_the_lists_and_moves(
    page: ET.Element, reported: Reported
) -> None:
    lists = " union all ".join(
        f"select snapshot_month, lower(email) as person from gold.audience_{campaign.name} where treatment_group ="
        " 'target'" for campaign in RULES.campaigns
    )  # fmt: skip
    times = query(
        reported,
        f"select count(*) as n from ({lists}) as listed where snapshot_month between '{month_after(NEWEST, -2)}' and"
        f" '{NEWEST}' group by person",
    )
    counts = [row["n"] for row in times]
    often = sum(count > 1 for count in counts)
    said = words(section(page, "audiences").find("p"))
    assert often and said == (
        f"In the 3 months up to this one, {len(counts):,} people were contacted, {counts.count(1):,} of them once and"
        f" {often:,} more often, {max(counts)} times at most."
    )
    moves = query(
        reported,
        "select from_segment, to_segment, count(*) as n from gold.segment_moves"
        f" where snapshot_month = '{NEWEST}' group by 1, 2",
    )
    items = {words(item).partition(":")[0]: words(item) for item in section(page, "migration").findall(".//li")}
    left = {row["from_segment"] for row in moves if row["from_segment"] in items}
    assert left == set(items) and left
    for row in moves:
        if row["from_segment"] in items:
            gone = row["to_segment"] == "No longer a customer"
            to = "are no longer customers" if gone else f"to {row['to_segment']}"
            assert f"{row['n']:,} {to}" in items[row["from_segment"]]
    assert len(section(page, "migration").findall(".//figure/svg")) == 1
    assert len(section(page, "audiences").findall(".//figure/svg")) == 1


def test_it_holds_nothing_personal_and_fetches_nothing(reported: Reported) -> None:
    text = reported.path(NEWEST).read_text()
    people = query(reported, "select customer_id, email from gold.dim_customer")
    assert not [row for row in people if row["customer_id"] in text or (row["email"] and row["email"] in text)]
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", text)
    page = parsed(text.encode())
    assert not re.search(r"https?:|//|url\(|@import|data:", text)
    assert not {element.tag for element in page.iter()} & {"script", "link", "img", "iframe", "object", "image", "use"}
    assert not [key for element in page.iter() for key in element.attrib if key.startswith("on") or "href" in key]


def test_altair_finds_nothing_wrong_with_the_charts(reported: Reported) -> None:
    """They are drawn without being checked, which takes longer than drawing them."""
    with DuckDBWarehouse(path=str(reported.file)).session(read_only=True) as session:
        report = read_report(session, RULES, NEWEST)
    charts = [
        *report_charts.share_charts(report).values(),
        *report_charts.value_charts(report).values(),
        report_charts.overlap_chart(report),
        report_charts.contacts_chart(report),
        report_charts.leavers_chart(report),
        outcome_chart.effects([effect.row for effect in report.effects]),
    ]
    assert all(charts)
    for chart in charts:
        checked = altair.LayerChart if "layer" in chart else altair.Chart
        checked.from_dict(drawing.styled(chart))
        with pytest.raises(ValidationError):
            checked.from_dict({**chart, "mark" if "mark" in chart else "layer": [{"mark": "no such mark"}]})


def test_the_materialisations_say_where_how_large_and_show_a_picture(reported: Reported) -> None:
    found = {
        event.partition: event.materialization.metadata
        for event in reported.run.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(REPORT.split("/"))
    }
    assert set(found) == {str(month) for month in MONTHS[-2:]}
    for month in MONTHS[-2:]:
        path, metadata = reported.path(month), found[str(month)]
        assert metadata["path"].value == path.as_uri()
        assert metadata["bytes"].value == path.stat().st_size
        picture = re.fullmatch(r"!\[shares\]\(data:image/png;base64,([\w+/=]+)\)", str(metadata["shares"].value))
        assert picture, "the first picture is inline"
        png = base64.b64decode(picture[1])
        assert png.startswith(b"\x89PNG") and 10_000 < len(png) < 200_000
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert sorted(other.name for other in path.parent.iterdir()) == ["evidence.json", "segment_report.html"]


def test_a_rerun_writes_the_same_bytes(reported: Reported, pipeline: Pipeline, tmp_path: Path) -> None:
    assert pipeline.run(NEWEST, select=[REPORT]).success
    path = tmp_path / "exports" / "reports" / str(NEWEST) / "segment_report.html"
    assert path.read_bytes() == reported.path(NEWEST).read_bytes()
    assert reported.path(NEWEST).read_bytes() != reported.path(MONTHS[-2]).read_bytes()


def test_a_month_never_published_is_refused_in_words(pipeline: Pipeline, tmp_path: Path) -> None:
    never = date(2026, 4, 1)
    result = pipeline.run(never, MONTHS[0], select=[REPORT])
    assert not result.success
    assert refusal(result) == (
        f"{never} was never published, and so cannot be reported: publish it first (`make month MONTH={never}`)."
    )
    assert not (tmp_path / "exports").exists(), "a range goes out whole or not at all"


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("hero_metrics", "update {} set content_hash = 'of another version'"),
        ("hero_metrics", "update {} set base_content_hash = 'of another version'"),
        ("hero_metrics", "delete from {}"),
        ("audience_waterfall", "update {} set content_hash = 'of another version' where step = 'sent'"),
        ("audience_waterfall", "update {} set content_hash = null"),
        ("audience_waterfall", "delete from {}"),
        ("segment_summary", "update {} set content_hash = 'of another version'"),
        ("segment_summary", "delete from {}"),
        ("segment_transitions", "update {} set previous_content_hash = 'of another version'"),
    ],
)
def test_a_table_of_another_version_is_refused(pipeline: Pipeline, table: str, fault: str) -> None:
    pipeline.execute(fault.format(f"gold.{table}"))
    with pytest.raises(
        ReportError, match=rf"^{NEWEST} cannot be reported: gold/{table} was not made from the month as"
    ):
        rendered(pipeline)


def test_the_first_month_and_a_gap_say_that_there_is_nothing_to_compare_with(pipeline: Pipeline) -> None:
    first = parsed(rendered(pipeline, MONTHS[0]))
    assert "The month before was never published" in words(section(first, "migration"))
    assert words(section(first, "headlines")).count("no month before it was published") == 10
    assert "No outcome is due yet" in words(section(first, "outcomes"))
    pipeline.execute(f"delete from gold.segment_summary where snapshot_month = '{MONTHS[2]}'")
    assert "Never published, and so not shown: 2026-07." in words(section(parsed(rendered(pipeline)), "quality"))


def test_a_failed_audit_is_told_and_who_accepted_it_is_not(pipeline: Pipeline) -> None:
    pipeline.execute(
        "update silver.segment_audits set passed = false, failed_rows = 1, measured = 4.5"
        " where audit = 'every_segment_holds_the_minimum_share' and customer_segment = 'Declining'"
    )
    held_back = parsed(rendered(pipeline))
    row = next(cells for cells in table_rows(section(held_back, "audits")) if "minimum_share" in cells[0])
    assert row[1] == "failed" and "Declining: 4.5 % of the customers (allowed: at least 5)" in row[0]
    assert "held back by an audit" in words(section(held_back, "quality"))
    pipeline.execute(
        "insert into silver.segment_audit_overrides by name select snapshot_month, audit, customer_segment, measured,"
        " 'ada@example.com' as accepted_by, 'seen with ada@example.com' as reason, content_hash, decision_hash,"
        " failed_rows, affected_spend, facts_hash"
        f" from silver.segment_audits where snapshot_month = '{NEWEST}' and not passed and severity = 'error'"
    )
    accepted = rendered(pipeline)
    row = next(cells for cells in table_rows(section(parsed(accepted), "audits")) if "minimum_share" in cells[0])
    assert row[1] == "accepted"
    assert b"ada" not in accepted.replace(b"metadata", b"")


def test_a_name_never_becomes_markup() -> None:
    hostile = '<b title="x">&'
    picture = report_charts.flow_picture([Flow(hostile, hostile, 3), Flow("A", hostile, 1)], ["A", hostile])
    root = ET.fromstring(str(picture))
    assert not list(root.iter("b"))
    assert {words(text) for text in root.iter("text")} == {"A 1", f"{hostile} 3", f"{hostile} 4"}


def test_labels_of_small_nodes_keep_apart_and_ribbons_fill_their_nodes() -> None:
    names = [f"Segment {number}" for number in range(8)]
    flows = [Flow(names[0], names[0], 1_000_000), *(Flow(name, name, 1) for name in names[1:])]
    flows.append(Flow(names[1], names[0], 40_000))
    root = ET.fromstring(str(report_charts.flow_picture(flows, names)))
    labels: dict[str, list[float]] = {}
    for text in root.iter("text"):
        labels.setdefault(text.attrib["text-anchor"], []).append(float(text.attrib["y"]))
    for places in labels.values():
        assert len(places) == 8
        assert min(below - above for above, below in pairwise(places)) >= 14.99
        assert places[0] > 0 and places[-1] <= report_charts.FLOW_HEIGHT + 5
    heights = [float(rect.attrib["height"]) for rect in root.iter("rect")]
    ends = [float(rect.attrib["y"]) + float(rect.attrib["height"]) for rect in root.iter("rect")]
    assert heights[0] / heights[1] == pytest.approx(1_000_000 / 40_001, rel=0.01)
    assert max(ends) <= report_charts.FLOW_HEIGHT + 8
