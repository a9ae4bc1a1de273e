"""Times the pipeline's models at the product's size, beside a hand-written query; prints a table and writes JSON.

Run with `make bench`. Each scenario runs in a process of its own, so that its peak memory is its own; the hand-written
query is timed in the process of the month it is compared with, in turn with it. Nothing here is a test: figures depend
on the machine, so the machine and the date are printed with them.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

LAST_MONTH = date(2026, 10, 1)
BACKFILL = (date(2025, 11, 1), LAST_MONTH)
ROUNDS = 5
FOLDER = Path("data") / "bench"
GROUPS = ("staging", "metrics", "segments_candidate", "segments_published")

# One pass over all facts for one month: what an analyst would write without the rollup.
SINGLE_PASS = """
create or replace temp table hand_written as
with facts as (
    select c.customer_id, f.transaction_date as day, f.transaction_amount as amount, m.category_name as category
    from gold.fct_transactions f
    join gold.dim_customer c using (customer_key)
    left join gold.dim_merchant_category m on f.merchant_category_key = m.category_key
    where f.transaction_status = 'approved' and f.transaction_date < date '2026-11-01'
)
select
    customer_id,
    count(*) as total_transactions, sum(amount) as lifetime_value, min(day) as first_day, max(day) as last_day,
    sum(amount) filter (where day >= date '2026-11-01' - 90) as last_90,
    sum(amount) filter (where day >= date '2026-11-01' - 180 and day < date '2026-11-01' - 90) as prior_90,
    sum(amount) filter (where day >= date '2026-11-01' - 90 and category in ('Travel', 'Airlines', 'Hotels')) as travel,
    sum(amount) filter (where day >= date '2026-11-01' - 90 and category in ('Grocery', 'Gas', 'Utilities')) as needs,
    sum(amount) filter (where category in ('Travel', 'Airlines', 'Hotels')) as lifetime_travel,
    sum(amount) filter (where category in ('Grocery', 'Gas', 'Utilities')) as lifetime_needs
from facts
group by customer_id
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=50_000)
    parser.add_argument("--scenario", choices=SCENARIOS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    database = (FOLDER / f"{given.customers}.duckdb").absolute()
    if given.scenario:
        print(json.dumps(SCENARIOS[given.scenario](database)))
        return 0
    fill(database, given.customers)
    results: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "date": str(datetime.now(tz=UTC).date()),
        "customers": given.customers,
    }
    for name in SCENARIOS:
        print(f"... {name}", file=sys.stderr, flush=True)
        run = subprocess.run(
            [sys.executable, __file__, "--customers", str(given.customers), "--scenario", name],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        results[name] = json.loads(run.stdout.splitlines()[-1])
    show(results)
    target = FOLDER / "results.json"
    target.write_text(json.dumps(results, indent=2), encoding="utf-8")
    print(f"\nWritten to {target}")
    return 0


def fill(database: Path, customers: int) -> None:
    if database.exists():
        return
    import duckdb

    from segmentation_assets.sources import synthetic

    print(f"... filling {customers:,} customers, 24 months", file=sys.stderr, flush=True)
    database.parent.mkdir(parents=True, exist_ok=True)
    scratch = database.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with duckdb.connect(str(scratch)) as connection:
        synthetic.build(connection, "gold", customers=customers, first_month=date(2024, 11, 1), last_month=LAST_MONTH)
    scratch.rename(database)


def build(database: Path, first: date, last: date) -> dict[str, float]:
    """`dbt build` of the models without the tests, in this process: seconds per model."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    from segmentation_assets import dbt_project as dbt

    os.environ["SEGMENTATION_DUCKDB_PATH"] = str(database)
    manifest = Manifest.from_msgpack(dbt.manifest_path().with_name("partial_parse.msgpack").read_bytes())
    manifest.build_flat_graph()
    with dbt.environment():
        result = dbtRunner(manifest=manifest).invoke(
            [
                "--log-level", "none", "run", *dbt.project_arguments(FOLDER.absolute() / "target"),
                *dbt.vars_arguments({"first_month": str(first), "last_month": str(last)}),
                "--threads", "1", "--select", *(f"config.group:{group}" for group in GROUPS),
            ]
        )  # fmt: skip
        DuckDBConnectionManager.close_all_connections()
    if not result.success:
        raise SystemExit(f"the build failed: {result.exception}")
    return {node.node.name: node.execution_time for node in result.result.results}  # pyright: ignore


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def first_backfill(database: Path) -> dict[str, Any]:
    copy = database.with_suffix(".work")
    shutil.copy(database, copy)
    models = build(copy, *BACKFILL)
    return {"models_s": sum(models.values()), "models": models, "peak_gib": peak_gib()}


def monthly_run(database: Path) -> dict[str, Any]:
    """The newest month again, in turn with the hand-written query over all facts."""
    import duckdb

    copy = database.with_suffix(".work")  # left by the backfill: a month follows the months before it
    months, queries, models = [], [], {}
    build(copy, LAST_MONTH, LAST_MONTH)  # warm
    for _ in range(ROUNDS):
        models = build(copy, LAST_MONTH, LAST_MONTH)
        months.append(sum(models.values()))
        with duckdb.connect(str(copy)) as connection:
            started = time.perf_counter()
            connection.execute(SINGLE_PASS)
            queries.append(time.perf_counter() - started)
    return {
        "models_s": statistics.median(months),
        "hand_written_s": statistics.median(queries),
        "ratio": statistics.median(a / b for a, b in zip(months, queries, strict=True)),
        "models": models,
        "peak_gib": peak_gib(),
    }


SCENARIOS = {"first_backfill": first_backfill, "monthly_run": monthly_run}


def show(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{results['customers']:,} customers; {results['machine']}; {results['date']}")
    for heading in ("Scenario", "Models", "Hand-written single pass", "Ratio", "Peak memory"):
        table.add_column(heading, justify="left" if heading == "Scenario" else "right")
    for name, label in (("first_backfill", "First backfill of 12 months"), ("monthly_run", "One monthly run")):
        row = results[name]
        query = f"{row['hand_written_s']:.2f} s" if "hand_written_s" in row else ""
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
        table.add_row(label, f"{row['models_s']:.2f} s", query, ratio, f"{row['peak_gib']:.2f} GiB")
    Console().print(table)
    for name in ("first_backfill", "monthly_run"):
        slowest = sorted(results[name]["models"].items(), key=lambda item: -item[1])[:6]
        print(f"{name}: " + ", ".join(f"{model} {seconds:.2f} s" for model, seconds in slowest))


if __name__ == "__main__":
    raise SystemExit(main())
