"""docs/runbook.md against the checks that exist and a published portfolio.

Locks out: a check that nobody can look up, an entry about a check that is no more, a query that has stopped running,
and an entry that calls a check harmless which stops publication, or the other way round.
"""

import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import dagster as dg
import pytest
import sqlglot

from segmentation_assets.dbt.project import Project
from segmentation_assets.definitions import build_defs
from segmentation_assets.publication import audits
from tests.support.published_by_job import NEWEST, Published
from tests.support.published_months import pipeline_at
from tests.support.warehouse_fixture import Pipeline

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
ENTRIES = dict(re.findall(r"^### (.*)\n((?:(?!^##).*\n)*)", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE))
QUERIES = [pytest.param(query, id=heading) for heading, text in ENTRIES.items() for query in re.findall(
    r"```sql\n(.*?)```", text, re.DOTALL
)]  # fmt: skip
HISTORY = dg.AssetKey(["gold", "customer_segment_history"])


@pytest.fixture(scope="module")
def whole(published_by_job: Published) -> Iterator[Pipeline]:
    """A small portfolio with everything the job makes."""
    with pipeline_at(published_by_job.database) as pipeline:
        yield pipeline


@cache
def checks() -> dict[dg.AssetCheckKey, str]:
    """Every check of the definitions, and what its failure stops in the monthly job."""
    graph = build_defs().resolve_asset_graph()
    nodes = json.loads(Project.load().manifest_path.read_text(encoding="utf-8"))["nodes"].values()
    severities = {node["name"]: node["config"]["severity"].lower() for node in nodes if node["resource_type"] == "test"}
    before_publication = graph.get_ancestor_asset_keys(HISTORY)

    def stopped_by(group: str) -> str:
        """A failed step makes none of what is downstream of it."""
        step = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name == group}
        later = set(step)
        while more := {child for key in later for child in graph.get(key).child_keys} - later:
            later |= more
        later -= step
        groups = {graph.get(key).group_name for key in later}
        if "audiences" in groups:
            return "Blocks audiences and exports"
        exports = any(key.path[-1].startswith("export_") for key in later)
        return "Blocks exports" if exports else "Blocks the report"

    found: dict[dg.AssetCheckKey, str] = {}
    for key in graph.asset_check_keys:
        if key.name in audits.BY_NAME:
            stops = audits.BY_NAME[key.name].is_blocking
        else:  # the checks that are no dbt tests only warn, and say so in their definition
            stops = severities[key.name] == "error" if key.name in severities else graph.get(key).blocking
        if not stops:
            found[key] = "Warns"
        elif key.asset_key in before_publication:
            found[key] = "Blocks publication"
        else:
            found[key] = stopped_by(graph.get(key.asset_key).group_name)
    return found


def patterns(heading: str) -> list[str]:
    return re.findall(r"`([^`]+)`", heading)


def entries_of(name: str) -> list[str]:
    return [heading for heading in ENTRIES for pattern in patterns(heading) if fnmatchcase(name, pattern)]


def test_every_check_has_exactly_one_entry() -> None:
    found = {key.name: entries_of(key.name) for key in checks()}
    assert {name: headings for name, headings in found.items() if len(headings) != 1} == {}


def test_every_entry_is_about_a_check() -> None:
    names = {key.name for key in checks()}
    assert [
        pattern
        for heading in ENTRIES
        for pattern in patterns(heading)
        if not any(fnmatchcase(name, pattern) for name in names)
    ] == []


def test_every_entry_says_what_its_checks_stop() -> None:
    said = {
        heading: re.findall(r"^\*\*((?:Blocks|Warns)[^*]*)\*\*$", text, re.MULTILINE)
        for heading, text in ENTRIES.items()
    }
    assert {
        key.to_user_string(): (said[heading], stops)
        for key, stops in checks().items()
        for heading in entries_of(key.name)
        if said[heading] != [stops]
    } == {}


def test_every_entry_has_its_parts_once() -> None:
    parts = ("**Means**", "**Likely**", "```sql\n", "**Then**")
    assert {heading for heading, text in ENTRIES.items() if any(text.count(part) != 1 for part in parts)} == set()


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_runs_and_shows_no_address(whole: Pipeline, query: str) -> None:
    assert "email" not in whole.frame(query).columns


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_snowflake_sql_too(query: str) -> None:
    (statement,) = sqlglot.parse(query, dialect="snowflake")
    assert statement is not None
    assert not re.search(r"\bfilter\s*\(|\border by all\b|\bgroup by all\b", query)


OF_THE_MONTH = f"where snapshot_month = '{NEWEST}'"
DAY = NEWEST + timedelta(days=9)
ONE_OF_THE_MONTH = f"(select min(customer_id) from silver.segment_assignments {OF_THE_MONTH})"
# A check, and a fault it is there for.
FAULTS = {
    "every_customer_is_assigned_once": (
        f"delete from silver.segment_assignments {OF_THE_MONTH} and customer_id = {ONE_OF_THE_MONTH}"
    ),
    "every_fact_is_loaded_once": (
        f"insert into gold.fct_transactions from gold.fct_transactions where transaction_date = '{DAY}' limit 1"
    ),
    "every_fact_has_a_date": (
        f"update gold.fct_transactions set transaction_date = null where transaction_date = '{DAY}'"
    ),
    "every_customer_version_has_its_own_key": "insert into gold.dim_customer from gold.dim_customer limit 1",
    "every_customer_version_is_complete": "update gold.dim_customer set valid_from = null",
    "no_customer_version_ends_before_it_begins": "update gold.dim_customer set valid_to = valid_from - 1",
    "every_category_has_its_own_key": "insert into gold.dim_merchant_category from gold.dim_merchant_category limit 1",
    "every_day_is_in_the_calendar_once": "insert into gold.dim_date from gold.dim_date limit 1",
    "every_assignment_is_complete": "update silver.segment_assignments set customer_segment = null",
    "one_assignment_per_customer_and_month": (
        "insert into silver.segment_assignments from silver.segment_assignments limit 1"
    ),
    "nothing_on_or_after_the_as_of_date_counts": (
        "update silver.transaction_window_metrics set last_transaction_date = as_of_date"
    ),
    "percentages_exist_exactly_where_their_base_is_positive": (
        "update silver.segment_assignments set travel_spend_pct = null"
    ),
    "one_row_per_decision_and_entry": "insert into gold.segment_decisions from gold.segment_decisions limit 1",
    "no_usual_day_is_without_facts": (
        f"delete from gold.fct_transactions where transaction_date between '{DAY}' and '{DAY + timedelta(days=3)}'"
    ),
    "every_accepted_month_has_a_reason": "update gold.segment_publications set audits_verdict = 'accepted'",
    "one_row_per_month_and_version": "insert into gold.segment_publications from gold.segment_publications limit 1",
    "published_rows_match_the_log": "update gold.segment_publications set customers = 1",
    "one_published_segment_per_customer_and_month": (
        f"insert into gold.customer_segment_history from gold.customer_segment_history {OF_THE_MONTH} limit 1"
    ),
    "assigned_numbers_agree_with_each_other": "update silver.segment_assignments set avg_monthly_spend = -1",
    "every_assigned_customer_is_in_dim_customer": "delete from gold.dim_customer",
    "customer_segments_is_the_newest_published_month": (
        f"delete from gold.customer_segments where customer_id = {ONE_OF_THE_MONTH}"
    ),
    "unique_customer_segments_customer_id": "insert into gold.customer_segments from gold.customer_segments limit 1",
    "the_explained_winner_is_the_published_segment": (
        "update gold.customer_segment_history set customer_segment = 'Declining'"
    ),
    "unique_customer_360_profile_customer_id": (
        "insert into gold.customer_360_profile from gold.customer_360_profile limit 1"
    ),
    "unique_combination_of_columns_audience_candidates_snapshot_month__campaign__customer_id": (
        f"insert into silver.audience_candidates from silver.audience_candidates {OF_THE_MONTH} limit 1"
    ),
    "audience_ranks_run_from_one_audience_churn_prevention_": (
        "update gold.audience_churn_prevention set audience_rank = audience_rank + 1"
    ),
    "audience_addresses_are_deliverable_audience_churn_prevention_": (
        "update gold.audience_churn_prevention set email = ' ' || email"
    ),
    "audience_addresses_are_unique_audience_churn_prevention_": (
        "update gold.audience_churn_prevention set email = 'same@example.org'"
    ),
    "audience_holds_nobody_suppressed_audience_churn_prevention_": (
        "insert into gold.marketing_suppressions by name select distinct customer_id"
        " from gold.audience_churn_prevention"
    ),
}


def of_the_newest(query: str) -> str:
    """With a month of ours put for the runbook's, as it says, and its other days as far from it."""
    printed, ours = month_number(date(2025, 11, 1)), month_number(NEWEST)

    def moved(day: re.Match[str]) -> str:
        year, month = divmod(month_number(date.fromisoformat(day[1])) - printed + ours, 12)
        return f"'{year}-{month + 1:02d}-{day[1][-2:]}'"

    return re.sub(r"'(\d{4}-\d\d-\d\d)'", moved, query)


def month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


@pytest.mark.parametrize("name", FAULTS)
def test_a_query_finds_the_fault_and_nothing_before_it(whole: Pipeline, name: str) -> None:
    (heading,) = entries_of(name)
    (query,) = re.findall(r"```sql\n(.*?)```", of_the_newest(ENTRIES[heading]), re.DOTALL)
    with whole.connection() as connection:
        connection.execute("begin transaction")
        assert connection.execute(query).fetchall() == []
        connection.execute(FAULTS[name])
        assert connection.execute(query).fetchall() != []
        connection.execute("rollback")
