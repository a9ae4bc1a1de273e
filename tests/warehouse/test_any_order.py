"""A short walk through whatever may be done to a warehouse, in any order; tests/system has the long one.

Locks out: a candidate published by the verdict on another, rules or facts that changed between the stages of a month,
an acceptance that covers more than was seen, lists and files of another version, or with somebody who objected.
"""

from datetime import date

import pytest

from tests.support.any_order import AnyOrder, do
from tests.support.any_order_model import MONTHS, Asked, make_start
from tests.support.once import once

OCTOBER, NOVEMBER, DECEMBER = MONTHS[1:]


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> type[AnyOrder]:
    return AnyOrder.beginning_at(once(tmp_path_factory, "any_order", make_start))


def test_a_month_from_its_facts_to_its_files(machine: type[AnyOrder]) -> None:
    """Once through the operations that the walks below draw, so that none of them can have become empty."""
    steps = machine()
    try:
        steps.a_whole_run(months=(NOVEMBER, NOVEMBER), rules="shipped")
        steps.lists_are_made(months=(NOVEMBER, NOVEMBER), rules="shipped")
        steps.files_are_written(month=NOVEMBER)
        # Accepted is what Ann saw, and nothing more.
        steps.facts_change(change="double", customer="Declining 0", month=OCTOBER, number=1)
        steps.a_candidate(months=(NOVEMBER, NOVEMBER), rules="shipped")
        steps.publication_alone(month=NOVEMBER, rules="shipped")
        assert machine.taken["months held back"] == 1
        steps.somebody_accepts(month=NOVEMBER, everything=True)
        steps.facts_change(change="add", customer="Declining 1", month=OCTOBER, number=2)
        steps.a_single_stage(step="judge", months=(NOVEMBER, NOVEMBER), rules="shipped")
        steps.publication_alone(month=NOVEMBER, rules="shipped")
        assert machine.taken["months held back"] == 2
        steps.restated(rules="shipped")
    finally:
        steps.teardown()
    assert machine.taken["months published"] >= 1
    assert machine.taken["files written"] == machine.taken["lists made"] == machine.taken["restated"] == 1
    assert machine.taken["accepted"] == 1


def test_another_actor_between_two_stages(machine: type[AnyOrder]) -> None:
    """December is measured and assigned; facts of November change, whose run rolls them up; then December is judged."""
    steps = machine()
    try:
        steps.a_single_stage(step="measure", months=(DECEMBER, DECEMBER), rules="shipped")
        steps.a_single_stage(step="assign", months=(DECEMBER, DECEMBER), rules="shipped")
        steps.facts_change(change="double", customer="Declining 0", month=date(2025, 11, 1), number=1)
        steps.a_single_stage(step="measure", months=(NOVEMBER, NOVEMBER), rules="shipped")
        steps.a_single_stage(step="judge", months=(DECEMBER, DECEMBER), rules="shipped")
        steps.publication_alone(month=DECEMBER, rules="shipped")
    finally:
        steps.teardown()
    assert machine.taken["months held back"] == 1


def test_a_run_of_other_rules_that_broke_off_has_published_nothing(machine: type[AnyOrder]) -> None:
    """The steeper bound places nobody elsewhere: history, candidate and audits are, before that run publishes, as they
    are after it. The log alone tells the two apart, and has to name the rules whose publication was whole."""
    steps, months = machine(), (MONTHS[0], OCTOBER)
    try:
        steps.without_publication(months=months, rules="steeper")
        steps.a_run_breaks_off(months=months, rules="steeper", nth=1)
        assert {steps.state.history[month].rules for month in months} == {"shipped"}
        assert {steps.log[month]["version"] for month in months} == {1}
        rows = [steps.state.history[month].rows for month in months]
        steps.publish(Asked(*months, "steeper"))
        assert {steps.state.history[month].rules for month in months} == {"steeper"}
        assert {steps.log[month]["version"] for month in months} == {2}
        assert [steps.state.history[month].rows for month in months] == rows, "the bound moves somebody: no such case"
    finally:
        steps.teardown()


def test_a_log_that_tells_of_what_is_not_published_is_found(machine: type[AnyOrder]) -> None:
    steps = machine()
    try:
        for told in ("'1' as content_hash", "'1' as decision_hash", "'accepted' as audits_verdict"):
            steps.pipeline.execute(
                f"insert into gold.segment_publications select * replace (version + 1 as version, {told})"
                f" from gold.segment_publications where snapshot_month = '{OCTOBER}'"
            )
            with pytest.raises(AssertionError, match=str(OCTOBER)):
                steps.compare(told)
            steps.pipeline.execute("delete from gold.segment_publications where version = 2")
    finally:
        steps.teardown()


def test_whatever_is_done_in_whatever_order(machine: type[AnyOrder]) -> None:
    do(machine, examples=2, steps=8)
