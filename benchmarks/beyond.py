"""What a month asks of a warehouse at any size: every statement's scans and processor time, measured and drawn out.

    python -m benchmarks.beyond [--customers 20000] [--wanted 50000000] [--statements 259]

All models and data tests of one month, as dbt compiled them, one by one under DuckDB's profile on one thread: rows
that each scan touched, bytes of the columns read (as Parquet, zstd), rows written, processor time, and the most memory
that one of them took. At the same length of history (24 months, some 270 facts a customer) all of it grows with the
customers. It is measured for a quarter of --customers and for all of them, and what grew in between goes on growing:
what does not depend on the customers drops out. What a warehouse makes of it follows from ASSUMPTIONS, each a number to
replace.
"""

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from benchmarks.cost import column_bytes, dbt, month_before, scans_of, width
from benchmarks.portfolios import LAST_MONTH

FOLDER = Path("data") / "cost"
HISTORY, QUARTERS = 24, 4
CREDITS = {"X-Small": 1, "Small": 2, "Medium": 4, "Large": 8, "X-Large": 16, "2X-Large": 32}  # an hour, and nodes
# Not measured, for nobody here has an account: `make test-snowflake` prints what yours takes.
ASSUMPTIONS = {
    "seconds of a statement that reads little, one after the other": 0.3,
    "seconds of a run's own work in between (the job on DuckDB, docs/performance.md)": 25.0,
    "cores of an X-Small, and of each node of a larger one (Snowflake does not publish it)": 8.0,
    "processor time of a node's core, beside DuckDB's here": 2.0,
    "MB of compressed columns that a node reads in a second": 200.0,
    "GB of memory of a node (not published either)": 16.0,
}
STATEMENT, CLIENT, CORES, SLOWER, MB_A_SECOND, MEMORY = ASSUMPTIONS.values()
OF_A_MONTH = ("models", "data tests")
SUSPEND = 60  # seconds, as in snowflake/setup.sql
# What asks outside of a month's run: readiness.py, once a look while facts are awaited; restatements.py, once a look.
LOOKS = {
    "a look for facts": (
        "select max(transaction_date) from silver.stg_transactions where transaction_date < '{end}'"
        " and transaction_date >= '{month}'",
    ),
    "… once the last day is there": (
        "select fact_day from silver.fact_days where snapshot_month = '{month}' and is_absent",
    ),
    "a look of restate": (
        "select * from silver.rollup_differences where calendar_month < '{end}'",
        "select snapshot_month from silver.outdated_months",
    ),
}
FACTS, ROLLUP = "gold.fct_transactions", "silver.customer_period_spend"


class Figures(NamedTuple):
    """Of one statement."""

    seconds: float
    memory: float
    facts: float


@dataclass
class Asked:
    """Of the statements of one kind."""

    statements: int = 0
    rows: float = 0
    bytes: float = 0
    facts: float = 0
    rollup: float = 0
    written: float = 0
    bytes_written: float = 0
    seconds: float = 0
    memory: float = 0  # bytes, of the statement that takes the most
    each: dict[str, "Figures"] = field(default_factory=dict)

    def add(
        self,
        name: str,
        profile: dict[str, Any],
        seconds: float,
        widths: dict[str, dict[str, float]],
        writes: str | None,
    ) -> None:
        self.statements += 1
        facts_before = self.facts
        for scan in scans_of(profile["operator"]):
            table = ".".join(scan["extra_info"]["Table"].split(".")[-2:])
            rows = int(scan["rows_scanned"])
            self.rows += rows
            self.bytes += rows * width(scan["extra_info"], widths.get(table, {}))
            self.facts += rows * (table == FACTS)
            self.rollup += rows * (table == ROLLUP)
        if writes:
            rows = int(profile["operator"][0]["children"][0]["children"][0]["intermediate_rows"])
            self.written += rows
            self.bytes_written += rows * sum(widths.get(writes, {}).values())
        self.seconds += seconds
        self.memory = max(self.memory, float(profile["system"]["peak_buffer_memory"]))
        memory = float(profile["system"]["peak_buffer_memory"])
        self.each[name] = Figures(seconds, memory, self.facts - facts_before)

    def drawn_out(self, smaller: "Asked", times: float) -> "Asked":
        """For `times` as many customers, `smaller` being a quarter of this."""
        grown = {
            one.name: getattr(self, one.name)
            + (times - 1) * max(getattr(self, one.name) - getattr(smaller, one.name), 0) / (1 - 1 / QUARTERS)
            for one in fields(self)
            if one.name not in ("statements", "each")
        }
        return Asked(statements=self.statements, **grown)


@dataclass(frozen=True)
class Month:
    facts: float
    lists: float  # rows of the month's campaign lists, which a client writes to files
    kinds: dict[str, Asked]

    def drawn_out(self, smaller: "Month", times: float) -> "Month":
        kinds = {name: asked.drawn_out(smaller.kinds[name], times) for name, asked in self.kinds.items()}
        return Month(self.facts * times, self.lists * times, kinds)


def measured(customers: int) -> Month:
    from segmentation_assets.sources import synthetic

    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    path = (FOLDER / "beyond.duckdb").absolute()
    first = month_before(LAST_MONTH, HISTORY - 1)
    with duckdb.connect(str(path)) as connection:
        synthetic.build(connection, "gold", customers=customers, first_month=first, last_month=LAST_MONTH)
    # Lists look back at the months before them; a year of them is all that they look at.
    dbt(path, "run", first, month_before(LAST_MONTH, 13))
    dbt(path, "run", month_before(LAST_MONTH, 12), month_before(LAST_MONTH, 1), everything=True)
    folder = dbt(path, "compile", LAST_MONTH, LAST_MONTH, everything=True)
    dbt(path, "run", LAST_MONTH, LAST_MONTH, everything=True)
    kinds = {name: Asked() for name in (*OF_A_MONTH, *LOOKS)}
    end = month_before(LAST_MONTH, -1)
    looks = [(kind, sql, sql.format(month=LAST_MONTH, end=end), None) for kind, asked in LOOKS.items() for sql in asked]
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        tables = [
            f"{schema}.{name}"
            for schema, name in connection.execute(
                "select schema_name, table_name from duckdb_tables() where schema_name in ('gold', 'silver')"
            ).fetchall()
        ]
        widths = {table: column_bytes(connection, table) for table in tables if _has_rows(connection, table)}
        for kind, name, sql, writes in (*statements(folder), *looks):
            began = time.process_time()
            plan = connection.execute(f"explain (analyze, format json) {sql}").fetchall()[0][1]
            kinds[kind].add(name, json.loads(plan), time.process_time() - began, widths, writes)
        facts, lists = connection.execute(
            f"select (select count(*) from {FACTS}),"
            " (select sum(listed) from gold.audience_log where snapshot_month = ?)",
            [LAST_MONTH],
        ).fetchall()[0]
    return Month(float(facts), float(lists), kinds)


def _has_rows(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(connection.execute(f"select 1 from {table} limit 1").fetchall())


def statements(folder: Path) -> Iterator[tuple[str, str, str, str | None]]:
    """Kind, name, SQL and the table it fills, of what dbt compiled; a view is in what reads it."""
    manifest = json.loads((folder.parent / "manifest.json").read_text())
    for node in manifest["nodes"].values():
        materialized = node["config"].get("materialized")
        is_model = node["resource_type"] == "model" and materialized in ("incremental", "log_table", "table")
        if not is_model and node["resource_type"] != "test":
            continue
        compiled = Path(node["compiled_path"]).read_text() if node.get("compiled_path") else ""
        if compiled.strip():
            writes = f"{node['schema']}.{node['alias']}" if is_model else None
            yield "models" if is_model else "data tests", node["name"], compiled, writes


def table_of(month: Month) -> Iterator[str]:
    yield "| | Statements | Rows scanned | … facts | … rollup | Read | Rows written | Written | Processor time |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, asked in month.kinds.items():
        numbers = (asked.rows, asked.facts, asked.rollup)
        yield " | ".join([
            f"| {name}", f"{asked.statements}", *map(_rows, numbers), _size(asked.bytes), _rows(asked.written),
            _size(asked.bytes_written), f"{asked.seconds:,.1f} s |",
        ])  # fmt: skip


def warehouses(month: Month, statements: int) -> Iterator[str]:
    of_the_run = [month.kinds[name] for name in OF_A_MONTH]
    work = sum(asked.seconds for asked in of_the_run) * SLOWER / CORES
    scans = sum(asked.bytes + asked.bytes_written for asked in of_the_run) / 1e6 / MB_A_SECOND
    memory = max(asked.memory for asked in of_the_run) / 1e9
    yield "| Warehouse | Statements and client | Their work | In all | Credits | The largest statement's memory |"
    yield "|---|---|---|---|---|---|"
    for size, nodes in CREDITS.items():
        own, heavy = statements * STATEMENT + CLIENT, max(work, scans) / nodes
        credits = nodes * (own + heavy + SUSPEND) / 3600
        has = nodes * MEMORY
        yield " | ".join([
            f"| {size}", f"{own / 60:.1f} min", f"{heavy / 60:,.1f} min", f"{(own + heavy) / 60:,.1f} min",
            f"{credits:,.2f}", f"{memory:,.1f} of {has:,.0f} GB" + (": spills |" if memory > has else " |"),
        ])  # fmt: skip


def _rows(number: float) -> str:
    return f"{number / 1e9:,.2f} bn" if number >= 1e9 else f"{number / 1e6:,.2f} M"


def _size(number: float) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000, help="of the larger portfolio that is measured")
    parser.add_argument("--wanted", type=int, default=50_000_000, help="customers of the portfolio that is worked out")
    parser.add_argument("--statements", type=int, default=259, help="of a month in all (benchmarks.statements)")
    given = parser.parse_args(arguments)
    smaller, larger = measured(given.customers // QUARTERS), measured(given.customers)
    print(
        f"{datetime.now(tz=UTC).date()}; {os.cpu_count()} cores, {platform.machine()}, DuckDB {duckdb.__version__};"
        f" one month after {HISTORY - 1}\n"
    )
    for customers in (given.customers, 50_000, given.wanted):
        month = larger.drawn_out(smaller, customers / given.customers)
        print(f"{customers:,} customers, {_rows(month.facts)} facts, {_rows(month.lists)} rows of lists\n")
        print("\n".join(table_of(month)) + "\n")
        if customers != given.customers:
            print("\n".join(warehouses(month, given.statements)) + "\n")
    for name in OF_A_MONTH:
        each = larger.kinds[name].each.items()
        for what, tell, key in (
            ("processor time", lambda one: f"{one.seconds:.2f} s", "seconds"),
            ("memory", lambda one: _size(one.memory), "memory"),
            ("facts", lambda one: _rows(one.facts), "facts"),
        ):
            most = sorted(each, key=lambda one, key=key: -getattr(one[1], key))[:5]
            print(f"Most {what} of the {name}: " + ", ".join(f"{one} {tell(found)}" for one, found in most) + "\n")
    print("\n".join(f"- {name}: {number:g}" for name, number in ASSUMPTIONS.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
