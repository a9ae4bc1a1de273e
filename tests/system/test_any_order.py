"""Whatever may be done to a warehouse, in any order, with runs that are killed; `make soak` goes on for longer.

Locks out: what tests/warehouse/test_any_order.py does, found by longer walks, and a kill after which a stage is half
there or a month is published that its audits were not about.
"""

from collections.abc import Iterator

import pytest

from tests.support.any_order import AnyOrder, AnyOrderWithKills, do
from tests.support.any_order_model import make_start
from tests.support.crashes import started_runs
from tests.support.once import once


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[AnyOrder]]:
    with started_runs() as runs:
        yield AnyOrderWithKills.beginning_at(once(tmp_path_factory, "any_order", make_start), runs)


def test_whatever_is_done_in_whatever_order_and_killed(machine: type[AnyOrder]) -> None:
    do(machine, examples=4, steps=14)
    assert machine.taken["months published"], f"nothing was published: {dict(machine.taken)}"
    assert machine.taken["killed"], f"nothing was killed: {dict(machine.taken)}"
