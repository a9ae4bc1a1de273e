"""What a rules file may say of windows, category groups and metrics, and how the rest is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from segmentation_assets.rules.load import Rules, RulesError, load_rules, parse_rules
from segmentation_assets.rules.metrics import PUBLISHED_DATES, PUBLISHED_EDGES
from segmentation_assets.rules.validators import METRICS

DBT_PROJECT_DIR = Path(__file__).parents[2] / "dbt_models"


def load(tmp_path: Path, said: str) -> Rules:
    path = tmp_path / "rules.yml"
    path.write_text(said, encoding="utf-8")
    return load_rules(DBT_PROJECT_DIR, path)


def refused(tmp_path: Path, said: str) -> str:
    with pytest.raises(RulesError) as caught:
        load(tmp_path, said)
    return str(caught.value).replace(f"{tmp_path / 'rules.yml'}: ", "")


def metric(definition: str, name: str = "mine") -> str:
    return f"metrics: {{{name}: {definition}}}\n"


def test_the_shipped_metrics_are_what_everybody_knows_of_them() -> None:
    rules = load_rules(DBT_PROJECT_DIR)
    assert {name: one for name, one in rules.metrics.metrics.items() if name in METRICS} == METRICS
    assert set(rules.metrics.metrics) == {*METRICS, *PUBLISHED_DATES}
    assert rules.metrics.further == ()
    assert rules.window_edges == list(PUBLISHED_EDGES)


def test_maps_are_merged_and_lists_are_replaced(tmp_path: Path) -> None:
    rules = load(tmp_path, "category_groups: {dining: [Dining], travel: null}\naudits: {drift_max_psi: 0.5}\n")
    assert rules.category_groups == {
        "travel": (),
        "necessities": ("Grocery", "Gas", "Utilities"),
        "dining": ("Dining",),
    }
    assert rules.audits.drift_max_psi == 0.5
    assert rules.audits.drift_max_change_points == 5
    assert rules.metrics.further == ("dining_spend_pct", "lifetime_dining_spend_pct")


def test_a_metric_of_ones_own_has_a_type_and_says_what_it_is(tmp_path: Path) -> None:
    rules = load(
        tmp_path,
        """
windows: {last_30_days: {days: 30}, year_ago: {days: 90, ends: 365}}
metrics:
  spend_last_30_days: {kind: sum, window: last_30_days}
  best: {kind: flag, criteria: [{metric: score, at_most: 2}]}
  score: {kind: ntile, of: spend_year_ago, buckets: 5, order: highest_first}
  spend_year_ago: {kind: sum, window: year_ago, description: What was spent a year ago.}
  season: {kind: relative_change, of: spend_last_90_days, from: spend_year_ago}
""",
    )
    assert rules.window_edges == [30, 90, 180, 365, 455]
    assert rules.metrics.columns() == [
        {
            "name": "spend_last_30_days",
            "data_type": "decimal(18,2)",
            "description": "Approved spend of the last 30 days, money, refunds deducted.",
        },
        {"name": "spend_year_ago", "data_type": "decimal(18,2)", "description": "What was spent a year ago."},
        {
            "name": "score",
            "data_type": "bigint",
            "description": "Bucket 1 to 5 of spend_year_ago among the customers of the month, 1 holds the highest;"
            " equal values share a bucket.",
        },
        {"name": "best", "data_type": "boolean", "description": "Whether score at_most 2."},
        {
            "name": "season",
            "data_type": "double",
            "description": "Change from spend_year_ago to spend_last_90_days, relative to that of all customers of the"
            " month together, percent: 0 is a customer who changed as all did; NULL when one of the sums is not"
            " positive.",
        },
    ]


REFUSED = {
    "unknown kind": (
        metric("{kind: total}"),
        ["metrics.mine.kind: 'total' is no known kind of metric", "known: sum, "],
    ),
    "no kind": (metric("{window: last_90_days}"), ["metrics.mine: has no kind; add kind: one of sum, count"]),
    "no keys": (metric("5"), ["metrics.mine: 5 is not a set of keys; write {kind: sum, ...}"]),
    "unknown key": (
        metric("{kind: sum, windw: x}"),
        ["'windw' (with value 'x') is no known key; did you mean 'window'?"],
    ),
    "unknown window": (
        metric("{kind: sum, window: last_90_day}"),
        ["metrics.mine.window: 'last_90_day' is no window; did you mean 'last_90_days'? known: last_90_days, prior_"],
    ),
    "share of a window that is not there": (
        metric("{kind: share, group: travel, window: last_30_days}"),
        ["metrics.mine.window: 'last_30_days' is no window"],
    ),
    "unknown group": (
        metric("{kind: share, group: dining}"),
        ["metrics.mine.group: 'dining' is no category group; known: travel, necessities"],
    ),
    "unknown metric": (
        metric("{kind: change, of: spend_last_90, from: spend_prior_90_days}"),
        ["metrics.mine.of: 'spend_last_90' is no metric; did you mean 'spend_last_90_days'?"],
    ),
    "change from an unknown window": (
        metric("{kind: change, window: last_90_days, from: year_ago}"),
        ["metrics.mine.from: 'year_ago' is no window"],
    ),
    "circle": (
        "metrics: {a: {kind: ratio, of: b, to: 2}, b: {kind: ratio, of: c, to: 2}, c: {kind: ratio, of: a, to: 2}}",
        ["metrics.a: is built on itself (a -> b -> c -> a); build one of them on something else"],
    ),
    "circle through a flag": (
        "metrics: {a: {kind: ntile, of: b, buckets: 3}, b: {kind: ratio, of: a, to: 2}}",
        ["metrics.a: is built on itself (a -> b -> a)"],
    ),
    "itself": (metric("{kind: ratio, of: mine, to: 2}"), ["metrics.mine: is built on itself (mine -> mine)"]),
    "published column": (
        metric("{kind: sum}", "customer_segment"),
        ["metrics.customer_segment: is a column of the published tables already", "'my_customer_segment'"],
    ),
    "another meaning": (
        metric("{kind: sum, window: prior_90_days}", "spend_last_90_days"),
        ["metrics.spend_last_90_days: {'kind': 'sum', 'window': 'prior_90_days'} would be another metric than the"],
    ),
    "gone": (metric("null", "lifetime_value"), ["metrics.lifetime_value: (nothing) would be another metric than the"]),
    "another window": (
        "windows: {last_90_days: {days: 60}}",
        ["windows.last_90_days: {'days': 60} would be another window than the published tables hold under that name"],
    ),
    "what a group gives": (
        metric("{kind: share, group: travel}", "lifetime_travel_spend_pct"),
        ["metrics.lifetime_travel_spend_pct: is what the group 'travel' gives already"],
    ),
    "one column of two groups": (
        "category_groups: {fun: [A], fun_spend: [B]}\nwindows: {w: {days: 30}, spend_w: {days: 60}}\nmetrics:\n"
        "  a: {kind: sum, group: fun, window: spend_w}\n  b: {kind: sum, group: fun_spend, window: w}\n",
        [
            "metrics.b: would read the column 'fun_spend_spend_w', which 'a' has for group 'fun' in window 'spend_w',"
            " and this is group 'fun_spend' in window 'w'; rename a group or a window"
        ],
    ),
    "one share of two groups": (
        "category_groups: {dining: [A], lifetime_dining: [B]}",
        ["metrics.lifetime_dining_spend_pct: is given by the groups 'lifetime_dining' and 'dining' both"],
    ),
    "a published share of two groups": (
        "category_groups: {lifetime_travel: [A]}",
        ["metrics.lifetime_travel_spend_pct: is given by the groups 'lifetime_travel' and 'travel' both"],
    ),
    "a key of the feed": (
        metric("{kind: count}", "rank"),
        ["metrics.rank: is a column of the published tables already"],
    ),
    "word of SQL": (metric("{kind: sum}", "order"), ["metrics.order: 'order' is a word of SQL", "'my_order'"]),
    "no name of a column": (metric("{kind: sum}", "My Spend"), ["metrics.My Spend: 'My Spend' cannot name a column"]),
    "true or false": (
        metric("{kind: ratio, of: is_active, to: 2}"),
        ["metrics.mine.of: 'is_active' is true or false, and ratio needs a number"],
    ),
    "a date": (
        metric("{kind: ntile, of: first_transaction_date, buckets: 5}"),
        ["metrics.mine.of: 'first_transaction_date' is a date, and ntile needs a number"],
    ),
    "a sum of ratios": (
        metric("{kind: relative_change, of: avg_monthly_spend, from: spend_prior_90_days}"),
        ["metrics.mine.of: 'avg_monthly_spend' is a ratio, which has no sum over all customers"],
    ),
    "divided by nothing": (metric("{kind: ratio, of: lifetime_value, to: 0}"), ["metrics.mine.to: 0 is not above 0"]),
    "one bucket": (
        metric("{kind: ntile, of: lifetime_value, buckets: 1}"),
        ["metrics.mine.buckets: 1 is out of range"],
    ),
    "half a share": (metric("{kind: share, of: lifetime_value}"), ["names one of 'of' and 'in'"]),
    "two kinds of change": (
        metric("{kind: change, of: lifetime_value, window: last_90_days, from: prior_90_days}"),
        ["has to name either two windows"],
    ),
    "no criteria": (metric("{kind: flag, criteria: []}"), ["metrics.mine.criteria"]),
    "unknown metric in a flag": (
        metric("{kind: flag, criteria: [{metric: lifetime, above: 1}]}"),
        ["metrics.mine.criteria[0].metric: 'lifetime' is no known metric"],
    ),
    "no days": ("windows: {w: {days: 0}}", ["windows.w.days: 0 is out of range; write a whole number from 1 to 3660"]),
    "ends later": ("windows: {w: {days: 9, ends: -1}}", ["windows.w.ends: -1 is out of range"]),
    "windows are no list": ("windows: [w]", ["windows: ['w'] is not a set of keys; write last_30_days: {days: 30}"]),
    "too many": (
        yaml.safe_dump({"windows": {f"w{i}": {"days": 1 + i} for i in range(60)}}),
        ["windows: holds 62, and 50 are the most"],
    ),
    "a bound no bucket reaches": (
        metric("{kind: ntile, of: lifetime_value, buckets: 5}")
        + "segments: [{name: A, criteria: [{metric: mine, above: 5}]}, {name: B}]\ncampaigns: []\n"
        + "audits: {minimum_segment_share_pct: 1}\n",
        ["segments[0].criteria: mine above 5 contradict each other"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_its_place_and_fix(name: str, tmp_path: Path) -> None:
    said, words = REFUSED[name]
    told = refused(tmp_path, said)
    for word in words:
        assert word in told
    assert len(told.splitlines()) == (3 if name == "circle" else 2 if name == "circle through a flag" else 1), told


def test_a_long_way_from_metric_to_metric_ends_in_words(tmp_path: Path) -> None:
    chain = {f"m{i}": {"kind": "ratio", "of": f"m{i - 1}" if i else "lifetime_value", "to": 2} for i in range(60)}
    assert "is built on more than 20 metrics" in refused(tmp_path, yaml.safe_dump({"metrics": chain}))


def test_every_rule_takes_every_metric(tmp_path: Path) -> None:
    rules = load(
        tmp_path,
        """
metrics:
  days_since: {kind: recency}
  first_of_all: {kind: first_date}
  new: {kind: flag, criteria: [{metric: days_since, at_most: 10}]}
segments:
  - {name: Fresh, criteria: [{metric: new, is: true}]}
  - {name: Rest}
campaigns:
  - name: hello
    segment: Fresh
    criteria: [{metric: days_since, at_most: 5}]
    rank_by: {metric: days_since, order: lowest_first}
    cap: 10
    shows: [days_since, new, first_of_all]
""",
    )
    assert rules.campaigns[0].shows == ("days_since", "new", "first_of_all")
    told = refused(
        tmp_path, (tmp_path / "rules.yml").read_text().replace("metric: days_since, order", "metric: new, order")
    )
    assert told.startswith("campaigns[0].rank_by.metric: 'new' is no known metric to rank by")
    told = refused(
        tmp_path,
        (tmp_path / "rules.yml")
        .read_text()
        .replace("metric: days_since, at_most: 5", "metric: first_of_all, at_most: 5"),
    )
    assert told.startswith("campaigns[0].criteria[0].metric: 'first_of_all' is no known metric")


def test_rules_with_metrics_of_their_own_have_other_hashes(tmp_path: Path) -> None:
    """And those without have the hashes that every version before gave them."""
    shipped, same = load_rules(DBT_PROJECT_DIR), load(tmp_path, "audits: {drift_max_psi: 0.25}")
    assert (same.segments_hash, same.decision_hash, same.rollup) == (
        shipped.segments_hash, shipped.decision_hash, shipped.rollup,
    )  # fmt: skip
    raw: dict[str, Any] = json.loads(json.dumps(shipped.raw))
    raw["metrics"]["days_since"] = {"kind": "recency"}
    other = parse_rules(raw, "these")
    assert other.segments_hash != shipped.segments_hash
    assert other.decision_hash != shipped.decision_hash
    assert other.rollup == shipped.rollup  # nothing has to be rolled up anew for it
    raw["metrics"]["lately"] = {"kind": "sum", "window": "lately"}
    raw["windows"]["lately"] = {"days": 7}
    assert parse_rules(raw, "these").rollup["edges"] == [7, 90, 180]
