"""A month whose data breaks a blocking rule goes no further: not in the run, not in a later one, not by plain dbt.

Locks out: a segment that collapsed, facts that count for nobody or a month loaded in part that reach
marketing's tables because somebody ran only the last step; a month half replaced; a check that fails without a word.
"""

from dataclasses import dataclass

import dagster as dg
import pytest

from tests.support.published_months import (
    CANDIDATE_ASSETS,
    DECEMBER,
    NOVEMBER,
    PUBLISHED_ASSETS,
    Attempt,
    audit_evaluations,
    materialized,
    recorded_verdicts,
    refusal,
)

FLOOR = "every_segment_holds_the_minimum_share"


@dataclass(frozen=True)
class Fault:
    fixture: str
    month: str
    audit: str
    sentences: tuple[str, ...]
    advice: str


FAULTS = (
    Fault(
        "below_the_floor",
        str(DECEMBER),
        FLOOR,
        (
            f"2025-12-01: {FLOOR}, Declining: 4.9 % of the customers (allowed: at least 5).",
            f"2025-12-01: {FLOOR}, High-Value Travelers: 0 % of the customers (allowed: at least 5).",
        ),
        "`make accept`",
    ),
    Fault(
        "fact_of_nobody",
        str(NOVEMBER),
        "every_fact_belongs_to_a_customer",
        (
            "2025-11-01: every_fact_belongs_to_a_customer: 1 fact that belongs to no customer"
            " (allowed: 0; 12.50 of spend).",
        ),
        "Load the missing versions",
    ),
    Fault(
        "without_its_last_days",
        str(NOVEMBER),
        "facts_reach_the_end_of_the_month",
        ("2025-11-01: facts_reach_the_end_of_the_month: 2 days without facts before the as-of date (allowed: 0).",),
        "run the month again",
    ),
)


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.fixture)
def fault(request: pytest.FixtureRequest) -> Fault:
    return request.param


@pytest.fixture
def attempt(fault: Fault, request: pytest.FixtureRequest) -> Attempt:
    return request.getfixturevalue(fault.fixture)


def test_the_check_says_what_failed_by_how_much_and_what_to_do(fault: Fault, attempt: Attempt) -> None:
    evaluations = audit_evaluations(attempt.job)
    blocking = {
        name
        for name, found in evaluations.items()
        if found.severity is dg.AssetCheckSeverity.ERROR and not found.passed
    }
    assert blocking == {fault.audit}
    failed = evaluations[fault.audit]
    assert failed.asset_key == dg.AssetKey(["silver", "segment_assignments"])
    assert failed.metadata["failed_months"].value == fault.month
    *sentences, advice = (failed.description or "").splitlines()
    assert tuple(sentences) == fault.sentences
    assert fault.advice in advice
    assert len(failed.metadata["segments"].records) == 5


def test_nothing_after_the_check_runs(attempt: Attempt) -> None:
    assert not attempt.job.success
    assert set(CANDIDATE_ASSETS) <= materialized(attempt.job)
    of_the_candidate = {"gold/segment_rules", "gold/segment_decisions"}
    assert not {asset for asset in materialized(attempt.job) if asset.startswith("gold/")} - of_the_candidate


def test_a_run_of_the_published_tables_alone_is_refused(fault: Fault, attempt: Attempt) -> None:
    assert not attempt.alone.success
    told = refusal(attempt.alone)
    assert told.startswith(f"Not published: {fault.month}. ")
    assert [line.removeprefix("- ") for line in told.splitlines() if line.startswith(f"- {fault.month}")] == list(
        fault.sentences
    )
    assert fault.advice in told


def test_plain_dbt_is_refused(attempt: Attempt) -> None:
    succeeded, said = attempt.plain
    assert not succeeded
    assert any("asked_months_are_published" in line for line in said), said


def test_every_published_table_is_as_it_was(attempt: Attempt) -> None:
    """customer_segments too: the blocked month is the newest, and its last version stays whole."""
    for table, rows in attempt.before.items():
        # No month was published twice yet, and the refused one must not look as if it had been.
        assert rows or table == "segment_restatements", f"{table} was empty before, which proves nothing"
        assert attempt.after[table] == rows, table


def test_the_whole_job_leaves_the_audiences_out(fact_of_nobody: Attempt) -> None:
    assert not {asset for asset in materialized(fact_of_nobody.job) if "audience" in asset}
    started = {event.step_key for event in fact_of_nobody.job.all_events if event.event_type_value == "STEP_START"}
    assert started == {f"segmentation_{step}" for step in ("staging", "candidate", "audit_checks")}


def test_a_run_of_one_month_shows_the_verdict_on_its_month(fault: Fault, attempt: Attempt) -> None:
    assert recorded_verdicts(attempt.instance, fault.audit)[fault.month] == "FAILED"
    assert recorded_verdicts(attempt.instance, "every_customer_is_assigned_once")[fault.month] == "SUCCEEDED"


def test_exactly_five_percent_is_published(december: tuple[object, dg.ExecuteInProcessResult]) -> None:
    result = december[1]
    assert result.success
    assert set(PUBLISHED_ASSETS) <= materialized(result)
    floor = audit_evaluations(result)[FLOOR]
    assert floor.passed
    assert floor.metadata["measured: Declining"].value == 5.0


WARNINGS = {
    "share_is_within_the_expected_band": "Budget-Conscious: 5 % of the customers (allowed: 20 to 25).",
    "segment_mix_is_stable": "PSI (allowed: at most 0.25).",
    "no_segment_moved_far": "points (allowed: at most 5).",
    "unknown_categories_are_few": "% of the spend (allowed: at most 1; 180,000.00 of spend).",
    "future_dated_facts_are_few": "% of the facts of the last 90 days (allowed: at most 0.1).",
}


def test_what_only_warns_fails_its_check_and_publishes(december: tuple[object, dg.ExecuteInProcessResult]) -> None:
    evaluations = audit_evaluations(december[1])
    assert {name for name, found in evaluations.items() if not found.passed} == set(WARNINGS)
    for name, words in WARNINGS.items():
        assert evaluations[name].severity is dg.AssetCheckSeverity.WARN
        assert words in (evaluations[name].description or ""), evaluations[name].description
        assert "Publication goes on" in (evaluations[name].description or "")
