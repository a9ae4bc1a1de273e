"""Why a customer is in a segment: the explanation agrees with what was published, by the rules it was published under.

Locks out: an explanation that contradicts the published segment, a month explained by rules that were written after it,
a value shown beside the wrong criterion, and a `why` that answers a typo with a stack trace.
"""

import io
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from rich.console import Console

from segmentation_assets.months import MonthRange
from segmentation_assets.publication import acceptances, audits, explanations
from segmentation_assets.publication.published import NotPublishedError
from segmentation_assets.rules.load import load_rules
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support import oracle, portfolios
from tests.support.published_months import (
    CANDIDATE_AND_PUBLISHED,
    NO_TESTS,
    NOVEMBER,
    OCTOBER,
    SEPTEMBER,
    pipeline_at,
)
from tests.support.warehouse_fixture import Pipeline

PROJECT = Path(__file__).parents[2] / "dbt_models"
RULES = load_rules(PROJECT)
MEETS = {
    "at_least": lambda value, bound: value >= bound,
    "at_most": lambda value, bound: value <= bound,
    "below": lambda value, bound: value < bound,
}


@pytest.fixture(scope="module")
def thresholds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Customers on, one cent under and one over each threshold; too few for the minimum share, so that is accepted."""
    with pipeline_at(tmp_path_factory.mktemp("thresholds") / "segmentation.duckdb") as pipeline:
        pipeline.load(portfolios.threshold_portfolio(NOVEMBER))
        candidate, said = pipeline.dbt(NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
        assert candidate, said
        with DuckDBWarehouse(path=str(pipeline.path)).session() as session:
            failed = {
                row["audit"]
                for row in audits.month_audits(session, MonthRange.single(NOVEMBER))
                if audits.is_blocking_failure(row)
            }
            for audit in failed:
                acceptances.accept(
                    session, NOVEMBER, audit, None, "A test", "An archetype of every kind is no portfolio"
                )
        publication, said = pipeline.dbt(NOVEMBER, select="config.group:segments_published", arguments=NO_TESTS)
        assert publication, said
        yield pipeline


def test_the_one_winner_is_the_published_segment_of_every_customer(thresholds: Pipeline) -> None:
    portfolio = portfolios.threshold_portfolio(NOVEMBER)
    expected = oracle.assign_segments(portfolio, NOVEMBER, RULES.raw["segments"], RULES.raw["category_groups"])
    winners = thresholds.rows(
        "select customer_id, list(distinct segment), any_value(customer_segment) from gold.segment_explanations"
        " where is_winner group by 1"
    )
    assert len(expected) > 200
    assert {customer: segments for customer, segments, _ in winners} == {
        customer: [segment]
        for customer, segment in zip(expected["customer_id"], expected["customer_segment"], strict=True)
    }
    assert all(segments == [published] for _, segments, published in winners)


def test_every_criterion_shows_its_own_value_bound_and_margin(thresholds: Pipeline) -> None:
    history = thresholds.frame("select * from gold.customer_segment_history").set_index("customer_id")
    criteria = [
        (number, segment["name"], criterion)
        for number, segment in enumerate(RULES.raw["segments"], 1)
        for criterion in segment.get("criteria", [])
    ]
    explained = thresholds.frame("select * from gold.segment_explanations where metric is not null")
    assert len(explained) == len(history) * len(criteria)
    seen_unknown = seen_on_bound = 0
    for number, segment, criterion in criteria:
        metric = criterion["metric"]
        ((operator, bound),) = [(key, value) for key, value in criterion.items() if key != "metric"]
        rows = explained[(explained["segment_priority"] == number) & (explained["metric"] == metric)]
        assert set(rows["segment"]) == {segment}
        assert set(rows["operator"]) == {operator}
        assert set(rows["bound"]) == {float(bound)}
        for row in pd.DataFrame(rows).to_dict(orient="records"):
            value = history.at[row["customer_id"], metric]
            if pd.isna(value):
                assert pd.isna(row["value"])
                assert pd.isna(row["margin"])
                assert not row["passed"]
                seen_unknown += 1
                continue
            assert row["value"] == pytest.approx(float(value))
            assert row["passed"] == MEETS[operator](float(value), bound), row
            sign = 1 if operator == "at_least" else -1
            assert row["margin"] == pytest.approx(sign * (float(value) - bound), abs=1e-9)
            seen_on_bound += row["margin"] == 0
    assert seen_unknown
    assert seen_on_bound


def test_outranked_segments_are_the_satisfied_ones_after_the_winner(thresholds: Pipeline) -> None:
    wrong = thresholds.rows(
        "with by_segment as (select customer_id, segment_priority, bool_and(passed) as satisfied,"
        " any_value(is_satisfied) as told, any_value(is_winner) as winner, any_value(is_outranked) as outranked"
        " from gold.segment_explanations group by all),"
        " first as (select customer_id, min(segment_priority) filter (satisfied) as best from by_segment group by 1)"
        " select * from by_segment join first using (customer_id) where told <> satisfied"
        " or winner <> (segment_priority = best) or outranked <> (satisfied and segment_priority > best)"
    )
    assert wrong == []
    assert thresholds.rows(
        "select count(*) from gold.segment_explanations where is_outranked and segment_priority < 5"
    )[0][0]


def test_a_month_is_explained_by_the_rules_it_was_published_under(published: Pipeline, tmp_path: Path) -> None:
    segments = [dict(segment) for segment in RULES.raw["segments"]]
    segments[0] = {**segments[0], "criteria": [{"metric": "avg_monthly_spend", "above": 4000}]}
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"segments": segments}))
    changed = load_rules(PROJECT, file)
    before = published.rows("select * from gold.segment_explanations where snapshot_month <> '2025-11-01' order by all")
    succeeded, said = published.dbt(
        NOVEMBER,
        select=CANDIDATE_AND_PUBLISHED,
        arguments=NO_TESTS,
        variables={**changed.dbt_vars(), "uses_shipped_segments": False},
    )
    assert succeeded, said
    assert (
        published.rows("select * from gold.segment_explanations where snapshot_month <> '2025-11-01' order by all")
        == before
    )
    assert published.rows(
        "select snapshot_month, list_sort(list(distinct metric || ' ' || operator || ' ' || bound))"
        " from gold.segment_explanations where segment = 'High-Value Travelers' group by 1 order by 1"
    ) == [
        (SEPTEMBER, ["avg_monthly_spend at_least 5000.0", "travel_spend_pct at_least 25.0"]),
        (OCTOBER, ["avg_monthly_spend at_least 5000.0", "travel_spend_pct at_least 25.0"]),
        (NOVEMBER, ["avg_monthly_spend above 4000.0"]),
    ]
    assert not published.rows("select 1 from gold.segment_explanations where is_winner and segment <> customer_segment")
    hashes = dict(
        published.rows("select snapshot_month, arg_max(rules_hash, version) from gold.segment_publications group by 1")
    )
    assert hashes == {SEPTEMBER: RULES.segments_hash, OCTOBER: RULES.segments_hash, NOVEMBER: changed.segments_hash}
    assert changed.segments_hash != RULES.segments_hash
    assert published.rows("select count(*) from (select distinct rules_hash from gold.segment_rules)") == [(2,)]


def explain(pipeline: Pipeline, customer: str, month: date | None = NOVEMBER) -> explanations.Explanation:
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        return explanations.explain(session, customer, month)


def told(explanation: explanations.Explanation) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(explanations.render(explanation))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_why_names_the_winner_every_criterion_and_the_nearest_miss(thresholds: Pipeline) -> None:
    # 14,999.99 in three months: one cent short of an average of 5,000, with enough travel.
    customer = "traveller-1499999-travel-375000"
    explanation = explain(thresholds, customer)
    text = told(explanation)
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert f"{customer} in November 2025: Stable Mid-Spenders" in lines
    assert "avg_monthly_spend at least 5,000 4,999.9967 -0.0033 not met" in lines
    assert "travel_spend_pct at least 25 25.000017 +0.000017 met" in lines
    assert "5. Stable Mid-Spenders WINS" in lines
    assert "everyone else met" in lines
    missed = explanations.nearest_missed(explanation)
    assert missed is not None
    assert (missed["segment"], missed["metric"]) == ("High-Value Travelers", "avg_monthly_spend")
    assert missed["margin"] == pytest.approx(-0.01 / 3)
    assert (
        "Nearest segment missed: High-Value Travelers,"
        " by 0.0033 (avg_monthly_spend is 4,999.9967, has to be at least 5,000)."
    ) in " ".join(text.split())
    assert "Last month: not in a published month" in text


def test_why_takes_the_newest_month_and_an_id_in_other_letters_or_without_its_zeros(published: Pipeline) -> None:
    ((customer,),) = published.rows(
        "select min(customer_id) from gold.customer_segment_history where snapshot_month = '2025-11-01'"
        " and regexp_matches(customer_id, '^[A-Z]+0+[1-9][0-9]*$')"
    )
    number = re.sub(r"^[A-Z]+0+", "", customer)
    for typed in (customer, customer.lower(), number, f"C{number}", f"000{number}"):
        explanation = explain(published, typed, None)
        assert (explanation.customer_id, explanation.month) == (customer, NOVEMBER), typed
    for typed in ("", "CUST", "0", f"{number}x", "%", f"9{number}99", f"LC{number}"):
        with pytest.raises(explanations.WhyError, match="is not in 2025-11-01; the nearest that are:"):
            explain(published, typed, None)


def test_why_tells_what_changed_since_last_month(published: Pipeline) -> None:
    customer, before, now, spend_before, spend = published.rows(
        "select b.customer_id, a.customer_segment, b.customer_segment, a.spend_last_90_days, b.spend_last_90_days"
        " from gold.customer_segment_history as b join gold.customer_segment_history as a using (customer_id)"
        " where b.snapshot_month = '2025-11-01' and a.snapshot_month = '2025-10-01'"
        " and a.customer_segment <> b.customer_segment and a.spend_last_90_days <> b.spend_last_90_days"
        " order by customer_id limit 1"
    )[0]
    text = " ".join(told(explain(published, customer)).split())
    assert f"Since last month: customer_segment {before} -> {now}; " in text
    for amount in (spend_before, spend):
        assert f"{amount:,.2f}".removesuffix(".00") in text
    first = told(explain(published, customer, SEPTEMBER))
    assert "Last month: not in a published month" in first


@pytest.mark.parametrize(
    ("month", "nearest"),
    [
        (date(2026, 3, 1), "2025-09-01, 2025-10-01, 2025-11-01"),
        (date(2025, 8, 1), "2025-09-01, 2025-10-01, 2025-11-01"),
    ],
)
def test_why_of_an_unpublished_month_names_the_nearest(published: Pipeline, month: date, nearest: str) -> None:
    with pytest.raises(
        NotPublishedError, match=f"^Month {month} is not published; the nearest that are: {nearest}\\.$"
    ):
        explain(published, "whoever", month)


def test_why_of_an_unknown_customer_names_the_nearest(published: Pipeline) -> None:
    ids: list[tuple[Any, ...]] = published.rows(
        "select customer_id from gold.customer_segment_history where snapshot_month = '2025-11-01' order by 1 limit 1"
    )
    typo = f"{ids[0][0]}x"
    with pytest.raises(explanations.WhyError) as refused:
        explain(published, typo)
    assert str(refused.value).startswith(f"Customer {typo!r} is not in 2025-11-01; the nearest that are: {ids[0][0]}, ")
    assert len(str(refused.value).split(": ")[1].split(", ")) == 3
    # An attempt at SQL is a name like any other.
    with pytest.raises(explanations.WhyError, match="is not in 2025-11-01"):
        explain(published, "' or 1=1 --")


def test_why_before_anything_is_published(pipeline: Pipeline) -> None:
    pipeline.load(portfolios.threshold_portfolio(NOVEMBER))
    with pytest.raises(NotPublishedError, match=r"Nothing has been published yet: run `make run` first\."):
        explain(pipeline, "anchor")
