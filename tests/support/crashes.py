"""What a crash is measured by: a start, the same start after an undisturbed run, and what a killed run left.

Facts of a published month change; the next run makes a new version of that month, its audiences and their files. So the
month before the run and the month after it are both whole and differ in every table, and what a reader finds after a
kill has to be one of the two.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from segmentation_assets.sources import synthetic
from tests.support.command_line import settings
from tests.support.killed_runs import MARK

FIRST, MONTH = date(2025, 9, 1), date(2025, 11, 1)
CUSTOMERS = 600
KILLED = -9
FILE = "segmentation.duckdb"
# Who ran and when: what two runs of the same month differ in.
OF_THE_RUN = {"run_id", "published_at", "made_at", "updated_at"}
OF_THE_EVIDENCE = OF_THE_RUN | {"by_run", "accepted_at"}
# A line is logged each time that lists are made, however often a month was run.
LOGS = ("gold.audience_log",)
_RUN_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(rb"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?([+]\d{2}:\d{2})?)?")
# Replaced together, in one transaction.
ONE_TRANSACTION = ("gold.segment_publications", "gold.segment_restatements", "gold.customer_segment_history")
# The last 90 days grow by half for one customer in seven, and shrink to a tenth for one in eleven.
CHANGED_FACTS = """
    update gold.fct_transactions
    set transaction_amount = cast(
        transaction_amount * case when customer_key % 7 = 0 then 1.5 else 0.1 end as decimal(12, 2)
    )
    where transaction_date >= '2025-11-01' and (customer_key % 7 = 0 or customer_key % 11 = 0)
"""
Tables = dict[str, Counter[tuple[Any, ...]]]


@dataclass(frozen=True)
class State:
    """Every row of every table, and every exported file, without run ids and times."""

    tables: Tables
    files: dict[str, bytes]


class Runs:
    """Asks tests.support.killed_runs for runs."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.killed_runs"],
            cwd=tempfile.gettempdir(),
            env=settings(
                SEGMENTATION_SOURCE="warehouse", SEGMENTATION_DUCKDB_PATH=f"/{FILE}", DAGSTER_DISABLE_TELEMETRY="1"
            ),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def run(self, folder: Path, first: date = MONTH, **asked: Any) -> int:
        """Exit code of a run of the months from `first` to MONTH, -9 where it was killed; `asked` is said there."""
        assert self.process.stdin is not None and self.process.stdout is not None
        asked = {"folder": str(folder), "first": str(first), "last": str(MONTH), **asked}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))["code"]
        raise AssertionError(f"The process that starts the runs ended with {self.process.wait()}.")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@contextmanager
def started_runs() -> Iterator[Runs]:
    runs = Runs()
    try:
        yield runs
    finally:
        runs.close()


@dataclass(frozen=True)
class Portfolio:
    """A start and its undisturbed end."""

    start: Path
    old: State
    new: State


def portfolio(runs: Runs, folder: Path) -> Portfolio:
    """Three published months, the facts of the last changed since; and the same after an undisturbed run of it."""
    start = folder / "start"
    start.mkdir(parents=True)
    with duckdb.connect(str(start / FILE)) as connection:
        synthetic.build(
            connection, "gold", customers=CUSTOMERS, first_month=date(2025, 1, 1), last_month=MONTH, sized_at=MONTH
        )
        connection.execute("delete from gold.fct_transactions where transaction_date >= '2025-12-01'")
    must_succeed(runs, start, FIRST)
    with duckdb.connect(str(start / FILE)) as connection:
        connection.execute(CHANGED_FACTS)
    undisturbed = copied(start, folder / "undisturbed")
    must_succeed(runs, undisturbed)
    found = Portfolio(start, state(start), state(undisturbed))
    same = [table for table in ONE_TRANSACTION if found.old.tables[table] == found.new.tables[table]]
    assert not same, f"the run changes nothing in {', '.join(same)}: no test could tell the old month from the new"
    return found


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to, dirs_exist_ok=True))


def must_succeed(runs: Runs, folder: Path, first: date = MONTH, **asked: Any) -> None:
    code = runs.run(folder, first, **asked)
    assert code == 0, f"exit code {code}\n{(folder / 'run.log').read_text()[-3000:]}"


# What is there


def state(folder: Path) -> State:
    return State(tables(folder / FILE), exported(folder / "exports"))


def tables(path: Path) -> Tables:
    """Every table and view by its name, the rows with how often each is there."""
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables where table_schema <> 'test_failures'"
            " order by all"
        ).fetchall()
        return {f"{schema}.{name}": Counter(_rows(connection, f"{schema}.{name}")) for schema, name in names}


def _rows(connection: duckdb.DuckDBPyConnection, table: str) -> list[tuple[Any, ...]]:
    columns = [row[0] for row in connection.execute(f"describe {table}").fetchall()]
    kept = ", ".join(f'"{column}"' for column in columns if column not in OF_THE_RUN)
    distinct = "distinct " if table in LOGS else ""
    return connection.execute(f"select {distinct}{kept} from {table}").fetchall()


def exported(folder: Path) -> dict[str, bytes]:
    """Every file below the folder; run ids and times are blotted out of manifests and reports."""
    found: dict[str, bytes] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "evidence.json":
            content = _without_the_run(json.loads(content))
        if path.suffix in (".json", ".html"):
            content = _TIME.sub(b"<time>", _RUN_ID.sub(b"<run>", content))
        found[str(path.relative_to(folder))] = content
    return found


def _without_the_run(evidence: dict[str, Any]) -> bytes:
    """A month's evidence says when what was done, and by which run; of a list made twice it tells both times."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items() if key not in OF_THE_EVIDENCE}
        return [plain(one) for one in value] if isinstance(value, list) else value

    kept = plain({key: value for key, value in evidence.items() if key != "sha256"})
    kept["audience_log"] = sorted({json.dumps(row, sort_keys=True) for row in kept["audience_log"]})
    return json.dumps(kept, sort_keys=True).encode()


# What is wrong


@dataclass(frozen=True)
class Damage:
    """How what was left differs from what an undisturbed run leaves."""

    lost: int
    doubled: int
    words: tuple[str, ...]


def damage(found: State, expected: State) -> Damage:
    """Rows that are missing, rows that are there more often than they should be, and files that differ."""
    words: list[str] = []
    lost = doubled = 0
    for table in sorted(found.tables.keys() | expected.tables.keys()):
        if table not in expected.tables or table not in found.tables:
            words.append(f"{table} is {'left over' if table in found.tables else 'missing'}")
        missing = expected.tables.get(table, Counter()) - found.tables.get(table, Counter())
        extra = found.tables.get(table, Counter()) - expected.tables.get(table, Counter())
        lost, doubled = lost + missing.total(), doubled + extra.total()
        if missing or extra:
            words.append(f"{table}: {missing.total()} rows lost, {extra.total()} too many")
    for name in sorted(found.files.keys() | expected.files.keys()):
        if found.files.get(name) != expected.files.get(name):
            words.append(f"{name} is {'left over' if name not in expected.files else 'not that of an undisturbed run'}")
    return Damage(lost, doubled, tuple(words))


def neither_old_nor_new(found: Tables, old: Tables, new: Tables) -> list[str]:
    """What a reader of the published tables would find half, in words; and tables of one transaction out of step."""
    wrong = [
        f"{table} is neither that of before nor that of after"
        for table in sorted(new)
        if table.startswith("gold.") and found.get(table) not in (old.get(table), new[table])
    ]
    versions = {found.get(table) == new[table] for table in ONE_TRANSACTION}
    if len(versions) > 1:
        wrong.append(f"one of {', '.join(ONE_TRANSACTION)} is new and another old")
    return wrong


def torn_exports(folder: Path, old: State, new: State) -> list[str]:
    """Manifests that are neither the old nor the new one, or that name a file which is not there as they say."""
    wrong: list[str] = []
    found = exported(folder)
    for name in sorted(name for name in old.files | found if name.endswith(("manifest.json", ".html"))):
        if found.get(name) not in (old.files.get(name), new.files.get(name)):
            wrong.append(f"{name} is neither the old one nor the new one")
        if name.endswith("manifest.json") and name in found:
            for file in json.loads(found[name])["files"].values():
                path = str(Path(name).parent / file["path"])
                if found.get(path) not in (old.files.get(path, b""), new.files.get(path, b"")):
                    wrong.append(f"{name} names {path}, which is not whole")
    return wrong


# Power-off: the files as they lay there, and with the end of the log not written any more


def logs_of(path: Path) -> list[Path]:
    """What DuckDB keeps beside the file until it is written into it."""
    return sorted(path.parent.glob(f"{path.name}.*wal*"))


def power_off(path: Path, to: Path, kept: float = 1.0) -> Path:
    """A copy of the DuckDB file and of the first part `kept` of its write-ahead log."""
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    shutil.copy(path, to / path.name)
    for log in logs_of(path):
        content = log.read_bytes()
        (to / log.name).write_bytes(content[: round(len(content) * kept)])
    return to / path.name
