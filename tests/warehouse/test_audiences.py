"""The audiences against what a marketer would ask for, and against the waterfall worked out a second time in Python.

Locks out: a list other than the plain query gives, a step that loses or keeps the wrong customer, a holdout that moves
with the month or with the company it is in, a backfill that differs from month after month, and a campaign that takes
more than an entry in the rules to add, to rename or to remove.
"""

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml
from scipy import stats

from segmentation_assets.cli import belongings
from segmentation_assets.dbt.project import Project
from segmentation_assets.definitions import build_defs
from segmentation_assets.publication import reader_copy
from segmentation_assets.rules.load import Campaign
from tests.support.contact_oracle import Contacts, Listed, Version, bucket, list_of
from tests.support.published_months import NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
MONTHS = (SEPTEMBER, OCTOBER, NOVEMBER)
AUDIENCES = "path:models/audiences"
CAMPAIGNS = {campaign.name: campaign for campaign in RULES.campaigns}
STEPS = {
    "in_segment": None,
    "entered_segment": "stayed_in_segment",
    "meets_criteria": "misses_criteria",
    "meets_eligibility": "misses_eligibility",
    "is_eligible": "not_eligible",
    "is_customer": "no_customer_now",
    "deliverable_email": "no_deliverable_email",
    "not_suppressed": "suppressed",
    "not_in_universal_holdout": "universal_holdout",
    "not_in_cooldown": "in_cooldown",
    "within_contact_policy": "over_contact_policy",
    "one_per_email": "shares_email",
    "within_cap": "beyond_cap",
}
# Small enough to be reached by 1,000 customers in every month.
CAPS = {
    "premium_rewards": 30,
    "churn_prevention": 8,
    "onboarding_acceleration": 3,
    "everyday_rewards": 80,
    "core_retention": 100,
}
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "premium_rewards": {"holdout_pct": 12.5},
    "churn_prevention": {"cooldown_months": 1},
    "everyday_rewards": {"cooldown_months": 2, "holdout_pct": 50, "channel": "mail"},
    "core_retention": {"cooldown_months": 1, "holdout_pct": 20},
}
UNDELIVERABLE = (None, "", "nobody", "a b@example.com", "ada@localhost", "ada@example.com, bob@example.com")

Row = tuple[Any, ...]


def campaigns(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """The shipped campaigns with the given keys changed, as dbt's var."""
    changed = copy.deepcopy(RULES.raw["campaigns"])
    for campaign in changed:
        campaign |= {"cap": CAPS[campaign["name"]], **changes.get(campaign["name"], {})}
    return {"campaigns": changed}


def make(pipeline: Pipeline, first: date, last: date, changes: Mapping[str, Mapping[str, Any]]) -> None:
    succeeded, said = pipeline.dbt(first, last, AUDIENCES, campaigns(changes), NO_TESTS)
    assert succeeded, said


def lists(pipeline: Pipeline, *columns: str) -> dict[tuple[date, str], list[Row]]:
    """(month, campaign) -> the columns of its list, in its order."""
    found: dict[tuple[date, str], list[Row]] = {}
    for name in CAMPAIGNS:
        for month in MONTHS:
            found[month, name] = pipeline.rows(
                f"select {', '.join(columns)} from gold.audience_{name}"
                f" where snapshot_month = '{month}' order by audience_rank"
            )
    return found


def ids(rows: list[Row]) -> list[str]:
    return [row[0] for row in rows]


# What a marketer writes: segment, threshold, order, limit, and the current version of the customer.
QUERIES = {
    "premium_rewards": """
        where s.customer_segment = 'High-Value Travelers' and s.avg_monthly_spend >= 7500
        order by s.lifetime_value desc, s.customer_id limit 30
    """,
    "churn_prevention": """
        where s.customer_segment = 'Declining' and s.lifetime_value >= 50000
        order by s.spend_change_pct asc, s.customer_id limit 8
    """,
    "onboarding_acceleration": """
        where s.customer_segment = 'New & Growing' and s.avg_monthly_spend >= 3000
        order by s.spend_change_pct desc, s.customer_id limit 3
    """,
    "everyday_rewards": """
        where s.customer_segment = 'Budget-Conscious'
        order by s.lifetime_value desc, s.customer_id limit 80
    """,
    "core_retention": """
        where s.customer_segment = 'Stable Mid-Spenders' and s.is_active
        order by s.lifetime_value desc, s.customer_id limit 100
    """,
}
SHOWN = {
    "premium_rewards": "s.lifetime_value, s.avg_monthly_spend, s.travel_spend_pct",
    "churn_prevention": "s.lifetime_value, s.spend_change_pct, s.spend_last_90_days, s.spend_prior_90_days",
    "onboarding_acceleration": "s.tenure_months, s.spend_change_pct, s.avg_monthly_spend, s.avg_monthly_spend * 12",
    "everyday_rewards": "s.avg_monthly_spend, s.necessities_spend_pct, s.lifetime_value",
    "core_retention": "s.avg_monthly_spend, s.lifetime_value",
}


def test_the_lists_are_what_a_marketers_queries_give(published: Pipeline) -> None:
    published.execute("delete from gold.marketing_suppressions")
    published.execute("update gold.dim_customer set email = customer_id || '@example.com'")
    make(published, NOVEMBER, NOVEMBER, {name: {"holdout_pct": 0} for name in CAMPAIGNS})
    for name, query in QUERIES.items():
        wanted = published.rows(
            f"select s.customer_id, d.email, d.first_name, d.last_name, {SHOWN[name]} from gold.customer_segments as s"
            f" inner join gold.dim_customer as d on s.customer_id = d.customer_id and d.is_current {query}"
        )
        assert len(wanted) == CAPS[name]
        shown = ", ".join(CAMPAIGNS[name].shows)
        found = published.rows(
            f"select customer_id, email, first_name, last_name, {shown} from gold.audience_{name}"
            f" where snapshot_month = '{NOVEMBER}' and treatment_group = 'target' order by audience_rank"
        )
        assert found == wanted, name


@pytest.fixture(scope="module")
def hard(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Three months with every reason to be left out, caps and cooldowns among them, made in one run."""
    with pipeline_at(tmp_path_factory.mktemp("hard") / "segmentation.duckdb", published_file) as pipeline:
        with pipeline.connection() as connection:
            members = connection.execute(
                "select distinct customer_id from gold.customer_segment_history order by hash(customer_id)"
            ).fetchall()
            for number, (member,) in enumerate(members):
                address: str | None = f"{member}@example.com"
                if number % 16 == 0:
                    address = UNDELIVERABLE[number // 16 % len(UNDELIVERABLE)]
                elif number % 4 == 1:  # four share one, in spellings of their own
                    household = f"Household.{number // 16}@Example.com"
                    address = (household, household.upper(), f" {household}  ")[number // 4 % 3]
                connection.execute(
                    "update gold.dim_customer set email = ? where customer_id = ? and is_current", (address, member)
                )
                if number % 29 == 0:  # closed in October
                    connection.execute(
                        "update gold.dim_customer set valid_to = '2025-10-20', is_current = false"
                        " where customer_id = ? and valid_to is null",
                        (member,),
                    )
                if number % 33 == 0:
                    connection.execute("insert into gold.marketing_suppressions (customer_id) values (?)", (member,))
        make(pipeline, SEPTEMBER, NOVEMBER, CHANGES)
        yield pipeline


def contacts_of(pipeline: Pipeline) -> Contacts:
    """The source as it is now."""
    versions = pipeline.rows(
        "select customer_key, customer_id, email, valid_from, valid_to, is_current from gold.dim_customer"
    )
    objectors = {one for (one,) in pipeline.rows("select customer_id from gold.marketing_suppressions")}
    return Contacts([Version(*row) for row in versions], objectors)


def ranked(pipeline: Pipeline, campaign: Campaign, month: date) -> list[tuple[str, bool]]:
    """Each member of the campaign's segment, best first, and whether they meet its criteria."""
    rows = pipeline.rows(
        f"select customer_id, {campaign.rank_by.metric}, "
        + (", ".join(f"coalesce({criterion_sql(one)}, false)" for one in campaign.criteria) or "true")
        + f" from gold.customer_segment_history where snapshot_month = '{month}'"
        f" and customer_segment = '{campaign.segment}'"
    )
    sign = -1 if campaign.rank_by.order == "highest_first" else 1
    rows.sort(key=lambda row: (row[1] is None, sign * (row[1] or 0), row[0]))
    return [(one, all(meets)) for one, _, *meets in rows]


def worked_out(
    pipeline: Pipeline, campaign: Campaign, changes: Mapping[str, Any]
) -> dict[date, tuple[list[Row], dict[str, str]]]:
    """Per month: (customer_id, treatment_group) of the list in its order, and the reason of everybody else."""
    rules = {"cap": CAPS[campaign.name], "holdout_pct": 10, "cooldown_months": 0, **changes}
    contacts, memory, found = contacts_of(pipeline), list[Listed](), {}
    for month in MONTHS:
        listed, reasons = list_of(campaign.name, rules, ranked(pipeline, campaign, month), month, contacts, memory)
        memory += listed
        found[month] = ([(row.customer, row.group) for row in listed], reasons)
    return found


def criterion_sql(criterion: Any) -> str:
    operator = {"at_least": ">=", "at_most": "<=", "above": ">", "below": "<", "is": "is"}[criterion.operator]
    return f"{criterion.metric} {operator} {str(criterion.bound).lower()}"


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_everybody_is_in_the_list_or_left_out_for_the_reason_worked_out_by_hand(hard: Pipeline, name: str) -> None:
    expected = worked_out(hard, CAMPAIGNS[name], CHANGES.get(name, {}))
    found = lists(hard, "customer_id", "treatment_group", "audience_rank")
    for month, (listed, reasons) in expected.items():
        rows = found[month, name]
        assert [row[:2] for row in rows] == listed
        assert [row[2] for row in rows] == list(range(1, len(listed) + 1))
        excluded = hard.rows(
            f"select customer_id, reason from gold.audience_exclusions"
            f" where campaign = '{name}' and snapshot_month = '{month}'"
        )
        assert len(excluded) == len(reasons)
        assert dict(excluded) == reasons
        waterfall = dict(
            hard.rows(
                f"select step, customers from gold.audience_waterfall"
                f" where campaign = '{name}' and snapshot_month = '{month}'"
            )
        )
        left, counts = len(listed) + len(reasons), Counter(reasons.values())
        for step, reason in STEPS.items():
            left -= counts[reason] if reason else 0
            assert waterfall.pop(step) == left
        groups = Counter(group for _, group in listed)
        assert waterfall == {"holdout": groups["holdout"], "sent": groups["target"]}
        assert waterfall["holdout"] + waterfall["sent"] == left


def test_the_portfolio_has_every_reason(hard: Pipeline) -> None:
    """What the comparison by hand would not miss if it never happened."""
    per_campaign = Counter(hard.rows("select campaign, reason from gold.audience_exclusions"))
    # The others are those of rules that are off as shipped: tests/warehouse/test_contact_policy.py, test_outcomes.py.
    off = {"stayed_in_segment", "misses_eligibility", "not_eligible", "over_contact_policy", "universal_holdout"}
    assert {reason for _, reason in per_campaign} == {reason for reason in STEPS.values() if reason} - off
    for name in ("churn_prevention", "everyday_rewards", "core_retention"):
        assert per_campaign[name, "in_cooldown"], name
    assert per_campaign["premium_rewards", "in_cooldown"] == 0
    assert not {reason for name, reason in per_campaign if name == "everyday_rewards"} & {
        "no_deliverable_email", "shares_email",
    }  # fmt: skip
    without_address = hard.rows(
        "select count(*) from gold.audience_everyday_rewards where customer_id in"
        " (select customer_id from silver.customer_contacts where mailbox is null)"
    )
    assert without_address[0][0], "nobody on the list of the letters is without an address"
    for name in CAMPAIGNS:
        assert any(len(rows) == CAPS[name] for (_, one), rows in lists(hard, "customer_id").items() if one == name)
    closed = hard.rows(
        "select count(*) from gold.audience_exclusions where reason = 'suppressed'"
        " and customer_id not in (select customer_id from gold.marketing_suppressions)"
    )
    assert closed[0][0], "nobody shares an address with somebody suppressed"


def test_a_list_writes_to_an_address_once_and_lets_its_customers_rest(hard: Pipeline) -> None:
    listed = lists(hard, "customer_id", "lower(trim(email))", "email")
    for (_, name), rows in listed.items():
        if CHANGES.get(name, {}).get("channel"):  # a letter: to a customer once, and no address is kept
            assert len(set(ids(rows))) == len(rows) > 0
            assert {row[2] for row in rows} == {None}
            continue
        assert len({row[1] for row in rows}) == len(rows)
        assert all(row[2] == row[2].strip() for row in rows)
    for name, change in CHANGES.items():
        of_month = [set(ids(listed[month, name])) for month in MONTHS]
        cooldown = change.get("cooldown_months", 0)
        for number, customers in enumerate(of_month):
            assert not customers & set[str]().union(*of_month[max(0, number - cooldown) : number])


def test_the_holdout_stays_whoever_else_is_listed_and_is_as_large_as_planned(hard: Pipeline, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", hard.path) as other:
        before = lists(other, "customer_id", "treatment_group")
        # Every second customer objects, and the caps take others in.
        other.execute(
            "insert into gold.marketing_suppressions (customer_id)"
            " select distinct customer_id from gold.customer_segment_history where hash(customer_id) % 2 = 0"
        )
        make(other, SEPTEMBER, NOVEMBER, CHANGES)
        after = lists(other, "customer_id", "treatment_group")
    for name in CAMPAIGNS:
        sides: dict[str, set[str]] = {}
        for found in (before, after):
            for month in MONTHS:
                for customer, group in found[month, name]:
                    sides.setdefault(customer, set()).add(group)
        assert all(len(side) == 1 for side in sides.values()), name
        planned = CHANGES.get(name, {}).get("holdout_pct", 10) / 100
        held_back = sum(side == {"holdout"} for side in sides.values())
        assert stats.binomtest(held_back, len(sides), planned).pvalue > 0.001, name
        # The lists are small; the bucket they were compared with holds back as many of a large one.
        share = sum(bucket(name, f"CUST{number:08d}", "2025") < planned * 10_000 for number in range(20_000)) / 20_000
        assert share == pytest.approx(planned, abs=0.01)
    assert any(set(ids(before[month, name])) != set(ids(after[month, name])) for month, name in before)


def test_month_after_month_gives_what_one_run_gave(hard: Pipeline, published_file: Path, tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", published_file) as other:
        for table in ("dim_customer", "marketing_suppressions"):
            rows = hard.frame(f"from gold.{table}")
            with other.connection() as connection:
                connection.register("rows", rows)
                connection.execute(f"create or replace table gold.{table} as from rows")
        make(other, SEPTEMBER, OCTOBER, CHANGES)
        make(other, NOVEMBER, NOVEMBER, CHANGES)
        for table in ("audience_exclusions", "audience_waterfall", *(f"audience_{name}" for name in CAMPAIGNS)):
            assert other.rows(f"from gold.{table} order by all") == hard.rows(f"from gold.{table} order by all"), table


NEW_CAMPAIGN = {
    "name": "lounge_trial",
    "segment": "High-Value Travelers",
    "rank_by": {"metric": "travel_spend_pct", "order": "highest_first"},
    "cap": 7,
    "shows": ["travel_spend_pct"],
    "objective": "Let them try the lounge.",
    "actions": ["One free visit"],
}


def job_under(rules: Path, campaigns: list[dict[str, Any]], pipeline: Pipeline, *select: str) -> Mapping[str, Any]:
    """The job of November under a rules file that says the campaigns; its asset specs, by key."""
    rules.write_text(yaml.safe_dump({"campaigns": campaigns}, sort_keys=False), encoding="utf-8")
    made = ["silver/audience_audits", "silver/audience_candidates", "gold/audience_waterfall", "gold/audience_feed"]
    result = pipeline.run(NOVEMBER, select=[*made, "gold/customer_360_profile", *select])
    assert result.success
    return {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}


def test_a_campaign_is_added_renamed_and_removed_in_the_rules_alone(
    published: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, out = tmp_path / "rules.yml", tmp_path / "out"
    monkeypatch.setenv("SEGMENTATION_RULES", str(rules))
    monkeypatch.setenv("SEGMENTATION_EXPORT_URI", str(out))
    shipped = copy.deepcopy(RULES.raw["campaigns"])
    lists_of = [f"gold/audience_{name}" for name in CAMPAIGNS]
    added = ("gold/audience_lounge_trial", "activation/export_lounge_trial")
    specs = job_under(rules, [*shipped, NEW_CAMPAIGN], published, *lists_of, *added)
    told = specs[added[0]].description or ""
    assert "Let them try the lounge." in told and "- One free visit" in told
    (reference,) = specs[added[0]].metadata["dagster/code_references"].code_references
    assert reference.file_path == str(rules), "what there is to change"
    rows = published.rows("select audience_rank, travel_spend_pct from gold.audience_lounge_trial order by 1")
    assert [row[0] for row in rows] == list(range(1, 8))
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    sent = published.rows(
        "select customers from gold.audience_waterfall where campaign = 'lounge_trial' and step = 'sent'"
    )
    manifest = json.loads((out / "lounge_trial" / str(NOVEMBER) / "manifest.json").read_text())
    assert manifest["files"]["full.csv"]["rows"] == sent[0][0] > 0

    # Renamed, and another one removed, by one file. What they had been sent stays.
    kept = [one for one in shipped if one["name"] != "core_retention"]
    renamed = ("gold/audience_lounge_pass", "activation/export_lounge_pass")
    lists_of.remove("gold/audience_core_retention")
    specs = job_under(rules, [*kept, {**NEW_CAMPAIGN, "name": "lounge_pass"}], published, *lists_of, *renamed)
    assert set(renamed) <= set(specs)
    gone = {*added, "gold/audience_core_retention", "activation/export_core_retention"}
    assert not gone & set(specs)
    pass_holders = "select audience_rank, customer_id, travel_spend_pct from gold.audience_{} order by 1"
    assert published.rows(pass_holders.format("lounge_pass")) == published.rows(pass_holders.format("lounge_trial"))
    assert len(published.rows("from gold.audience_core_retention")) > 0
    profile = {name for (name, *_) in published.rows("describe gold.customer_360_profile")}
    assert "eligible_for_lounge_pass" in profile
    assert not {"eligible_for_lounge_trial", "eligible_for_core_retention"} & profile
    (listed,) = published.rows("select count(*) from gold.customer_360_profile where audiences like '%lounge_pass%'")
    assert listed == (7,)

    # They are ours still: named by what removes everything, and in the readers' copy without addresses.
    published.execute("create schema if not exists test_failures")
    published.execute("create table test_failures.audience_is_not_empty_audience_lounge_trial_ (snapshot_month date)")
    published.execute("create table gold.audience_of_a_play (seat varchar)")
    named = list(belongings.lines(Project.load(), published.warehouse()))
    for name in ("lounge_trial", "lounge_pass", "core_retention"):
        assert f"drop table if exists gold.audience_{name};" in named
    assert "drop table if exists test_failures.audience_is_not_empty_audience_lounge_trial_;" in named
    assert not any("of_a_play" in line for line in named)
    assert any(str(out / "lounge_trial" / str(NOVEMBER)) in line for line in named)
    reader_copy.take(published.warehouse(), tmp_path / "readers.duckdb")
    with duckdb.connect(str(tmp_path / "readers.duckdb"), read_only=True) as connection:
        columns = {name for (name, *_) in connection.execute("describe gold.audience_lounge_trial").fetchall()}
    assert columns == {
        "snapshot_month", "campaign", "audience_rank", "customer_id", "travel_spend_pct", "treatment_group",
        "holdout_unit", "content_hash", "holdout_epoch",
    }  # fmt: skip


def test_a_list_of_nobody_is_warned_of_and_exported_empty(
    audiences_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGMENTATION_EXPORT_URI", str(tmp_path / "out"))
    name, export = "premium_rewards", "activation/export_premium_rewards"
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        assert pipeline.run(OCTOBER, select=[export]).success
        before = json.loads((tmp_path / "out" / name / str(OCTOBER) / "manifest.json").read_text())
        pipeline.execute(
            "insert into gold.marketing_suppressions (customer_id) select distinct customer_id"
            f" from gold.audience_{name}"
        )
        made = ["silver/audience_candidates", f"gold/audience_{name}", "gold/audience_waterfall"]
        result = pipeline.run(NOVEMBER, select=[*made, export])
        waterfall = dict(
            pipeline.rows(
                "select step, customers from gold.audience_waterfall"
                f" where campaign = '{name}' and snapshot_month = '{NOVEMBER}'"
            )
        )
        assert pipeline.rows(f"select 1 from gold.audience_{name} where snapshot_month = '{NOVEMBER}'") == []
    assert result.success
    failed = {one.check_name: one for one in result.get_asset_check_evaluations() if not one.passed}
    assert set(failed) == {
        f"audience_is_not_empty_audience_{name}_",
        f"audience_size_is_near_last_months_audience_{name}_",
        "campaign_reaches_somebody",
    }
    assert {one.severity for one in failed.values()} == {dg.AssetCheckSeverity.WARN}
    assert str(NOVEMBER) in (failed["campaign_reaches_somebody"].description or "")

    folder = tmp_path / "out" / name / str(NOVEMBER)
    manifest = json.loads((folder / "manifest.json").read_text())
    rows = {file: entry["rows"] for file, entry in manifest["files"].items()}
    gone = before["files"]["full.csv"]["rows"]
    assert gone > 0
    ads = {"ads.csv": 0, "ads_google.csv": 0, "ads_meta.csv": 0, "ads_generic.csv": 0}
    assert rows == {"full.csv": 0, "full.parquet": 0, "added.csv": 0, "removed.csv": gone, **ads}
    assert manifest["waterfall"] == waterfall
    assert waterfall["in_segment"] > waterfall["not_suppressed"] == waterfall["sent"] == 0
    (header,) = (folder / manifest["files"]["full.csv"]["path"]).read_text().splitlines()
    assert header.startswith("snapshot_month,campaign,audience_rank,customer_id,email")
