"""What is published is what was judged: the candidate, its audits and the rules of the run are one, by hash.

Locks out: rules edited between the candidate and its publication, audits of one run that let the candidate of another
through, a candidate changed by hand after its audits, an audit that never ran, bounds loosened without a word, and an
acceptance that covers what nobody has seen.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import acceptances
from segmentation_assets.publication.gate import refuse_unpublished
from segmentation_assets.rules.load import Rules, parse_rules
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import (
    NAMED_TESTS_ONLY,
    NOVEMBER,
    OCTOBER,
    PUBLICATION,
    RECOMPUTED,
    published_tables,
)
from tests.support.warehouse_fixture import Pipeline

SHIPPED = Project.load().rules
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
CANDIDATE = f"{RECOMPUTED} segment_rules segment_decisions segment_audit_verdicts segment_gate"
LOG = f"select * from gold.segment_publications where snapshot_month = '{NOVEMBER}' order by version desc limit 1"


def with_audits(**bounds: float) -> Rules:
    """The shipped rules with other bounds."""
    raw = {**SHIPPED.raw, "audits": {**SHIPPED.raw["audits"], **bounds}}
    return parse_rules(raw, "test")


def build(pipeline: Pipeline, select: str, rules: Rules | None = None, arguments: tuple[str, ...] = NO_TESTS) -> bool:
    """Plain dbt for November; `rules` are those its run reads."""
    run_vars: Mapping[str, object] = {key: rules.raw[key] for key in ("audits", "segments")} if rules else {}
    return pipeline.dbt(NOVEMBER, select=select, arguments=arguments, run_vars=run_vars)[0]


def refusal(pipeline: Pipeline, rules: Rules = SHIPPED) -> str:
    with pytest.raises(Exception, match="Not published") as refused:
        refuse_unpublished(rules, DuckDBWarehouse(path=str(pipeline.path)), MonthRange.single(NOVEMBER))
    return str(refused.value)


def newest(pipeline: Pipeline) -> dict[str, Any]:
    return pipeline.frame(LOG).to_dict("records")[0]


def test_dbt_and_python_call_the_decision_the_same(published: Pipeline) -> None:
    assert newest(published)["decision_hash"] == SHIPPED.decision_hash
    looser = with_audits(minimum_segment_share_pct=0)
    assert looser.decision_hash != SHIPPED.decision_hash
    assert build(published, CANDIDATE, looser)
    assert published.rows(
        f"select distinct decision_hash from silver.segment_gate where snapshot_month = '{NOVEMBER}'"
    ) == [(looser.decision_hash,)]


def test_a_published_month_tells_its_whole_decision(published: Pipeline) -> None:
    entries = dict(
        published.rows(
            "select entry, entry_value from gold.segment_decisions where decision_hash ="
            f" '{newest(published)['decision_hash']}'"
        )
    )
    assert float(entries["audits.minimum_segment_share_pct"]) == SHIPPED.audits.minimum_segment_share_pct
    assert json.loads(entries["segments"]) == SHIPPED.raw["segments"]
    assert json.loads(entries["category_groups"]) == SHIPPED.raw["category_groups"]
    assert json.loads(entries["approved_statuses"]) == ["approved"]
    assert {name for name in entries if name.startswith("audits.")} == {
        f"audits.{key}" for key in SHIPPED.raw["audits"]
    }


def test_every_row_of_candidate_and_audits_names_what_it_is_of(published: Pipeline) -> None:
    logged = newest(published)
    for table in ("segment_assignments", "segment_audits"):
        assert published.rows(
            f"select distinct content_hash, decision_hash from silver.{table} where snapshot_month = '{NOVEMBER}'"
        ) == [(logged["content_hash"], logged["decision_hash"])], table


def test_rules_edited_between_candidate_and_publication_publish_nothing(published: Pipeline) -> None:
    edited = with_audits(drift_max_psi=0.5)
    before = published_tables(published)
    assert build(published, CANDIDATE)
    assert not build(published, PUBLICATION, edited, NAMED_TESTS_ONLY)
    assert published_tables(published) == before
    told = refusal(published, edited)
    assert (
        f"made and audited by decision {SHIPPED.decision_hash[:12]}, and this run reads {edited.decision_hash[:12]}"
        in told
    )
    assert told.endswith("(make month MONTH=2025-11-01).")
    # The same candidate, under the rules it was made by.
    assert build(published, PUBLICATION, None, NAMED_TESTS_ONLY)
    # Under the edited rules from the candidate on, the log tells these.
    assert build(published, CANDIDATE, edited)
    assert build(published, PUBLICATION, edited, NAMED_TESTS_ONLY)
    assert newest(published)["decision_hash"] == edited.decision_hash
    assert newest(published)["version"] == 2
    assert newest(published)["content_hash"] == before["segment_publications"][-1][6]


def test_audits_of_one_run_do_not_publish_the_candidate_of_another(published: Pipeline) -> None:
    """Two actors, step by step: A's candidate and audits, then B's candidate under A's audits."""
    before = published_tables(published)
    published.execute(f"create table a as select * from silver.segment_audits where snapshot_month = '{NOVEMBER}'")
    published.execute(
        "update silver.customer_period_spend set spend = spend / 2 where customer_key in"
        " (select customer_key from silver.stg_customers where customer_id like '%1')"
    )
    assert build(published, "transaction_window_metrics category_shares segment_assignments")
    published.execute("insert into silver.segment_audits select * from a")
    assert not build(published, PUBLICATION, None, NAMED_TESTS_ONLY)
    assert published_tables(published) == before
    assert "there are no audits of the present candidate (content hash " in refusal(published)


def test_audits_of_a_rollup_made_anew_are_those_of_no_candidate(published: Pipeline) -> None:
    """Two actors: A's candidate, then a fact changes and B rolls it up; A's audits find that rollup and facts agree."""
    before = published_tables(published)
    published.execute(
        "update gold.fct_transactions set transaction_amount = transaction_amount + 5000 where transaction_key ="
        " (select min(transaction_key) from silver.stg_transactions where transaction_date >= '2025-11-01')"
    )
    assert build(published, "customer_period_spend")
    assert build(published, "segment_audits")
    assert not build(published, PUBLICATION, None, NAMED_TESTS_ONLY)
    assert published_tables(published) == before
    assert "there are no audits of the present candidate (content hash " in refusal(published)
    assert build(published, CANDIDATE)
    assert build(published, PUBLICATION, None, NAMED_TESTS_ONLY)
    assert newest(published)["version"] == 2


def test_what_is_rolled_up_from_views_of_other_rules_is_not_published(published: Pipeline) -> None:
    """The views of staging are of whoever built them last, here of the shipped rules; this run has another group."""
    before = published_tables(published)
    groups = {**SHIPPED.raw["category_groups"], "travel": ["Travel", "Airlines", "Hotels", "Cruises"]}
    rules = parse_rules({**SHIPPED.raw, "category_groups": groups}, "test")

    def dbt(select: str, arguments: tuple[str, ...] = NO_TESTS) -> bool:
        run_vars = {"category_groups": groups}
        return published.dbt(NOVEMBER, select=select, arguments=arguments, run_vars=run_vars)[0]

    assert dbt(CANDIDATE)
    assert not dbt(PUBLICATION, NAMED_TESTS_ONLY)
    assert published_tables(published) == before
    assert "there are no audits of the present candidate (content hash " in refusal(published, rules)
    # With views of its own it is published, and as what it is.
    assert dbt(f"path:models/staging {CANDIDATE}")
    assert dbt(PUBLICATION, NAMED_TESTS_ONLY)
    assert newest(published)["decision_hash"] == rules.decision_hash


def test_a_candidate_changed_by_hand_is_not_published(published: Pipeline) -> None:
    before = published_tables(published)
    published.execute(
        "update silver.segment_assignments set customer_segment = 'Declining' where customer_segment ="
        f" 'Stable Mid-Spenders' and snapshot_month = '{NOVEMBER}'"
    )
    assert not build(published, PUBLICATION, None, NAMED_TESTS_ONLY)
    assert published_tables(published) == before
    assert "the candidate was changed after it was computed" in refusal(published)


@pytest.mark.parametrize("audit", ["rollup_equals_the_facts", "every_segment_holds_the_minimum_share"])
def test_an_audit_that_did_not_run_is_none_that_passed(published: Pipeline, audit: str) -> None:
    published.execute(
        f"delete from silver.segment_audits where snapshot_month = '{NOVEMBER}' and audit = '{audit}'"
        " and coalesce(customer_segment, 'Declining') = 'Declining'"
    )
    before = published_tables(published)
    assert not build(published, PUBLICATION, None, NAMED_TESTS_ONLY)
    assert published_tables(published) == before
    assert f"1 of its audits did not run ({audit})" in refusal(published)


def test_a_looser_bound_needs_a_person_once(published: Pipeline) -> None:
    looser = with_audits(minimum_segment_share_pct=0, facts_may_end_days_early=3, usual_day_min_facts=100_000)
    assert build(published, CANDIDATE, looser)
    assert not build(published, PUBLICATION, looser, NAMED_TESTS_ONLY)
    told = refusal(published, looser)
    assert "no_blocking_bound_was_loosened: 3 bounds are looser than at the last publication (allowed: 0)." in told
    with DuckDBWarehouse(path=str(published.path)).session() as session:
        acceptances.accept(session, NOVEMBER, "no_blocking_bound_was_loosened", None, "Ann", "A small portfolio")
    # Still looser, by as many bounds: what Ann has seen is another decision.
    loosest = with_audits(minimum_segment_share_pct=0, facts_may_end_days_early=20, usual_day_min_facts=100_000)
    assert build(published, CANDIDATE, loosest)
    assert not build(published, PUBLICATION, loosest, NAMED_TESTS_ONLY)
    assert newest(published)["decision_hash"] == SHIPPED.decision_hash
    assert build(published, CANDIDATE, looser)
    assert build(published, PUBLICATION, looser, NAMED_TESTS_ONLY)
    logged = newest(published)
    assert (logged["version"], logged["audits_verdict"]) == (2, "accepted")
    assert logged["override_reason"] == "Ann: A small portfolio"
    # The next is measured by that one; and a tighter bound needs nobody.
    assert build(published, CANDIDATE, with_audits(minimum_segment_share_pct=0, facts_may_end_days_early=2))
    found = (
        "select measured from silver.segment_audits where audit = 'no_blocking_bound_was_loosened'"
        f" and snapshot_month = '{NOVEMBER}'"
    )
    assert published.rows(found) == [(0,)]


def with_minimum(**shares: float) -> Rules:
    """The shipped rules with a minimum share of its own for some segments."""
    segments = [
        {**one, **({"minimum_share_pct": shares[one["name"]]} if one["name"] in shares else {})}
        for one in SHIPPED.raw["segments"]
    ]
    return parse_rules({**SHIPPED.raw, "segments": segments}, "test")


def test_a_segment_may_hold_less_by_a_bound_of_its_own_which_a_person_looks_at_once(published: Pipeline) -> None:
    def measured(rules: Rules) -> tuple[dict[str, float], float]:
        assert build(published, CANDIDATE, rules)
        audits = f"from silver.segment_audits where snapshot_month = '{NOVEMBER}' and audit ="
        floors = published.rows(
            f"select customer_segment, lower_bound {audits} 'every_segment_holds_the_minimum_share'"
        )
        ((looser,),) = published.rows(f"select measured {audits} 'no_blocking_bound_was_loosened'")
        return dict(floors), looser

    of_all = dict.fromkeys(SHIPPED.segment_names, 5.0)
    lower = with_minimum(Declining=2)
    assert measured(lower) == ({**of_all, "Declining": 2.0}, 1)
    assert lower.decision_hash != SHIPPED.decision_hash
    with DuckDBWarehouse(path=str(published.path)).session() as session:
        acceptances.accept(session, NOVEMBER, "no_blocking_bound_was_loosened", None, "Ann", "Few are leaving")
    assert build(published, PUBLICATION, lower, NAMED_TESTS_ONLY)
    entry = "select entry_value from gold.segment_decisions where entry = 'segments.Declining.minimum_share_pct'"
    assert published.rows(f"{entry} and decision_hash = '{lower.decision_hash}'") == [("2",)]
    # From here on that one is the measure: lower still, the same, of one more segment, and back to that of all.
    assert measured(with_minimum(Declining=1)) == ({**of_all, "Declining": 1.0}, 1)
    assert measured(lower)[1] == 0
    assert measured(with_minimum(**{"Declining": 2, "New & Growing": 4}))[1] == 1
    assert measured(SHIPPED) == (of_all, 0)


def test_what_was_accepted_does_not_cover_a_larger_loss_of_the_same_count(published: Pipeline) -> None:
    """One month differs, both times: by 10.00 when Ann looked, and by all that the month's largest facts hold later."""
    lost = (
        "delete from gold.fct_transactions where transaction_key in (select transaction_key from"
        " silver.stg_transactions where transaction_date between '2025-09-01' and '2025-09-30'"
        " order by amount desc limit {})"
    )

    def blocked() -> list[tuple[Any, ...]]:
        return published.rows(
            "select measured, failed_rows, affected_spend from silver.segment_audit_verdicts where is_blocking"
            f" and audit = 'rollup_equals_the_facts' and snapshot_month = '{NOVEMBER}'"
        )

    published.execute(lost.format(1))
    assert build(published, f"segment_assignments {CANDIDATE}")
    ((_, rows, money),) = blocked()
    assert rows == 1
    assert money > 0
    with DuckDBWarehouse(path=str(published.path)).session() as session:
        told = acceptances.accept(session, NOVEMBER, "rollup_equals_the_facts", None, "Ann", "One fact was void")
    assert f"1 month differs (allowed: 0; {money:,.2f} of spend)." in told
    assert blocked() == []

    content = f"select distinct content_hash from silver.segment_assignments where snapshot_month = '{NOVEMBER}'"
    seen = published.rows(content)
    published.execute(lost.format(40))
    assert build(published, "segment_audits")
    assert published.rows(content) == seen
    ((measured, rows, more),) = blocked()
    assert (measured, rows) == (1, 41)
    assert more > money


def test_the_other_months_of_a_range_go_on(published: Pipeline) -> None:
    published.execute(
        f"delete from silver.segment_audits where snapshot_month = '{OCTOBER}' and audit = 'segment_mix_is_stable'"
    )
    published.execute("delete from gold.customer_segment_history")
    published.dbt(OCTOBER, NOVEMBER, select="customer_segment_history", arguments=NO_TESTS)
    assert published.rows("select distinct snapshot_month from gold.customer_segment_history") == [(NOVEMBER,)]
