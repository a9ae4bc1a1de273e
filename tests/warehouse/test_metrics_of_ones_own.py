"""Metrics of one's own against Python that reads the facts one by one, and what becomes of them in everything else."""

import json
import math
import os
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml

from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.errors import WarehouseError
from segmentation_assets.publication import migration
from tests.support import metric_oracle, portfolios
from tests.support.metric_oracle import is_same
from tests.support.published_months import NOVEMBER, OCTOBER, pipeline_at
from tests.support.warehouse_fixture import CANDIDATE, Pipeline

NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
# A leap day, the shortest and the longest neighbours, a turn of the year.
MONTHS = [date(2024, 2, 1), date(2024, 3, 1), date(2024, 12, 1)]
DEFINITIONS = 67  # three times that are 200, in `make test-system`
EXAMPLES = int(os.environ.get("METRIC_EXAMPLES", "1"))


def differences(pipeline: Pipeline, month: date, expected: dict[str, dict[str, Any]]) -> list[str]:
    names = list(expected)
    rows = pipeline.rows(
        f"select customer_id, {', '.join(names)} from silver.segment_assignments where snapshot_month = date '{month}'"
    )
    assert {row[0] for row in rows} == set(expected["lifetime_value"])
    return [
        f"{month} {row[0]} {name}: {value!r}, expected {expected[name][row[0]]!r}"
        for row in rows
        for name, value in zip(names, row[1:], strict=True)
        if not is_same(value, expected[name][row[0]])
    ]


@hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(metric_oracle.rules(DEFINITIONS))
def test_drawn_definitions_equal_the_facts_read_one_by_one(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, drawn: dict[str, Any]
) -> None:
    """Two months at once and then the one before, so that both ways through the model and any order are taken."""
    file = pipeline.path.with_name("rules.yml")
    file.write_text(yaml.safe_dump(drawn, sort_keys=False), encoding="utf-8")
    monkeypatch.setenv("SEGMENTATION_RULES", str(file))
    pipeline.path.unlink(missing_ok=True)
    portfolio = metric_oracle.portfolio(MONTHS, drawn["windows"])
    pipeline.load(portfolio)
    for first, last in ((MONTHS[1], MONTHS[2]), (MONTHS[0], MONTHS[0])):
        succeeded, said = pipeline.dbt(first, last, select=CANDIDATE, arguments=NO_TESTS)
        assert succeeded, said
    wrong = [
        line
        for month in MONTHS
        for line in differences(pipeline, month, metric_oracle.measure(portfolio, month, drawn))
    ]
    assert not wrong, f"{len(wrong)} values differ:\n" + "\n".join(
        f"{line} of {drawn['metrics'].get(line.split()[2].rstrip(':'))}" for line in wrong[:8]
    )


# What cardholders spend in a month against the mean of the year: December is the top, February the bottom.
SEASON = (0.93, 0.90, 1.0, 0.98, 1.0, 1.0, 1.0, 1.02, 0.97, 1.0, 1.05, 1.25)
YEAR = [date(2025, month, 1) for month in range(1, 13)]


def in_a_steady_year(number: int, of: int) -> portfolios.Customer:
    """A purchase every fifth day; each customer goes up and down over eight months, at a time of their own, so that in
    every month there are as many on the way down as in any other."""
    facts: list[portfolios.Fact] = []
    day = date(2023, 7, 1)
    while day < date(2026, 1, 1):
        months = day.year * 12 + day.month + day.day / 30
        swing = 1 + 0.35 * math.cos(2 * math.pi * (months / 8 + number / of))
        facts.append(portfolios.Fact(day, round(300_00 * SEASON[day.month - 1] * swing)))
        day += timedelta(days=5)
    return portfolios.Customer(f"steady-{number}", tuple(facts), (portfolios.Version(date(2023, 1, 1)),))


def test_a_season_moves_nobody_into_declining_where_the_rule_knows_of_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule that ships, which compares a customer with nobody, is shown to move: January is no decline."""
    monkeypatch.setenv("SEGMENTATION_RULES", str(project_dir() / "rules" / "examples" / "season.yml"))
    number = 240
    pipeline.load(portfolios.build([in_a_steady_year(one, number) for one in range(number)], date(2026, 1, 1)))
    succeeded, said = pipeline.dbt(YEAR[0], YEAR[-1], select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    shares = pipeline.rows(
        "select 100.0 * avg(case when customer_segment = 'Declining' then 1 else 0 end),"
        " 100.0 * avg(case when spend_change_pct <= -30 and spend_prior_90_days >= 2000 then 1 else 0 end), count(*)"
        " from silver.segment_assignments group by snapshot_month order by snapshot_month"
    )
    aware, plain = ([share[at] for share in shares] for at in (0, 1))
    assert [customers for _, _, customers in shares] == [number] * 12
    assert min(aware) > 3
    middle = sorted(aware)[len(aware) // 2]
    assert max(abs(share - middle) for share in aware) <= 1, aware
    assert max(plain) - min(plain) > 10, plain


OWN = """
category_groups: {dining: [Dining]}
windows: {last_30_days: {days: 30}}
metrics:
  spend_last_30_days: {kind: sum, window: last_30_days}
  days_since_purchase: {kind: recency}
  used_lately: {kind: flag, criteria: [{metric: days_since_purchase, at_most: 45}]}
segments:
  - {name: Diners, criteria: [{metric: dining_spend_pct, at_least: 50}, {metric: used_lately, is: true}]}
  - {name: Others}
campaigns:
  - name: table_for_two
    segment: Diners
    criteria: [{metric: spend_last_30_days, above: 0}]
    rank_by: {metric: spend_last_30_days, order: highest_first}
    cap: 5
    shows: [spend_last_30_days, days_since_purchase, used_lately, first_transaction_date]
"""


def test_a_month_under_metrics_of_ones_own_is_published_explained_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """October under metrics of its own, November under the shipped rules, then other metrics again."""
    rules = tmp_path / "rules.yml"
    rules.write_text(OWN, encoding="utf-8")
    monkeypatch.setenv("SEGMENTATION_EXPORT_URI", str(tmp_path / "out"))
    monkeypatch.setenv("SEGMENTATION_SOURCE", "warehouse")
    with pipeline_at(tmp_path / "segmentation.duckdb") as pipeline:
        load_diners(pipeline)
        monkeypatch.setenv("SEGMENTATION_RULES", str(rules))
        assert pipeline.run(OCTOBER).success
        october = kept(pipeline, "gold.customer_segment_history")
        assert october[0][1:4] == (Decimal("40.40"), 10, True)
        assert pipeline.rows("select count(*) from gold.customer_segments where customer_segment = 'Diners'") == [(30,)]
        assert kept(pipeline, "gold.customer_segments") == kept(pipeline, "gold.customer_360_profile") == october
        listed = pipeline.rows("select spend_last_30_days, used_lately from gold.audience_table_for_two")
        assert listed == [(Decimal("40.40"), True)] * 5
        fed = [json.loads(payload) for (payload,) in pipeline.rows("select payload from gold.audience_feed")]
        own = ("spend_last_30_days", "days_since_purchase", "used_lately", "first_transaction_date")
        assert [[said[name] for name in own] for said in fed] == [[40.4, 10, True, "2025-09-17"]] * len(fed)
        assert len(fed) >= 4, "all but who is held back"
        explained = (
            "select metric, value, passed from gold.segment_explanations where customer_id = 'diner-3'"
            " and snapshot_month = date '2025-10-01' order by segment_priority, criterion_number"
        )
        before = pipeline.rows(explained)
        assert ("used_lately", 1.0, True) in before
        monkeypatch.delenv("SEGMENTATION_RULES")
        # Under the shipped rules nobody travels, so November is held back; what was made on the way is of other rules.
        assert not pipeline.run(NOVEMBER).success
        assert pipeline.rows("select * from silver.outdated_months where spend <> 0") == []
        assert pipeline.rows(explained) == before
        assert kept(pipeline, "gold.customer_segment_history") == october
        succeeded, said = pipeline.dbt(OCTOBER, select="published_rows_match_the_log", command="test")
        assert succeeded, said
        rules.write_text(OWN.replace("{kind: sum, window: last", "{kind: avg, window: last"), encoding="utf-8")
        monkeypatch.setenv("SEGMENTATION_RULES", str(rules))
        with pytest.raises(WarehouseError, match=r"metrics.spend_last_30_days is a double, but .* holds a money"):
            migration.bring_up_to_date(pipeline.warehouse(), Project.load())


def load_diners(pipeline: Pipeline) -> None:
    """Thirty who dine and thirty who buy groceries, once a month, and a fact on every day of half a year."""
    as_of = date(2025, 12, 1)
    since = (portfolios.Version(date(2024, 1, 1)),)
    visits = tuple(portfolios.Fact(as_of - timedelta(days=ago), 40_00 + ago, portfolios.DINING) for ago in (1, 40, 75))
    groceries = (portfolios.Fact(as_of - timedelta(days=35), 100_00, portfolios.GROCERY),)
    daily = tuple(portfolios.Fact(as_of - timedelta(days=ago), 1, portfolios.GROCERY) for ago in range(1, 200))
    customers = [portfolios.Customer(f"diner-{number}", visits, since) for number in range(30)]
    customers += [portfolios.Customer(f"other-{number}", groceries, since) for number in range(30)]
    pipeline.load(portfolios.build([*customers, portfolios.Customer("other-daily", daily, since)], as_of))


def kept(pipeline: Pipeline, table: str) -> list[tuple[Any, ...]]:
    return pipeline.rows(
        "select customer_id, spend_last_30_days, days_since_purchase, used_lately, dining_spend_pct"
        f" from {table} order by customer_id"
    )
