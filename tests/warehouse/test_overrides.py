"""A person may accept a failed audit; nothing else opens the gate.

Locks out: an acceptance that nobody can trace to a person and a reason, one that goes on holding when the number it was
given for has changed, one for an audit that never failed, and a switch that turns the gate off for good.
"""

import re
from pathlib import Path

import dagster as dg
import pytest

from segmentation_assets.publication import acceptances
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import (
    CANDIDATE_ASSETS,
    DECEMBER,
    NAMED_TESTS_ONLY,
    NO_TESTS,
    NOVEMBER,
    PUBLICATION,
    PUBLISHED_ASSETS,
    RECOMPUTED,
    Attempt,
    audit_evaluations,
    pipeline_at,
)
from tests.support.warehouse_fixture import Pipeline

FLOOR = "every_segment_holds_the_minimum_share"
PROJECT = Path(__file__).parents[2]
NEWEST_VERSION = (
    "select version, audits_verdict, override_reason from gold.segment_publications"
    f" where snapshot_month = '{DECEMBER}' order by version desc limit 1"
)


@pytest.fixture
def blocked(below_the_floor: Attempt, tmp_path: Path):
    with pipeline_at(tmp_path / "blocked" / "segmentation.duckdb", below_the_floor.path) as pipeline:
        yield pipeline


def accept(
    pipeline: Pipeline, audit: str = FLOOR, segment: str | None = None, who: str = "Ann", why: str = "Winter"
) -> str:
    with DuckDBWarehouse(path=str(pipeline.path)).session() as session:
        return acceptances.accept(session, DECEMBER, audit, segment, who, why)


def test_an_accepted_month_is_published_and_says_by_whom_and_why(blocked: Pipeline) -> None:
    told = accept(blocked, who=" Ann Analyst ", why="The airlines are on strike")
    assert told.count("Accepted by Ann Analyst: 2025-12-01: ") == 2

    result = blocked.run(DECEMBER, select=CANDIDATE_ASSETS + PUBLISHED_ASSETS)
    assert result.success
    check = audit_evaluations(result)[FLOOR]
    assert check.passed
    assert "Accepted by Ann Analyst (The airlines are on strike): 2025-12-01: " in (check.description or "")
    assert check.metadata["failed_months"].value == "none"
    assert blocked.rows(NEWEST_VERSION) == [(2, "accepted", "Ann Analyst: The airlines are on strike")]
    assert blocked.rows(
        "select count(*) from gold.customer_segments where customer_segment = 'High-Value Travelers'"
    ) == [(0,)]

    # One customer fewer declines: 4.8 % is not what Ann has seen.
    blocked.execute(
        "update gold.fct_transactions set transaction_amount = 9000 where transaction_amount = 100 and customer_key ="
        " (select customer_key from gold.dim_customer where customer_id = 'Declining 8')"
    )
    before = blocked.rows("select * from gold.customer_segment_history order by all")
    recomputed, said = blocked.dbt(DECEMBER, select=RECOMPUTED, arguments=NO_TESTS)
    assert recomputed, said
    succeeded, said = blocked.dbt(DECEMBER, select=PUBLICATION, arguments=NAMED_TESTS_ONLY)
    assert not succeeded
    assert any("Got 2 results" in line for line in said), said
    assert blocked.rows("select * from gold.customer_segment_history order by all") == before
    assert blocked.rows(NEWEST_VERSION) == [(2, "accepted", "Ann Analyst: The airlines are on strike")]


def test_an_acceptance_of_one_segment_leaves_the_other_blocked(blocked: Pipeline) -> None:
    assert "Declining" in accept(blocked, segment="Declining")
    succeeded, _ = blocked.dbt(DECEMBER, select=PUBLICATION, arguments=NAMED_TESTS_ONLY)
    assert not succeeded
    assert blocked.rows(NEWEST_VERSION)[0][0] == 1
    with pytest.raises(acceptances.AcceptanceError, match=r"to be accepted: .*\(High-Value Travelers\)\.$"):
        accept(blocked, segment="Declining")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"who": "  "}, "WHO and WHY must both say something"),
        ({"why": ""}, "WHO and WHY must both say something"),
        (
            {"audit": "every_segment_holds_enough"},
            "'every_segment_holds_enough' is no failed blocking audit of 2025-12-01",
        ),
        ({"audit": "rollup_equals_the_facts"}, "'rollup_equals_the_facts' is no failed blocking audit of 2025-12-01"),
        ({"audit": "segment_mix_is_stable"}, "'segment_mix_is_stable' is no failed blocking audit of 2025-12-01"),
        ({"segment": "New & Growing"}, f"'{FLOOR}' of 'New & Growing' is no failed blocking audit of 2025-12-01"),
    ],
)
def test_what_cannot_be_accepted_is_refused(blocked: Pipeline, given: dict[str, str], told: str) -> None:
    with pytest.raises(acceptances.AcceptanceError) as refused:
        accept(blocked, **given)
    assert told in str(refused.value)
    assert blocked.rows("select count(*) from silver.segment_audit_overrides") == [(0,)]
    if "WHO" not in told:
        assert f"{FLOOR} (Declining), {FLOOR} (High-Value Travelers)." in str(refused.value)


def test_a_month_without_audits_cannot_be_accepted(blocked: Pipeline) -> None:
    blocked.execute(f"delete from silver.segment_audits where snapshot_month = '{NOVEMBER}'")
    with (
        DuckDBWarehouse(path=str(blocked.path)).session() as session,
        pytest.raises(acceptances.AcceptanceError, match=f"no audits of {NOVEMBER}: compute it first"),
    ):
        acceptances.accept(session, NOVEMBER, FLOOR, None, "Ann", "Winter")


def test_an_acceptance_without_a_name_does_not_count(blocked: Pipeline) -> None:
    """Rows that somebody inserted by hand."""
    blocked.execute(
        "insert into silver.segment_audit_overrides by name select snapshot_month, audit, customer_segment, measured"
        " from silver.segment_audits where severity = 'error' and not passed"
    )
    succeeded, _ = blocked.dbt(DECEMBER, select=PUBLICATION, arguments=NAMED_TESTS_ONLY)
    assert not succeeded
    assert blocked.rows(NEWEST_VERSION)[0][0] == 1


def test_no_variable_of_the_environment_reaches_the_gate() -> None:
    """What the gate depends on is in the warehouse. Bounds are rules, and a change of theirs is in version control."""
    models = [*(PROJECT / "dbt_models" / "models").rglob("*.sql"), *(PROJECT / "dbt_models" / "macros").rglob("*.sql")]
    # Where the tables are and who may read them is the environment's to say, not what becomes of a month in them.
    assert {path.name for path in models if "env_var(" in path.read_text()} == {
        "schema_names.sql", "access.sql", "erased.sql",
    }  # fmt: skip
    for module in ("publication/audits", "assets/checks", "publication/acceptances", "assets/stages"):
        assert "environ" not in (PROJECT / "segmentation_assets" / f"{module}.py").read_text(), module
    gate = PROJECT / "dbt_models"
    sources = [gate / "macros/publication/publication.sql", gate / "models/segments/customer_segment_history.sql"]
    asked = {name for path in sources for name in re.findall(r"var\('(\w+)'", path.read_text())}
    assert asked <= {"run_id"}


def test_checks_block_exactly_what_the_audits_call_errors(below_the_floor: Attempt) -> None:
    severities = {name: found.severity for name, found in audit_evaluations(below_the_floor.job).items()}
    with pipeline_at(below_the_floor.path) as pipeline:
        rows = pipeline.rows("select distinct audit, severity from silver.segment_audits")
    assert len(rows) == len(severities)
    for audit, severity in rows:
        expected = dg.AssetCheckSeverity.ERROR if severity == "error" else dg.AssetCheckSeverity.WARN
        assert severities[audit] is expected, audit
