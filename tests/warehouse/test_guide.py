"""The queries of docs/segmentation_guide.md, as printed.

Locks out: a guide whose queries have stopped running, find nothing, or name columns that are no more.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
import yaml

from segmentation_assets.dbt.project import Project, project_dir
from tests.support.published_by_job import NEWEST, Published
from tests.support.published_months import pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
GUIDE = Path(__file__).parents[2] / "docs" / "segmentation_guide.md"
QUERIES = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
# On a healthy portfolio nothing failed, and no campaign is 90 days old yet.
MAY_BE_EMPTY = ("where not passed", "campaign_outcomes")


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
