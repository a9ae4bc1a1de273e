"""The order in which months are computed leaves no trace.

Locks out: a month that depends on which months were computed before it, a rerun that repeats or keeps rows, a flag
or a var of dbt's that empties or cuts a published table, facts that arrive after their month was passed
over and are never rolled up, a rollup of yesterday's category groups, and a window that cuts a period.
"""

import random
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from segmentation_assets.dbt.project import Project
from segmentation_assets.months import MonthRange, month_after
from segmentation_assets.sources import synthetic
from tests.support import portfolios
from tests.support.portfolio import Portfolio
from tests.support.warehouse_fixture import Pipeline
from tests.warehouse.test_parity import NO_TESTS, assert_parity

MONTHS = list(MonthRange(date(2026, 7, 1), date(2026, 9, 1)))
MEASURED = "path:models/staging path:models/metrics segment_assignments"
SEED = 20261001
# What a log of publications may differ in: when and how often a month was published, not what.
PUBLICATIONS = (
    "select distinct snapshot_month, rules_hash, customers, content_hash from gold.segment_publications order by 1"
)
# The same of the log of lists, which has a row for each run.
LISTS = (
    "select distinct snapshot_month, campaign, content_hash, suppressions, unmatched_suppressions, listed, held_out"
    " from gold.audience_log order by all"
)
# And of whose objections the last of them went by.
KEPT = "select customer_id from silver.objections_at_last_lists order by 1"
# What the feed comes to; it has what each run changed of the newest lists, so the way there depends on the order of
# the runs.
FEED = (
    "select campaign, external_id, payload from gold.audience_feed"
    " qualify row_number() over (partition by campaign, external_id order by updated_at desc) = 1 and is_listed"
    " order by all"
)
# What lies in the future depends on the day of the run, which plain dbt takes to be the newest asked month's end.
AUDITS = "select * from silver.segment_audits where audit not in ('future_dated_facts_are_few'{}) order by all"
# Who is in it and why, not which run said so.
CANDIDATES = "select * exclude (run_id) from silver.audience_candidates order by all"
SECOND_PASS = {
    "segment_publications": PUBLICATIONS,
    "audience_candidates": CANDIDATES,
    "audience_log": LISTS,
    "objections_at_last_lists": KEPT,
    "audience_feed": FEED,
    "segment_audits": AUDITS.format(""),
}
# Drift and bounds are measured against what was published before: the first pass may find less to compare with.
FIRST_PASS = SECOND_PASS | {
    "segment_audits": AUDITS.format(
        ", 'segment_mix_is_stable', 'no_segment_moved_far', 'no_blocking_bound_was_loosened'"
    )
}

Tables = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "segmentation.duckdb"
    with duckdb.connect(str(path)) as connection:
        synthetic.build(connection, "gold", customers=600, first_month=date(2025, 6, 1), last_month=MONTHS[-1])
    return path


@pytest.fixture(scope="module")
def backfilled(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every month, in one run."""
    path = tmp_path_factory.mktemp("backfilled") / "segmentation.duckdb"
    shutil.copy(source, path)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
        build(Pipeline(path), MONTHS[0], MONTHS[-1])
    yield path


def build(pipeline: Pipeline, first: date, last: date | None = None, **given: Any) -> None:
    succeeded, said = pipeline.dbt(first, last, arguments=NO_TESTS, **given)
    assert succeeded, said


def tables(path: Path, instead: dict[str, str] | None = None) -> Tables:
    """Every table the pipeline wrote, in one order; `instead` says what of a table is compared."""
    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute(
            "select schema_name, table_name from duckdb_tables() where schema_name in ('silver', 'gold') order by all"
        ).fetchall()
        return {
            name: connection.execute(
                (instead or {}).get(name, f"select * from {schema}.{name} order by all")
            ).fetchall()
            for schema, name in names
        }


def assert_same_tables(left: Tables, right: Tables) -> None:
    assert list(left) == list(right)
    for name, rows in left.items():
        differing = [pair for pair in zip_longest(rows, right[name]) if pair[0] != pair[1]]
        assert not differing, f"{name} differs in {len(differing)} rows, as in {differing[0]}"
    assert {
        len(left[name]) > 0 for name in ("customer_period_spend", "customer_segment_history", "audience_candidates")
    } == {True}


def test_one_by_one_in_any_order_or_in_one_run_and_again(pipeline: Pipeline, source: Path, backfilled: Path) -> None:
    shutil.copy(source, pipeline.path)
    shuffled = random.Random(SEED)
    for month in shuffled.sample(MONTHS, len(MONTHS)):
        build(pipeline, month)
    first = tables(pipeline.path, FIRST_PASS)
    assert_same_tables(first, tables(backfilled, FIRST_PASS))

    for month in shuffled.sample(MONTHS, len(MONTHS)):
        build(pipeline, month)
    assert_same_tables(tables(pipeline.path, FIRST_PASS), first)
    one_by_one = tables(pipeline.path, SECOND_PASS)
    logged = "select distinct count(*) from gold.audience_log group by snapshot_month, campaign"
    assert pipeline.rows(logged) == [(2,)], "one row of the log per run and list"

    shutil.copy(backfilled, pipeline.path)
    build(pipeline, MONTHS[0], MONTHS[-1])
    assert_same_tables(tables(pipeline.path, SECOND_PASS), one_by_one)


def test_a_flag_or_a_var_that_changes_what_the_months_are_made_from_is_refused_before_anything_is_touched(
    pipeline: Pipeline, backfilled: Path
) -> None:
    shutil.copy(backfilled, pipeline.path)
    before = tables(pipeline.path)
    state = ("--state", str(Project.load().manifest_path.parent))
    refused: list[tuple[str, str, tuple[str, ...], dict[str, object]]] = [
        ("run", "--empty", ("--empty",), {}),
        ("build", "--empty", (*NO_TESTS, "--empty"), {}),
        ("run", "--sample", ("--sample", "3 days"), {}),
        ("run", "--defer", ("--defer", *state), {}),
        ("run", "--favor-state", ("--defer", "--favor-state", *state), {}),
        ("run", "--event-time-start", ("--event-time-start", "2026-09-01", "--event-time-end", "2026-09-02"), {}),
        ("run", "--full-refresh", ("--full-refresh",), {}),
        ("run", "segments is []", (), {"segments": []}),
        ("run", "approved_statuses is []", (), {"approved_statuses": []}),
        ("run", "audits.minimum_segment_share_pct is missing", (), {"audits": {}}),
        ("run", "category_groups.travel is missing", (), {"category_groups": {}}),
        ("run", "segment 1 has no name", (), {"segments": [{"purpose": "all"}]}),
        ("run", "schema_prefix is 'crm_'", (), {"schema_prefix": "crm_"}),
    ]
    for command, words, arguments, variables in refused:
        succeeded, said = pipeline.dbt(MONTHS[-1], command=command, arguments=arguments, run_vars=variables)
        assert not succeeded, (command, arguments, variables)
        assert any(words in line and "nothing was run" in line for line in said), (words, said)
        assert_same_tables(tables(pipeline.path), before)


def test_a_published_month_is_never_replaced_by_none(pipeline: Pipeline, backfilled: Path) -> None:
    """Whatever makes a query give nothing: here a ref that an unheard-of flag would cut, played by an empty view."""
    shutil.copy(backfilled, pipeline.path)
    before = tables(pipeline.path)
    pipeline.execute("alter table gold.segment_publications rename to kept")
    pipeline.execute("create table gold.segment_publications as from gold.kept limit 0")
    succeeded, said = pipeline.dbt(MONTHS[-1], select="customer_segments segment_summary hero_metrics", command="run")
    assert succeeded, said
    after = tables(pipeline.path)
    for name in ("customer_segments", "segment_summary", "hero_metrics"):
        assert len(after[name]) == len(before[name]) > 0, name


def test_shares_that_an_earlier_version_kept_in_a_table_stay_what_they_were(
    pipeline: Pipeline, backfilled: Path
) -> None:
    shutil.copy(backfilled, pipeline.path)
    before = pipeline.rows("from silver.category_shares order by all")
    kept_of = {month for (month,) in pipeline.rows("select distinct snapshot_month from silver.category_shares")}
    pipeline.execute("create table silver.kept as from silver.category_shares")
    pipeline.execute("drop view silver.category_shares")
    pipeline.execute("alter table silver.kept rename to category_shares")
    build(pipeline, MONTHS[-1])
    assert pipeline.rows("from silver.category_shares order by all") == before
    assert kept_of == set(MONTHS)


def test_a_customer_who_left_the_source_leaves_the_month_that_is_made_anew(
    pipeline: Pipeline, backfilled: Path
) -> None:
    shutil.copy(backfilled, pipeline.path)
    *_, before, rerun = MONTHS
    history = "select {} from gold.customer_segment_history where snapshot_month = date '{}'"
    # All of whose facts are in the month: of the months that are not asked for, the rollup keeps what it has.
    gone = f"({history.format('max(customer_id)', rerun)} and first_transaction_date >= snapshot_month)"
    ((name,),) = pipeline.rows(gone)
    assert name, "the portfolio has a newcomer"
    untouched = pipeline.rows(history.format("*", before) + " order by all")
    keys = f"select customer_key from gold.dim_customer where customer_id = '{name}'"
    pipeline.execute(f"delete from gold.fct_transactions where customer_key in ({keys})")
    pipeline.execute(f"delete from gold.dim_customer where customer_id = '{name}'")
    build(pipeline, rerun)
    holders = pipeline.rows(
        "select schema_name || '.' || table_name, bool_or(column_name = 'snapshot_month') from duckdb_columns()"
        " where schema_name in ('silver', 'gold') group by all having bool_or(column_name = 'customer_id')"
    )
    assert {"silver.segment_assignments", "gold.customer_segments"} <= {table for table, _ in holders}
    for table, is_monthly in holders:
        month = f" and snapshot_month = date '{rerun}'" if is_monthly else ""
        found = pipeline.rows(f"select count(*) from {table} where customer_id = '{name}'{month}")
        assert found == [(0,)], f"{table} still holds the customer"
    assert pipeline.rows(history.format("*", before) + " order by all") == untouched


def test_months_never_rolled_up_are_filled_when_a_later_one_is_asked(pipeline: Pipeline, source: Path) -> None:
    shutil.copy(source, pipeline.path)
    with pipeline.connection() as connection:
        portfolio = Portfolio.read(connection)
    build(pipeline, month_after(MONTHS[0], -1), select=MEASURED)
    # The first month is passed over, and the facts of the second arrive after the third was computed.
    late = f"transaction_date >= date '{MONTHS[1]}' and transaction_date < date '{MONTHS[2]}'"
    pipeline.execute(
        f"create table late as from gold.fct_transactions where {late}; delete from gold.fct_transactions where {late}"
    )
    build(pipeline, MONTHS[2], select=MEASURED)
    pipeline.execute("insert into gold.fct_transactions from late; drop table late")
    build(pipeline, MONTHS[2], select=MEASURED)
    assert_parity(pipeline, portfolio, [MONTHS[2]])


def test_a_fact_of_1900_keeps_no_later_month_from_being_rolled_up(pipeline: Pipeline, source: Path) -> None:
    """A database's idea of an empty date, in a calendar that begins there: 1,500 empty months lie behind it."""
    shutil.copy(source, pipeline.path)
    pipeline.execute(
        """
        insert into gold.dim_date
        select cast(strftime(day, '%Y%m%d') as integer), cast(day as date)
        from generate_series(date '1900-01-01', (select min(full_date) from gold.dim_date) - 1,
            interval 1 day) as d(day);
        insert into gold.fct_transactions by name
        select
            * replace (
                (select max(transaction_key) + 1 from gold.fct_transactions) as transaction_key,
                date '1900-01-01' as transaction_date
            )
        from gold.fct_transactions
        where transaction_status = 'approved'
        limit 1
        """
    )
    with pipeline.connection() as connection:
        portfolio = Portfolio.read(connection)
    for month in MONTHS:
        build(pipeline, month, select=f"{MEASURED} segment_audit_overrides segment_audits")
    assert_parity(pipeline, portfolio, MONTHS)
    differing = "select * from silver.segment_audits where audit = 'rollup_equals_the_facts' and not passed"
    assert pipeline.rows(differing) == []
    # What the last run read: what is before 1900, what is between then and the first fact, and its own month. A range
    # for each of the empty months made a run five times as long.
    (compiled,) = (pipeline.path.parent / "dbt").rglob("compiled/**/customer_period_spend.sql")
    assert compiled.read_text().count("transaction_date <") == 3


def test_other_category_groups_roll_every_month_up_again(pipeline: Pipeline, backfilled: Path) -> None:
    shutil.copy(backfilled, pipeline.path)
    groups = {"travel": ["Dining"], "necessities": ["Grocery"]}
    build(pipeline, MONTHS[-1], select=MEASURED, variables={"category_groups": groups})
    upper = month_after(MONTHS[-1])
    rolled_up = pipeline.rows(
        "select date_trunc('month', period_start)::date, sum(travel_spend), sum(necessities_spend),"
        " count(distinct category_groups_hash) from silver.customer_period_spend group by all order by all"
    )
    facts = pipeline.rows(
        "select date_trunc('month', transaction_date)::date, sum(transaction_amount) filter (category_name = 'Dining'),"
        " sum(transaction_amount) filter (category_name = 'Grocery'), 1"
        " from gold.fct_transactions left join gold.dim_merchant_category on merchant_category_key = category_key"
        f" where transaction_status = 'approved' and transaction_date < date '{upper}' group by all order by all"
    )
    assert rolled_up == facts
    assert len(facts) == 16


def test_no_window_cuts_a_period(pipeline: Pipeline) -> None:
    months = list(MonthRange(date(2020, 1, 1), date(2032, 12, 1)))
    first, last = date(2019, 1, 1), month_after(months[-1]) - timedelta(days=1)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    everyday = portfolios.Customer(
        "everyday", tuple(portfolios.Fact(day, 1) for day in days), (portfolios.Version(first),)
    )
    pipeline.load(portfolios.build([everyday], month_after(months[-1]), []))
    build(pipeline, months[-1], select="path:models/staging customer_period_spend")
    periods: pd.DataFrame = pipeline.frame(
        "select period_start, first_transaction_date, last_transaction_date, transaction_count"
        " from silver.customer_period_spend order by period_start"
    ).apply(lambda column: column.dt.date if column.name != "transaction_count" else column)
    starts = list(periods["period_start"])
    # Every day is in the period that began last, so that a period is a run of days ...
    assert list(periods["first_transaction_date"]) == starts
    assert list(periods["last_transaction_date"]) == [start - timedelta(days=1) for start in starts[1:]] + [last]
    # ... and the periods begin at the windows' edges, at all of them and nowhere else.
    ends = [month_after(month) for month in MonthRange(first, month_after(last.replace(day=1), 6))]
    edges = {end - timedelta(days=age) for end in [first, *ends] for age in (0, 90, 180)}
    assert starts == sorted(edge for edge in edges if first <= edge <= last)
    for month in months:
        as_of = month_after(month)
        for start, end in (
            (as_of - timedelta(days=90), as_of),
            (as_of - timedelta(days=180), as_of - timedelta(days=90)),
        ):
            inside = periods[(periods["period_start"] >= start) & (periods["period_start"] < end)]
            assert inside["transaction_count"].sum() == 90, f"a window of {month} is no sum of whole periods"
