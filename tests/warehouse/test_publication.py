"""What is published: whole months, each version logged in the transaction that made it, tables that know no order.

Locks out: a log that tells of a version nobody can read or misses one that everybody reads, a new version of the same
content, an older month that takes the newest one's place, and sums over months that depend on which was computed first.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from segmentation_assets.rules.load import load_rules
from tests.support.published_months import (
    CANDIDATE_AND_PUBLISHED,
    NO_TESTS,
    NOVEMBER,
    OCTOBER,
    RECOMPUTED,
    SEPTEMBER,
    pipeline_at,
    published_tables,
)
from tests.support.warehouse_fixture import Pipeline

MONTHS = (SEPTEMBER, OCTOBER, NOVEMBER)
RULES = load_rules(Path(__file__).parents[2] / "dbt_models")
LOG = (
    "select snapshot_month, version, customers, content_hash, rules_hash, audits_verdict, override_reason"
    " from gold.segment_publications order by snapshot_month, version"
)
# Moves one customer from Stable Mid-Spenders: 20,000 of travel on the last day of the month.
ONE_MORE_TRAVELS = (
    "insert into gold.fct_transactions by name select 9000000 as transaction_key, customer_key,"
    " 1 as merchant_category_key, date '{day}' as transaction_date, 20000 as transaction_amount,"
    " 'approved' as transaction_status"
    " from gold.customer_segment_history where snapshot_month = '{month}' and customer_segment = 'Stable Mid-Spenders'"
    " order by customer_id limit 1"
)


def build(pipeline: Pipeline, first: date, last: date | None = None, select: str = CANDIDATE_AND_PUBLISHED) -> None:
    succeeded, said = pipeline.dbt(first, last, select=select, arguments=NO_TESTS)
    assert succeeded, said


def assert_log_is_of_the_history(pipeline: Pipeline) -> None:
    published = dict(pipeline.rows("select snapshot_month, count(*) from gold.customer_segment_history group by 1"))
    newest = {row[0]: row for row in pipeline.rows(LOG)}
    assert {month: row[2] for month, row in newest.items()} == published


def test_each_month_is_logged_once_with_its_rules_and_its_rows(published: Pipeline) -> None:
    log = published.rows(LOG)
    assert [row[:2] for row in log] == [(month, 1) for month in MONTHS]
    assert {row[4] for row in log} == {RULES.segments_hash}
    assert {row[5:] for row in log} == {("passed", None)}
    assert len({row[3] for row in log}) == 3
    assert_log_is_of_the_history(published)
    for (run_id,) in published.rows("select run_id from gold.segment_publications"):
        assert run_id


def test_a_new_version_is_a_new_content_and_nothing_else(published: Pipeline) -> None:
    first = published.rows(LOG)
    build(published, SEPTEMBER, NOVEMBER)
    assert published.rows(LOG) == first, "the same content was published again as another version"

    published.execute(ONE_MORE_TRAVELS.format(day="2025-10-31", month=OCTOBER))
    build(published, SEPTEMBER, NOVEMBER)
    log = published.rows(LOG)
    assert [row[:2] for row in log] == [(SEPTEMBER, 1), (OCTOBER, 1), (OCTOBER, 2), (NOVEMBER, 1), (NOVEMBER, 2)]
    assert log[1][3] != log[2][3]
    assert log[0] == first[0], "September has not seen the fact of October"
    assert_log_is_of_the_history(published)


def test_a_version_that_stands_twice_in_the_log_is_told_and_keeps_no_month_from_being_published(
    published: Pipeline,
) -> None:
    """Two runs at once could leave that behind, and then nothing was ever published again."""
    doubled = f"from gold.segment_publications where snapshot_month = '{OCTOBER}' and version = 1"
    published.execute(f"insert into gold.segment_publications select * replace ('another' as run_id) {doubled}")
    published.execute(ONE_MORE_TRAVELS.format(day="2025-11-30", month=NOVEMBER))
    succeeded, said = published.dbt(
        NOVEMBER,
        NOVEMBER,
        select=f"{CANDIDATE_AND_PUBLISHED} one_row_per_month_and_version",
        arguments=["--indirect-selection", "empty"],
    )
    assert succeeded, said
    assert any("WARN 1 one_row_per_month_and_version" in line for line in said)
    log = [row[:2] for row in published.rows(LOG)]
    assert log == [(SEPTEMBER, 1), (OCTOBER, 1), (OCTOBER, 1), (NOVEMBER, 1), (NOVEMBER, 2)]
    # As the runbook says.
    published.execute(f"delete {doubled} and run_id = 'another'")
    assert_log_is_of_the_history(published)
    assert len(published.rows(LOG)) == len(log) - 1


def test_a_content_is_told_from_another_whatever_the_order_of_rows_and_whichever_column_changed(
    published: Pipeline,
) -> None:
    """Hashes of candidates that differ in one column of one row, and of whose own nothing else is published."""
    (key,) = published.rows(
        f"select min(customer_id) from silver.segment_assignments where snapshot_month = '{NOVEMBER}'"
    )[0]
    where = f"snapshot_month = '{NOVEMBER}'"
    published.execute(f"create table kept as select * from silver.segment_assignments where {where}")

    def hash_of(*changes: str) -> str:
        published.execute(f"delete from silver.segment_assignments where {where}")
        published.execute("insert into silver.segment_assignments select * from kept order by hash(customer_id)")
        for change in changes:
            published.execute(f"update silver.segment_assignments set {change} where {where} and customer_id = '{key}'")
        return published.rows(f"select content_hash from silver.segment_gate where {where}")[0][0]

    logged = f"select content_hash from gold.segment_publications where {where}"
    hashes = [
        hash_of(),
        hash_of("lifetime_value = lifetime_value + 0.01"),
        hash_of("tenure_months = null"),
        hash_of("travel_spend_pct = coalesce(travel_spend_pct, 0) + 0.000001"),
    ]
    assert len(set(hashes)) == 4
    assert hash_of() == hashes[0]
    assert published.rows(logged) == [(hashes[0],)]


def test_a_month_and_its_log_row_are_written_together_or_not_at_all(published: Pipeline) -> None:
    before = published.rows("select * from gold.customer_segment_history order by all")
    published.execute(ONE_MORE_TRAVELS.format(day="2025-11-30", month=NOVEMBER))
    build(published, NOVEMBER, select=RECOMPUTED)
    published.execute("alter table gold.segment_publications rename column override_reason to reason")
    succeeded, said = published.dbt(NOVEMBER, select="customer_segment_history", arguments=NO_TESTS)
    assert not succeeded
    assert any("override_reason" in line for line in said), said
    assert published.rows("select * from gold.customer_segment_history order by all") == before

    published.execute("alter table gold.segment_publications rename column reason to override_reason")
    build(published, NOVEMBER, select="customer_segment_history")
    assert published.rows("select * from gold.customer_segment_history order by all") != before
    assert [row[:2] for row in published.rows(LOG)][-1] == (NOVEMBER, 2)


def test_the_very_first_month_is_written_with_its_log_row_or_not_at_all(published: Pipeline) -> None:
    """The first build is a `create table as`, another statement than every later one."""
    published.execute("drop table gold.customer_segment_history cascade")
    published.execute("delete from gold.segment_publications")
    published.execute("alter table gold.segment_publications rename column override_reason to reason")
    succeeded, _ = published.dbt(NOVEMBER, select="customer_segment_history", arguments=NO_TESTS)
    assert not succeeded
    assert not published.rows("select 1 from information_schema.tables where table_name = 'customer_segment_history'")

    published.execute("alter table gold.segment_publications rename column reason to override_reason")
    build(published, NOVEMBER, select="customer_segment_history")
    assert [row[:2] for row in published.rows(LOG)] == [(NOVEMBER, 1)]
    assert_log_is_of_the_history(published)


def test_backfilling_an_older_month_leaves_customer_segments_alone(published: Pipeline) -> None:
    before = published_tables(published)
    published.execute(ONE_MORE_TRAVELS.format(day="2025-10-31", month=OCTOBER))
    build(published, OCTOBER)
    after = published_tables(published)
    assert after["customer_segments"] == before["customer_segments"]
    assert after["customer_segment_history"] != before["customer_segment_history"]
    newest = published.rows(
        "select * exclude snapshot_month from gold.customer_segment_history"
        f" where snapshot_month = '{NOVEMBER}' order by all"
    )
    assert after["customer_segments"] == newest


def test_summary_and_transitions_account_for_every_customer(published: Pipeline) -> None:
    population = dict(published.rows("select snapshot_month, count(*) from gold.customer_segment_history group by 1"))
    assert (
        dict(published.rows("select snapshot_month, sum(customers) from gold.segment_summary group by 1")) == population
    )
    moves = published.rows(
        "select snapshot_month, sum(customers) filter (to_segment <> 'No longer a customer'),"
        " sum(customers) filter (from_segment <> 'Not a customer before')"
        " from gold.segment_transitions group by 1 order by 1"
    )
    assert moves == [
        (OCTOBER, population[OCTOBER], population[SEPTEMBER]),
        (NOVEMBER, population[NOVEMBER], population[OCTOBER]),
    ]
    # And each move is of the customers who made it.
    counted = published.rows(
        "select coalesce(a.customer_segment, 'Not a customer before'), b.customer_segment, count(*)"
        " from (from gold.customer_segment_history where snapshot_month = '2025-11-01') as b"
        " left join (from gold.customer_segment_history where snapshot_month = '2025-10-01') as a using (customer_id)"
        " group by all order by all"
    )
    assert counted == published.rows(
        "select from_segment, to_segment, customers from gold.segment_transitions"
        " where snapshot_month = '2025-11-01' order by all"
    )


@pytest.fixture
def unpublished(published_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path / "unpublished" / "segmentation.duckdb", published_file) as pipeline:
        pipeline.execute("drop schema silver cascade")
        for name, kind in pipeline.rows(
            "select table_name, table_type from information_schema.tables where table_schema = 'gold'"
            " and (table_name like 'segment_%' or table_name like 'customer_%')"
        ):
            pipeline.execute(f"drop {'view' if kind == 'VIEW' else 'table'} if exists gold.{name} cascade")
        yield pipeline


def comparable(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Without when and by which run a month was published."""
    log = [(*row[:2], *row[4:7]) for row in tables["segment_publications"]]
    return {**tables, "segment_publications": log}


def test_months_published_out_of_order_are_the_same_tables(
    unpublished: Pipeline, published_file: Path, tmp_path: Path
) -> None:
    with pipeline_at(tmp_path / "in-order" / "segmentation.duckdb", published_file) as in_order:
        expected = comparable(published_tables(in_order))
    for month in (NOVEMBER, SEPTEMBER, OCTOBER):
        build(unpublished, month)
    found = comparable(published_tables(unpublished))
    for table, rows in expected.items():
        assert found[table] == rows, table
