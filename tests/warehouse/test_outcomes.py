"""What campaigns did, from the facts to the check: the numbers against scipy on the raw spend, and a split gone wrong.

Locks out: a window a day off, members without spend forgotten, a month measured before its window has closed, and a
split nobody planned that goes unnoticed.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from scipy import stats

from segmentation_assets.dbt.project import Project
from tests.support.published_months import CANDIDATE_AND_PUBLISHED, NO_TESTS, NOVEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
AUGUST = date(2025, 8, 1)
START, END = date(2025, 9, 1), date(2025, 9, 1) + timedelta(days=90)
RULES = Project.load().rules
OUTCOMES = ["gold/campaign_outcome_groups", "gold/campaign_outcomes"]
CHECK = "holdout_split_is_as_planned"


@pytest.fixture(scope="module")
def measured(
    audiences_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pipeline, dg.ExecuteInProcessResult]]:
    """August with its lists, and the outcomes as the run of November makes them: August's window has just closed."""
    with pipeline_at(tmp_path_factory.mktemp("outcomes") / "segmentation.duckdb", audiences_file) as pipeline:
        for select in (CANDIDATE_AND_PUBLISHED, "path:models/audiences"):
            succeeded, said = pipeline.dbt(AUGUST, select=select, arguments=NO_TESTS)
            assert succeeded, said
        # On the last day that counts, and on the first that does not.
        for day, amount in ((END - timedelta(days=1), 1000), (END, 100_000), (START, 500), (START - timedelta(1), 7e5)):
            pipeline.execute(
                "insert into gold.fct_transactions by name (select * replace ("
                f" date '{day}' as transaction_date, {amount} as transaction_amount, 'approved' as transaction_status,"
                f" -{day:%Y%m%d} as transaction_key, (select min(customer_key) from gold.dim_customer inner join"
                " gold.audience_core_retention using (customer_id) where is_current) as customer_key)"
                " from gold.fct_transactions limit 1)"
            )
        yield pipeline, pipeline.run(NOVEMBER, select=OUTCOMES)


def spend(pipeline: Pipeline, campaign: str, group: str) -> list[float]:
    """Of every member, those who bought nothing too."""
    return [
        float(amount)
        for (amount,) in pipeline.rows(
            f"""
            select coalesce(sum(f.transaction_amount), 0)
            from gold.audience_{campaign} as a
            left join gold.dim_customer as d on a.customer_id = d.customer_id
            left join gold.fct_transactions as f
                on d.customer_key = f.customer_key and f.transaction_status = 'approved'
                and f.transaction_date between '{START}' and '{END - timedelta(days=1)}'
            where a.snapshot_month = '{AUGUST}' and a.treatment_group = '{group}'
            group by a.customer_id
            """
        )
    ]


def test_the_outcome_is_scipys_on_the_raw_spend(measured: tuple[Pipeline, dg.ExecuteInProcessResult]) -> None:
    pipeline, result = measured
    assert result.success
    found = {row[1]: row for row in pipeline.rows("from gold.campaign_outcomes")}
    assert set(found) == {campaign.name for campaign in RULES.campaigns}
    compared = 0
    for name, row in found.items():
        target, holdout = spend(pipeline, name, "target"), spend(pipeline, name, "holdout")
        assert row[0] == AUGUST
        assert row[2:6] == (START, END, len(target), len(holdout))
        if len(holdout) < 2:
            continue
        compared += 1
        test: Any = stats.ttest_ind(target, holdout, equal_var=False)
        interval = test.confidence_interval(0.95)
        means = sum(target) / len(target), sum(holdout) / len(holdout)
        expected = (*means, means[0] - means[1], interval.low, interval.high, test.pvalue)
        assert row[6:12] == pytest.approx(expected, rel=1e-9)
        assert row[12] == 10
        assert row[13] == pytest.approx(stats.binomtest(len(holdout), len(target) + len(holdout), 0.1).pvalue)
    assert compared >= 3
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == CHECK]
    assert check.passed


def test_a_split_of_sixty_to_forty_is_warned_of(measured: tuple[Pipeline, dg.ExecuteInProcessResult]) -> None:
    pipeline, _ = measured
    # By the digits of the rank, so that the sixty and the forty are alike in everything else.
    pipeline.execute(
        "update gold.audience_everyday_rewards set"
        " treatment_group = case when audience_rank % 5 < 2 then 'holdout' else 'target' end"
        f" where snapshot_month = '{AUGUST}'"
    )
    result = pipeline.run(NOVEMBER, select=OUTCOMES)
    assert result.success
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == CHECK]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    named = [line for line in (check.description or "").splitlines() if "customers were held back" in line]
    assert len(named) == 1
    assert named[0].startswith(f"{AUGUST}, everyday_rewards: ")
    assert "10 % were planned" in named[0]


def test_a_month_before_any_window_has_closed_says_so(audiences_file: Path, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        result = pipeline.run(NOVEMBER, select=OUTCOMES)
        assert result.success
        assert pipeline.rows("from gold.campaign_outcomes") == []
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == CHECK]
    assert check.passed
    assert check.description == "No audience month is due yet."
