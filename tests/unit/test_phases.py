"""A run's phases in the terminal: what is counted, when a line is told, and what is left over.

Locks out: a line per table, a warning counted as passed, a phase told before its last step, and the same check of a
range counted once per month.
"""

from datetime import date

import dagster as dg
import pytest

from segmentation_assets.cli import run
from segmentation_assets.cli.progress import Phases, phase_name
from segmentation_assets.cli.run import Outcome, Standing
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import audits, findings
from segmentation_assets.publication.findings import Finding

OCTOBER, NOVEMBER, DECEMBER = date(2025, 10, 1), date(2025, 11, 1), date(2025, 12, 1)


def test_steps_are_phases() -> None:
    assert [phase_name(step) for step in ("star_schema", "activation__export_a", "gold__campaign_outcomes")] == [
        "star schema", "exports", "campaign outcomes",
    ]  # fmt: skip


def events(*, second_fails: bool = False) -> list[dg.DagsterEvent]:
    """Of a real run of two exports and one step of checks."""

    @dg.asset(key_prefix="activation", check_specs=[dg.AssetCheckSpec("warns", asset=["activation", "export_a"])])
    def export_a() -> dg.MaterializeResult:
        check = dg.AssetCheckResult(check_name="warns", passed=False, severity=dg.AssetCheckSeverity.WARN)
        return dg.MaterializeResult(check_results=[check])

    @dg.asset(key_prefix="activation", check_specs=[dg.AssetCheckSpec("holds", asset=["activation", "export_b"])])
    def export_b() -> dg.MaterializeResult:
        if second_fails:
            raise dg.Failure("The folder cannot be written.")
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="holds", passed=True)])

    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([export_a, export_b], instance=instance, raise_on_error=False).all_events


STEPS = {f"activation__export_{name}": [dg.AssetKey(["activation", f"export_{name}"])] for name in "ab"}


def lines(found: list[dg.DagsterEvent], phases: Phases) -> list[str]:
    return [phase.line() for event in found for phase, ended in [phases.follow(event)] if phase and ended]


def test_a_phase_is_told_once_with_its_counts() -> None:
    phases = Phases(STEPS)
    assert (phases.planned, phases.made) == (2, 0)
    assert lines(events(), phases) == ["exports: 2 of 2 campaigns, 1 check passed, 1 warned"]
    assert (phases.made, phases.not_made()) == (2, [])


def test_a_step_that_fails_leaves_its_tables_and_is_told_at_the_end_once() -> None:
    phases, found = Phases(STEPS), events(second_fails=True)
    assert lines(found, phases) == ["exports: 1 of 2 campaigns, 0 checks passed, 1 warned"]
    assert [key.path[-1] for key in phases.not_made()] == ["export_b"]
    assert run.failure_of(found, MonthRange.single(NOVEMBER)) == "The folder cannot be written."
    assert run.warnings_of(found, failed=True) == ("warns on export_a: failed",)


def finding(measured: float, month: date = NOVEMBER) -> Finding:
    return Finding.of_row(
        {"snapshot_month": month, "audit": "share_is_within_the_expected_band", "customer_segment": "Declining",
         "measured": measured, "lower_bound": 5, "upper_bound": 10, "failed_rows": 1, "accepted_by": None,
         "reason": None}
    )  # fmt: skip


def evaluation(
    *found: Finding, name: str = "share_is_within_the_expected_band", **metadata: int
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(["silver", "segment_assignments"]), check_name=name, passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={**findings.to_metadata(found), **{k: dg.MetadataValue.int(v) for k, v in metadata.items()}},
    )  # fmt: skip


def test_a_warning_names_its_check_and_what_it_found() -> None:
    assert run.warning(evaluation(finding(4.0), finding(1.0, DECEMBER))) == (
        "share_is_within_the_expected_band: 2025-11-01 Declining: 4 % of the customers (allowed: 5 to 10);"
        " 2025-12-01 Declining: 1 % of the customers (allowed: 5 to 10)"
    )
    assert run.warning(evaluation(*[finding(float(number)) for number in range(5)])).endswith("; 2 more")
    of_dbt = evaluation(name="sizes_are_near", dagster_dbt__failed_row_count=1)
    assert run.warning(of_dbt) == "sizes_are_near on segment_assignments: 1 failed row (allowed: 0)"


@pytest.mark.parametrize(
    ("standing", "came", "told"),
    [
        (Standing({OCTOBER: 1, NOVEMBER: 1}, {}, ()), True, ["Published: 2025-10-01 to 2025-11-01 (version 1)."]),
        (
            Standing({OCTOBER: 2, DECEMBER: 1}, {NOVEMBER: 3}, ()),
            True,
            [
                "Published: 2025-12-01 (version 1), 2025-10-01 (version 2).",
                "Published before and unchanged: 2025-11-01 (version 3).",
            ],
        ),
        (
            Standing({}, {NOVEMBER: 3}, (DECEMBER,)),
            False,
            ["Published before and as it was: 2025-11-01 (version 3).", "Not published: 2025-12-01."],
        ),
    ],
)
def test_what_is_published_is_told_by_month_and_version(standing: Standing, came: bool, told: list[str]) -> None:
    assert standing.lines(came_to_publication=came) == told


def test_a_failure_behind_publication_is_none_of_publication() -> None:
    assert Outcome("id", "failed", ("export_a",), (), ("export_a",)).came_to_publication
    assert not Outcome(
        "id", "failed", ("publication",), (), ("customer_segment_history", "export_a")
    ).came_to_publication


def test_every_blocking_audit_is_told_as_the_failure_and_not_as_a_warning_too() -> None:
    blocking = evaluation(finding(1.0), name="every_segment_holds_the_minimum_share")
    assert audits.BY_NAME[blocking.check_name].is_blocking
    event = dg.DagsterEvent("ASSET_CHECK_EVALUATION", "job", event_specific_data=blocking)
    assert run.warnings_of([event], failed=True) == ()
    assert len(run.warnings_of([event], failed=False)) == 1
