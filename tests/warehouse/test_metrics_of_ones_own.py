"""Metrics of one's own against Python that reads the facts one by one, and what becomes of them in everything else."""

import os
from datetime import date
from typing import Any

import hypothesis
import pytest
import yaml

from tests.support import metric_oracle
from tests.support.metric_oracle import is_same
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
