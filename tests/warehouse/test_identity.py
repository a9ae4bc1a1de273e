"""Customers who are merged and split, and facts that move, come late, change or go, between two months.

Locks out: a rollup that remembers who somebody was; an audit and a restatement that compare totals of a month, and so
see nothing that moved between customers; an incremental result that is not the one computed from nothing; facts of a
version that dim_customer lacks counting for nobody in silence.
"""

import shutil
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import yaml
from hypothesis import strategies as st

from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import restatements, rollup
from segmentation_assets.rules.load import load_rules
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

MODELS = (
    "path:models/staging path:models/metrics segment_audit_overrides segment_assignments segment_audits"
    " segment_audit_verdicts facts_by_day rollup_differences customer_segment_history segment_publications"
    " segment_restatements segment_rules outdated_months"
)
CUSTOMERS, FACTS = 60, 2400


def star_schema(pipeline: Pipeline) -> None:
    """Sixty customers, every third with two versions, and two and a half years of facts with four decimals."""
    rng = np.random.default_rng(20261125)
    days = rng.integers(0, 900, FACTS)
    keys = rng.integers(1, CUSTOMERS + CUSTOMERS // 3 + 1, FACTS)
    units = rng.integers(-300_0000, 9_000_0000, FACTS)
    values = ", ".join(
        f"({number}, {key}, {number % 9 + 1}, date '2025-11-30' - {day}, {unit} / 10000.0)"
        for number, (key, day, unit) in enumerate(zip(keys, days, units, strict=True))
    )
    pipeline.execute(
        f"""
        create schema gold;
        create table gold.fct_transactions as
        select
            cast(number as bigint) as transaction_key, cast(customer_key as bigint) as customer_key,
            category as merchant_category_key, cast(day as date) as transaction_date,
            cast(amount as decimal(18, 4)) as transaction_amount, 'approved' as transaction_status
        from (values {values}) as facts (number, customer_key, category, day, amount);
        create table gold.dim_customer as
        select
            cast(number as bigint) as customer_key, 'C' || lpad(cast((number - 1) % {CUSTOMERS} as varchar), 3, '0')
            as customer_id, 'A' as first_name, 'B' as last_name, cast(null as varchar) as email,
            case when number > {CUSTOMERS} then date '2025-06-01' else date '2023-01-01' end as valid_from,
            case when number <= {CUSTOMERS // 3} then date '2025-06-01' end as valid_to,
            number > {CUSTOMERS // 3} as is_current
        from range(1, {CUSTOMERS + CUSTOMERS // 3 + 1}) as numbers (number);
        create table gold.dim_merchant_category as
        select * from (values (1, 'Travel'), (2, 'Hotels'), (3, 'Grocery'), (4, 'Gas'), (5, 'Dining'), (6, 'Books'))
            as categories (category_key, category_name);
        create table gold.dim_date as
        select cast(strftime(day, '%Y%m%d') as integer) as date_key, cast(day as date) as full_date
        from generate_series(date '2023-01-01', date '2026-01-31', interval 1 day) as days (day);
        """
    )


def compute(pipeline: Pipeline, first: date, last: date, rollup_from: date | None = None) -> None:
    """As the job does: what the facts changed in the windows is rolled up anew."""
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        plan = rollup.plan(session, Project.load().rules, MonthRange(first, last), rollup_from)
    told = {**plan.variables(), **({"rollup_from": str(rollup_from)} if rollup_from else {})}
    succeeded, said = pipeline.dbt(first, last, select=MODELS, arguments=NO_TESTS, run_vars=told)
    assert succeeded, said


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    # The shipped audits without the smallest share, which 60 customers cannot keep.
    audits = {**load_rules(project_dir()).raw["audits"], "minimum_segment_share_pct": 0}
    path.write_text(yaml.safe_dump({"audits": audits}))
    return path


@pytest.fixture(scope="module")
def two_months(tmp_path_factory: pytest.TempPathFactory, rules: Path) -> Path:
    path = tmp_path_factory.mktemp("two_months") / "segmentation.duckdb"
    with pytest.MonkeyPatch.context() as patch, pipeline_at(path) as pipeline:
        patch.setenv("SEGMENTATION_RULES", str(rules))
        star_schema(pipeline)
        compute(pipeline, SEPTEMBER, OCTOBER)
    return path


@pytest.fixture
def from_two_months(pipeline: Pipeline, two_months: Path, rules: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("SEGMENTATION_RULES", str(rules))
    shutil.copy(two_months, pipeline.path)
    return pipeline


def find(pipeline: Pipeline) -> restatements.Restatement | None:
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        return restatements.find(session)


def merged(a: int, b: int, n: int) -> str:
    """Customer a becomes b from a day on, or is b and always was."""
    if n % 2:
        return f"update gold.dim_customer set customer_id = 'C{b:03}' where customer_id = 'C{a:03}'"
    return (
        f"update gold.dim_customer set customer_id = 'C{b:03}', is_current = false,"
        f" valid_to = greatest(valid_from, date '2025-08-10') where customer_id = 'C{a:03}'"
    )


def split(a: int, b: int, n: int) -> str:
    """One version of a turns out to be somebody else, a new customer or b."""
    other = f"N{n:03}" if n % 2 else f"C{b:03}"
    return (
        f"update gold.dim_customer set customer_id = '{other}' where customer_key ="
        f" (select max(customer_key) from gold.dim_customer where customer_id = 'C{a:03}')"
    )


def of_facts(change: str) -> Callable[[int, int, int], str]:
    """A change of the facts of a whose key leaves a remainder: of all ages, in the window and before it."""
    return lambda a, b, n: (
        change.format(b=b + 1, days=n % 40 - 20, n=n)
        + f" where transaction_key % 7 = {n % 7} and customer_key % {CUSTOMERS} = {a + 1}"
        " and transaction_date < date '2025-11-01'"
    )


OPERATIONS: dict[str, Callable[[int, int, int], str]] = {
    "merged": merged,
    "split": split,
    "repointed": of_facts("update gold.fct_transactions set customer_key = {b}"),
    "changed": of_facts("update gold.fct_transactions set transaction_amount = transaction_amount * -0.5 + {n}"),
    "redated": of_facts(
        "update gold.fct_transactions set transaction_date = least(transaction_date + {days}, date '2025-10-31')"
    ),
    "recategorised": of_facts("update gold.fct_transactions set merchant_category_key = {n} % 8"),
    "deleted": of_facts("delete from gold.fct_transactions"),
    "late": lambda a, b, n: (
        f"insert into gold.fct_transactions values ({10_000 + n * 10_000 + a * 100 + b}, {a + 1}, {n % 9},"
        f" date '2025-10-31' - {n * 7 % 800}, {n}.1234, 'approved')"
    ),
    # Two facts change places between customers: no total of any month says so.
    "exchanged": lambda a, b, n: (
        "update gold.fct_transactions set customer_key = case when transaction_amount = 77.77 then"
        f" {a + 1} else {b + 1} end where transaction_key in ({n}, {n + 1})"
    ),
}
ANYBODY = st.integers(0, CUSTOMERS - 1)
CHANGES = st.lists(
    st.tuples(st.sampled_from(sorted(OPERATIONS)), ANYBODY, ANYBODY, st.integers(0, 200)),
    min_size=1, max_size=6,
)  # fmt: skip


def everything(pipeline: Pipeline) -> list[list[tuple[Any, ...]]]:
    return [
        pipeline.rows("select * from gold.customer_segment_history order by all"),
        pipeline.rows("select * from silver.customer_period_spend order by all"),
    ]


def from_nothing(pipeline: Pipeline) -> list[list[tuple[Any, ...]]]:
    """The same source, in a database that never saw it otherwise."""
    shutil.copy(pipeline.path, pipeline.path.with_name("computed.duckdb"))
    for (name,) in pipeline.rows(
        "select table_name from information_schema.tables where table_schema = 'gold' and table_type = 'BASE TABLE'"
        " and table_name not like 'dim%' and table_name not like 'fct%'"
    ):
        pipeline.execute(f"drop table gold.{name}")
    pipeline.execute("drop schema silver cascade")
    compute(pipeline, SEPTEMBER, NOVEMBER)
    return everything(pipeline)


@hypothesis.settings(
    max_examples=1,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate],
)
@hypothesis.example([(name, 3 * number, 3 * number + 1, 7) for number, name in enumerate(sorted(OPERATIONS))])
@hypothesis.given(CHANGES)
def test_the_incremental_result_is_the_one_computed_from_nothing(
    from_two_months: Pipeline, two_months: Path, changes: Sequence[tuple[str, int, int, int]]
) -> None:
    pipeline = from_two_months
    shutil.copy(two_months, pipeline.path)
    for operation, a, b, n in changes:
        pipeline.execute(OPERATIONS[operation](a, b, n))
    compute(pipeline, NOVEMBER, NOVEMBER)
    if found := find(pipeline):
        compute(pipeline, found.months.first, found.months.last, found.rollup_from)
        left = find(pipeline)
        assert left is None, left
    incremental = everything(pipeline)
    for found_rows, expected in zip(incremental, from_nothing(pipeline), strict=True):
        assert found_rows == expected


def test_a_merge_is_found_and_put_right_where_no_total_changed(from_two_months: Pipeline) -> None:
    pipeline = from_two_months
    assert find(pipeline) is None
    pipeline.execute(merged(1, 2, 1))
    found = find(pipeline)
    assert found is not None
    assert (found.changed, found.outdated) == ({}, (SEPTEMBER, OCTOBER))
    differing = pipeline.rows("select snapshot_month, customers, transaction_count from silver.outdated_months")
    # Who is there no more, and who has the sums of two; nothing was lost.
    assert sorted(differing) == [(SEPTEMBER, 2, 0), (OCTOBER, 2, 0)]
    compute(pipeline, found.months.first, found.months.last, found.rollup_from)
    assert find(pipeline) is None


def test_facts_that_moved_between_customers_fail_the_audit_and_are_told(from_two_months: Pipeline) -> None:
    """Plain dbt rolls up no month but those it is asked for and those that are missing."""
    pipeline = from_two_months
    pipeline.execute(
        "update gold.fct_transactions set customer_key = customer_key % 20 + 1 where transaction_date between"
        " '2025-08-01' and '2025-08-31'"
    )
    succeeded, said = pipeline.dbt(NOVEMBER, select=MODELS, arguments=NO_TESTS)
    assert succeeded, said
    audit = "select measured, passed from silver.segment_audits where audit = 'rollup_equals_the_facts'"
    assert pipeline.rows(f"{audit} and snapshot_month = '{NOVEMBER}'") == [(1, False)]
    found = find(pipeline)
    assert found is not None
    assert found.message()[0] == (
        "2025-08-01: count and spend of the facts are those of the rollup, but single facts are of another customer,"
        " category, day or amount."
    )


def test_facts_of_nobody_block_every_month_that_counts_them_until_their_version_is_there(
    from_two_months: Pipeline,
) -> None:
    """Two years back: no window reaches it, the lifetimes do."""
    pipeline = from_two_months
    pipeline.execute(
        "update gold.fct_transactions set customer_key = 9999 where transaction_key in (select transaction_key"
        " from gold.fct_transactions where transaction_date < '2024-01-01' order by transaction_key limit 3)"
    )
    found = find(pipeline)
    assert found is not None
    compute(pipeline, found.months.first, found.months.last, found.rollup_from)
    audit = (
        "select snapshot_month, measured, failed_rows, passed from silver.segment_audits"
        " where audit = 'every_fact_belongs_to_a_customer' order by 1"
    )
    assert pipeline.rows(audit) == [(SEPTEMBER, 3, 3, False), (OCTOBER, 3, 3, False)]
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        told = restatements.facts_of_nobody(session)
    assert sum(int(line.split(": ")[1].split()[0]) for line in told) == 3
    pipeline.execute("insert into gold.dim_customer values (9999, 'Late', null, null, null, '2023-01-01', null, true)")
    compute(pipeline, SEPTEMBER, OCTOBER)
    assert pipeline.rows(audit) == [(SEPTEMBER, 0, 0, True), (OCTOBER, 0, 0, True)]
    assert find(pipeline) is None


def test_a_rollup_of_an_earlier_version_is_made_anew(from_two_months: Pipeline) -> None:
    """It knew customers, not their versions, and kept cents."""
    pipeline = from_two_months
    rollup_rows = "select * from silver.customer_period_spend order by all"
    pipeline.execute(
        "create or replace table silver.customer_period_spend as select 'C001' as customer_id, period_start,"
        " transaction_count, cast(spend as decimal(18, 2)) as spend, category_groups_hash"
        " from silver.customer_period_spend"
    )
    found = find(pipeline)
    assert found is not None
    assert found.message() == [
        "The rollup was made by an earlier version: it is made anew, and so is every published month."
    ]
    assert (found.months.first, found.months.last) == (SEPTEMBER, OCTOBER)
    compute(pipeline, NOVEMBER, NOVEMBER)
    assert find(pipeline) is None
    made_anew = pipeline.rows(rollup_rows)
    compute(pipeline, SEPTEMBER, NOVEMBER, date(2023, 1, 1))
    assert pipeline.rows(rollup_rows) == made_anew != []
