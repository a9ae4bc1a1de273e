"""What is measured. Each scenario runs in a process of its own and returns figures: seconds, GiB, and ratios.

A ratio is the median of the pairs' ratios: the two sides are timed in turn, so that both meet the same machine.
"""

import gc
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import baselines
from benchmarks.portfolios import FOLDER, LAST_MONTH, portfolio, taken, working_copy
from segmentation_assets.months import MonthRange, month_after

ROUNDS = 5
CUSTOMERS = 50_000
ROOT = Path(__file__).parents[1]
GROUPS = ("staging", "metrics", "segments_candidate", "segments_published")
Figures = dict[str, Any]


def last_months(number: int) -> tuple[date, date]:
    return month_after(LAST_MONTH, 1 - number), LAST_MONTH


@dataclass(frozen=True)
class Models:
    seconds: float  # from the first model's start to the last one's end, two at a time as profiles.yml says
    each: dict[str, float]  # of every model, the other one's share of the cores included
    statements: float  # in DuckDB, of both threads together: the rest of `each` is dbt's own


def build(database: Path, first: date, last: date) -> Models:
    """`dbt run` of the models up to the published ones, in this process."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.adapters.factory import reset_adapters
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    from segmentation_assets.dbt.project import Project

    os.environ["SEGMENTATION_DUCKDB_PATH"] = str(database)
    project = Project.load()
    manifest = Manifest.from_msgpack(project.manifest_path.with_name("partial_parse.msgpack").read_bytes())
    manifest.build_flat_graph()
    gc.collect()  # what earlier rounds left is not for this one to clear up; a run freezes it, too (run_locks)
    statements: list[float] = []

    def on_event(event: Any) -> None:
        if event.info.name == "SQLQueryStatus":
            statements.append(event.data.elapsed)

    with project.environment():
        reset_adapters()
        result = dbtRunner(manifest=manifest, callbacks=[on_event]).invoke(
            [
                "--log-level", "none", "run", *project.arguments(FOLDER / "target"),
                *project.vars_arguments({"first_month": str(first), "last_month": str(last)}),
                "--select", *(f"config.group:{group}" for group in GROUPS),
            ]
        )  # fmt: skip
        DuckDBConnectionManager.close_all_connections()
    if not result.success:
        raise SystemExit(f"the build failed: {result.exception}")
    nodes: list[Any] = list(result.result.results)  # pyright: ignore
    times = [moment for node in nodes for step in node.timing for moment in (step.started_at, step.completed_at)]
    return Models(
        (max(times) - min(times)).total_seconds(),
        {node.node.name: node.execution_time for node in nodes},
        sum(statements),
    )


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def backfill(months: int) -> Figures:
    """The first backfill: nothing is there but the star schema."""
    first, last = last_months(months)
    database = working_copy(portfolio(CUSTOMERS), f"backfill-{months}")
    models = build(database, first, last)
    return {"models_s": models.seconds, "peak_gib": peak_gib(), "models": models.each}


MAPPED = """
create schema dwh;
create table dwh.f_postings as
select transaction_key as posting_id, customer_key as client, merchant_category_key as mcc,
    transaction_date as booked_on, cast(transaction_amount * 100 as bigint) as amount_cents,
    upper(transaction_status) as status
from gold.fct_transactions;
create view dwh.d_client as
select customer_key as client, customer_id as client_no, first_name as forename, last_name as surname, email as mail,
    valid_from as starts, valid_to as ends, is_current as is_newest
from gold.dim_customer;
create table dwh.d_mcc as select category_key as mcc, category_name as descr from gold.dim_merchant_category;
create table dwh.opt_out as select customer_id as client_no from gold.marketing_suppressions;
drop table gold.fct_transactions;
"""
MAPPING = """
approved_statuses: [APPROVED]
other_statuses: [DECLINED, REVERSED, PENDING]
star_schema:
  schema: dwh
  tables:
    fct_transactions:
      from: f_postings
      columns: {transaction_key: posting_id, customer_key: client, merchant_category_key: mcc,
        transaction_date: booked_on, transaction_amount: amount_cents / 100.0, transaction_status: status}
    dim_customer:
      from: d_client
      columns: {customer_key: client, customer_id: client_no, first_name: forename, last_name: surname, email: mail,
        valid_from: starts, valid_to: ends, is_current: is_newest}
    dim_merchant_category: {from: d_mcc, columns: {category_key: mcc, category_name: descr}}
    dim_date: generated
    marketing_suppressions: {from: opt_out, columns: {customer_id: client_no}}
"""


def mapped_source() -> Figures:
    """The newest month of the same portfolio under other names, in cents, without a calendar, beside the contract's
    own; and how long `make check-source` looks at it, without the shares of the rules and with them."""
    from segmentation_assets.dbt.project import Project
    from segmentation_assets.months import as_of_date
    from segmentation_assets.sources import checkup
    from segmentation_assets.sources.star_schema import StarSchema
    from segmentation_assets.warehouse.session import warehouse

    rules = FOLDER / "mapped.yml"
    rules.write_text(MAPPING, encoding="utf-8")
    canonical = working_copy(portfolio(CUSTOMERS), "canonical")
    company = working_copy(portfolio(CUSTOMERS), "company")
    with duckdb.connect(str(company)) as connection:
        connection.execute(MAPPED)

    def month(database: Path, mapping: str, first: date = LAST_MONTH) -> float:
        os.environ.update({"SEGMENTATION_RULES": mapping, "SEGMENTATION_SOURCE": "warehouse"})
        return build(database, first, LAST_MONTH).seconds

    for database, mapping in ((canonical, ""), (company, str(rules))):
        month(database, mapping, last_months(12)[0])
        month(database, mapping)  # warm
    rounds = [(month(company, str(rules)), month(canonical, "")) for _ in range(ROUNDS)]
    os.environ.update({"SEGMENTATION_RULES": str(rules), "SEGMENTATION_DUCKDB_PATH": str(company)})
    project = Project.load()

    def check() -> None:
        with warehouse(project.settings).session(read_only=True) as session:
            checkup.check(StarSchema(session, project.settings, project.rules), as_of_date(LAST_MONTH))

    command = [str(Path(sys.executable).with_name("segmentation")), "check-source"]
    return {
        "mapped_models_s": statistics.median(ours for ours, _ in rounds),
        "canonical_models_s": statistics.median(theirs for _, theirs in rounds),
        "ratio_to_canonical": ratio([ours for ours, _ in rounds], [theirs for _, theirs in rounds]),
        "check_s": statistics.median(seconds(check) for _ in range(3)),
        "check_source_with_shares_s": seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)),
    }


# Twenty metrics over windows of five lengths, a group and what is built upon them.
METRICS = """
category_groups: {dining: [Dining]}
windows:
  last_30_days: {days: 30}
  last_60_days: {days: 60}
  last_180_days: {days: 180}
  last_365_days: {days: 365}
metrics:
  spend_last_30_days: {kind: sum, window: last_30_days}
  spend_last_60_days: {kind: sum, window: last_60_days}
  spend_last_180_days: {kind: sum, window: last_180_days}
  spend_last_365_days: {kind: sum, window: last_365_days}
  visits_last_30_days: {kind: count, window: last_30_days}
  visits_last_60_days: {kind: count, window: last_60_days}
  visits_last_90_days: {kind: count, window: last_90_days}
  visits_last_180_days: {kind: count, window: last_180_days}
  visits_last_365_days: {kind: count, window: last_365_days}
  average_last_365_days: {kind: avg, window: last_365_days}
  largest_last_180_days: {kind: max, window: last_180_days}
  dining_last_365_days: {kind: sum, group: dining, window: last_365_days}
  dining_share_last_30_days: {kind: share, group: dining, window: last_30_days}
  change_of_30_on_60_days: {kind: change, window: last_30_days, from: last_60_days}
  days_since_purchase: {kind: recency}
  change_beyond_all_pct: {kind: relative_change, of: spend_last_90_days, from: spend_prior_90_days}
  recency_score: {kind: ntile, of: days_since_purchase, buckets: 5}
  frequency_score: {kind: ntile, of: visits_last_365_days, buckets: 5, order: highest_first}
  monetary_score: {kind: ntile, of: spend_last_365_days, buckets: 5, order: highest_first}
  champion: {kind: flag, criteria: [{metric: recency_score, at_most: 2}, {metric: monetary_score, at_most: 2}]}
"""


def metrics_of_ones_own() -> Figures:
    """The newest month with twenty metrics beside the shipped ones, in turn; and the rows of facts that each scans."""
    from benchmarks import cost

    rules = FOLDER / "metrics.yml"
    rules.write_text(METRICS, encoding="utf-8")
    cost.FOLDER.mkdir(parents=True, exist_ok=True)
    databases = {
        "": working_copy(portfolio(CUSTOMERS), "shipped"),
        str(rules): working_copy(portfolio(CUSTOMERS), "own"),
    }

    def month(file: str, first: date = LAST_MONTH) -> float:
        os.environ["SEGMENTATION_RULES"] = file
        return build(databases[file], first, LAST_MONTH).seconds

    def facts_scanned(file: str) -> int:
        os.environ["SEGMENTATION_RULES"] = file
        queries = cost.compiled(databases[file], LAST_MONTH, LAST_MONTH)
        with duckdb.connect(str(databases[file]), read_only=True) as connection:
            widths = {table: dict[str, float]() for table in cost.TABLES.values()}
            return sum(int(cost.profiled(connection, query, widths)["facts"]["rows"]) for query in queries.values())

    for file in databases:
        month(file, last_months(12)[0])
        month(file)  # warm
    rounds = [(month(str(rules)), month("")) for _ in range(ROUNDS)]
    return {
        "models_s": statistics.median(ours for ours, _ in rounds),
        "shipped_models_s": statistics.median(shipped for _, shipped in rounds),
        "ratio_to_shipped": ratio([ours for ours, _ in rounds], [shipped for _, shipped in rounds]),
        "facts_scanned": facts_scanned(str(rules)),
        "facts_scanned_shipped": facts_scanned(""),
    }


def monthly_models() -> Figures:
    """The newest month, beside one hand-written pass over all facts, pandas and Polars, in turn."""
    database = working_copy(portfolio(CUSTOMERS), "monthly")
    parquet = FOLDER / "parquet"
    baselines.to_parquet(database, parquet)
    build(database, *last_months(12))
    build(database, LAST_MONTH, LAST_MONTH)  # warm
    peak = peak_gib()
    rounds: list[dict[str, float]] = []
    models = Models(0, {}, 0)
    for _ in range(ROUNDS):
        models = build(database, LAST_MONTH, LAST_MONTH)
        with duckdb.connect(str(database)) as connection:
            by_hand = seconds(lambda connection=connection: baselines.single_pass(connection, LAST_MONTH))
        rounds.append(
            {
                "models": models.seconds,
                "by_hand": by_hand,
                "pandas": seconds(lambda: baselines.with_pandas(parquet, LAST_MONTH)),
                "polars": seconds(lambda: baselines.with_polars(parquet, LAST_MONTH)),
            }
        )
    ours = [each["models"] for each in rounds]
    return {
        "models_s": statistics.median(ours),
        **{
            f"{other}_s": statistics.median(each[other] for each in rounds) for other in ("by_hand", "pandas", "polars")
        },
        **{
            f"ratio_to_{other}": ratio(ours, [each[other] for each in rounds])
            for other in ("by_hand", "pandas", "polars")
        },
        "peak_gib": peak,
        "statements_of_the_last_s": models.statements,
        "all_of_the_last_s": sum(models.each.values()),
        "models": models.each,
    }


def backfills() -> Figures:
    """12 and 24 months in one build, beside as many builds of one month and a query that joins facts to months."""
    figures: Figures = {}
    source = portfolio(CUSTOMERS)
    for months in (12, 24):
        first, last = last_months(months)
        database = working_copy(source, "backfills")
        figures[f"{months}_months_s"] = build(database, first, last).seconds
        with duckdb.connect(str(database)) as connection:
            listed = list(MonthRange(first, last))
            figures[f"{months}_months_direct_join_s"] = seconds(
                lambda connection=connection, listed=listed: baselines.direct_join(connection, listed)
            )
        database = working_copy(source, "backfills")
        figures[f"{months}_single_months_s"] = sum(
            build(database, month, month).seconds for month in MonthRange(first, last)
        )
        figures[f"{months}_months_ratio_to_direct_join"] = (
            figures[f"{months}_months_s"] / figures[f"{months}_months_direct_join_s"]
        )
    figures["24_months_ratio_to_12"] = figures["24_months_s"] / figures["12_months_s"]
    return figures


def growth(customers: int, months: int) -> Figures:
    """The last 12 months with so much history behind them, then the newest month again."""
    database = working_copy(portfolio(customers, months), "growth")
    with duckdb.connect(str(database)) as connection:
        (facts,) = connection.execute("select count(*) from gold.fct_transactions").fetchone() or (0,)
    first = build(database, *last_months(12)).seconds
    peak = peak_gib()
    monthly = [build(database, LAST_MONTH, LAST_MONTH).seconds for _ in range(3)]
    return {
        "facts": facts, "first_12_months_s": first, "monthly_s": statistics.median(monthly),
        "peak_gib_first_12_months": peak, "peak_gib": peak_gib(),
    }  # fmt: skip


def out_of_core() -> Figures:
    """500,000 customers with ten years of history, 1.35 billion facts: a file that is larger than the memory DuckDB may
    take. The last 12 months, then the newest month again. It needs 60 GB of disk, and is filled for a quarter of an
    hour."""
    database = taken(portfolio(500_000, 120), "growth")
    try:
        with duckdb.connect(str(database)) as connection:
            (facts, limit) = connection.execute(
                "select count(*), any_value(current_setting('memory_limit')) from gold.fct_transactions"
            ).fetchone() or (0, "")
        before = database.stat().st_size
        first = build(database, *last_months(12)).seconds
        month = build(database, LAST_MONTH, LAST_MONTH).seconds
        return {
            "facts": facts, "memory_limit_gib": float(limit.split()[0]), "file_gib": before / 2**30,
            "file_gib_after": database.stat().st_size / 2**30, "first_12_months_s": first, "monthly_s": month,
            "peak_gib": peak_gib(),
        }  # fmt: skip
    finally:
        database.unlink()


def ten_times_the_history() -> Figures:
    """The newest month with 12 and with 120 months of history behind it, in turn."""
    # Of one name, as that is the catalogue's, which the parsed dbt project names.
    databases = [working_copy(portfolio(CUSTOMERS, months), f"{months}-months/growth") for months in (12, 120)]
    for database in databases:
        build(database, *last_months(12))
    rounds = [[build(database, LAST_MONTH, LAST_MONTH).seconds for database in databases] for _ in range(2 * ROUNDS)]
    shorter, longer = zip(*rounds, strict=True)
    return {
        "12_months_s": statistics.median(shorter),
        "120_months_s": statistics.median(longer),
        "ratio": ratio(longer, shorter),
    }


def first_run() -> Figures:
    """From a clone with nothing installed to the closing table, the same once more, and `make why` of one customer."""
    folder = FOLDER / "clone"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    own = ("SEGMENTATION_", "DAGSTER_", "DBT_", "SNOWFLAKE_", "MAKE", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}

    def make(*words: str) -> tuple[float, float]:
        return timed(["make", *words], folder, environment, FOLDER / "clone.log")

    set_up, _ = make(".venv/.installed")
    first, first_cpu = make("run")
    again, again_cpu = zip(*[make("run") for _ in range(3)], strict=True)
    why = [make("why", "CUSTOMER=CUST00000042")[0] for _ in range(ROUNDS)]
    return {
        "set_up_s": set_up, "clone_to_table_s": set_up + first, "first_run_processor_s": first_cpu,
        "run_again_s": statistics.median(again), "run_again_processor_s": statistics.median(again_cpu),
        "why_s": statistics.median(why),
    }  # fmt: skip


def timed(command: Sequence[str], folder: Path, environment: dict[str, str], log: Path) -> tuple[float, float]:
    """Seconds, and seconds of processor of it and of all that it started. What it says goes to the log."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("a", encoding="utf-8") as file:
        started = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, stdout=file, stderr=file)
        taken = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed; see {log}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def job(kind: str, folder: Path, environment: dict[str, str]) -> tuple[float, float]:
    """`dagster job execute` of the newest month, as a scheduler would start it: seconds, and those of processor."""
    dbt = {"ours": "in process", "stock": "stock resource"}[kind]
    tags = json.dumps({"dagster/partition": str(LAST_MONTH), "segmentation/dbt": dbt})
    module = "segmentation_assets.definitions" if kind == "ours" else "benchmarks.stock"
    command = ["-m", "dagster", "job", "execute", "-m", module, "-j", "monthly_segmentation", "--tags", tags]
    return timed([sys.executable, *command], ROOT, environment, folder / f"{kind}.log")


def end_to_end() -> Figures:
    """The monthly job with audits, checks, audiences and exports: our dbt resource and the stock one, in turn."""
    folder = FOLDER / "end-to-end"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)
    shutil.copy(ROOT / "segmentation_assets" / "dagster_home" / "dagster.yaml", folder / "home" / "dagster.yaml")
    database = working_copy(portfolio(CUSTOMERS), "end-to-end")
    build(database, *last_months(12))
    environment = {
        **os.environ, "SEGMENTATION_DUCKDB_PATH": str(database), "SEGMENTATION_SOURCE": "warehouse",
        "SEGMENTATION_EXPORT_URI": str(folder / "exports"), "DAGSTER_HOME": str(folder / "home"),
        "DBT_TARGET_PATH": str(folder / "target"), "DAGSTER_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    }  # fmt: skip
    figures: Figures = {
        "cold_s": job("ours", folder, environment)[0]
    }  # parses the dbt project, creates Dagster's tables
    ours, processor, stock = [], [], []
    for _ in range(3):
        taken, of_processor = job("ours", folder, environment)
        ours.append(taken)
        processor.append(of_processor)
        stock.append(job("stock", folder, environment)[0])
    return {
        **figures, "warm_s": statistics.median(ours), "warm_processor_s": statistics.median(processor),
        "stock_s": statistics.median(stock),
        "ratio_to_stock": ratio(ours, stock), **steps_of_a_warm_run(folder / "home"),
    }  # fmt: skip


def erasure() -> Figures:
    """10,000 customers erased from 12 published months with their lists and files, as `make erase FILE=` does."""
    folder = FOLDER / "erasure"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)
    shutil.copy(ROOT / "segmentation_assets" / "dagster_home" / "dagster.yaml", folder / "home" / "dagster.yaml")
    database = working_copy(portfolio(CUSTOMERS), "erasure")
    environment = {
        **os.environ, "SEGMENTATION_DUCKDB_PATH": str(database), "SEGMENTATION_SOURCE": "warehouse",
        "SEGMENTATION_EXPORT_URI": str(folder / "exports"), "DAGSTER_HOME": str(folder / "home"),
        "DBT_TARGET_PATH": str(folder / "target"), "DAGSTER_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
    }  # fmt: skip

    def command(*arguments: str) -> float:
        log = folder / f"{arguments[0]}.log"
        with log.open("w", encoding="utf-8") as file:
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "segmentation_assets.cli", *arguments],
                cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)}, stdout=file, stderr=file,
            )  # fmt: skip
            taken = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"segmentation {arguments[0]} failed; see {log}")
        return taken

    command("backfill", *map(str, last_months(12)))
    with duckdb.connect(str(database), read_only=True) as connection:
        ids = connection.execute(
            "select customer_id from gold.customer_segments order by hash(customer_id) limit 10000"
        ).fetchall()
    (folder / "ids.txt").write_text("".join(f"{customer_id}\n" for (customer_id,) in ids), encoding="utf-8")
    before = database.stat().st_size
    return {
        "erase_10000_s": command("erase", "--file", str(folder / "ids.txt")),
        "database_before_gib": before / 2**30, "database_after_gib": database.stat().st_size / 2**30,
    }  # fmt: skip


def steps_of_a_warm_run(home: Path) -> Figures:
    """Of the median among our warm runs: seconds of every step, and of the whole inside Dagster."""
    import dagster as dg

    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.get() as instance:
        of_ours = dg.RunsFilter(tags={"segmentation/dbt": "in process"})
        *warm, _ = instance.get_run_records(of_ours)  # newest first
        timed = sorted((record.end_time - record.start_time, record.dagster_run.run_id) for record in warm)  # pyright: ignore
        inside, run_id = timed[len(timed) // 2]
        steps = instance.get_run_step_stats(run_id)
    each = {step.step_key: step.end_time - step.start_time for step in steps}  # pyright: ignore
    return {"warm_inside_the_run_s": inside, "steps": each}


def definitions() -> Figures:
    """Seconds to load the definitions in a new process, beside `import dagster_dbt` alone, in turn."""
    environment = {**os.environ, "SEGMENTATION_SOURCE": "warehouse"}

    def python(code: str) -> float:
        command = [sys.executable, "-c", code]
        return seconds(lambda: subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True))

    load = "from segmentation_assets.definitions import defs; defs()"
    python(load)  # parses the dbt project once
    pairs = [(python(load), python("import dagster_dbt")) for _ in range(ROUNDS)]
    return {
        "definitions_s": statistics.median(ours for ours, _ in pairs),
        "import_dagster_dbt_s": statistics.median(theirs for _, theirs in pairs),
        "ratio": statistics.median(ours / theirs for ours, theirs in pairs),
    }


def user_interface() -> Figures:
    """Seconds from `make ui` to a page that answers and a code location that is loaded."""
    home = FOLDER / "ui"
    shutil.rmtree(home, ignore_errors=True)
    environment = {**os.environ, "DAGSTER_HOME": str(home), "SEGMENTATION_SOURCE": "warehouse"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "segmentation_assets.cli", "ui"], cwd=ROOT, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    query = json.dumps(
        {"query": "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"}
    ).encode()
    request = urllib.request.Request(
        "http://127.0.0.1:3000/graphql", data=query, headers={"Content-Type": "application/json"}
    )
    try:
        while time.perf_counter() - started < 180:
            try:
                with urllib.request.urlopen(request, timeout=5) as answer:
                    if b"LOADED" in answer.read():
                        return {"page_answers_s": time.perf_counter() - started}
            except OSError:
                pass
            time.sleep(0.2)
        raise SystemExit("no page on 127.0.0.1:3000 within 180 s")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_suite() -> Figures:
    """Seconds of `make test` (with lint beside it) and `make test-system`, which together are CI, on a checkout that is
    set up."""
    environment = {**os.environ, "CI": "1"}
    return {
        f"{target.replace('-', '_')}_s": timed(["make", target], ROOT, environment, FOLDER / f"{target}.log")[0]
        for target in ("test", "test-system")
    }


SCENARIOS: dict[str, Callable[[], Figures]] = {
    "first run": first_run,
    "first backfill of 12 months": lambda: backfill(12),
    "monthly models": monthly_models,
    "mapped source": mapped_source,
    "metrics of one's own": metrics_of_ones_own,
    "monthly job end to end": end_to_end,
    "backfills": backfills,
    "erasure": erasure,
    "definitions": definitions,
    "user interface": user_interface,
    "growth, 12 months": lambda: growth(CUSTOMERS, 12),
    "growth, 24 months": lambda: growth(CUSTOMERS, 24),
    "growth, 60 months": lambda: growth(CUSTOMERS, 60),
    "growth, 120 months": lambda: growth(CUSTOMERS, 120),
    "growth, ten times the history": ten_times_the_history,
    "growth, 500,000 customers": lambda: growth(500_000, 24),
    "growth, out of core": out_of_core,
    "test suite": test_suite,
}
# Left out of `make bench` without ONLY: the disk and the time that these take are not everybody's.
WHERE_ASKED_FOR = {"growth, out of core"}
