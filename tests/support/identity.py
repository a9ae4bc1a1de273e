"""Sixty customers whose facts move: what may happen to them between two months, and what has to come of it.

The incremental result is compared with the one that is computed from nothing, for every customer and column.
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
from tests.support.published_months import FILE, NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER, pipeline_at
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


def make_rules(folder: Path) -> Path:
    """The shipped ones without the smallest share, which 60 customers cannot keep."""
    path = folder / "rules.yml"
    audits = {**load_rules(project_dir()).raw["audits"], "minimum_segment_share_pct": 0}
    path.write_text(yaml.safe_dump({"audits": audits}))
    return path


def make_two_months(folder: Path) -> Path:
    """September and October published, below a folder that has the rules, too."""
    with pytest.MonkeyPatch.context() as patch, pipeline_at(folder / FILE) as pipeline:
        patch.setenv("SEGMENTATION_RULES", str(make_rules(folder)))
        star_schema(pipeline)
        compute(pipeline, SEPTEMBER, OCTOBER)
    return folder / FILE


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


def compare(pipeline: Pipeline, two_months: Path, changes: Sequence[tuple[str, int, int, int]]) -> None:
    """November after these changes, restated where that is asked for, and all three months from nothing."""
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


def many(folder: Path, examples: int, seed: int) -> None:
    """So many drawn sequences of changes. Raises with the shortest that gives another result."""
    two_months = make_two_months(folder)
    with pytest.MonkeyPatch.context() as patch, pipeline_at(folder / "copy" / FILE) as pipeline:
        patch.setenv("SEGMENTATION_RULES", str(folder / "rules.yml"))

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(CHANGES)
        def compared(changes: Sequence[tuple[str, int, int, int]]) -> None:
            compare(pipeline, two_months, changes)

        compared()
