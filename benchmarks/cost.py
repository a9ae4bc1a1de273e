"""Rows and bytes that a run reads from its two large tables as history grows; prints what docs/cost.md shows.

Run with `make cost`. The models' own compiled SQL is run under DuckDB's profile, which counts the rows that each scan
had to touch after it skipped the row groups whose dates lie outside the filter, as Snowflake skips micro-partitions.
Bytes are those rows times the compressed width of the columns that were read, from the same tables written as Parquet
(zstd). The yardstick is the query an analyst would write without the rollup: one pass over all facts before the as-of
date, for each month anew.
"""

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.baselines import single_pass_query
from benchmarks.portfolios import LAST_MONTH
from benchmarks.scenarios import GROUPS

HISTORIES = (12, 24, 60)
FOLDER = Path("data") / "cost"
TABLES = {"facts": "gold.fct_transactions", "rollup": "silver.customer_period_spend"}
ROLLUP, READ = "customer_period_spend", ("facts", "audited", "rollup")
READS = dict[str, dict[str, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=5_000)
    customers = parser.parse_args().customers
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    print(
        f"{datetime.now(tz=UTC).date()}; {os.cpu_count()} cores, {platform.machine()}, DuckDB {duckdb.__version__};"
        f" {customers:,} customers in {LAST_MONTH:%B %Y}\n"
    )
    print("| History | Facts | Run | Facts rolled up | Facts audited | Rollup read | Read in all | Full scan | Ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for months in HISTORIES:
        for line in measured(customers, months):
            print(line, flush=True)
    return 0


def measured(customers: int, months: int) -> Iterator[str]:
    from segmentation_assets.sources import synthetic

    path = (FOLDER / f"history_{months}.duckdb").absolute()
    first = month_before(LAST_MONTH, months - 1)
    with duckdb.connect(str(path)) as connection:
        synthetic.build(connection, "gold", customers=customers, first_month=first, last_month=LAST_MONTH)
    dbt(path, "run", first, month_before(LAST_MONTH, 1))
    # The two kinds of run, compiled where they would run: the month on what is there, the backfill on nothing.
    monthly = compiled(path, LAST_MONTH, LAST_MONTH)
    backfill = compiled(path, first, LAST_MONTH, "--full-refresh")
    dbt(path, "run", LAST_MONTH, LAST_MONTH)
    with duckdb.connect(str(path)) as connection:
        widths = {table: column_bytes(connection, table) for table in TABLES.values()}
        facts = int(connection.execute(f"select count(*) from {TABLES['facts']}").fetchall()[0][0])
        scans = [
            profiled(connection, single_pass_query(month), widths)
            for month in (month_before(LAST_MONTH, back) for back in range(months))
        ]
        for name, queries, full in (
            ("one month", monthly, scans[:1]),
            (f"backfill of {months} months", backfill, scans),
        ):
            reads = total([of(model, profiled(connection, query, widths)) for model, query in queries.items()])
            yield row(months, facts, name, reads, total(full))


def dbt(path: Path, command: str, first: date, last: date, *arguments: str, everything: bool = False) -> Path:
    """The folder of what it compiled: of the models up to the published ones, or of all, with their tests."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner
    from dbt.contracts.graph.manifest import Manifest

    from segmentation_assets.dbt.project import Project

    os.environ["SEGMENTATION_DUCKDB_PATH"] = str(path)
    project = Project.load()  # the database is named after the file
    manifest = Manifest.from_msgpack(project.manifest_path.with_name("partial_parse.msgpack").read_bytes())
    manifest.build_flat_graph()
    target = FOLDER.absolute() / f"{path.stem}_{command}_{first}"
    with project.environment():
        result = dbtRunner(manifest=manifest).invoke(
            [
                "--log-level", "none", command, *project.arguments(target),
                *project.vars_arguments({"first_month": str(first), "last_month": str(last)}),
                *(() if everything else ("--select", *(f"config.group:{group}" for group in GROUPS))), *arguments,
            ]
        )  # fmt: skip
        DuckDBConnectionManager.close_all_connections()
    if not result.success:
        raise SystemExit(f"dbt {command} failed: {result.exception}")
    return target / "compiled"


def compiled(path: Path, first: date, last: date, *arguments: str) -> dict[str, str]:
    """What dbt would run, of the models that are tables: a view is not read, and what others take in is in them."""
    folder = dbt(path, "compile", first, last, *arguments)
    nodes = json.loads((folder.parent / "manifest.json").read_text())["nodes"].values()
    tables = {
        node["name"] for node in nodes if node["config"].get("materialized") in ("incremental", "log_table", "table")
    }
    return {file.stem: file.read_text() for file in folder.rglob("models/**/*.sql") if file.stem in tables}


def profiled(connection: duckdb.DuckDBPyConnection, query: str, widths: dict[str, dict[str, float]]) -> READS:
    """Rows and bytes that the query's scans touch, per large table."""
    plan = json.loads(connection.execute(f"explain (analyze, format json) {query}").fetchall()[0][1])
    reads: READS = {name: {"rows": 0, "bytes": 0} for name in TABLES}
    for scan in scans_of(plan["operator"]):
        for name, table in TABLES.items():
            if scan["extra_info"]["Table"].endswith(table):
                reads[name]["rows"] += scan["rows_scanned"]
                reads[name]["bytes"] += scan["rows_scanned"] * width(scan["extra_info"], widths[table])
    return reads


def of(model: str, reads: READS) -> READS:
    """Facts are read to roll them up, and by the audits that compare the rollup with them."""
    return {("audited" if name == "facts" and model != ROLLUP else name): read for name, read in reads.items()}


def scans_of(operators: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for operator in operators:
        if operator["type"] == "TABLE_SCAN" and "Table" in operator["extra_info"]:
            yield operator
        yield from scans_of(operator.get("children", []))


def width(scan: dict[str, Any], widths: dict[str, float]) -> float:
    """Bytes a row of the columns that the scan hands on or filters by."""
    text = f"{scan.get('Projections', '')} {scan.get('Filters', '')}"
    return sum(size for column, size in widths.items() if column in text)


def column_bytes(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, float]:
    """Compressed bytes a row, per column."""
    file = FOLDER / f"{table}.parquet"
    connection.execute(f"copy {table} to '{file}' (format parquet, compression zstd)")
    return dict(
        connection.execute(
            "select path_in_schema, sum(total_compressed_size) / sum(num_values)"
            f" from parquet_metadata('{file}') group by path_in_schema"
        ).fetchall()
    )


def total(reads: list[READS]) -> READS:
    return {
        name: {unit: sum(each[name][unit] for each in reads if name in each) for unit in ("rows", "bytes")}
        for name in READ
    }


def row(months: int, facts: int, run: str, reads: READS, full: READS) -> str:
    def told(rows: float, size: float) -> str:
        return f"{rows / 1e6:,.2f} M, {size / 1e6:,.1f} MB"

    all_rows, all_bytes = (sum(each[unit] for each in reads.values()) for unit in ("rows", "bytes"))
    cells = [
        f"{months} months",
        f"{facts / 1e6:,.2f} M",
        run,
        *(told(reads[name]["rows"], reads[name]["bytes"]) for name in READ),
        told(all_rows, all_bytes),
        told(full["facts"]["rows"], full["facts"]["bytes"]),
        f"{all_bytes / full['facts']['bytes']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def month_before(month: date, months: int) -> date:
    number = month.year * 12 + month.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


if __name__ == "__main__":
    raise SystemExit(main())
