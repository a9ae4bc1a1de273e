"""Databases that earlier versions made, really: tests/earlier_versions holds two, written by tools/earlier_version.py.

Locks out: a month of the history, of the log or of a list that an upgrade changes or loses, a column of somebody's own
that it refuses or empties, a next month that is not published, and old months that nobody can explain any more.

before_binding.sql is of the commit before audits and publication named their candidate, before_marks.sql of the one
before tables carried a mark of whose they are.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from segmentation_assets.dbt.project import Project
from segmentation_assets.publication import migration, ownership
from tests.support.command_line import in_process
from tests.support.published_months import FILE, NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

MADE = Path(__file__).parents[1] / "earlier_versions"
EVERYTHING = "path:models"
# Replaced whole by every run, or internal and made anew in another shape: nothing of anybody's is kept in them.
MADE_ANEW = {("gold", "customer_segments"), ("gold", "customer_360_profile"), ("silver", "customer_period_spend")}
SOURCES = {"fct_transactions", "dim_customer", "dim_merchant_category", "dim_date", "marketing_suppressions"}

Table = tuple[str, str]
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Upgraded:
    pipeline: Pipeline
    by_the_job: bool  # otherwise by dbt alone
    columns: Mapping[Table, Sequence[str]]  # as the earlier version, and people, left them
    rows: Mapping[Table, Rows]
    theirs: frozenset[Table]  # which have a column of somebody's own

    def now(self, table: Table) -> Rows:
        return rows_of(self.pipeline, table, self.columns[table])


def columns_of(pipeline: Pipeline) -> dict[Table, list[str]]:
    found: dict[Table, list[str]] = {}
    for schema, table, column in pipeline.rows(
        "select schema_name, table_name, column_name from duckdb_columns() where schema_name in ('gold', 'silver')"
        " and table_oid in (select table_oid from duckdb_tables()) order by schema_name, table_name, column_index"
    ):
        found.setdefault((schema, table), []).append(column)
    return found


def rows_of(pipeline: Pipeline, table: Table, columns: Sequence[str]) -> Rows:
    """In the order of their text: a row may hold NULL, and types that cannot be compared."""
    return sorted(pipeline.rows(f"select {', '.join(columns)} from {table[0]}.{table[1]}"), key=repr)


def upgraded(pipeline: Pipeline, name: str, *, by_the_job: bool, with_notes: bool) -> Upgraded:
    """The database of that version, and November published by this one."""
    pipeline.execute((MADE / f"{name}.sql").read_text(encoding="utf-8"))
    present = columns_of(pipeline)
    theirs = [table for table in present if with_notes and table not in MADE_ANEW and table[1] not in SOURCES]
    for schema, table in theirs:
        pipeline.execute(f"alter table {schema}.{table} add column checked_by varchar")
        pipeline.execute(f"update {schema}.{table} set checked_by = 'Ann'")
    columns = columns_of(pipeline)
    rows = {table: rows_of(pipeline, table, columns[table]) for table in columns}
    if by_the_job:
        result = pipeline.run(NOVEMBER)
        assert result.success, [event.message for event in result.all_events if event.is_failure]
    else:
        migration.bring_up_to_date(pipeline.warehouse(), Project.load())
        succeeded, said = pipeline.dbt(NOVEMBER, select=EVERYTHING, arguments=NO_TESTS)
        assert succeeded, said
    return Upgraded(pipeline, by_the_job, columns, rows, frozenset(theirs))


@pytest.fixture(
    scope="module",
    params=[
        ("before_marks", True, True),
        ("before_marks", False, False),
        ("before_binding", False, True),
    ],
    ids=["before_marks, by the job, with columns of theirs", "before_marks", "before_binding, with columns of theirs"],
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    name, by_the_job, with_notes = request.param
    with pipeline_at(tmp_path_factory.mktemp(name) / FILE) as pipeline:
        yield upgraded(pipeline, name, by_the_job=by_the_job, with_notes=with_notes)


def test_nothing_that_was_there_is_lost_or_changed(case: Upgraded) -> None:
    compared = 0
    for table, before in case.rows.items():
        if table in MADE_ANEW:
            continue
        columns = case.columns[table]
        of_october = [row for row in case.now(table) if _month(columns, row) <= str(OCTOBER)]
        if "snapshot_month" in columns or table[1] in SOURCES:
            assert of_october == before, table
        else:  # logs of rules and decisions, to which the next month adds its own
            assert set(before) <= set(of_october), table
        compared += len(before)
    assert compared > 200


def _month(columns: Sequence[str], row: tuple[Any, ...]) -> str:
    return str(row[columns.index("snapshot_month")]) if "snapshot_month" in columns else ""


def test_columns_that_have_come_since_are_there_and_hold_nothing_of_old_months(case: Upgraded) -> None:
    project = Project.load()
    manifest = json.loads(project.manifest_path.read_text(encoding="utf-8"))
    now = columns_of(case.pipeline)
    added = 0
    for table, expected in migration.expected_tables(manifest).items():
        assert set(expected.types) <= set(now[table]), table
        if table not in case.columns or table in MADE_ANEW:
            continue
        for column in set(now[table]) - set(case.columns[table]):
            known = case.pipeline.rows(
                f"select count(*) from {'.'.join(table)} where {column} is not null and snapshot_month <= '{OCTOBER}'"
            )
            assert known == [(0,)], f"{table}.{column} says what nobody can know"
            added += 1
    assert added, "the file is of a version that lacks nothing, and tests no migration"


def test_the_next_month_is_published_beside_the_old_ones_and_made_with_its_lists(case: Upgraded) -> None:
    versions = case.pipeline.rows(
        "select snapshot_month, version, customers, content_hash is not null, decision_hash is not null"
        " from gold.segment_publications order by all"
    )
    assert [row[:4] for row in versions] == [(month, 1, 5, True) for month in (SEPTEMBER, OCTOBER, NOVEMBER)]
    assert versions[-1][4]
    assert case.pipeline.rows(
        "select snapshot_month, count(*) from gold.customer_segment_history group by 1 order by 1"
    ) == [(month, 5) for month in (SEPTEMBER, OCTOBER, NOVEMBER)]
    assert case.pipeline.rows(
        "select distinct segment_assigned_date, count(*) from gold.customer_segments group by 1"
    ) == [(NOVEMBER.replace(month=12), 5)]
    assert case.pipeline.rows(
        "select count(*) > 0 from gold.audience_waterfall join gold.segment_publications"
        f" using (snapshot_month, content_hash) where snapshot_month = '{NOVEMBER}'"
    ) == [(True,)]
    for schema, table in case.theirs:
        assert case.pipeline.rows(
            f"select count(*) from {schema}.{table} where checked_by is not null and checked_by <> 'Ann'"
        ) == [(0,)]


def test_every_table_and_view_is_marked_as_ours(case: Upgraded) -> None:
    project = Project.load()
    with case.pipeline.warehouse().session(read_only=True) as session:
        present = ownership.found(session, ownership.declared(project))
    # Plain dbt does not write what is no model.
    names = {(one.schema, one.name) for one in present if not one.is_marked}
    assert names <= (set() if case.by_the_job else {("gold", "campaign_outcomes")})


def test_old_months_are_explained_under_the_rules_that_they_were_published_by(case: Upgraded, tmp_path: Path) -> None:
    explained = case.pipeline.rows(
        "select snapshot_month, count(distinct customer_id), count(distinct segment) from gold.segment_explanations"
        " group by 1 order by 1"
    )
    assert explained == [(month, 5, 5) for month in (SEPTEMBER, OCTOBER, NOVEMBER)]
    code, out, err = in_process(
        tmp_path, "why", "Declining 0", "2025-09", SEGMENTATION_DUCKDB_PATH=str(case.pipeline.path)
    )
    assert code == 0, err
    assert "Declining" in out
    assert "-63.3" in out, "the change of the month that was asked for"
