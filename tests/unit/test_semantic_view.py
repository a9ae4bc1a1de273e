"""The semantic view that is written for Snowflake, read by its grammar.

sqlglot stops at the first clause of such a statement, and no emulator has semantic views. Its clauses are read here by
the grammar of docs.snowflake.com (CREATE SEMANTIC VIEW), and each expression by sqlglot. Locks out: a clause out of
order, a quote that is not closed, a metric that names itself, a column that no table has, and a metric left out.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from segmentation_assets.cli.commands import main
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.semantic_view import SemanticViewError, ddl

NAME = r"[a-z_][a-z0-9_]*"
COMMENT = r"(?: comment = '(?:[^']|'')*')?"
VIEW = re.compile(
    rf"create or replace semantic view (?:{NAME}\.)?gold\.segmentation_metrics\n"
    r"  tables \(\n(?P<tables>.*?)\n  \)\n"
    r"  dimensions \(\n(?P<dimensions>.*?)\n  \)\n"
    r"  metrics \(\n(?P<metrics>.*?)\n  \)\n"
    rf" {COMMENT}\n  copy grants;\n?",
    re.DOTALL,
)
TABLE = re.compile(
    rf"    (?P<alias>{NAME}) as (?P<name>(?:{NAME}\.){{1,2}}{NAME})"
    rf" primary key \((?P<key>{NAME}(?:, {NAME})*)\){COMMENT}"
)
EXPRESSION = re.compile(
    rf"    (?P<table>{NAME})\.(?P<name>{NAME})(?: non additive by \((?P<over>{NAME})\))? as (?P<sql>.+?){COMMENT}"
)
Definitions = Mapping[str, Any]


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    path = Project.load().manifest_path.with_name("semantic_manifest.json")
    return json.loads(path.read_text(encoding="utf-8"))


def entries(text: str, pattern: re.Pattern[str]) -> Iterator[dict[str, str]]:
    for line in text.split(",\n"):
        found = pattern.fullmatch(line)
        assert found, line
        yield found.groupdict()


def columns_in(sql: str) -> set[str]:
    return {column.sql() for column in sqlglot.parse_one(sql, dialect="snowflake").find_all(exp.Column)}


def test_it_follows_the_grammar_and_names_what_there_is(definitions: Definitions) -> None:
    found = VIEW.fullmatch(ddl(definitions))
    assert found
    tables = {entry["alias"]: entry for entry in entries(found["tables"], TABLE)}
    dimensions = list(entries(found["dimensions"], EXPRESSION))
    metrics = list(entries(found["metrics"], EXPRESSION))
    project = Project.load()
    contract = {table: set(project.entries[entry["name"].split(".")[-1]]["columns"]) for table, entry in tables.items()}
    for table, entry in tables.items():
        assert set(entry["key"].split(", ")) <= contract[table]
    for entry in dimensions:
        assert columns_in(entry["sql"]) <= contract[entry["table"]], entry
    known: set[str] = set()
    for entry in metrics:
        table, name, asked = entry["table"], entry["name"], columns_in(entry["sql"])
        # A metric that is called as a column of its table would be taken for it, or for itself.
        assert name not in contract[table]
        assert asked <= contract[table] | known, entry
        is_aggregate = sqlglot.parse_one(entry["sql"], dialect="snowflake").find(exp.AggFunc) is not None
        assert is_aggregate == (not asked & known)
        if entry["over"]:
            assert entry["over"] in {one["name"] for one in dimensions if one["table"] == table}
        known.add(f"{table}.{name}")
    assert {entry["name"] for entry in metrics} == {metric["name"] for metric in definitions["metrics"]}
    assert len(metrics) > 25
    assert {entry["name"]: entry["over"] for entry in metrics}["portfolio_customers"] == "snapshot_month"


def test_sqlglot_does_not_read_such_a_statement_yet() -> None:
    """When it does, the grammar above can go."""
    with pytest.raises(sqlglot.ParseError):
        sqlglot.parse_one(
            "create semantic view a tables (b as c primary key (d)) metrics (b.e as sum(f))", dialect="snowflake"
        )


def test_it_names_the_database_of_the_account(definitions: Definitions) -> None:
    text = ddl(definitions, database="analytics")
    assert text.startswith("create or replace semantic view analytics.gold.segmentation_metrics\n")
    assert "customer_segments as analytics.gold.customer_segments primary key (customer_id)" in text


def test_what_it_cannot_say_is_refused_by_name(definitions: Definitions) -> None:
    def changed(change: str) -> Definitions:
        copy = json.loads(json.dumps(definitions))
        metric = next(one for one in copy["metrics"] if one["name"] == "member_lifetime_value")
        measure = next(
            one
            for model in copy["semantic_models"]
            for one in model["measures"]
            if one["name"] == "members_lifetime_value"
        )
        if change == "cumulative":
            next(one for one in copy["metrics"] if one["name"] == "portfolio_retention_pct")["type"] = change
        elif change == "filter":
            metric["filter"] = {"where_filters": []}
        else:
            measure["agg"] = change
        return copy

    for change, words in (
        ("cumulative", "metric portfolio_retention_pct is cumulative or filtered"),
        ("filter", "metric member_lifetime_value is simple or filtered"),
        ("percentile", "measure members_lifetime_value is a percentile"),
    ):
        with pytest.raises(SemanticViewError, match=words):
            ddl(changed(change))


def test_the_command_prints_it(definitions: Definitions, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["semantic-view"]) == 0
    assert ddl(definitions).strip() in capfd.readouterr().out
