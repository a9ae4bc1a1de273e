"""What an audit says when it fails: the month, the rule, the segment, the number, the bound, and what to do.

Locks out: an audit of the SQL that has no words and so breaks the run that should have told of it, an audit that blocks
in dbt and only warns in Dagster, no audits taken for passed ones, and an acceptance that hides what was accepted.
"""

import re
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from segmentation_assets.alerts import messages
from segmentation_assets.assets import checks
from segmentation_assets.publication import audits, findings
from segmentation_assets.publication.findings import Finding

AUDIT_SQL = Path(__file__).parents[2] / "dbt_models" / "models" / "segments" / "segment_audits.sql"
UI = "http://127.0.0.1:3000"
AUDIT_LIST = Path(__file__).parents[2] / "dbt_models" / "macros" / "publication" / "audits" / "audit_list.sql"
PICTURE = dg.MetadataValue.md("")


def row(**given: Any) -> dict[str, Any]:
    told = {
        "snapshot_month": date(2025, 11, 1),
        "audit": "every_segment_holds_the_minimum_share",
        "customer_segment": "Declining",
        "measured": 4.9,
        "lower_bound": 5.0,
        "upper_bound": None,
        "failed_rows": 1,
        "severity": "error",
        "passed": False,
        "accepted_by": None,
        "reason": None,
        **given,
    }
    blocks = told["severity"] == "error" and not told["passed"] and told["accepted_by"] is None
    return {**told, "is_blocking": blocks}


def good(**given: Any) -> dict[str, Any]:
    return row(measured=5.0, failed_rows=0, passed=True, **given)


def result(
    *rows: dict[str, Any], stops: bool = True, audit: str = "every_segment_holds_the_minimum_share"
) -> dg.AssetCheckResult:
    return checks.result(dg.AssetKey(checks.CANDIDATE), audits.BY_NAME[audit], rows, [], PICTURE, stops=stops)


def test_an_audit_that_the_rules_leave_nothing_to_measure_passes_and_says_so() -> None:
    band = audits.BY_NAME[audits.BAND]
    told = checks.result(dg.AssetKey(checks.CANDIDATE), band, [], [], PICTURE, stops=True, is_asked=False)
    assert told.passed
    assert told.description == "No segment of the rules has an expected_share_pct, so no share is expected."
    assert not result(audit=audits.BAND).passed  # asked, and not there


def test_every_audit_of_the_sql_has_words_and_the_same_severity() -> None:
    text = AUDIT_LIST.read_text() + AUDIT_SQL.read_text()
    bounds = re.findall(r"'audit': '(\w+)', 'severity': '(error|warn)'", text)
    bounds += re.findall(r"'(\w+)' as audit,\s+'(error|warn)' as severity", text)
    assert {name: severity == "error" for name, severity in bounds} == {
        audit.name: audit.is_blocking for audit in audits.AUDITS
    }
    assert len(bounds) == len(audits.AUDITS)


def test_every_audit_of_the_sql_has_one_finding() -> None:
    """A finding without a bound would be neither passed nor blocked, a bound without a finding would never be asked."""
    findings = re.findall(
        r"'(\w+)' as audit,\s+(?:cast\(null as varchar\) as |\w+\.)?customer_segment", AUDIT_SQL.read_text()
    )
    assert sorted(findings) == sorted(audit.name for audit in audits.AUDITS)


@pytest.mark.parametrize("audit", audits.AUDITS, ids=lambda audit: audit.name)
def test_every_audit_is_a_proposition_with_advice(audit: audits.Audit) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", audit.name)
    assert audit.meaning.endswith(".")
    assert audit.advice.endswith(".")
    assert ("Publication goes on" in audit.advice) is not audit.is_blocking


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "every_segment_holds_the_minimum_share, Declining: 4.9 % of the customers (allowed: at least 5)."),
        (
            {"measured": 0.0},
            "every_segment_holds_the_minimum_share, Declining: 0 % of the customers (allowed: at least 5).",
        ),
        (
            {"measured": 4.9999},
            "every_segment_holds_the_minimum_share, Declining: 4.9999 % of the customers (allowed: at least 5).",
        ),
        (
            {"audit": "share_is_within_the_expected_band", "measured": 12.3456789, "upper_bound": 10},
            "share_is_within_the_expected_band, Declining: 12.3457 % of the customers (allowed: 5 to 10).",
        ),
        (
            {
                "audit": "rollup_equals_the_facts",
                "customer_segment": None,
                "measured": 2.0,
                "lower_bound": None,
                "upper_bound": 0.0,
            },
            "rollup_equals_the_facts: 2 months differ (allowed: 0).",
        ),
        (
            {
                "audit": "rollup_equals_the_facts",
                "customer_segment": None,
                "measured": 1.0,
                "lower_bound": None,
                "upper_bound": 0.0,
            },
            "rollup_equals_the_facts: 1 month differs (allowed: 0).",
        ),
    ],
)
def test_a_failure_is_told_with_its_number_and_bounds(given: dict[str, Any], sentence: str) -> None:
    assert Finding.of_row(row(**given)).sentence == f"2025-11-01: {sentence}"


def test_a_refusal_names_each_month_once_each_failure_and_each_advice_once() -> None:
    told = findings.refusal(
        [
            row(),
            row(snapshot_month=date(2025, 9, 1)),
            row(customer_segment="New & Growing", measured=1.0),
            row(snapshot_month=date(2025, 10, 1), accepted_by="Ann", reason="Winter"),
            row(snapshot_month=date(2025, 8, 1), audit="segment_mix_is_stable", severity="warn"),
            good(snapshot_month=date(2025, 7, 1)),
        ]
    )
    lines = told.splitlines()
    assert lines[0].startswith("Not published: 2025-09-01, 2025-11-01. ")
    assert [line[2:12] for line in lines if line.startswith("- 2025")] == ["2025-11-01", "2025-09-01", "2025-11-01"]
    assert told.count("make accept") == 1
    assert not re.search("2025-(07|08|10)", told)


def test_no_audits_are_a_failure() -> None:
    found = result()
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert "There are no audits for this month." in (found.description or "")


def test_a_check_passes_with_its_meaning_and_fails_with_words_and_months() -> None:
    passed = result(good(), good(customer_segment="New & Growing"))
    assert passed.passed
    assert passed.description == audits.BY_NAME["every_segment_holds_the_minimum_share"].meaning
    assert passed.metadata["failed_months"].value == "none"

    failed = result(good(), row(snapshot_month=date(2025, 9, 1)), row(snapshot_month=date(2025, 10, 1)))
    assert not failed.passed
    assert failed.metadata["failed_months"].value == "2025-09-01, 2025-10-01"


def test_an_accepted_failure_passes_and_stays_visible() -> None:
    found = result(row(accepted_by="Ann", reason="Winter"))
    assert found.passed
    assert (found.description or "").endswith(f"Accepted by Ann (Winter): {Finding.of_row(row()).sentence}")


@pytest.mark.parametrize(
    ("audit", "stops", "severity"),
    [
        ("every_segment_holds_the_minimum_share", True, dg.AssetCheckSeverity.ERROR),
        # In a range with a good month left the run goes on: the gate keeps the bad month back.
        ("every_segment_holds_the_minimum_share", False, dg.AssetCheckSeverity.WARN),
        ("segment_mix_is_stable", True, dg.AssetCheckSeverity.WARN),
    ],
)
def test_only_a_blocking_audit_with_no_month_left_stops_the_run(
    audit: str, stops: bool, severity: dg.AssetCheckSeverity
) -> None:
    assert result(row(audit=audit), stops=stops, audit=audit).severity is severity


def test_dagster_draws_the_newest_month_by_segment() -> None:
    rows = [good(), row(customer_segment="New & Growing"), row(snapshot_month=date(2025, 10, 1), measured=1.0)]
    assert checks.measured(rows) == {"measured: Declining": 5.0, "measured: New & Growing": 4.9}
    assert checks.measured([row(customer_segment=None, measured=None)]) == {}
    assert checks.measured([]) == {}


def test_the_findings_of_a_check_are_its_metadata_and_read_back_whole() -> None:
    found = result(row(), good(), row(customer_segment="New & Growing", accepted_by="Ann", reason="Winter"))
    assert findings.from_metadata(found.metadata) == [Finding.of_row(row())]
    assert "Ann" not in str(found.metadata["findings"])
    assert findings.from_metadata(result(good()).metadata) is None


def evaluation(description: str, metadata: dict[str, Any]) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(checks.CANDIDATE),
        check_name="every_segment_holds_the_minimum_share",
        passed=False,
        description=description,
        metadata=metadata,
    )


def test_an_alert_renders_the_findings_and_not_the_description() -> None:
    kept = dict(findings.to_metadata([Finding.of_row(row()), Finding.of_row(row(snapshot_month=date(2025, 10, 1)))]))
    body = messages.failed_check("run", "2025-10-01 to 2025-11-01", evaluation("Of another reader.", kept), UI).body
    assert (
        "Measured: 2025-11-01: Declining: 4.9 % of the customers (allowed: at least 5)\n"
        "2025-10-01: Declining: 4.9 % of the customers (allowed: at least 5)\n"
    ) in body
    assert "another reader" not in body


@pytest.mark.parametrize(
    "kept",
    [
        {},
        # By a version that kept another set of fields.
        {
            "findings": dg.MetadataValue.table(
                [dg.TableRecord({"audit": "x"})], dg.TableSchema([dg.TableColumn("audit")])
            )
        },
    ],
)
def test_a_check_recorded_before_findings_is_told_from_its_description(kept: dict[str, Any]) -> None:
    """As the package of before wrote it: the sentence, and the advice, which the message says elsewhere."""
    advice = audits.BY_NAME["every_segment_holds_the_minimum_share"].advice
    old = "2025-11-01: every_segment_holds_the_minimum_share, Declining: 4.9 % of the customers; has to be at least 5."
    body = messages.failed_check("run", "2025-11-01", evaluation(f"{old}\n{advice}", kept), UI).body
    assert f"Measured: {old}\n" in body
    assert body.count(advice) == 1
