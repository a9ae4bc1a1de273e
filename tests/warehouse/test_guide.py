"""The queries of docs/segmentation_guide.md, as printed.

Locks out: a guide whose queries have stopped running, find nothing, or name columns that are no more; and a metric that
is another number than the query of the same question.
"""

import csv
import logging
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import sqlglot
import yaml

from segmentation_assets.dbt.project import Project, project_dir
from tests.support.command_line import in_process
from tests.support.published_by_job import NEWEST, Published
from tests.support.published_months import pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
GUIDE = Path(__file__).parents[2] / "docs" / "segmentation_guide.md"
QUERIES = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
# A query, and the same question to MetricFlow.
ASKED_TWICE = re.findall(
    r"```sql\n([^`]*?)```\n\n```sh\nsegmentation mf (.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL
)
# On a healthy portfolio nothing failed, and no campaign is 90 days old yet.
# A universal holdout is off as shipped, so nothing is compared with it.
MAY_BE_EMPTY = ("where not passed", "campaign_outcomes", "program_outcomes")


@pytest.fixture(scope="module")
def whole(published_by_job: Published) -> Iterator[Pipeline]:
    """Months of a synthetic portfolio, with audiences and outcomes, published by the job."""
    with pipeline_at(published_by_job.database) as pipeline:
        yield pipeline


@pytest.mark.parametrize("query", QUERIES, ids=[f"query {number}" for number in range(1, len(QUERIES) + 1)])
def test_a_query_of_the_guide_finds_something(whole: Pipeline, query: str) -> None:
    assert whole.rows(query) or any(words in query for words in MAY_BE_EMPTY), query


@pytest.mark.parametrize("query", QUERIES, ids=[f"query {number}" for number in range(1, len(QUERIES) + 1)])
def test_a_query_of_the_guide_is_snowflake_sql_too(query: str) -> None:
    (statement,) = sqlglot.parse(query, dialect="snowflake")
    assert statement is not None
    assert not re.search(r"\bfilter\s*\(|\border by all\b|\bgroup by all\b", query)


@pytest.fixture
def root_logger_kept() -> Iterator[None]:
    """MetricFlow sets up the process's logging, as a command may."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("root_logger_kept")
def test_metrics_answer_as_the_queries_do(whole: Pipeline, tmp_path: Path) -> None:
    assert len(ASKED_TWICE) >= 15
    database = {"SEGMENTATION_DUCKDB_PATH": str(whole.path)}
    validated = in_process(tmp_path, "mf", "validate-configs", **database)
    assert validated[0] == 0, validated
    answer = tmp_path / "answer.csv"
    for query, words in ASKED_TWICE:
        arguments = shlex.split(words.replace("\\\n", ""))
        code, out, err = in_process(tmp_path, "mf", *arguments, "--csv", str(answer), "--quiet", **database)
        assert code == 0, (words, out, err)
        # Of its columns those that are no metric come first, in the query as in the answer.
        metrics = arguments[arguments.index("--metrics") + 1].split(",")
        with answer.open(newline="", encoding="utf-8") as file:
            found = [
                [*(row[name] for name in row if name not in metrics), *map(row.__getitem__, metrics)]
                for row in csv.DictReader(file)
            ]
        expected = whole.rows(query)
        assert len(found) == len(expected) > 0, words
        for got, wanted in zip(sorted(map(plain, found)), sorted(map(plain, expected)), strict=True):
            assert got[0] == wanted[0], words
            assert got[1] == pytest.approx(wanted[1], rel=1e-9), (words, got, wanted)


def plain(row: Iterable[object]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Texts and days apart from numbers, of a row of either; a number that is not there is -1, which none is."""
    texts, numbers = [], []
    for value in row:
        text = "" if value is None else str(value)
        try:
            numbers.append(float(text) if text else -1.0)
        except ValueError:
            texts.append(text.partition("T")[0].partition(" ")[0] if text[:4].isdigit() else text)
    return tuple(texts), tuple(numbers)


def test_the_guide_has_every_column_segment_and_campaign(whole: Pipeline) -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    columns = [name for name, *_ in whole.rows("describe gold.customer_segment_history")]
    names = [segment.name for segment in RULES.segments] + [campaign.name for campaign in RULES.campaigns]
    assert [name for name in columns if f"`{name}`" not in guide] == []
    assert [name for name in names if f"| {name} |" not in guide] == []


def test_every_column_carries_its_description(whole: Pipeline) -> None:
    """persist_docs writes what differs (macros/dbt_overrides/comments.sql): on a first build that is everything."""
    described = {
        (model["name"], column["name"]): " ".join(column["description"].split())
        for path in project_dir().glob("models/**/*.yml")
        for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models", [])
        for column in model.get("columns", [])
        if "{{" not in column["description"]
    }
    found = whole.rows(
        "select table_name, column_name, comment from duckdb_columns() where schema_name in ('gold', 'silver')"
    )
    comments = {(table, column): " ".join((comment or "").split()) for table, column, comment in found}
    compared = described.keys() & comments.keys()
    assert len(compared) > 100
    assert {key: comments[key] for key in compared} == {key: described[key] for key in compared}


def test_a_changed_comment_is_put_right(whole: Pipeline) -> None:
    comment = "select comment from duckdb_columns() where table_name = 'segment_summary' and column_name = 'customers'"
    before = whole.rows(comment)
    whole.execute("comment on column gold.segment_summary.customers is 'something else'")
    succeeded, said = whole.dbt(NEWEST, select="segment_summary", command="run")
    assert succeeded, said
    assert whole.rows(comment) == before != [("something else",)]
