"""The analyzer of Snowflake's SQL, by what it refuses and what it is told otherwise.

Locks out: an analyzer that lets anything pass, a stand-in that hides a fault because nothing needs it any more, and one
that is not in docs/snowflake.md. What it says of our statements: test_snowflake.py.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import zetasql
from tests.support.zetasql import FUNCTIONS, STAND_INS, Resolver
from tests.support.zetasql_server import Analyzer, analyzer

DOCS = (Path(__file__).parents[2] / "docs" / "snowflake.md").read_text(encoding="utf-8")
TABLES = {
    ("gold", "t"): {
        "n": "NUMBER",
        "c": "TEXT",
        "d": "DATE",
        "made_at": "TIMESTAMP_NTZ",
        "is_it": "BOOLEAN",
        "measured": "FLOAT",
    }
}
FAULTS = {
    "no such column": "select nothing from gold.t",
    "no such table": "select n from gold.nothing",
    "another database": "select n from elsewhere.gold.t",
    "no such function": "select strftime(d, '%Y') as year from gold.t",
    "another engine's filter": "select count(*) filter (where n > 1) as n from gold.t",
    "a comparison of types": "select n from gold.t where d < is_it",
    "an argument's type": "select dateadd(day, n, is_it) as d from gold.t",
    "neither grouped nor summed": "select c, n from gold.t group by c",
    "an insert of another type": "insert into gold.t (d) select n from gold.t",
    "a deletion by a column that is not there": "delete from gold.t where nothing = 1",
    # Snowflake takes the alias, where there is one.
    "a sum of a sum in HAVING": "select c, sum(n) as n from gold.t group by c having sum(n) <> 0",
}
TAKEN = (
    "select c, sum(t.n) as n from gold.t as t group by c having sum(t.n) <> 0",
    "select n from segmentation.gold.t qualify row_number() over (partition by c order by made_at desc nulls last) = 1",
    'create or replace transient table segmentation.silver.made (n number, "C" text) copy grants'
    " as (select n, c from gold.t)",
    "insert into silver.made (n, c) select n, c from gold.t where d >= cast('2025-10-01' as date)",
    "select n + 1 as n, c || 'x' as c from silver.made",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Analyzer]:
    with analyzer() as running:
        yield running


def refused(server: Analyzer, *statements: str) -> list[str]:
    outcome = Resolver(server, "segmentation", TABLES).resolve(statements)
    assert outcome.statements == len(statements)
    return [one.why for one in outcome.refused]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused(server: Analyzer, fault: str) -> None:
    assert refused(server, FAULTS[fault])


def test_what_snowflake_takes_is_taken_and_a_table_that_is_made_is_known(server: Analyzer) -> None:
    assert refused(server, *TAKEN) == []


def test_every_stand_in_is_needed_and_is_in_the_docs(server: Analyzer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(server, *(one.example for one in STAND_INS)) == []
    for one in STAND_INS:
        assert one.why in DOCS
        monkeypatch.setattr(zetasql, "STAND_INS", [other for other in STAND_INS if other is not one])
        assert refused(server, one.example), one.why


def test_every_function_that_is_declared_is_needed_and_is_in_the_docs(
    server: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {
        "snowflake_hash": "hash(n, c)", "snowflake_md5": "md5(c)", "sha2": "sha2(c, 256)",
        "split_part": "split_part(c, '@', 1)", "position": "position('a', c)",
    }  # fmt: skip
    assert set(calls) == set(FUNCTIONS)
    for name, call in calls.items():
        asked = f"select {call} as given from gold.t"
        assert refused(server, asked) == []
        assert f"`{call.partition('(')[0].upper()}`" in DOCS
        monkeypatch.setattr(zetasql, "FUNCTIONS", {other: FUNCTIONS[other] for other in FUNCTIONS if other != name})
        assert refused(server, asked), name
