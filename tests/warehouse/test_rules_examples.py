"""The rules files that are shipped as examples, each published in a portfolio of a hundred customers.

Locks out: an example that does not load or publishes nothing, and a table, list, file, report or what-if that needs a
segment, a campaign or a group of the shipped names.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.rules.load import load_rules
from segmentation_assets.what_if import compute as what_if
from tests.support.oracle import as_of_date
from tests.support.portfolios import Customer, Fact, Version, build
from tests.support.published_months import NOVEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

EXAMPLES = project_dir() / "rules" / "examples"
AS_OF = as_of_date(NOVEMBER)
OLD, PRIOR, LAST = AS_OF - timedelta(days=900), AS_OF - timedelta(days=100), AS_OF - timedelta(days=1)
SHIPPED = load_rules(project_dir())

# Segment -> how many, and what each of them bought.
Mix = Mapping[str, tuple[int, tuple[Fact, ...]]]
MIXES: Mapping[str, Mix] = {
    "shop": {
        "Best Customers": (4, (Fact(OLD, 50_00), *(Fact(LAST, 100_00) for _ in range(13)))),
        "Slipping Away": (20, (Fact(PRIOR, 200_00), Fact(LAST, 20_00))),
        "First Steps": (30, (Fact(LAST, 30_00),)),
        "Everyone Else": (46, (Fact(OLD, 30_00), Fact(LAST, 60_00))),
    },
    "bank": {
        "Leaving": (3, (Fact(OLD, 9_000_00), Fact(PRIOR, 6_000_00), Fact(LAST, 100_00))),
        "Dormant": (10, (Fact(OLD, 300_00),)),
        "Salary Account": (50, (Fact(OLD, 10_00), Fact(PRIOR, 6_000_00), Fact(LAST, 6_000_00))),
        "Second Account": (37, (Fact(OLD, 10_00), Fact(LAST, 300_00))),
    },
    "telephone": {
        "New Lines": (10, (Fact(LAST, 40_00),)),
        "Heavy Users": (3, (Fact(OLD, 20_00), Fact(PRIOR, 300_00), Fact(LAST, 300_00))),
        "Winding Down": (20, (Fact(OLD, 20_00), Fact(PRIOR, 90_00), Fact(LAST, 30_00))),
        "Steady Lines": (67, (Fact(OLD, 20_00), Fact(PRIOR, 60_00), Fact(LAST, 60_00))),
    },
    "rfm": {
        "Champions": (20, tuple(Fact(LAST, 100_00) for _ in range(10))),
        "Slipping Away": (4, tuple(Fact(OLD, 20_00) for _ in range(5))),
        "Big Spenders": (20, (Fact(PRIOR, 5_000_00),)),
        "Everyone Else": (56, (Fact(AS_OF - timedelta(days=50), 20_00), Fact(AS_OF - timedelta(days=50), 40_00))),
    },
}
STATUS = {"shop": "shipped", "bank": "booked", "telephone": "billed", "rfm": "approved"}


def load(pipeline: Pipeline, example: str) -> None:
    customers = [
        Customer(
            f"{segment} {number}",
            tuple(replace(fact, status=STATUS[example]) for fact in facts),
            (Version(AS_OF - timedelta(days=1000)),),
        )
        for segment, (customers, facts) in MIXES[example].items()
        for number in range(customers)
    ]
    pipeline.load(build(customers, AS_OF))


def test_every_example_is_published_here() -> None:
    # season.yml changes one segment of the shipped ones: test_metrics_of_ones_own.py computes a year under it.
    assert {file.stem for file in EXAMPLES.glob("*.yml")} == {*MIXES, "season"}


@pytest.mark.parametrize("example", MIXES)
def test_an_example_needs_nothing_of_the_shipped_names(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("SEGMENTATION_RULES", str(EXAMPLES / f"{example}.yml"))
    monkeypatch.setenv("SEGMENTATION_SOURCE", "warehouse")
    monkeypatch.setenv("SEGMENTATION_EXPORT_URI", str(out))
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb") as pipeline:
        load(pipeline, example)
        project = Project.load()
        (campaign,) = project.rules.campaigns
        assert pipeline.run(NOVEMBER).success
        counts = dict(pipeline.rows("select customer_segment, count(*) from gold.customer_segments group by 1"))
        assert counts == {segment: customers for segment, (customers, _) in MIXES[example].items()}
        assert pipeline.rows(
            "select count(*) from gold.customer_segments where customer_id not like customer_segment || ' %'"
        ) == [(0,)]
        floors = dict(
            pipeline.rows(
                "select customer_segment, lower_bound from silver.segment_audits"
                " where audit = 'every_segment_holds_the_minimum_share'"
            )
        )
        of_all = project.rules.audits.minimum_segment_share_pct
        assert floors == {one.name: one.minimum_share(of_all) for one in project.rules.segments}
        # One segment is smaller than the bound of all would let it be.
        assert min(counts.values()) < of_all
        ranks = pipeline.rows(f"select count(*), min(audience_rank) from gold.audience_{campaign.name}")
        assert ranks == [(counts[campaign.segment], 1)]
        eligible = f"select count(*) from gold.customer_360_profile where eligible_for_{campaign.name}"
        assert pipeline.rows(eligible) == [(counts[campaign.segment],)]
        headline = pipeline.rows("select customer_segment, customers from gold.hero_metrics")
        assert dict(headline).items() >= counts.items()
        (month,) = what_if.compute(
            project, pipeline.warehouse(), f"{campaign.name}.cap=2", "", str(NOVEMBER), str(NOVEMBER)
        )
        assert {one.name: (one.before, one.after) for one in month.segments} == {
            name: (customers, customers) for name, customers in counts.items()
        }
        ((listed, held_out),) = [(one.sent_after, one.held_out_after) for one in month.audiences]
        assert (listed or 0) + (held_out or 0) == 2
    manifest = json.loads((out / campaign.name / str(NOVEMBER) / "manifest.json").read_text())
    sent = counts[campaign.segment] - manifest["waterfall"]["holdout"]
    assert manifest["files"]["full.csv"]["rows"] == sent
    report = (out / "reports" / str(NOVEMBER) / "segment_report.html").read_text()
    assert all(segment in report for segment in counts)
    names = [*SHIPPED.segment_names, *(one.name for one in SHIPPED.campaigns)]
    assert [name for name in names if name in report] == []
