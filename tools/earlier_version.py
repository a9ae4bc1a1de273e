"""Writes the database that an earlier version makes as SQL, for the tests of upgrades (tests/earlier_versions).

The version's own code publishes two months of a small portfolio, with all its checks, lists, files and the report; its
tables and views, without their comments, are written as statements that make them again. A clone without history has
the file, which is therefore kept; a new one is made where a later version has to be upgraded from, too:

    python -m tools.earlier_version COMMIT tests/earlier_versions/NAME.sql
"""

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from tests.support import surroundings
from tests.support.any_order_model import CUSTOMERS, portfolio
from tests.support.known_mix import BUDGET
from tests.support.portfolio import Portfolio
from tests.support.published_months import FILE

ROOT = Path(__file__).parents[1]
FIRST, LAST = "2025-09-01", "2025-10-01"  # the facts of November and December are there
OURS = "schema_name not in ('main') and not internal"
ROWS_OF_A_LINE = 8
BLANKS = re.compile(r"'[^']*\u200b[^']*'")  # characters that no editor shows, in most views many times


def checked_out(commit: str, folder: Path) -> None:
    """The tree of a commit, without its history."""
    archive = folder.with_suffix(".tar")
    subprocess.run(["git", "-C", str(ROOT), "archive", "-o", str(archive), commit], check=True)
    with tarfile.open(archive) as found:
        found.extractall(folder, filter="data")


def of_few() -> Portfolio:
    """One customer of each segment, one of whom objected."""
    whole = portfolio()
    chosen = [*(one for one in CUSTOMERS[:-4] if one.endswith(" 0")), CUSTOMERS[-1]]  # whose facts end a month
    dimension = whole.dim_customer[whole.dim_customer["customer_id"].isin(chosen)]
    facts = whole.fct_transactions
    return replace(
        whole,
        dim_customer=dimension,
        fct_transactions=facts[facts["customer_key"].isin(dimension["customer_key"])],
        marketing_suppressions=whole.marketing_suppressions[:1].assign(customer_id=f"{BUDGET} 0"),
    )


def made_by(tree: Path, database: Path) -> None:
    """The months, published by the command of that tree in surroundings of its own."""
    with duckdb.connect(str(database)) as connection:
        of_few().load(connection)
    environment = dict(os.environ)
    surroundings.clear(environment)
    environment |= surroundings.places(database.parent)
    environment |= {"SEGMENTATION_DUCKDB_PATH": str(database), "SEGMENTATION_SOURCE": "warehouse"}
    Path(environment["DAGSTER_HOME"]).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "segmentation_assets.cli", "backfill", FIRST, LAST]
    subprocess.run(command, cwd=tree, env=environment, check=True)


def statements(database: Path) -> Iterator[str]:
    """What makes the database again, in an order in which it can be."""
    with duckdb.connect(str(database), read_only=True) as connection:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(sql).fetchall()

        for (schema,) in rows(f"select schema_name from duckdb_schemas() where {OURS} order by 1"):
            yield f"create schema {schema};"
        for schema, name, sql in rows(
            f"select schema_name, table_name, sql from duckdb_tables() where {OURS} order by schema_name, table_name"
        ):
            yield sql
            yield from inserts(f'{schema}."{name}"', rows(f'select * from {schema}."{name}" order by all'))
        yield from in_order(
            [sql for (sql,) in rows(f"select sql from duckdb_tables() where {OURS}")],
            [sql for (sql,) in rows(f"select sql from duckdb_views() where {OURS} order by schema_name, view_name")],
        )


def in_order(tables: list[str], views: list[str]) -> Iterator[str]:
    """Each view after those that it reads; before them, and named by them, the blanks that they leave out."""
    for blanks in {found for sql in views for found in BLANKS.findall(sql)}:
        yield f"create macro main.blanks() as {' || '.join(f'chr({ord(one)})' for one in blanks[1:-1])};"
    with duckdb.connect() as scratch:
        for (schema,) in {(sql.split(".")[0].split()[-1],) for sql in tables}:
            scratch.execute(f"create schema {schema}")
        for sql in tables:
            scratch.execute(sql)
        waiting = views
        while waiting:
            left = []
            for sql in waiting:
                try:
                    scratch.execute(sql)
                except duckdb.CatalogException:
                    left.append(sql)
                else:
                    yield BLANKS.sub("main.blanks()", sql)
            if len(left) == len(waiting):
                raise SystemExit(f"These views read what is not there: {left}")
            waiting = left


def inserts(table: str, rows: list[tuple[Any, ...]]) -> Iterator[str]:
    if table.endswith('"dim_date"'):
        yield of_days(table, rows)
        return
    lines = [f"({','.join(map(literal, row))})" for row in rows]
    parts = [", ".join(lines[at : at + ROWS_OF_A_LINE]) for at in range(0, len(lines), ROWS_OF_A_LINE)]
    if parts:
        yield f"insert into {table} values\n" + ",\n".join(parts) + ";"


def of_days(table: str, rows: list[tuple[Any, ...]]) -> str:
    """A calendar is one line, and no day is written that it does not have."""
    days = [row[1] for row in rows]
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]
    assert [row[0] for row in rows] == [int(f"{day:%Y%m%d}") for day in days]
    until = days[-1] + timedelta(days=1)
    return (
        f"insert into {table} select strftime(day, '%Y%m%d'), day"
        f" from range(timestamp '{days[0]}', timestamp '{until}', interval 1 day) days (day);"
    )


def literal(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Decimal():
            return f"{value:f}".rstrip("0").rstrip(".") if "." in f"{value:f}" else str(value)
        case int() | float():
            return str(value)
        case date() | datetime() | str():
            return "'" + str(value).replace("'", "''") + "'"
    raise TypeError(f"{type(value).__name__} has no literal here: {value!r}")


def written(commit: str, to: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        database, tree = Path(folder) / "made" / FILE, Path(folder) / "tree"
        database.parent.mkdir()
        checked_out(commit, tree)
        made_by(tree, database)
        head = (
            f"-- A database as commit {commit} of this pipeline made it, which published {FIRST} and {LAST} of\n"
            "-- five customers of tests/support/any_order_model.py. Not written by hand, but by\n"
            f"-- python -m tools.earlier_version {commit} {to.as_posix()}\n"
        )
        to.write_text(head + "\n".join(statements(database)) + "\n", encoding="utf-8")
        with duckdb.connect(str(Path(folder) / FILE)) as again:
            again.execute(to.read_text(encoding="utf-8"))
    print(f"{to}: {to.stat().st_size:,} bytes")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.earlier_version", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("commit")
    parser.add_argument("to", type=Path)
    given = parser.parse_args()
    return written(given.commit, given.to)


if __name__ == "__main__":
    sys.exit(main())
