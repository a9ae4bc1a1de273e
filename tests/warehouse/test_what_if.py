"""Months under changed rules, against a real run of a copy of the warehouse under the same rules.

Locks out: numbers that are not those the changed rules then publish; a table, schema, manifest or Dagster record that a
what-if changes; schemas that a failed or killed one leaves; a mistyped change that is taken for another; an alert about
somebody's what-if; an address in what it shows.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml

from segmentation_assets.alerts.events import collect
from segmentation_assets.alerts.outbox import Outbox
from segmentation_assets.cli import commands
from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.definitions import build_defs
from segmentation_assets.months import MonthError, MonthRange
from segmentation_assets.publication.published import NotPublishedError
from segmentation_assets.rules.edits import WhatIfError, changed_rules
from segmentation_assets.rules.load import RulesError
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.what_if import compute as what_if
from segmentation_assets.what_if import tables as what_if_tables
from segmentation_assets.what_if.asked import Facts, asked_months, typed
from segmentation_assets.what_if.compute import Month
from segmentation_assets.what_if.job import WHAT_IF
from tests.support.own_runs import own_runs, portfolio
from tests.support.published_months import (
    CANDIDATE_AND_PUBLISHED,
    NO_TESTS,
    NOVEMBER,
    OCTOBER,
    SEPTEMBER,
    pipeline_at,
)
from tests.support.warehouse_fixture import Pipeline

MONTHS = (SEPTEMBER, OCTOBER, NOVEMBER)
TODAYS_RULES = "Declining.spend_change_pct=-30"
KILLED, SOMEBODYS = "what_if_20260101000000_abcdef_gold", "what_if_mine"
Rules = dict[str, Any]


def other_bounds(rules: Rules) -> None:
    rules["segments"][1]["criteria"] = [
        {"metric": "spend_change_pct", "at_most": -10},
        {"metric": "spend_prior_90_days", "at_least": 1000},
        {"metric": "is_active", "is": True},
    ]
    rules["segments"][3]["criteria"][0] = {"metric": "avg_monthly_spend", "at_most": 1600.5}
    rules["campaigns"][1]["criteria"][0]["at_least"] = 500
    rules["campaigns"][1]["cap"] = 30
    rules["campaigns"][4]["cooldown_months"] = 1
    del rules["campaigns"][0]["criteria"]
    rules["campaigns"][2]["rank_by"]["metric"] = "lifetime_value"
    rules["campaigns"][3]["holdout_pct"] = 25
    rules["audits"]["drift_baseline_months"] = 1


def too_few_travelers(rules: Rules) -> None:
    rules["category_groups"]["travel"] = ["Travel", "Airlines"]
    rules["segments"][0]["criteria"][0]["at_least"] = 15000
    rules["segments"][0]["expected_share_pct"] = [0.5, 15]


@dataclass(frozen=True)
class Case:
    """The same change twice: as a person writes it, and done to the rules by hand."""

    changes: str
    by_hand: Callable[[Rules], None]
    first: date
    last: date
    is_published: bool = True


CASES = {
    "other bounds, in two months": Case(
        "Declining.spend_change_pct=-10, declining.spend_prior_90_days.at_least = 1000,Declining.is_active.is=true,"
        "Budget-Conscious.avg_monthly_spend.at_most=1600.5,churn_prevention.lifetime_value=500,churn_prevention.cap=30,"
        "core_retention.cooldown_months=1,premium_rewards.avg_monthly_spend=none,"
        "onboarding_acceleration.rank_by.metric=lifetime_value,everyday_rewards.holdout_pct=25,"
        "audits.drift_baseline_months=1",
        other_bounds,
        OCTOBER,
        NOVEMBER,
    ),
    "other categories, in a month that the gate holds back": Case(
        "High-Value Travelers.avg_monthly_spend=15000,category_groups.travel=Travel, Airlines,"
        "High-Value Travelers.expected_share_pct=0.5,15",
        too_few_travelers,
        NOVEMBER,
        NOVEMBER,
        is_published=False,
    ),
}


@pytest.fixture(scope="module")
def before(audiences_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path_factory.mktemp("what_if") / "segmentation.duckdb", audiences_file) as pipeline:
        yield pipeline


def computed(pipeline: Pipeline, changes: str, first: date | None = None, last: date | None = None) -> list[Month]:
    months = [str(month) if month else "" for month in (first, last)]
    return what_if.compute(Project.load(), DuckDBWarehouse(path=str(pipeline.path)), changes, "", *months)


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="module")
def predicted(case: Case, before: Pipeline) -> list[Month]:
    return computed(before, case.changes, case.first, case.last)


@pytest.fixture(scope="module")
def really_run(
    case: Case, predicted: list[Month], before: Pipeline, tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    """A copy, and the months computed in it as by anybody who has changed the rules."""
    assert predicted
    folder = tmp_path_factory.mktemp("really_run")
    project = yaml.safe_load((project_dir() / "dbt_project.yml").read_text(encoding="utf-8"))
    rules = {key: project["vars"][key] for key in ("segments", "category_groups", "campaigns", "audits")}
    case.by_hand(rules)
    (folder / "rules.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    with pipeline_at(folder / "segmentation.duckdb", before.path) as pipeline, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGMENTATION_RULES", str(folder / "rules.yml"))
        try:
            audiences = " path:models/audiences" if case.is_published else ""
            succeeded, said = pipeline.dbt(
                case.first, case.last, f"{CANDIDATE_AND_PUBLISHED}{audiences}", arguments=NO_TESTS
            )
        finally:
            patch.undo()
        assert succeeded, said
    return pipeline


def counted(pipeline: Pipeline, table: str, month: date) -> dict[str, int]:
    return dict(
        pipeline.rows(f"select customer_segment, count(*) from {table} where snapshot_month = '{month}' group by 1")
    )


def test_the_sizes_are_those_of_a_real_run(
    case: Case, predicted: list[Month], before: Pipeline, really_run: Pipeline
) -> None:
    table = "gold.customer_segment_history" if case.is_published else "silver.segment_assignments"
    assert [month.month for month in predicted] == list(MonthRange(case.first, case.last))
    for month in predicted:
        old = counted(before, "gold.customer_segment_history", month.month)
        new = counted(really_run, table, month.month)
        assert old != new
        assert {one.name: (one.before, one.after) for one in month.segments} == {
            name: (old[name], new.get(name, 0)) for name in old
        }
        assert [one.share_after for one in month.segments] == pytest.approx(
            [100 * new.get(one.name, 0) / sum(new.values()) for one in month.segments]
        )


def test_the_moves_are_those_of_a_real_run(
    case: Case, predicted: list[Month], before: Pipeline, really_run: Pipeline
) -> None:
    table = "gold.customer_segment_history" if case.is_published else "silver.segment_assignments"
    for month in predicted:
        old, new = (
            dict(
                pipeline.rows(
                    f"select customer_id, customer_segment from {name} where snapshot_month = '{month.month}'"
                )
            )
            for pipeline, name in ((before, "gold.customer_segment_history"), (really_run, table))
        )
        moves: dict[tuple[str, str], int] = {}
        for customer, segment in old.items():
            if new[customer] != segment:
                moves[segment, new[customer]] = moves.get((segment, new[customer]), 0) + 1
        assert month.moves == moves
        assert month.moved > 0


def test_the_audits_are_those_of_a_real_run(case: Case, predicted: list[Month], really_run: Pipeline) -> None:
    columns = ("audit", "customer_segment", "measured", "lower_bound", "upper_bound", "severity")
    for month in predicted:
        really = really_run.rows(
            f"select {', '.join(columns)} from silver.segment_audits"
            f" where snapshot_month = '{month.month}' and not passed order by audit, customer_segment"
        )
        assert [tuple(row[column] for column in columns) for row in month.failures] == really
        assert month.is_publishable is case.is_published
        on_floor = [one.name for one in month.segments if "every_segment_holds_the_minimum_share" in one.failures]
        assert on_floor == ([] if case.is_published else ["High-Value Travelers"])


def test_the_audiences_are_those_of_a_real_run(
    case: Case, predicted: list[Month], before: Pipeline, really_run: Pipeline
) -> None:
    if not case.is_published:  # no real run makes audiences of it: the what-if says how large they would be
        (month,) = predicted
        sizes = {one.campaign: (one.sent_before, one.sent_after) for one in month.audiences}
        assert sizes["premium_rewards"][1] is not None
        assert sizes["core_retention"][1] > sizes["core_retention"][0]  # type: ignore[operator]
        assert sizes["churn_prevention"][0] == sizes["churn_prevention"][1]
        return
    for month in predicted:
        assert len(month.audiences) == 5
        for one in month.audiences:
            lists = [
                dict(
                    pipeline.rows(
                        f"select treatment_group, count(*) from gold.audience_{one.campaign}"
                        f" where snapshot_month = '{month.month}' group by 1"
                    )
                )
                for pipeline in (before, really_run)
            ]
            assert (one.sent_before, one.sent_after) == tuple(sizes.get("target", 0) for sizes in lists)
            assert (one.held_out_before, one.held_out_after) == tuple(sizes.get("holdout", 0) for sizes in lists)


def everything(path: Path) -> dict[str, tuple[Any, ...]]:
    """Every schema, and of every table and view its columns, the number of its rows and their hash."""
    found: dict[str, tuple[Any, ...]] = {}
    with duckdb.connect(str(path), read_only=True) as connection:
        schemas = connection.execute("select schema_name from duckdb_schemas() where not internal").fetchall()
        found |= {schema: () for (schema,) in schemas}
        relations = connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
        for schema, table in relations:
            name = f'{schema}."{table}"'
            columns = connection.execute(f"describe {name}").fetchall()
            rows = connection.execute(f"select count(*), sum(hash(one)) from {name} as one").fetchone()
            found[name] = (columns, rows)
    return found


def test_nothing_that_anybody_reads_is_changed(before: Pipeline, audiences_file: Path) -> None:
    (month,) = computed(before, "category_groups.travel=Travel,core_retention.cooldown_months=1")
    assert month.moved > 0
    there = everything(before.path)
    assert there == everything(audiences_file)
    assert 'gold."audience_core_retention"' in there
    assert not [name for name in there if name.startswith("what_if")]


def manifest_files() -> dict[str, str]:
    """The parsed project under today's rules, by digest. What lies beside it may be of tests that run meanwhile."""
    return {
        path.name: hashlib.md5(path.read_bytes()).hexdigest()
        for path in Project.load().manifest_path.parent.iterdir()
        if path.is_file()
    }


def test_a_change_that_changes_nothing_moves_nobody(before: Pipeline) -> None:
    kept = manifest_files()
    months = computed(before, TODAYS_RULES, SEPTEMBER, NOVEMBER)
    assert manifest_files() == kept
    assert kept
    assert [month.month for month in months] == list(MONTHS)
    for month in months:
        assert month.moves == {}
        assert all(one.before == one.after > 0 for one in month.segments)
        assert all(one.sent_before == one.sent_after is not None for one in month.audiences)
        assert not month.other_rules
        recorded = before.rows(
            f"select audit, measured from silver.segment_audits where snapshot_month = '{month.month}' and not passed"
        )
        assert sorted((row["audit"], row["measured"]) for row in month.failures) == sorted(recorded)
    assert "Nobody changes segment." in what_if_tables.markdown(months, "migrations")


def never() -> Facts:
    raise AssertionError("the facts were read, though every month is published")


def test_the_newest_published_month_is_taken_where_none_is_named(before: Pipeline) -> None:
    published = what_if.months_published(Project.load(), DuckDBWarehouse(path=str(before.path)))
    for first, wanted in (("", MonthRange.single(NOVEMBER)), (str(OCTOBER), MonthRange(OCTOBER, NOVEMBER))):
        assert asked_months(typed(first, "", "FROM", "TO"), published, never) == wanted


def test_the_rollup_is_read_again_only_under_other_categories(before: Pipeline) -> None:
    hashes = before.rows("select distinct category_groups_hash from silver.customer_period_spend")
    assert hashes == [(what_if.category_groups_hash(Project.load().rules),)]
    other = changed_rules(project_dir(), Project.load().rules, "category_groups.travel=Travel")
    assert hashes != [(what_if.category_groups_hash(other),)]


def test_the_schemas_are_dropped_when_a_model_fails_and_after_a_kill(audiences_file: Path, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        for schema in (KILLED, SOMEBODYS):
            pipeline.execute(f"create schema {schema}")
            pipeline.execute(f"create table {schema}.rows as select 1 as one")
        with DuckDBWarehouse(path=str(pipeline.path)).session() as session:
            # Where nothing keeps two what-ifs apart, one that began lately may still be under way.
            assert what_if.drop_leftovers(session, datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=1)) == []
        pipeline.execute("alter table gold.dim_customer drop column email")
        with pytest.raises(WhatIfError, match=r"dbt could not compute it: [^\n]*\"email\"[^\n]*\Z"):
            computed(pipeline, TODAYS_RULES)
        schemas = {row[0] for row in pipeline.rows("select schema_name from duckdb_schemas() where not internal")}
    assert {name for name in schemas if name.startswith("what_if")} == {SOMEBODYS}


def test_a_month_without_audiences_and_one_of_other_rules_say_so(audiences_file: Path, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        pipeline.execute("drop table gold.audience_waterfall")
        pipeline.execute(f"update gold.segment_publications set rules_hash = 'x' where snapshot_month = '{NOVEMBER}'")
        (month,) = computed(pipeline, TODAYS_RULES)
    assert [one.sent_before for one in month.audiences] == [None] * 5
    assert all(one.sent_after for one in month.audiences)
    assert month.other_rules
    told = "\n".join(what_if_tables.notes(month))
    assert "2025-11-01 was published under other rules than today's" in told
    assert "A dash: no audience" in told


def test_the_lists_so_far_decide_what_they_decide_in_a_real_run(audiences_file: Path, tmp_path: Path) -> None:
    """Each mailbox's side of a holdout, whether there may be new lists, and whether a bound was loosened."""
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        pipeline.execute(
            "update gold.audience_everyday_rewards"
            " set holdout_unit = (select min(customer_id) from gold.audience_everyday_rewards)"
        )
        (month,) = computed(pipeline, TODAYS_RULES)
        (campaign,) = [one for one in month.audiences if one.campaign == "everyday_rewards"]
        assert campaign.sent_before and campaign.held_out_before
        assert sorted((campaign.sent_after or 0, campaign.held_out_after or 0)) == [
            0,
            campaign.sent_before + campaign.held_out_before,
        ]
        assert month.list_failures == ()
        assert month.is_publishable

        pipeline.execute(
            "insert into silver.objections_at_last_lists by name"
            " select 'gone ' || customer_id as customer_id, made_at, run_id from silver.objections_at_last_lists"
        )
        there = everything(pipeline.path)
        (month,) = computed(pipeline, "audits.minimum_segment_share_pct=0.5")
        assert everything(pipeline.path) == there
    assert all(one.sent_before is not None and one.sent_after is None for one in month.audiences)
    assert [row["audit"] for row in month.list_failures] == ["suppressions_did_not_shrink"]
    assert "no_blocking_bound_was_loosened" in [row["audit"] for row in month.failures]
    assert not month.is_publishable
    told = "\n".join(what_if_tables.notes(month))
    assert "no new lists: 2025-11-01: suppressions_did_not_shrink" in told
    assert "blocks: 2025-11-01: no_blocking_bound_was_loosened" in told
    assert "A dash: no audience" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("", "Nothing is changed: give SET="),
        ("Declining", "SET: 'Declining' is no change; write NAME.METRIC=VALUE"),
        ("Declining=-25", "SET: Declining: says not what of it; write NAME.METRIC=VALUE"),
        ("Declning.spend_change_pct=-25", "SET: 'Declning' is no known segment or campaign; did you mean 'Declining'?"),
        ("Declining.spend_chnge_pct=-25", "'spend_chnge_pct' is no known metric or setting; did you mean 'spend_ch"),
        ("Declining.spend_change_pct.atmost=-25", "'atmost' is no known operator; did you mean 'at_most'?"),
        ("Declining.spend_change_pct=-25%", "SET: Declining.spend_change_pct: '-25%' is no number; write it plainly"),
        ("Declining.spend_prior_90_days=12,000", "SET: Declining.spend_prior_90_days: '12,000' is no number"),
        ("Declining.tenure_months=3", "has no criterion on it; to add one: write Declining.tenure_months.at_least=3"),
        ("Declining.is_active.is=yes", "SET: Declining.is_active.is: 'yes' is neither true nor false"),
        ("Declining.tenure_months=none", "Declining has no criterion on it"),
        ("Declining.tenure_months.above=none", "Declining has no such criterion that could be removed"),
        ("churn_prevention.holdout=20", "'holdout' is no known metric or setting; did you mean 'holdout_pct'?"),
        ("audits.minimum_share=3", "'minimum_share' is no known bound of an audit; did you mean 'minimum_se"),
        ("category_groups.fun=Cinema", "'fun' is no known category group; known: travel, necessities"),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_read_is_told_in_a_line(before: Pipeline, changes: str, told: str) -> None:
    with pytest.raises(WhatIfError) as refused:
        computed(before, changes)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("churn_prevention.holdout_pct=80", "The changed rules: campaigns[1].holdout_pct: 80 is out of range"),
        ("churn_prevention.cap=2.5", "The changed rules: campaigns[1].cap: 2.5 is not a whole number"),
        ("Stable Mid-Spenders.tenure_months.above=3", "The changed rules: segments[4]"),
        ("churn_prevention.segment=Declning", "The changed rules: campaigns[1].segment: 'Declning'"),
        (
            "everyday_rewards.channel=sms",
            "The changed rules: campaigns[3].channel: 'sms' is no known channel; known: em",
        ),
        ("Declining.expected_share_pct=10", "The changed rules: segments[1].expected_share_pct: [10] is not a pair"),
    ],
)
def test_rules_that_do_not_hold_together_are_refused_in_the_words_of_the_rules(
    before: Pipeline, changes: str, told: str
) -> None:
    with pytest.raises(RulesError) as refused:
        computed(before, changes)
    assert told in str(refused.value)
    assert str(Path.home()) not in str(refused.value)


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        (
            "2025-12-01",
            "2025-12-01",
            "Month 2025-12-01 is not published, nor a closed month whose facts are all there: "
            "the approved facts begin on 2025-01-01 and end on 2025-11-30",
        ),
        ("2024-12-01", "2025-10-01", "Month 2024-12-01 is not published"),
        ("2199-01-01", "", "Month 2199-01-01 is not published"),
        ("2025-11-31", "", "FROM is '2025-11-31'; it has to be a month, as 2025-11"),
        ("", "2025-11-01", "TO is '2025-11-01', but FROM is not given"),
        ("2025-11-01", "2025-10-01", "TO 2025-10-01 lies before FROM 2025-11-01"),
    ],
)
def test_a_month_that_can_neither_be_compared_nor_computed_is_named_with_what_facts_there_are(
    before: Pipeline, first: str, last: str, told: str
) -> None:
    with pytest.raises((WhatIfError, NotPublishedError, MonthError), match=told):
        what_if.compute(Project.load(), DuckDBWarehouse(path=str(before.path)), TODAYS_RULES, "", first, last)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("synthetic", "Nothing has been published yet: run `make run` first"),
        ("warehouse", "There is no gold.fct_transactions, so no month can be computed: SEGMENTATION_SOURCE_SCHEMA"),
    ],
)
def test_nothing_published_and_nothing_to_compute_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    monkeypatch.setenv("SEGMENTATION_SOURCE", source)
    with pipeline_at(tmp_path / "segmentation.duckdb") as pipeline:
        pipeline.execute("create schema gold")
        with pytest.raises(NotPublishedError, match=told):
            computed(pipeline, TODAYS_RULES)
        assert not [name for name in everything(pipeline.path) if name.startswith("what_if")]


def test_the_command_shows_what_would_change_and_no_address(
    before: Pipeline, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = yaml.safe_load((project_dir() / "dbt_project.yml").read_text(encoding="utf-8"))
    segments = project["vars"]["segments"]
    segments[1]["criteria"][0]["at_most"] = -10
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"segments": segments}), encoding="utf-8")
    changed = changed_rules(project_dir(), Project.load().rules, TODAYS_RULES, str(file))
    assert changed.segments == Project.load().rules.segments  # SET is applied after RULES

    assert commands.main(["what-if", "--rules", str(file), "--month", "2025-11-01"]) == 0
    shown = capfd.readouterr()
    (month,) = computed(before, "Declining.spend_change_pct=-10")
    for text in ("Segments of November 2025", f"Customers who move: {month.moved:,} of 1,000", "Audiences",
                 "nothing was published or changed"):  # fmt: skip
        assert text in shown.out
    for one in month.segments:
        assert f"{one.before:,} → {one.after:,}" in shown.out
    assert "@" not in shown.out + shown.err
    assert commands.main(["what-if", "--set", TODAYS_RULES, "--month", "2025-11-01", "--first", "2025-10-01"]) == 2
    assert "MONTH is '2025-11-01', and FROM or TO is given too" in capfd.readouterr().err


@pytest.fixture
def instance(empty_home: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copytree(empty_home, tmp_path / "home")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as made:
        yield made


def run_job(pipeline: Pipeline, instance: dg.DagsterInstance, **config: str | bool) -> dg.ExecuteInProcessResult:
    definitions = build_defs(resources={"warehouse": DuckDBWarehouse(path=str(pipeline.path))})
    return definitions.resolve_job_def(WHAT_IF).execute_in_process(
        instance=instance,
        run_config={"ops": {"segmentation_recompute_with_changed_rules": {"config": config}}},
        raise_on_error=False,
    )


def test_the_job_shows_the_same_and_materialises_nothing(before: Pipeline, instance: dg.DagsterInstance) -> None:
    changes = "High-Value Travelers.avg_monthly_spend=15000"
    result = run_job(before, instance, set=changes, first_month="2025-10-01", last_month="2025-11-01")
    assert result.success
    (output,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    metadata = {name: value.value for name, value in output.step_output_data.metadata.items()}
    months = computed(before, changes, OCTOBER, NOVEMBER)
    for month in months:
        assert f"**{month.month}** Segments of {month.month:%B %Y}" in metadata["segments"]
        for (old, new), customers in month.moves.items():
            assert f"| {old} | {new} | {customers:,} |" in metadata["migrations"]
        for one in month.audiences:
            name = one.campaign.replace("_", "\\_")
            assert f"| {name} | {one.sent_before:,} → {one.sent_after:,} |" in metadata["audiences"]
    assert metadata["customers_who_move"] == sum(month.moved for month in months) > 0
    assert metadata["months_that_would_be_blocked"] == sum(not month.is_publishable for month in months) > 0
    assert "would NOT pass the gate" in metadata["notes"]
    assert not any("@" in str(value) for value in metadata.values())
    assert result.get_asset_materialization_events() == []
    assert result.get_asset_check_evaluations() == []
    assert instance.all_asset_keys() == []
    definition = result.job_def
    assert definition.partitions_def is None
    assert [str(node.definition.pool) for node in definition.nodes] == ["segmentation_warehouse"]  # type: ignore[attr-defined]


def test_the_job_calibrates_too(before: Pipeline, instance: dg.DagsterInstance) -> None:
    result = run_job(before, instance, calibrate=True, first_month="2025-10-01", last_month="2025-11-01")
    assert result.success
    (output,) = [event for event in result.all_events if event.event_type_value == "STEP_OUTPUT"]
    metadata = {name: str(value.value).replace("\\", "") for name, value in output.step_output_data.metadata.items()}
    assert set(metadata) == {"shares", "bounds"}
    shares = before.rows(
        "select snapshot_month, round(100.0 * count(*) filter (customer_segment = 'Declining') / count(*), 1)"
        " from gold.customer_segment_history where snapshot_month >= '2025-10-01' group by 1 order by 1"
    )
    for month, share in shares:
        (line,) = [line for line in metadata["shares"].splitlines() if line.startswith(f"| {month:%Y-%m} |")]
        assert line.split(" | ")[2] == f"{share:.1f}%"
    assert "- Stable Mid-Spenders: " in metadata["bounds"]
    assert "It takes who is left" in metadata["bounds"]
    assert result.get_asset_materialization_events() == []


def test_a_mistyped_job_fails_with_the_line_and_alerts_nobody(before: Pipeline, instance: dg.DagsterInstance) -> None:
    result = run_job(before, instance, set=TODAYS_RULES, first_month="2025-12-01")
    assert not result.success
    (failed,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert failed.step_failure_data.user_failure_data is not None
    assert "Month 2025-12-01 is not published" in (failed.step_failure_data.user_failure_data.description or "")
    assert collect(Outbox.load(portfolio().notes(instance)), own_runs(), "http://127.0.0.1:3000") == 0
