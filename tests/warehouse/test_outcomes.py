"""What campaigns did, from the facts to the check: the numbers against scipy on the raw spend, and a split gone wrong.

Locks out: a window a day off, members without spend forgotten, a month measured before its window has closed, and a
split nobody planned that goes unnoticed.
"""

import hashlib
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from segmentation_assets.dbt.project import Project
from tests.support.published_months import CANDIDATE_AND_PUBLISHED, NO_TESTS, NOVEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
JULY, AUGUST = date(2025, 7, 1), date(2025, 8, 1)
START, END = date(2025, 9, 1), date(2025, 9, 1) + timedelta(days=90)
OUTCOMES = [
    "gold/campaign_outcome_groups", "gold/campaign_outcomes", "gold/program_outcome_groups", "gold/program_outcomes",
]  # fmt: skip
CHECK = "holdout_split_is_as_planned"
UNIVERSAL_PCT = 20


@pytest.fixture(scope="module")
def measured(
    audiences_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pipeline, dg.ExecuteInProcessResult]]:
    """July and August with their lists, and the outcomes as the run of November makes them: August's window has just
    closed. In these two months a fifth of all mailboxes is kept out of every campaign."""
    with pipeline_at(tmp_path_factory.mktemp("outcomes") / "segmentation.duckdb", audiences_file) as pipeline:
        for select in (CANDIDATE_AND_PUBLISHED, "path:models/audiences"):
            universal = {"universal_holdout_pct": UNIVERSAL_PCT}
            succeeded, said = pipeline.dbt(JULY, AUGUST, select=select, arguments=NO_TESTS, run_vars=universal)
            assert succeeded, said
        # On the last day that counts, and on the first that does not.
        for day, amount in ((END - timedelta(days=1), 1000), (END, 100_000), (START, 500), (START - timedelta(1), 7e5)):
            pipeline.execute(
                "insert into gold.fct_transactions by name (select * replace ("
                f" date '{day}' as transaction_date, {amount} as transaction_amount, 'approved' as transaction_status,"
                f" -{day:%Y%m%d} as transaction_key, (select min(customer_key) from gold.dim_customer inner join"
                f" gold.audience_core_retention using (customer_id) where is_current and snapshot_month = '{AUGUST}')"
                " as customer_key) from gold.fct_transactions limit 1)"
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
    found = {row[1]: row for row in pipeline.rows(f"from gold.campaign_outcomes where snapshot_month = '{AUGUST}'")}
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


def entrants(pipeline: Pipeline) -> pd.DataFrame:
    """Everybody's first appearance on each campaign's lists of 2025: month, side, spend before it and in the window."""
    lists = pd.concat(
        pipeline.frame(f"select snapshot_month, campaign, customer_id, treatment_group from gold.audience_{name}")
        for name in (campaign.name for campaign in RULES.campaigns)
    )
    first = lists.sort_values("snapshot_month").drop_duplicates(["campaign", "customer_id"])
    before = pipeline.frame(
        "select snapshot_month, customer_id, spend_last_90_days as before from gold.customer_segment_history"
    )
    facts = pipeline.frame(
        "select customer_id, transaction_date, transaction_amount from gold.fct_transactions"
        " inner join gold.dim_customer using (customer_key) where transaction_status = 'approved'"
    )
    found = first.merge(before, on=["snapshot_month", "customer_id"])
    start = found["snapshot_month"] + pd.DateOffset(months=1)
    windows = found[["campaign", "customer_id"]].assign(start=start, end=start + pd.Timedelta(days=90))
    spent = windows.merge(facts, on="customer_id").query("start <= transaction_date < end")
    totals = spent.groupby(["campaign", "customer_id"], as_index=False).agg(after=("transaction_amount", "sum"))
    found = found.merge(totals, on=["campaign", "customer_id"], how="left").fillna({"after": 0})
    # Whole cents, so that every sum is exact.
    return found.assign(**{name: (found[name].astype(float) * 100).round().astype("int64") for name in BOTH})


BOTH = ["before", "after"]


def winsorised(members: pd.DataFrame) -> pd.DataFrame:
    """Both groups of a campaign and month together: the smallest amount that 99 % of them do not exceed."""
    place = -(-99 * len(members) // 100) - 1
    most = {name: sorted(members[name].tolist())[place] for name in BOTH}
    return members.assign(**{name: members[name].clip(upper=most[name]) for name in BOTH})


def exact_sums(members: pd.DataFrame) -> list[int]:
    x, y = (list(map(int, members[name])) for name in BOTH)
    return [sum(x), sum(y), *(sum(a * b for a, b in zip(*pair, strict=True)) for pair in ((x, x), (x, y), (y, y)))]


def test_the_sums_are_exactly_those_of_pandas_by_first_appearance(
    measured: tuple[Pipeline, dg.ExecuteInProcessResult],
) -> None:
    pipeline, _ = measured
    everybody, compared, returned = entrants(pipeline), 0, 0
    for name in (campaign.name for campaign in RULES.campaigns):
        for month in (JULY, AUGUST):
            entered = everybody[(everybody["campaign"] == name) & (everybody["snapshot_month"] == str(month))]
            for group in ("target", "holdout"):
                (row,) = (
                    dict(zip(SUMS, row, strict=True))
                    for row in pipeline.rows(
                        f"select {', '.join(SUMS)} from gold.campaign_outcome_groups where campaign = '{name}'"
                        f" and snapshot_month = '{month}' and treatment_group = '{group}'"
                    )
                )
                side = entered[entered["treatment_group"] == group]
                assert (row["holdout_epoch"], row["winsorised_at_pct"]) == ("2025", 99)
                assert row["entered_customers"] == len(side)
                assert row["entered_active_customers"] == (side["after"] > 0).sum()
                for prefix, members in (("", side), ("winsorised_", winsorised(entered).loc[side.index])):
                    if len(side):
                        scales = (100, 100, 10_000, 10_000, 10_000)
                        found = [row[f"{prefix}{one}"] * scale for one, scale in zip(SPEND, scales, strict=True)]
                        assert found == exact_sums(members), (name, month, group, prefix)
                        compared += 1
                listed = pipeline.rows(
                    f"select customer_id, count(*) from gold.audience_{name} where treatment_group = 'target'"
                    f" and snapshot_month between '{month}' and '{month + timedelta(days=70)}' group by 1"
                )
                contacts = sum(times for customer, times in listed if customer in set(side["customer_id"]))
                assert row["entered_contacts"] == contacts
                returned += row["customers"] - len(side)
    assert compared >= 30
    assert returned > 100, "nobody was on both lists"


SPEND = ["spend_before", "spend_after", "spend_before_squared", "spend_before_by_after", "spend_after_squared"]
SUMS = [
    "customers", "holdout_epoch", "winsorised_at_pct", "entered_customers", "entered_active_customers",
    "entered_contacts", *SPEND, *(f"winsorised_{name}" for name in SPEND),
]  # fmt: skip


def differences(levels: list[Any], amounts: Any, *further: Any) -> Any:
    """Least squares of the amounts on a level for each month and side, and further columns: target less holdout."""
    design = np.stack([*levels, *further], axis=1).astype(float)
    found = np.linalg.lstsq(design, amounts.astype(float), rcond=None)[0]
    return found[0 : len(levels) : 2] - found[1 : len(levels) : 2]


def test_an_epoch_is_least_squares_over_all_who_entered_it(
    measured: tuple[Pipeline, dg.ExecuteInProcessResult],
) -> None:
    """With a level for each entry month and side: the months' differences, weighted by those who were sent to."""
    pipeline, _ = measured
    everybody, compared = entrants(pipeline), 0
    for campaign, month, months, sent, held_back, plain, adjusted, total, points in pipeline.rows(
        "select campaign, snapshot_month, entry_months, entered_target_customers, entered_holdout_customers,"
        " plain_effect, adjusted_effect, incremental_spend, active_effect_points from gold.campaign_outcomes"
    ):
        until = everybody["snapshot_month"] <= str(month)
        members = everybody[(everybody["campaign"] == campaign) & until]
        is_target = (members["treatment_group"] == "target").to_numpy()
        assert (months, sent, held_back) == (1 if month == JULY else 2, is_target.sum(), (~is_target).sum())
        sizes = members.groupby(["snapshot_month", "treatment_group"]).size().unstack(fill_value=0)
        if held_back < 2 or (sizes == 0).to_numpy().any():
            continue
        compared += 1
        x, y = (members[name].to_numpy() / 100 for name in BOTH)
        entered = members["snapshot_month"].to_numpy()
        levels = [(entered == one) & side for one in sizes.index for side in (is_target, ~is_target)]
        weights = sizes["target"].to_numpy() / sizes["target"].sum()

        assert plain == pytest.approx(weights @ differences(levels, y), rel=1e-9)
        assert adjusted == pytest.approx(weights @ differences(levels, y, x), rel=1e-9)
        assert total == pytest.approx(adjusted * sent)
        assert points == pytest.approx(100 * weights @ differences(levels, y > 0), abs=1e-9)
    assert compared >= 6


def test_dagster_tells_it_in_sentences_and_a_picture(measured: tuple[Pipeline, dg.ExecuteInProcessResult]) -> None:
    _, result = measured
    shown = {
        event.asset_key.path[-1]: event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    told = str(shown["campaign_outcomes"]["what_the_campaigns_did"].value)
    assert len(told.splitlines()) == len(RULES.campaigns)
    assert "2025 (2 entry months): " in told and " would mostly have stayed unseen" in told
    for name in ("campaign_outcomes", "program_outcomes"):
        assert str(shown[name]["effects"].value).startswith("![effects](data:image/png;base64,")
    assert "All campaigns together" in str(shown["program_outcomes"]["what_all_campaigns_did"].value)


def universal_side(unit: str) -> str:
    drawn = hashlib.md5(f"every campaign|{unit}|2025".encode(), usedforsecurity=False).hexdigest()[:15]
    return "holdout" if int(drawn, 16) % 10_000 < UNIVERSAL_PCT * 100 else "target"


def test_who_is_in_the_universal_holdout_is_on_no_list_and_compared_with_everybody_else(
    measured: tuple[Pipeline, dg.ExecuteInProcessResult],
) -> None:
    pipeline, _ = measured
    units = dict(
        pipeline.rows(
            "select customer_id, coalesce(smallest, customer_id) from silver.customer_contacts left join (select"
            " mailbox, min(customer_id) as smallest from silver.customer_mailboxes group by 1) using (mailbox)"
        )
    )
    spent = pipeline.frame(
        "select customer_id, max(case when snapshot_month = '2025-07-01' then spend_last_90_days end) as before,"
        " max(case when snapshot_month = '2025-11-01' then spend_last_90_days end) as after"
        " from gold.customer_segment_history group by 1 having before is not null"
    )
    spent["side"] = [universal_side(units[one]) for one in spent["customer_id"]]
    kept_out = set(spent.query("side == 'holdout'")["customer_id"])
    assert 0.15 < len(kept_out) / len(spent) < 0.25
    assert {one for (one,) in pipeline.rows("select customer_id from gold.universal_holdout"
                                            f" where snapshot_month = '{JULY}'")} == kept_out  # fmt: skip
    for name in (campaign.name for campaign in RULES.campaigns):
        listed = pipeline.rows(f"select customer_id from gold.audience_{name} where snapshot_month = '{JULY}'")
        assert not kept_out & {one for (one,) in listed}
    steps = dict(
        pipeline.rows(
            f"select step, sum(customers) from gold.audience_waterfall where snapshot_month = '{JULY}' group by 1"
        )
    )
    [(left_out,)] = pipeline.rows(
        "select count(*) from gold.audience_exclusions where reason = 'universal_holdout'"
        f" and snapshot_month = '{JULY}'"
    )
    assert steps["not_suppressed"] - steps["not_in_universal_holdout"] == left_out > 50
    # As of 1 August somebody is left out for the first time: the 90 days to 1 November begin after that, not those to
    # 1 October.
    (row,) = pipeline.rows(
        "select snapshot_month, entry_month, holdout_epoch, entered_target_customers, entered_holdout_customers,"
        " plain_effect, adjusted_effect from gold.program_outcomes"
    )
    assert row[:5] == (NOVEMBER, JULY, "2025", len(spent) - len(kept_out), len(kept_out))
    x, y = (spent[name].fillna(0).astype(float).to_numpy() for name in BOTH)
    is_target = (spent["side"] == "target").to_numpy()
    assert row[5] == pytest.approx(y[is_target].mean() - y[~is_target].mean(), rel=1e-9)
    design = np.stack([np.ones(len(x)), is_target, x], axis=1)
    assert row[6] == pytest.approx(np.linalg.lstsq(design, y, rcond=None)[0][1], rel=1e-9)


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
