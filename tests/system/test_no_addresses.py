"""Where the addresses are, and where they are not: in the lists and their exports, and nowhere else.

Locks out: an address in the event log, in a materialisation's or a check's metadata, in a run's log, in what dbt writes
beside its builds, on the terminal, or in a table of failing rows; after a run that went well and after one that failed.
"""

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from tests.support.command_line import segmentation, settings

MONTH = "2025-11-01"
ADDRESS = re.compile(rb"(?<=[a-z0-9_.%+'-])@[a-z0-9-]+\.[a-z]{2,}")
# Of every address of the synthetic portfolio, the malformed ones too: ada.miller12
NAME = re.compile(rb"[a-z]+\.[a-z]+[0-9]+")
# Made up, in the unit tests of the models, and so in what dbt has parsed of them.
IN_UNIT_TESTS = {
    address
    for file in (Path(__file__).parents[2] / "dbt_models" / "models").rglob("unit_tests.yml")
    for address in re.findall(rb"[A-Za-z0-9.]+@[A-Za-z0-9.]+", file.read_bytes())
}
# The source itself and the views on it, which compute an address when they are asked and copy none.
SOURCE = ("gold.dim_customer", "silver.stg_customers", "silver.customer_contacts", "silver.customer_mailboxes")
FAULTS = (
    "update gold.audience_premium_rewards set email = email || ',' || email where audience_rank = 1",
    "update gold.audience_premium_rewards set audience_rank = audience_rank + 1 where audience_rank > 5",
    "update gold.audience_core_retention set email = (select email from gold.audience_core_retention"
    " where audience_rank = 1) where audience_rank = 2",
    "insert into gold.marketing_suppressions (customer_id)"
    " select customer_id from gold.audience_everyday_rewards where audience_rank <= 3",
    # A warning about the source, whose rows hold the address itself.
    "update gold.dim_customer set valid_to = valid_from - 1 where valid_to is not null",
)
CHECKS = (
    "audience_addresses_are_deliverable",
    "audience_addresses_are_unique",
    "audience_holds_nobody_suppressed",
    "audience_ranks_run_from_one",
)
CHECKED = ("premium_rewards", "core_retention", "everyday_rewards")
# Making a list again would mend it: its checks run alone, as somebody may start them in the UI.
CHECKS_ALONE = """
import json, sys
import dagster as dg
from segmentation_assets.definitions import build_defs
from segmentation_assets.partitions import monthly_partitions
month, checks, campaigns = json.loads(sys.argv[1])
keys = [
    dg.AssetCheckKey(dg.AssetKey(["gold", "audience_" + campaign]), f"{check}_audience_{campaign}_")
    for check in checks for campaign in campaigns
]
lists = dg.define_asset_job(
    "lists", selection=dg.AssetSelection.checks(*keys), executor_def=dg.in_process_executor,
    partitions_def=monthly_partitions(),
)
source = dg.define_asset_job(
    "source", selection=dg.AssetSelection.groups("staging"), executor_def=dg.in_process_executor
)
definitions = dg.Definitions.merge(build_defs(), dg.Definitions(jobs=[lists, source]))
told = []
with dg.DagsterInstance.get() as instance:
    months = {"dagster/asset_partition_range_start": month, "dagster/asset_partition_range_end": month}
    for name, tags in (("lists", months), ("source", {})):
        result = definitions.resolve_job_def(name).execute_in_process(
            instance=instance, tags=tags, raise_on_error=False
        )
        told += [one.check_name for one in result.get_asset_check_evaluations() if not one.passed]
print("TOLD " + json.dumps(told))
"""


@dataclass(frozen=True)
class Home:
    folder: Path
    terminal: str

    @property
    def given(self) -> dict[str, str]:
        return {
            "SEGMENTATION_SOURCE": "synthetic",
            "SEGMENTATION_CUSTOMERS": "600",
            "DAGSTER_HOME": str(self.folder / "home"),
            "DBT_TARGET_PATH": str(self.folder / "target"),
        }

    @contextlib.contextmanager
    def warehouse(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = duckdb.connect(str(self.folder / "data" / "segmentation.duckdb"))
        try:
            yield connection
        finally:
            connection.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The monthly job run once, as a person runs it."""
    folder = tmp_path_factory.mktemp("home")
    code, out, err = segmentation(folder, "month", MONTH, **Home(folder, "").given)
    assert code == 0, "the run failed"
    return Home(folder, out + err)


def names(home: Home) -> set[bytes]:
    """The part before the @ of every address in dim_customer, whatever is wrong with the rest."""
    with home.warehouse() as connection:
        rows = connection.execute("select email from gold.dim_customer where email is not null").fetchall()
    found = {name for (address,) in rows for name in NAME.findall(address.lower().encode())}
    assert len(found) > 300
    return found


def holds(content: bytes, known: set[bytes]) -> bool:
    content = content.lower()
    return bool(ADDRESS.search(content)) or not known.isdisjoint(NAME.findall(content))


def rows_of(file: Path) -> Iterable[bytes]:
    """A text that lies across two pages of an SQLite file is whole only in the row."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        for line in connection.iterdump():
            yield line.encode("utf-8", "surrogateescape")


def searched(home: Home) -> list[Path]:
    allowed = {home.folder / "data", home.folder / "exports"}
    return [path for path in home.folder.rglob("*") if path.is_file() and not allowed & set(path.parents)]


def files_with_addresses(home: Home, known: set[bytes]) -> list[str]:
    found = []
    for path in searched(home):
        content = path.read_bytes()
        if path.name in ("manifest.json", "partial_parse.msgpack", "unit_tests.yml"):
            for made_up in sorted(IN_UNIT_TESTS, key=len, reverse=True):
                content = content.replace(made_up, b"")
        parts = [content, *rows_of(path)] if content.startswith(b"SQLite format 3") else [content]
        if any(holds(part, known) for part in parts):
            found.append(str(path.relative_to(home.folder)))
    return found


def tables_with_addresses(home: Home, known: set[bytes]) -> list[str]:
    with home.warehouse() as connection:
        tables = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables"
        ).fetchall()
        found = []
        for (table,) in tables:
            schema, name = table.split(".")
            rows = connection.execute(f'from "{schema}"."{name}"').fetchall()
            if holds(repr(rows).encode(), known):
                found.append(table)
    return sorted(found)


def assert_only_lists_and_exports_hold_addresses(home: Home) -> None:
    known = names(home)
    assert files_with_addresses(home, known) == []
    tables = tables_with_addresses(home, known)
    assert set(tables) - set(SOURCE) == {table for table in tables if table.startswith("gold.audience_")}
    assert not holds(home.terminal.encode(), known), "the terminal showed an address"


def test_after_a_run_only_lists_and_exports_hold_addresses(home: Home) -> None:
    known = names(home)
    # The search finds what it looks for, where it may be.
    lists = [path for path in (home.folder / "exports").rglob("full.csv") if path.read_bytes().count(b"\n") > 1]
    assert lists
    assert all(holds(path.read_bytes(), known) for path in lists)
    assert "gold.audience_core_retention" in tables_with_addresses(home, known)
    # It looks at the event log, the run's own log, and what dbt left behind.
    looked_at = {path.name for path in searched(home)}
    assert {"last-run.log", "audience_core_retention.sql", "manifest.json"} <= looked_at
    sqlite = [path for path in searched(home) if path.read_bytes().startswith(b"SQLite format 3")]
    assert any(b"audience_addresses_are_unique" in line for path in sqlite for line in rows_of(path))
    assert_only_lists_and_exports_hold_addresses(home)


def test_after_failed_checks_only_lists_and_exports_hold_addresses(home: Home) -> None:
    with home.warehouse() as connection:
        for fault in FAULTS:
            connection.execute(fault)
    done = subprocess.run(
        [sys.executable, "-c", CHECKS_ALONE, json.dumps([MONTH, CHECKS, CHECKED])],
        cwd=home.folder, env=settings(**home.given), text=True, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert "TOLD " in done.stdout, f"the run of the checks broke off: {done.stderr[-800:]}"
    told = json.loads(done.stdout.rpartition("TOLD ")[2])
    failed = {name.partition("_audience_premium")[0].partition("_audience_core")[0] for name in told}
    assert failed >= {*CHECKS, "no_customer_version_ends_before_it_begins"} - {"audience_holds_nobody_suppressed"}
    assert "audience_holds_nobody_suppressed_audience_everyday_rewards_" in told
    assert_only_lists_and_exports_hold_addresses(Home(home.folder, done.stdout + done.stderr))
    # The rows that failed are kept, without what would tell whose they are to a stranger.
    with home.warehouse() as connection:
        kept = {
            table
            for (table,) in connection.execute(
                "select table_name from information_schema.tables where table_schema = 'test_failures'"
            ).fetchall()
            if connection.execute(f'from test_failures."{table}" limit 1').fetchall()
        }
    assert "audience_addresses_are_deliverable_audience_premium_rewards_" in kept
    assert "no_customer_version_ends_before_it_begins" in kept
