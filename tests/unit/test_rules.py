"""Locks out a rule that dbt would compile into wrong SQL, and a segment or list empty by construction.

Every refusal is checked by its words: the key, the value and what to write instead.
"""

import hashlib
import itertools
import json
import math
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from segmentation_assets.rules.load import RulesError, load_rules, parse_rules
from segmentation_assets.rules.reachability import Work, contradictions, is_reachable, region, takers
from segmentation_assets.rules.schema import ContactPolicy, Criterion, Exports, Freshness
from segmentation_assets.rules.validators import NUMERIC_METRICS, neutral_code

SHIPPED = Path(__file__).parents[2] / "dbt_models"
RULES = """
segments:
  - name: Travelers
    criteria: [{metric: avg_monthly_spend, at_least: 5000}, {metric: travel_spend_pct, at_least: 25}]
    expected_share_pct: [10, 40]
    purpose: Premium
  - name: New
    criteria: [{metric: tenure_months, at_most: 6}]
    expected_share_pct: [5, 40.5]
  - name: Everyone Else
    expected_share_pct: [40, 80]
category_groups:
  travel: [Travel, Hotels]
  necessities: [Grocery, Gas]
campaigns:
  - name: premium_rewards
    segment: Travelers
    criteria: [{metric: lifetime_value, above: 0.5}]
    rank_by: {metric: lifetime_value, order: highest_first}
    cap: 100
    shows: [is_active, projected_annual_value]
  - name: core
    segment: Everyone Else
    criteria: [{metric: is_active, is: true}]
    rank_by: {metric: spend_change_pct, order: lowest_first}
    cap: 5
    holdout_pct: 0
    cooldown_months: 2
audits:
  minimum_segment_share_pct: 5
  drift_baseline_months: 6
  facts_may_end_days_early: 0
  drift_max_psi: 0.25
  drift_max_change_points: 5
  unknown_category_max_share_pct: 1
  future_dated_max_share_pct: 0.1
exports:
  allow_formula_ids: false
  replaced_versions_days: 7
"""
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small valid project, so that these tests do not depend on the numbers that ship."""
    write_project(tmp_path, yaml.safe_load(RULES))
    return tmp_path


def write_project(folder: Path, rules: Any) -> None:
    (folder / "dbt_project.yml").write_text(yaml.safe_dump({"name": "p", "vars": rules}), encoding="utf-8")


def override(folder: Path, content: str) -> Path:
    path = folder / "override.yml"
    path.write_text(content, encoding="utf-8")
    return path


def refusal(project: Path, overrides: Path | None = None) -> str:
    with pytest.raises(RulesError) as caught:
        load_rules(project, overrides)
    return str(caught.value)


def minimum_shares(*shares: float) -> Change:
    def change(rules: dict[str, Any]) -> Any:
        for segment, share in zip(rules["segments"], shares, strict=True):
            segment["minimum_share_pct"] = share

    return change


def put(*path: str | int, value: Any) -> Change:
    """Puts a value at a key path; `...` takes the key away."""

    def change(rules: dict[str, Any]) -> None:
        inside: Any = rules
        for part in path[:-1]:
            inside = inside[part]
        if value is ...:
            del inside[path[-1]]
        else:
            inside[path[-1]] = value

    return change


def criterion(**values: Any) -> Change:
    return put("segments", 0, "criteria", 0, value=values)


def test_the_shipped_rules_load() -> None:
    rules = load_rules(SHIPPED)
    assert [segment.name for segment in rules.segments][-1] == "Stable Mid-Spenders"
    assert not rules.segments[-1].criteria
    assert {campaign.segment for campaign in rules.campaigns} == {segment.name for segment in rules.segments}
    assert rules.replaced == frozenset()
    assert rules.dbt_vars() == {}


def test_values_keep_their_type_and_defaults_are_filled_in(project: Path) -> None:
    rules = load_rules(project)
    assert rules.raw == yaml.safe_load(RULES)
    first, second = rules.campaigns
    assert (first.holdout_pct, first.cooldown_months, second.holdout_pct, second.cooldown_months) == (
        10,
        0,
        0,
        2,
    )
    assert [(one.operator, one.bound) for one in rules.segments[0].criteria] == [
        ("at_least", 5000),
        ("at_least", 25),
    ]
    assert (second.criteria[0].operator, second.criteria[0].bound) == ("is", True)
    assert isinstance(rules.segments[0].criteria[0].bound, int)
    assert rules.segments[1].expected_share_pct == (5, 40.5)
    assert rules.category_groups["travel"] == ("Travel", "Hotels")
    with pytest.raises(ValidationError, match="frozen"):
        rules.segments[0].name = "Other"


def test_a_campaign_has_a_code_that_is_its_own_and_tells_nothing(project: Path) -> None:
    rules = yaml.safe_load(RULES)
    rules["campaigns"][1]["audience_code"] = "q3-emea"
    write_project(project, rules)
    first, second = load_rules(project).campaigns
    # By coreutils' sha256sum of "premium_rewards": the same on every machine and in every release.
    assert (first.audience_code, second.audience_code) == ("audience-fe83e0", "q3-emea")
    codes = [campaign.audience_code for campaign in load_rules(SHIPPED).campaigns]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("audience-[0-9a-f]{6}", code) for code in codes)


def test_what_an_override_leaves_out_of_exports_is_as_shipped(project: Path) -> None:
    assert load_rules(SHIPPED).exports == Exports()
    rules = load_rules(project, override(project, "exports: {replaced_versions_days: 0}"))
    assert (rules.exports.replaced_versions_days, rules.exports.allow_formula_ids) == (0, False)


def test_insights_name_groups_that_there_are(project: Path) -> None:
    """The file's own: the shipped ones may name a group that the file takes away, which is passed over."""
    recency = "recency_days: {active: 30, recent: 60, at_risk: 90}"
    with pytest.raises(RulesError) as error:
        load_rules(project, override(project, f"insights: {{{recency}, focus_at_least_pct: {{travl: 25}}}}"))
    assert "insights.focus_at_least_pct.travl: is no category group; did you mean 'travel'?" in str(error.value)
    rules = load_rules(project, override(project, f"insights: {{{recency}, focus_at_least_pct: {{travel: 25}}}}"))
    assert rules.dbt_vars()["insights"]["focus_at_least_pct"] == {"travel": 25}


def test_what_an_override_leaves_out_of_freshness_is_as_shipped(project: Path) -> None:
    assert load_rules(SHIPPED).source.freshness == Freshness()
    rules = load_rules(project, override(project, "freshness: {warn_after_days: 3}"))
    assert (rules.source.freshness.warn_after_days, rules.source.freshness.error_after_days) == (3, 64)


def test_the_hash_is_that_of_the_raw_yaml() -> None:
    values = yaml.safe_load((SHIPPED / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    both = {"category_groups": values["category_groups"], "segments": values["segments"]}
    expected = hashlib.md5(json.dumps(both, sort_keys=True).encode()).hexdigest()
    assert load_rules(SHIPPED).segments_hash == expected


def test_the_hash_follows_the_segments_and_not_the_campaigns(project: Path) -> None:
    before = load_rules(project).segments_hash
    rules = yaml.safe_load(RULES)
    rules["campaigns"][0]["cap"] = 7
    write_project(project, rules)
    assert load_rules(project).segments_hash == before
    rules["segments"][0]["criteria"][0]["at_least"] = 5000.0  # dbt writes 5000.0, so it hashes 5000.0
    write_project(project, rules)
    assert load_rules(project).segments_hash != before


def test_an_override_replaces_whole_keys_and_only_they_go_to_dbt(project: Path) -> None:
    path = override(project, "category_groups: {travel: [Sea], necessities: [Bread]}\ncampaigns: []\n")
    rules = load_rules(project, path)
    assert rules.replaced == {"category_groups", "campaigns"}
    assert rules.campaigns == ()
    handed = rules.dbt_vars()
    assert handed == {"category_groups": {"travel": ["Sea"], "necessities": ["Bread"]}, "campaigns": []}
    handed["category_groups"]["travel"].append("Land")
    assert rules.dbt_vars()["category_groups"]["travel"] == ["Sea"]
    assert rules.segments_hash != load_rules(project).segments_hash


def test_what_dbt_gets_survives_the_way_through_its_command_line(project: Path) -> None:
    segments = yaml.safe_load(RULES)["segments"]
    segments[0] |= {"name": "1e5", "criteria": [{"metric": "lifetime_value", "at_least": 0.00001}]}
    campaigns: list[Any] = []
    path = override(project, yaml.safe_dump({"segments": segments, "campaigns": campaigns}))
    handed = load_rules(project, path).dbt_vars()
    assert yaml.safe_load(yaml.safe_dump(handed)) == handed


def test_a_file_of_overrides_replaces_what_it_names_and_has_to_be_there(project: Path) -> None:
    assert load_rules(project, override(project, "campaigns: []")).replaced == {"campaigns"}
    assert load_rules(project).replaced == frozenset()
    told = refusal(project, project / "gone.yml")
    assert re.fullmatch(r".*gone\.yml: cannot be read \(No such file or directory\); correct .*", told)


def test_rules_that_are_no_file_are_judged_as_those_of_one_and_named_by_their_origin(project: Path) -> None:
    raw = load_rules(project).raw
    parsed = parse_rules(raw, "The changed rules")
    assert parsed.model_copy(update={"replaced": frozenset()}) == load_rules(project)
    assert parsed.dbt_vars() == raw, "all of it is handed to dbt, in place of the project's"
    raw["campaigns"][0]["holdout_pct"] = 80
    raw["campaigns"][1]["segment"] = "Travelerz"
    del raw["audits"]
    with pytest.raises(RulesError) as refused:
        parse_rules(raw, "The changed rules")
    first, second, third = str(refused.value).splitlines()
    assert first.startswith("The changed rules: campaigns[0].holdout_pct: 80 is out of range")
    assert second.startswith("The changed rules: vars.audits: is missing")
    assert third.startswith("The changed rules: campaigns[1].segment: 'Travelerz' is no segment")


def test_campaigns_choose_as_the_order_says_and_then_by_name() -> None:
    """So that with an order that of the entries in the file decides nothing."""
    policy = ContactPolicy.model_validate({"at_most": 1, "per_months": 2, "order": ["c", "a"]})
    assert {policy.in_turn(names) for names in itertools.permutations("abcd")} == {("c", "a", "b", "d")}
    without = ContactPolicy.model_validate({"at_most": 1, "per_months": 2})
    assert without.in_turn(["d", "a", "c"]) == ("d", "a", "c")


def test_an_unknown_key_of_an_override_is_refused(project: Path) -> None:
    path = override(project, "campagins: []\nvars: {}\n")
    lines = refusal(project, path).splitlines()
    assert lines[0].startswith(f"{path}: campagins: is no key")
    assert "did you mean 'campaigns'? known: segments, category_groups, campaigns, audits, exports" in lines[0]
    assert lines[1].startswith(f"{path}: vars: is no key")


def test_segments_of_an_override_have_to_fit_the_campaigns_of_the_project(project: Path) -> None:
    segments = yaml.safe_load(RULES)["segments"]
    segments[0]["name"] = "Travellers"
    path = override(project, yaml.safe_dump({"segments": segments}))
    told = refusal(project, path)
    assert told.startswith(f"{project / 'dbt_project.yml'}: campaigns[0].segment: 'Travelers' is no segment")
    assert "did you mean 'Travellers'?" in told
    assert told.endswith(f"if {path} renames segments, it has to replace campaigns too")


NUMBER = "is not a number; write it plainly"
BAND = "write two ascending numbers from 0 to 100, such as [10, 15]"
REFUSED: dict[str, tuple[Change, str, list[str]]] = {
    "unknown metric": (
        criterion(metric="avg_montly_spend", at_least=1),
        "segments[0].criteria[0].metric",
        ["'avg_montly_spend' is no known metric", "did you mean 'avg_monthly_spend'?", "known: total_tr"],
    ),
    "only campaigns show the projection": (
        criterion(metric="projected_annual_value", at_least=1),
        "segments[0].criteria[0].metric",
        ["'projected_annual_value' is no known metric"],
    ),
    "unknown operator": (
        criterion(metric="lifetime_value", atleast=1),
        "segments[0].criteria[0].atleast",
        ["'atleast' (with value 1) is no known operator", "did you mean 'at_least'?", "above, below, is"],
    ),
    "no operator": (
        criterion(metric="lifetime_value"),
        "segments[0].criteria[0]",
        ["{'metric': 'lifetime_value'} has no operator; add one of at_least, at_most"],
    ),
    "two operators": (
        criterion(metric="lifetime_value", above=1, below=9),
        "segments[0].criteria[0].below",
        ["9 is a second operator beside 'above'", "write two criteria"],
    ),
    "the model's own field name is no operator": (
        criterion(metric="is_active", is_=True),
        "segments[0].criteria[0].is_",
        ["'is_' (with value true) is no known operator", "did you mean 'is'?"],
    ),
    "number on a flag": (
        criterion(metric="is_active", at_least=1),
        "segments[0].criteria[0].at_least",
        ["1 is for numbers, but is_active is true or false; write is: true or is: false"],
    ),
    "flag on a number": (
        criterion(metric="lifetime_value", **{"is": True}),
        "segments[0].criteria[0].is",
        ["true is for true or false, but lifetime_value is a number; use at_least"],
    ),
    "text for a flag": (
        criterion(metric="is_active", **{"is": "true"}),
        "segments[0].criteria[0].is",
        ["'true' is neither true nor false; write is: true or is: false, without quotes"],
    ),
    "number for a flag": (
        criterion(metric="is_active", **{"is": 1}),
        "segments[0].criteria[0].is",
        ["1 is neither true nor false"],
    ),
    "true for a number": (
        criterion(metric="lifetime_value", at_least=True),
        "segments[0].criteria[0].at_least",
        [f"true {NUMBER}"],
    ),
    "text for a number": (
        criterion(metric="lifetime_value", at_least="1e4"),
        "segments[0].criteria[0].at_least",
        [f"'1e4' {NUMBER}", "no 1e4"],
    ),
    "nothing for a number": (
        criterion(metric="lifetime_value", at_least=None),
        "segments[0].criteria[0].at_least",
        [f"(nothing) {NUMBER}"],
    ),
    "nan": (
        criterion(metric="lifetime_value", at_least=math.nan),
        "segments[0].criteria[0].at_least",
        ["nan is not a finite number"],
    ),
    "infinity": (
        criterion(metric="lifetime_value", at_least=-math.inf),
        "segments[0].criteria[0].at_least",
        ["-inf is not a finite number"],
    ),
    "criteria without a list": (
        put("segments", 0, "criteria", value={"metric": "lifetime_value", "at_least": 1}),
        "segments[0].criteria",
        ["is not a list; write"],
    ),
    "a criterion that is no mapping": (
        put("segments", 0, "criteria", value=["lifetime_value > 1"]),
        "segments[0].criteria[0]",
        ["'lifetime_value > 1' is not a set of keys; write key: value pairs"],
    ),
    "empty name": (put("segments", 0, "name", value=" "), "segments[0].name", ["' ' is empty; write"]),
    "name that YAML reads as false": (
        put("segments", 0, "name", value=False),
        "segments[0].name",
        ["false is not text; put it in quotes"],
    ),
    "name with a line break": (
        put("segments", 0, "name", value="A\nB"),
        "segments[0].name",
        [r"'A\nB' holds a backslash, a line break", "remove it"],
    ),
    "same name": (
        put("segments", 1, "name", value="Travelers"),
        "segments[1].name",
        ["'Travelers' is the name of segments[0] too", "rename one"],
    ),
    "same name but for case and blanks": (
        put("segments", 1, "name", value="everyone  else"),
        "segments[2].name",
        ["'Everyone Else' is the name of segments[1] too (case and blanks do not count)"],
    ),
    "one segment": (
        lambda rules: put("segments", value=rules["segments"][2:])(rules),
        "segments",
        ["holds 1 of the two or more it needs; add segments"],
    ),
    "no segments": (put("segments", value=None), "segments", ["(nothing) is not a list; write one"]),
    "criteria on the last": (
        put("segments", 2, "criteria", value=[{"metric": "lifetime_value", "above": 0}]),
        "segments[2].criteria",
        ["'Everyone Else' is last and takes everyone left; remove them"],
    ),
    "none on an earlier one": (
        put("segments", 1, "criteria", value=[]),
        "segments[1].criteria",
        ["'New' has none and would take everyone; add criteria, or move it to the end"],
    ),
    "unknown key": (
        put("segments", 0, "purpsoe", value="x"),
        "segments[0].purpsoe",
        ["'purpsoe' (with value 'x') is no known key; did you mean 'purpose'? known: name, criteria"],
    ),
    "covered by an earlier one": (
        put("segments", 1, "criteria", value=[
            {"metric": "avg_monthly_spend", "above": 5000},
            {"metric": "travel_spend_pct", "at_least": 25},
            {"metric": "tenure_months", "below": 3},
        ]),
        "segments[1].criteria",
        ["'New' can never be reached", "taken by 'Travelers' before; narrow 'Travelers', or change"],
    ),
    "contradicting criteria": (
        put("segments", 1, "criteria", value=[
            {"metric": "lifetime_value", "above": 5},
            {"metric": "lifetime_value", "at_most": 5},
        ]),
        "segments[1].criteria",
        ["lifetime_value above 5 and lifetime_value at_most 5 contradict each other", "correct a bound"],
    ),
    "no whole number between": (
        put("segments", 1, "criteria", value=[
            {"metric": "tenure_months", "above": 6},
            {"metric": "tenure_months", "below": 7},
        ]),
        "segments[1].criteria",
        ["tenure_months above 6 and tenure_months below 7 contradict each other"],
    ),
    "descending band": (
        put("segments", 0, "expected_share_pct", value=[40, 10]),
        "segments[0].expected_share_pct",
        ["[40, 10] is not an ascending band within 0 to 100", BAND],
    ),
    "band without width": (
        put("segments", 0, "expected_share_pct", value=[10, 10.0]),
        "segments[0].expected_share_pct",
        ["[10, 10.0] is not an ascending band", BAND],
    ),
    "band above 100": (
        put("segments", 0, "expected_share_pct", value=[10, 101]),
        "segments[0].expected_share_pct",
        ["[10, 101] is not an ascending band", BAND],
    ),
    "band of one": (
        put("segments", 0, "expected_share_pct", value=[10]),
        "segments[0].expected_share_pct",
        ["[10] is not a pair", BAND],
    ),
    "band of text": (
        put("segments", 0, "expected_share_pct", value=["10", 15]),
        "segments[0].expected_share_pct",
        ["['10', 15] holds something that is not a finite number", BAND],
    ),
    "band of nothing": (
        put("segments", 0, "expected_share_pct", value=None),
        "segments[0].expected_share_pct",
        ["(nothing) is not a pair", BAND],
    ),
    "lower ends above 100": (
        put("segments", 0, "expected_share_pct", value=[55.1, 60]),
        "segments",
        ["the lower ends of expected_share_pct add up to 100.1, above 100; lower some"],
    ),
    "upper ends below 100": (
        put("segments", 2, "expected_share_pct", value=[10, 19.4]),
        "segments",
        ["the upper ends of expected_share_pct add up to 99.9, below 100; raise some"],
    ),
    "unknown channel": (
        put("campaigns", 0, "channel", value="sms"),
        "campaigns[0].channel",
        ["'sms' is no known channel; ", "known: email, ads, mail, phone, app"],
    ),
    "channel that is nothing": (
        put("campaigns", 0, "channel", value=None),
        "campaigns[0].channel",
        ["(nothing) is no known channel; ", "known: email, ads, mail, phone, app"],
    ),
    "campaign name": (
        put("campaigns", 0, "name", value="Premium Rewards!"),
        "campaigns[0].name",
        ["'Premium Rewards!' cannot name the table audience_<name>", "such as 'premium_rewards'"],
    ),
    "campaign name ending in a line break": (
        put("campaigns", 0, "name", value="premium\n"),
        "campaigns[0].name",
        [r"'premium\n' cannot name the table", "such as 'premium'"],
    ),
    "long campaign name": (
        put("campaigns", 0, "name", value="a" * 51),
        "campaigns[0].name",
        ["has 51 characters; shorten it to 50"],
    ),
    "same campaign": (
        put("campaigns", 1, "name", value="premium_rewards"),
        "campaigns[1].name",
        ["'premium_rewards' is the name of campaigns[0] too"],
    ),
    "unknown segment": (
        put("campaigns", 0, "segment", value="Traveler"),
        "campaigns[0].segment",
        ["'Traveler' is no segment; did you mean 'Travelers'? known: Travelers, New, Everyone Else"],
    ),
    "unknown ranking": (
        put("campaigns", 0, "rank_by", "metric", value="lifetime_valu"),
        "campaigns[0].rank_by.metric",
        ["'lifetime_valu' is no known metric to rank by; did you mean 'lifetime_value'?"],
    ),
    "ranking by a flag": (
        put("campaigns", 0, "rank_by", "metric", value="is_active"),
        "campaigns[0].rank_by.metric",
        ["'is_active' is no known metric to rank by"],
    ),
    "unknown order": (
        put("campaigns", 0, "rank_by", "order", value="highest"),
        "campaigns[0].rank_by.order",
        ["'highest' is no known order", "known: highest_first, lowest_first"],
    ),
    "unknown key of the ranking": (
        put("campaigns", 0, "rank_by", "ordr", value="x"),
        "campaigns[0].rank_by.ordr",
        ["did you mean 'order'? known: metric, order"],
    ),
    "no cap": (put("campaigns", 0, "cap", value=...), "campaigns[0].cap", ["is missing; add 'cap'"]),
    "cap of zero": (
        put("campaigns", 0, "cap", value=0),
        "campaigns[0].cap",
        ["0 is out of range; write a whole number from 1 up"],
    ),
    "cap with a fraction": (
        put("campaigns", 0, "cap", value=10.0),
        "campaigns[0].cap",
        ["10.0 is not a whole number"],
    ),
    "cap of true": (put("campaigns", 0, "cap", value=True), "campaigns[0].cap", ["true is not a whole"]),
    "holdout": (
        put("campaigns", 0, "holdout_pct", value=51),
        "campaigns[0].holdout_pct",
        ["51 is out of range; write a number from 0 to 50"],
    ),
    "an epoch that is none": (
        put("campaigns", 0, "holdout_epoch", value="month"),
        "campaigns[0].holdout_epoch",
        ["'month' is no known epoch; known: year, quarter, never"],
    ),
    "margin": (
        put("campaigns", 0, "margin_pct", value=101),
        "campaigns[0].margin_pct",
        ["101 is out of range; write a number from 0 to 100"],
    ),
    "cost of a contact": (
        put("campaigns", 0, "cost_per_contact", value=-1),
        "campaigns[0].cost_per_contact",
        ["-1 is out of range; write a number from 0 to 1000000"],
    ),
    "universal holdout": (
        put("universal_holdout_pct", value=60),
        "universal_holdout_pct",
        ["60 is out of range; write a number from 0 to 50"],
    ),
    "cooldown": (
        put("campaigns", 0, "cooldown_months", value=-1),
        "campaigns[0].cooldown_months",
        ["-1 is out of range; write a whole number from 0 up"],
    ),
    "a trigger that there is none of": (
        put("campaigns", 0, "trigger", value="enters"),
        "campaigns[0].trigger",
        ["'enters' is no known trigger; did you mean 'entered'?"],
    ),
    "eligibility that nobody in the segment meets": (
        put("campaigns", 0, "eligibility", value=[{"metric": "avg_monthly_spend", "below": 4000}]),
        "campaigns[0].eligibility",
        ["avg_monthly_spend below 4000", "in 'Travelers': the list is always empty"],
    ),
    "an operator of the eligibility": (
        put("campaigns", 0, "eligibility", value=[{"metric": "avg_monthly_spend", "at_lest": 4000}]),
        "campaigns[0].eligibility[0].at_lest",
        ["'at_lest' (with value 4000) is no known operator; did you mean 'at_least'?"],
    ),
    "a policy that is no set of keys": (
        put("contact_policy", value=2),
        "contact_policy",
        ["2 is not a set of keys; write key: value pairs"],
    ),
    "a policy of no contact": (
        put("contact_policy", value={"at_most": 0, "per_months": 2}),
        "contact_policy.at_most",
        ["0 is out of range; write a whole number from 1 to 100"],
    ),
    "a policy without months": (
        put("contact_policy", value={"at_most": 1}),
        "contact_policy.per_months",
        ["is missing; add 'per_months'"],
    ),
    "a policy of too many months": (
        put("contact_policy", value={"at_most": 1, "per_months": 25}),
        "contact_policy.per_months",
        ["25 is out of range; write a whole number from 1 to 24"],
    ),
    "a key of the policy": (
        put("contact_policy", value={"at_most": 1, "per_month": 2}),
        "contact_policy.per_month",
        ["'per_month' (with value 2) is no known key; did you mean 'per_months'?"],
    ),
    "a campaign of the order": (
        put("contact_policy", value={"at_most": 1, "per_months": 2, "order": ["premium_reward"]}),
        "contact_policy.order[0]",
        ["'premium_reward' is no campaign; did you mean 'premium_rewards'? known: premium_rewards, core"],
    ),
    "a campaign twice in the order": (
        put("contact_policy", value={"at_most": 1, "per_months": 2, "order": ["core", "core"]}),
        "contact_policy.order",
        ["names 'core' twice; remove one"],
    ),
    "a code with blanks": (
        put("campaigns", 0, "audience_code", value="Spring list"),
        "campaigns[0].audience_code",
        ["'Spring list' is no code; use up to 50 small letters and digits with single dashes", "or leave it out"],
    ),
    "a code that tells of the segment": (
        put("campaigns", 0, "audience_code", value="eu-travelers-1"),
        "campaigns[0].audience_code",
        ["'eu-travelers-1' tells an ad platform 'travelers', as its campaign or segment is called", "leave it out"],
    ),
    "a code that tells of the campaign": (
        put("campaigns", 0, "audience_code", value="premium-q3"),
        "campaigns[0].audience_code",
        ["'premium-q3' tells an ad platform 'premium'"],
    ),
    "the code of another campaign": (
        put("campaigns", 1, "audience_code", value=neutral_code("premium_rewards")),
        "campaigns[1].audience_code",
        [f"{neutral_code('premium_rewards')!r} is the code of campaigns[0] too; give each its own"],
    ),
    "ids that are formulas, maybe": (
        put("exports", "allow_formula_ids", value="yes"),
        "exports.allow_formula_ids",
        ["'yes' is neither true nor false; write one of them, without quotes"],
    ),
    "replaced versions for ever": (
        put("exports", "replaced_versions_days", value=366),
        "exports.replaced_versions_days",
        ["366 is out of range; write a whole number from 0 to 365"],
    ),
    "unknown key of the exports": (
        put("exports", "allow_formulas", value=True),
        "exports.allow_formulas",
        ["did you mean 'allow_formula_ids'? known: allow_formula_ids, replaced_versions_days"],
    ),
    "facts that are never stale": (
        put("freshness", value={"warn_after_days": 0}),
        "freshness.warn_after_days",
        ["0 is out of range; write a whole number from 1 up"],
    ),
    "stale before it warns": (
        put("freshness", value={"warn_after_days": 40, "error_after_days": 30}),
        "freshness",
        ["fails after 30 days, before it warns after 40; error_after_days has to be at least warn_after_days"],
    ),
    "unknown key of freshness": (
        put("freshness", value={"warn_after_hours": 30}),
        "freshness.warn_after_hours",
        ["did you mean 'warn_after_days'? known: warn_after_days, error_after_days"],
    ),
    "unknown column shown": (
        put("campaigns", 0, "shows", value=["lifetime_value", "projected_value"]),
        "campaigns[0].shows[1]",
        ["'projected_value' is no known column; did you mean 'projected_annual_value'?"],
    ),
    "column shown twice": (
        put("campaigns", 0, "shows", value=["lifetime_value", "lifetime_value"]),
        "campaigns[0].shows",
        ["names 'lifetime_value' twice; remove one"],
    ),
    "campaign against its segment": (
        put("campaigns", 0, "criteria", value=[{"metric": "avg_monthly_spend", "below": 5000}]),
        "campaigns[0].criteria",
        ["at_least 5000 and avg_monthly_spend below 5000", "in 'Travelers': the list is always empty"],
    ),
    "campaign inside an earlier segment": (
        put("campaigns", 1, "criteria", value=[{"metric": "tenure_months", "below": 6}]),
        "campaigns[1].criteria",
        ["the list is always empty in 'Everyone Else'", "taken by 'New' before"],
    ),
    "campaigns without a list": (
        put("campaigns", value="none"),
        "campaigns",
        ["'none' is not a list; write one"],
    ),
    "category in both groups": (
        put("category_groups", "necessities", value=["Grocery", "HOTELS"]),
        "category_groups.necessities[1]",
        ["'HOTELS' is in travel too (as 'Hotels'); keep it in one group"],
    ),
    "category twice": (
        put("category_groups", "travel", value=["Sea", "Sea"]),
        "category_groups.travel",
        ["['Sea', 'Sea'] names 'Sea' twice; remove one"],
    ),
    "empty group": (
        put("category_groups", "leisure", value=[]),
        "category_groups.leisure",
        ["[] is empty; name at least one category"],
    ),
    "group without a list": (
        put("category_groups", "travel", value="Sea"),
        "category_groups.travel",
        ["'Sea' is not a list"],
    ),
    "empty category": (
        put("category_groups", "travel", value=["Sea", ""]),
        "category_groups.travel[1]",
        ["'' is empty"],
    ),
    "third group with a category of the first": (
        put("category_groups", "leisure", value=["travel"]),
        "category_groups.leisure[0]",
        ["'travel' is in travel too (as 'Travel'); keep it in one group"],
    ),
    "group that names no column": (
        put("category_groups", "Leisure & Fun", value=["Games"]),
        "category_groups.Leisure & Fun",
        ["cannot name a column; use lower snake case, such as 'leisure_fun'"],
    ),
    "minimum share": (
        put("audits", "minimum_segment_share_pct", value=101),
        "audits.minimum_segment_share_pct",
        ["101 is out of range; write a number from 0 to 100"],
    ),
    "minimum share of all segments": (
        put("audits", "minimum_segment_share_pct", value=33.4),
        "audits.minimum_segment_share_pct",
        ["33.4 for each of 3 segments is more than 100; write 33 or less"],
    ),
    "minimum share above an expected band": (
        put("segments", 1, "expected_share_pct", value=[1, 4.9]),
        "audits.minimum_segment_share_pct",
        ["5 would block 'New', expected in [1, 4.9]; lower it, or raise the band"],
    ),
    "minimum share of one segment above its band": (
        put("segments", 1, "minimum_share_pct", value=60),
        "segments[1].minimum_share_pct",
        ["60 would block 'New', expected in "],
    ),
    "minimum share of one segment": (
        put("segments", 1, "minimum_share_pct", value="5 %"),
        "segments[1].minimum_share_pct",
        ["'5 %' is not a number"],
    ),
    "minimum shares beyond all": (
        minimum_shares(40, 40, 60),
        "segments",
        ["what each has to hold (minimum_share_pct, or 5) adds up to 140, above 100; lower some"],
    ),
    "insights out of order": (
        put("insights", value={"recency_days": {"active": 90, "recent": 60, "at_risk": 90}}),
        "insights.recency_days",
        ["does not ascend from active over recent to at_risk"],
    ),
    "insights that nobody knows": (
        put("insights", value={"recency_days": {"active": 1, "recent": 2, "at_risk": 3}, "colour": 1}),
        "insights.colour",
        ["'colour' (with value 1) is no known key; known: recency_days, focus_at_least_pct"],
    ),
    "baseline months": (
        put("audits", "drift_baseline_months", value=25),
        "audits.drift_baseline_months",
        ["25 is out of range; write a whole number from 1 to 24"],
    ),
    "days of grace": (
        put("audits", "facts_may_end_days_early", value=31),
        "audits.facts_may_end_days_early",
        ["31 is out of range; write a whole number from 0 to 27"],
    ),
    "psi": (
        put("audits", "drift_max_psi", value=0),
        "audits.drift_max_psi",
        ["0 is out of range; write a number above 0"],
    ),
    "missing bound": (
        put("audits", "drift_max_psi", value=...),
        "audits.drift_max_psi",
        ["is missing; add 'drift_max_psi'"],
    ),
    "audits without keys": (put("audits", value=[]), "audits", ["[] is not a set of keys"]),
    "missing key of the vars": (
        lambda rules: rules.update(campagins=rules.pop("campaigns")),
        "vars.campaigns",
        ["is missing (was it meant by 'campagins'?); the rules need segments, category_groups"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "key", "words"), REFUSED.values(), ids=REFUSED)
def test_a_fault_is_refused_with_its_key_value_and_fix(
    project: Path, change: Change, key: str, words: list[str]
) -> None:
    rules = yaml.safe_load(RULES)
    change(rules)
    write_project(project, rules)
    lines = refusal(project).splitlines()
    about = [line for line in lines if line.startswith(f"{project / 'dbt_project.yml'}: {key}: ")]
    assert about, lines
    assert any(all(word in line for word in words) for line in about), lines


def test_a_segment_without_a_band_may_hold_any_share_and_the_others_keep_theirs() -> None:
    rules = yaml.safe_load(RULES)
    del rules["segments"][2]["expected_share_pct"]  # without it the upper ends of the others need not reach 100
    assert [one.expected_share_pct for one in parse_rules(rules, "these").segments] == [(10, 40), (5, 40.5), None]
    for segment in rules["segments"][:2]:
        segment["expected_share_pct"] = [50.5, 60]
    with pytest.raises(RulesError, match=r"lower ends of expected_share_pct add up to 101.0, above 100"):
        parse_rules(rules, "these")
    for segment in rules["segments"]:
        segment.pop("expected_share_pct", None)
    assert [one.expected_share_pct for one in parse_rules(rules, "these").segments] == [None] * 3


def test_all_problems_are_told_at_once_and_each_names_its_own_file(project: Path) -> None:
    rules = yaml.safe_load(RULES)
    rules["segments"][0]["criteria"][0] = {"metric": "tenure", "at_least": "six"}
    rules["segments"][2]["criteria"] = [{"metric": "lifetime_value", "above": 0}]
    rules["campaigns"][0] |= {"cap": 0, "holdout_pct": 99, "segment": "Nobody"}
    rules["campaigns"][1]["segment"] = "Nobody"
    write_project(project, rules)
    path = override(
        project, "audits: {drift_max_psi: 11}\nother: 1\ncategory_groups: {travel: [A], necessities: [a]}\n"
    )
    told = refusal(project, path)
    for key in (
        "segments[0].criteria[0].metric",
        "segments[0].criteria[0].at_least",
        "segments[2].criteria",
        "campaigns[0].cap",
        "campaigns[0].holdout_pct",
        "campaigns[1].segment",
    ):
        assert f"{project / 'dbt_project.yml'}: {key}: " in told
    for key in ("audits.drift_max_psi", "other", "category_groups.necessities[0]"):
        assert f"{path}: {key}: " in told
    assert all(line.startswith(str(project)) for line in told.splitlines())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "line 1: is empty; write the keys"),
        ("# nothing\n", "line 1: is empty"),
        ("- campaigns\n", "line 1: holds no 'key: value' pairs"),
        ("campaigns: []\naudits: [1\n", "line 3: is not valid YAML"),
        ("campaigns: []\n\taudits: 1\n", "line 2: is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "line 2: is not valid YAML"),
        ("campaigns: \x00\n", "line 1: holds a character YAML does not allow"),
        ("campaigns: 2025-13-01\n", "holds a value YAML cannot read (month must be in 1..12)"),
        ("campaigns: !!python/name:os.system\n", "line 1: is not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_line(project: Path, content: str, words: str) -> None:
    path = override(project, content)
    told = refusal(project, path)
    assert told.startswith(f"{path}: {words}")
    assert "\n" not in told


def test_a_file_that_is_not_text_or_not_there_is_one_clear_line(project: Path, tmp_path: Path) -> None:
    latin = tmp_path / "latin.yml"
    latin.write_bytes(b"campaigns: []\n# caf\xe9\n")
    assert refusal(project, latin) == f"{latin}: line 2: is not UTF-8; save the file as UTF-8"
    assert "cannot be read (Is a directory)" in refusal(project, tmp_path)
    assert "dbt_project.yml: cannot be read (No such file" in refusal(tmp_path / "elsewhere")


def test_a_repeated_key_is_refused_at_every_depth(project: Path) -> None:
    path = override(
        project,
        "campaigns: []\ncategory_groups: {travel: [A], necessities: [B], travel: [C]}\ncampaigns: []\n",
    )
    assert refusal(project, path).splitlines() == [
        f"{path}: line 2: category_groups.travel: the key is there twice (first in line 2); remove one",
        f"{path}: line 3: campaigns: the key is there twice (first in line 1); remove one",
    ]
    path = override(project, "category_groups: &all {travel: *all, necessities: [B]}\n")
    assert refusal(project, path) == f"{path}: line 1: *all stands inside what it stands for; write it out"


@pytest.mark.parametrize("written", ["030", "-012", "1:30", "0x1F", "0b11", "1:30.5"])
def test_a_number_that_yaml_reads_as_another_one_is_refused(project: Path, written: str) -> None:
    path = override(project, f"windows:\n  w: {{days: {written}}}\n")
    assert refusal(project, path).splitlines()[0] == (
        f"{path}: line 2: {written} is another number to YAML than it looks; write it in plain decimals, or in quotes"
        " where it is text"
    )
    assert "another number" not in refusal(project, override(project, f"campaigns: ['{written}', 0.5, 1_000]\n"))


BAND = "{{metric: avg_monthly_spend, at_least: {}}}, {{metric: avg_monthly_spend, below: {}}}"


def segments_of(criteria: Sequence[str]) -> str:
    listed = "".join(
        f"  - {{name: S{i}, criteria: [{one}], expected_share_pct: [0, 100]}}\n" for i, one in enumerate(criteria)
    )
    return f"campaigns: []\nsegments:\n{listed}  - {{name: Rest, expected_share_pct: [0, 100]}}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("segments: " + "[" * 20_000 + "]" * 20_000, "line 1: is nested deeper than 20 levels"),
        ("segments: " + "{a: " * 20_000 + "1" + "}" * 20_000, "line 1: is nested deeper than 20 levels"),
        ("\n".join("  " * depth + "a:" for depth in range(400)), "line 21: is nested deeper than 20 levels"),
        ("a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 19)), "20,000 values"),
        ("segments: [" + "a, " * 30_000 + "]", "line 1: holds more than 20,000 values"),
        ("#" * 1_000_001, "is larger than 1,000,000 bytes"),
        (segments_of([BAND.format(i, i + 1) for i in range(399)]), "segments: holds 400, and 100 are the most"),
        (segments_of([", ".join([BAND.format(0, 1)] * 30)]), "segments[0].criteria: "),
        (segments_of(["{metric: avg_monthly_spend, at_least: 1" + "0" * 400 + "}"]), "is beyond 1,000,000,000,000,000"),
        ("campaigns: []\ncategory_groups: {travel: [" + "x" * 3_000 + "], necessities: [B]}", "has 3,000 characters"),
    ],
)  # fmt: skip
def test_rules_beyond_their_bounds_are_refused_in_words(project: Path, content: str, words: str) -> None:
    """400 segments took 65 s and then a RecursionError, as did 20,000 levels."""
    assert words in refusal(project, override(project, content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x00\x01\xff\xfe" * 99, "is not UTF-8"),
        ("segments: é".encode("latin-1"), "is not UTF-8"),
        ("segments: []".encode("utf-16"), "is not UTF-8"),
        (b"\x7fELF\x02\x01", "holds a character YAML does not allow"),
    ],
)
def test_a_file_that_is_no_text_is_refused_in_words(project: Path, content: bytes, words: str) -> None:
    path = project / "override.yml"
    path.write_bytes(content)
    assert words in refusal(project, path)


@pytest.mark.parametrize(("path", "words"), [("/tmp", "Is a directory"), ("/dev/zero", "is larger than")])
def test_what_is_no_file_is_refused_in_words(project: Path, path: str, words: str) -> None:
    assert words in refusal(project, Path(path))


def test_a_hundred_segments_that_people_might_write_are_told_apart() -> None:
    """Counted in looks: they grow with the square of the segments where bounds do not mix."""
    steps = [{"travel_spend_pct": (0, 50)}, {"travel_spend_pct": (50, 101)}]
    written = {
        "bands": [region(read(("avg_monthly_spend", "at_least", i), ("avg_monthly_spend", "below", i + 1)))
                  for i in range(100)],
        "loosening": [region(read(("avg_monthly_spend", "at_least", 1000 - i))) for i in range(100)],
        "grid": [
            region(read(
                ("avg_monthly_spend", "at_least", i), ("avg_monthly_spend", "below", i + 1),
                ("travel_spend_pct", "at_least", step["travel_spend_pct"][0]),
                ("travel_spend_pct", "below", step["travel_spend_pct"][1]),
            ))
            for i in range(50) for step in steps
        ],
    }  # fmt: skip
    for name, regions in written.items():
        work = Work(12_000)
        for i, own in enumerate(regions):
            assert takers(own, {str(j): regions[j] for j in range(i)}, work) == [], (name, i)


def test_rules_of_which_nobody_can_tell_who_is_left_are_refused_in_words(project: Path) -> None:
    """Two bounds each on metrics drawn by lot: no order of looking at them is short."""
    lot = random.Random(2)
    criteria = [
        ", ".join(
            f"{{metric: {metric}, {lot.choice(['at_least', 'below'])}: {lot.randint(1, 90)}}}"
            for metric in lot.sample(list(NUMERIC_METRICS), 2)
        )
        for _ in range(99)
    ]
    told = refusal(project, override(project, segments_of(criteria)))
    assert "looks did not tell whether somebody is left" in told


def read(*criteria: tuple[str, str, Any]) -> list[Criterion]:
    return [Criterion.model_validate({"metric": metric, operator: bound}) for metric, operator, bound in criteria]


def test_segments_that_cover_a_later_one_only_together_are_named_together() -> None:
    earlier = {
        "High": region(read(("lifetime_value", "at_least", 10))),
        "Active": region(read(("is_active", "is", True))),
        "Low": region(read(("lifetime_value", "below", 10))),
    }
    assert takers(region(read(("tenure_months", "at_most", 6))), earlier) == ["High", "Low"]
    assert takers({}, {"High": earlier["High"], "Active": earlier["Active"]}) == []
    assert takers(region(read(("lifetime_value", "at_least", 10), ("is_active", "is", True))), earlier) == ["High"]
    alone = {"New": region(read(("tenure_months", "at_most", 8))), **earlier}
    assert takers(region(read(("tenure_months", "at_most", 6))), alone) == ["New"]


def test_a_null_is_left_over_where_a_metric_can_be_null() -> None:
    spend = [region(read(("travel_spend_pct", operator, 10))) for operator in ("at_least", "below")]
    assert is_reachable({}, spend)
    assert not is_reachable(region(read(("travel_spend_pct", "at_most", 99))), spend)
    active = [region(read(("is_active", "is", value))) for value in (True, False)]
    assert not is_reachable({}, active)


def test_forty_segments_are_judged_in_no_time() -> None:
    metrics = ("lifetime_value", "avg_monthly_spend", "travel_spend_pct", "spend_change_pct")
    earlier = {
        str(i): region(read((metrics[i % 4], "at_least", i % 7), (metrics[(i + 1) % 4], "below", i % 5 + 9)))
        for i in range(40)
    }
    assert takers({}, earlier) == []
    earlier["High"] = region(read(("spend_last_90_days", "at_least", 50)))
    earlier["Low"] = region(read(("spend_last_90_days", "below", 50)))
    assert takers({}, earlier) == ["High", "Low"]


METRICS = ("lifetime_value", "travel_spend_pct", "tenure_months", "is_active")
HALVES = tuple(half / 2 for half in range(-1, 9))
# Bounds are 0 to 3, so these points hold at least one of every cell that criteria can cut out.
POINTS: dict[str, tuple[float | None, ...]] = {
    "lifetime_value": HALVES,
    "travel_spend_pct": (*HALVES, None),
    "tenure_months": (0, 1, 2, 3, 4, None),
    "is_active": (0, 1),
}
HOLDS: dict[str, Callable[[float, float], bool]] = {
    "at_least": lambda value, bound: value >= bound,
    "at_most": lambda value, bound: value <= bound,
    "above": lambda value, bound: value > bound,
    "below": lambda value, bound: value < bound,
    "is": lambda value, bound: value == bound,
}
one_criterion = st.one_of(
    st.tuples(
        st.sampled_from(METRICS[:3]),
        st.sampled_from(["at_least", "at_most", "above", "below"]),
        st.one_of(st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.0])),
    ),
    st.tuples(st.just("is_active"), st.just("is"), st.booleans()),
)
some_criteria = st.lists(one_criterion, min_size=1, max_size=3)


def meets(point: dict[str, float | None], criteria: list[tuple[str, str, Any]]) -> bool:
    values = [(point[metric], operator, bound) for metric, operator, bound in criteria]
    return all(value is not None and HOLDS[operator](value, bound) for value, operator, bound in values)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.lists(some_criteria, min_size=1, max_size=5), st.lists(one_criterion, max_size=2))
def test_a_segment_is_unreachable_exactly_when_no_customer_is_left_for_it(
    earlier: list[list[tuple[str, str, Any]]], own: list[tuple[str, str, Any]]
) -> None:
    points = [dict(zip(POINTS, values, strict=True)) for values in itertools.product(*POINTS.values())]
    left = any(meets(point, own) and not any(meets(point, one) for one in earlier) for point in points)
    empty = bool(contradictions(read(*own)))
    assert empty == (not any(meets(point, own) for point in points))
    if not empty:
        regions = {str(i): region(read(*one)) for i, one in enumerate(earlier) if not contradictions(read(*one))}
        assert is_reachable(region(read(*own)), list(regions.values())) == left
        needed = takers(region(read(*own)), regions)
        assert bool(needed) != left
        assert not any(meets(p, own) and not any(meets(p, earlier[int(i)]) for i in needed) for p in points if needed)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(some_criteria, some_criteria)
def test_a_segment_that_only_adds_criteria_to_an_earlier_one_is_detected(
    first: list[tuple[str, str, Any]], more: list[tuple[str, str, Any]]
) -> None:
    later = read(*first, *more)
    if not contradictions(later):
        assert takers(region(later), {"First": region(read(*first))}) == ["First"]
