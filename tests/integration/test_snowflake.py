"""The whole graph through the real connector and dbt-snowflake over HTTP, against an emulator of Snowflake.

Locks out: SQL that only DuckDB understands, an engine that gives another cent, segment, rank or holdout, a gate that
holds on one engine only, a month left half replaced, and credentials that fail late, repeatedly or in many words. What
an emulator cannot prove is in docs/snowflake.md.
"""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import snowflake.connector
import sqlglot
from pytest_httpserver import HTTPServer
from sqlglot import exp

from segmentation_assets import dbt_project
from segmentation_assets.assets import star_schema
from segmentation_assets.snowflake import SETTINGS, SnowflakeSession, SnowflakeWarehouse
from segmentation_assets.sources.snowflake_load import copy_tables
from segmentation_assets.warehouse import WarehouseError
from tests.run_steps import MARK
from tests.snowflake_portfolio import FIRST_MONTH, LAST_MONTH, SECOND_MONTH, thresholds_among_customers
from tests.warehouse_fixture import CANDIDATE, Pipeline

ROOT = Path(__file__).parents[2]
# A statement the emulator cannot answer makes the connector ask again for ever.
SERVER_SECONDS, STATEMENT_SECONDS, RUN_SECONDS = 60, 30, 600
LAST_DAYS_ARE_MISSING = "delete from gold.fct_transactions where transaction_date >= '2025-10-22'"
STEPS = [
    ["run", str(FIRST_MONTH), str(LAST_MONTH)],
    ["run", str(SECOND_MONTH), str(SECOND_MONTH)],
    ["execute", LAST_DAYS_ARE_MISSING],
    ["run", str(LAST_MONTH), str(LAST_MONTH)],
]
BACKFILL, RERUN, REFUSED = 0, 1, 3
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
# When, by which run, and the engine's own hash of the content.
DIFFERS = {"published_at", "run_id", "content_hash"}


@dataclass(frozen=True)
class Run:
    """What the steps did on Snowflake, and where they left their compiled SQL."""

    told: list[dict[str, Any]]
    target_path: Path


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, str]]:
    """A fresh emulator and the variables that lead to it."""
    port = free_port()
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("fakesnow")), "-s", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + SERVER_SECONDS
        while True:
            with closing(socket.socket()) as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None and time.monotonic() < deadline, "the emulator did not start"
            time.sleep(0.2)
        yield {
            "SEGMENTATION_TARGET": "snowflake",
            "SNOWFLAKE_ACCOUNT": "fakesnow",
            "SNOWFLAKE_USER": "fake",
            "SNOWFLAKE_PASSWORD": "snow",
            "SNOWFLAKE_DATABASE": "segmentation",
            "SNOWFLAKE_HOST": "127.0.0.1",
            "SNOWFLAKE_PORT": str(port),
            "SNOWFLAKE_PROTOCOL": "http",
        }
    finally:
        server.kill()
        server.wait(timeout=10)


@contextmanager
def session_on(account: dict[str, str], database: str = "segmentation") -> Iterator[SnowflakeSession]:
    # The emulator makes the database that a session names.
    connection = snowflake.connector.connect(
        account="fakesnow",
        user="fake",
        password="snow",
        host=account["SNOWFLAKE_HOST"],
        port=int(account["SNOWFLAKE_PORT"]),
        protocol="http",
        database=database,
        login_timeout=10,
        network_timeout=STATEMENT_SECONDS,
        session_parameters={"CLIENT_TELEMETRY_ENABLED": False},
    )
    with closing(connection), pytest.MonkeyPatch.context() as patch:
        patch.setenv("SNOWFLAKE_PROTOCOL", "http")
        yield SnowflakeSession(connection)


@pytest.fixture(scope="module")
def duckdb_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parity") / "segmentation.duckdb"


@pytest.fixture(scope="module")
def run(account: dict[str, str], duckdb_file: Path) -> Run:
    """The steps on Snowflake through the Dagster job, and at the same time on DuckDB through plain dbt."""
    pipeline = Pipeline(duckdb_file)
    pipeline.load(thresholds_among_customers())
    with pipeline.connection() as connection, session_on(account) as session:
        copy_tables(session, connection, "gold")
    target_path, log = duckdb_file.parent / "snowflake", duckdb_file.with_name("steps.log")
    # Into a file: nobody reads a pipe while DuckDB is at work, and a full one would hold the process up.
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.run_steps", json.dumps(STEPS)],
            cwd=ROOT,
            env={
                **os.environ,
                **account,
                "DBT_TARGET_PATH": str(target_path),
                "SEGMENTATION_EXPORT_URI": str(duckdb_file.with_name("exports")),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SEGMENTATION_DUCKDB_PATH", str(duckdb_file))
            same_steps_on_duckdb(pipeline)
        process.wait(timeout=RUN_SECONDS)
    finally:
        process.kill()
    said = log.read_text()
    lines = [line for line in said.splitlines() if line.startswith(MARK)]
    assert lines, said[-6000:]
    return Run(json.loads(lines[-1].removeprefix(MARK)), target_path)


def same_steps_on_duckdb(pipeline: Pipeline) -> None:
    for kind, *arguments in STEPS:
        if kind == "execute":
            pipeline.execute(*arguments)
            continue
        first, last = arguments
        # The day the job passes: it decides which facts are of the future.
        months = {"first_month": first, "last_month": last, "run_date": str(date.today())}
        is_refused = [kind, *arguments] == STEPS[REFUSED]  # the job stops at the checks, before publication
        succeeded, said = pipeline.dbt(
            date.fromisoformat(first),
            date.fromisoformat(last),
            select=CANDIDATE if is_refused else None,
            arguments=[*NO_TESTS, *dbt_project.vars_arguments(months)],
        )
        assert succeeded, said


# Credentials


@pytest.fixture
def configured(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in SETTINGS.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in account.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def refused(warehouse: SnowflakeWarehouse | None = None) -> str:
    with pytest.raises(WarehouseError) as caught, (warehouse or SnowflakeWarehouse()).session():
        pass
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", ["SNOWFLAKE_ACCOUNT", "SNOWFLAKE_USER", "SNOWFLAKE_DATABASE", "SNOWFLAKE_PASSWORD"])
def test_a_missing_variable_is_named(configured: pytest.MonkeyPatch, name: str) -> None:
    configured.delenv(name)
    configured.setenv("SNOWFLAKE_HOST", "192.0.2.1")  # nobody's: a connection would be tried for seconds
    assert name in refused()


def test_a_key_that_cannot_be_used_is_named(configured: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    path = tmp_path / "key.p8"
    configured.setenv("SNOWFLAKE_PRIVATE_KEY_PATH", str(path))
    assert refused() == f"SNOWFLAKE_PRIVATE_KEY_PATH is {path}, which cannot be read: No such file or directory."
    path.write_text("not a key")
    assert "no private key in PEM" in refused()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")))
    assert "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE" in refused()
    configured.setenv("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "guess")
    said = refused()
    assert "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE" in said
    assert "guess" not in said
    configured.setenv("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "open sesame")
    with SnowflakeWarehouse().session() as session:
        assert session.rows("select 1 as n") == [{"n": 1}]


@pytest.mark.parametrize(
    ("code", "message", "named"),
    [
        ("390100", "Incorrect username or password was specified.", "SNOWFLAKE_PASSWORD"),
        (
            "390189",
            "Role 'ANALYST' specified in the connect string does not exist or not authorized.",
            "SNOWFLAKE_ROLE",
        ),
        ("390201", "The requested warehouse does not exist or not authorized.", "SNOWFLAKE_WAREHOUSE"),
        ("390201", "The requested database does not exist or not authorized.", "SNOWFLAKE_DATABASE"),
    ],
)
def test_a_refused_login_is_told_once_and_in_one_line(
    configured: pytest.MonkeyPatch, httpserver: HTTPServer, code: str, message: str, named: str
) -> None:
    httpserver.expect_request("/session/v1/login-request").respond_with_json(
        {"data": None, "code": code, "message": message, "success": False}
    )
    configured.setenv("SNOWFLAKE_PORT", str(httpserver.port))
    configured.setenv("SNOWFLAKE_PASSWORD", "hunter2")
    configured.setenv("SNOWFLAKE_ROLE", "analyst")
    configured.setenv("SNOWFLAKE_WAREHOUSE", "big")
    said = refused()
    assert named in said
    assert "hunter2" not in said
    assert len(httpserver.log) == 1


def test_an_account_that_does_not_answer_is_given_up_soon(configured: pytest.MonkeyPatch) -> None:
    configured.setenv("SNOWFLAKE_PORT", str(free_port()))
    started = time.monotonic()
    assert "SNOWFLAKE_HOST" in refused(SnowflakeWarehouse(login_seconds=3))
    assert time.monotonic() - started < 10


# Sources


def test_a_demo_source_fills_an_account_once(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTATION_SOURCE", "synthetic")
    monkeypatch.setenv("SEGMENTATION_CUSTOMERS", "15")
    with session_on(account, "demo") as session:
        assert star_schema.fill(session).startswith("Filled")
        (facts,) = session.rows("select count(*) as n, min(transaction_date) as first_day from gold.fct_transactions")
        assert facts["n"] > 1000
        assert star_schema.fill(session).startswith("The star schema is complete already")


def test_the_setup_runs_twice_where_the_emulator_can(account: dict[str, str]) -> None:
    places = [
        statement.sql(dialect="snowflake", comments=False)
        for statement in sqlglot.parse((ROOT / "snowflake/setup.sql").read_text(), read="snowflake")
        if isinstance(statement, exp.Create) and statement.kind in ("DATABASE", "SCHEMA")
    ]
    assert len(places) == 5
    with session_on(account, "setup") as session:
        for statement in [*places, *places]:
            session.execute(statement)
        schemas = session.rows("select lower(schema_name) as name from segmentation.information_schema.schemata")
    assert {"gold", "silver", "test_failures", "governance"} <= {row["name"] for row in schemas}


# The pipeline


def test_three_months_are_published_through_the_job(run: Run) -> None:
    backfill = run.told[BACKFILL]
    assert backfill["success"], backfill
    assert [month for month, *_ in backfill["published"]] == [str(FIRST_MONTH), str(SECOND_MONTH), str(LAST_MONTH)]


def test_a_month_computed_again_repeats_nothing(run: Run) -> None:
    told = run.told
    assert told[RERUN]["success"], told[RERUN]
    assert told[RERUN]["published"] == told[BACKFILL]["published"]


def test_a_month_that_fails_its_audits_keeps_its_published_version(run: Run) -> None:
    told = run.told
    assert not told[REFUSED]["success"]
    assert "facts_reach_the_end_of_the_month" in told[REFUSED]["failed_checks"]
    assert told[REFUSED]["published"] == told[RERUN]["published"]


def agree(ours: object, theirs: object, scale: int) -> bool:
    """Money to the cent, ratios to nine digits, the rest exactly. The emulator gives some sums back as doubles."""
    if isinstance(ours, float) and isinstance(theirs, (float, int, Decimal)):
        return math.isclose(ours, float(theirs), rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(ours, Decimal) and isinstance(theirs, (float, int, Decimal)):
        return abs(ours - round(Decimal(theirs), scale)) == 0
    return type(ours) is type(theirs) and ours == theirs


def test_every_table_is_the_same_on_both_engines(account: dict[str, str], run: Run, duckdb_file: Path) -> None:
    assert run.told[BACKFILL]["success"]
    with duckdb.connect(str(duckdb_file), read_only=True) as connection, session_on(account) as session:
        columns: dict[str, dict[str, int]] = {}
        for schema, table, column, scale in connection.execute(
            "select table_schema, table_name, column_name, coalesce(numeric_scale, 0) from information_schema.columns"
            " where table_schema in ('gold', 'silver') order by table_schema, table_name, ordinal_position"
        ).fetchall():
            if column not in DIFFERS:
                columns.setdefault(f"{schema}.{table}", {})[column] = scale
        assert {"gold.customer_segment_history", "gold.audience_premium_rewards", "silver.segment_audits"} <= set(
            columns
        )
        for table, scales in columns.items():
            # The key columns come first in every table; the rest makes the order of a doubled key plain.
            names = ", ".join(scales)
            order = ", ".join(f"{name} nulls first" for name in scales)
            ours = connection.execute(f"select {names} from {table} order by {order}").fetchall()
            theirs = [tuple(row.values()) for row in session.rows(f"select {names} from {table} order by {order}")]
            assert len(ours) == len(theirs), table
            for our_row, their_row in zip(ours, theirs, strict=True):
                differing = [
                    (name, left, right)
                    for (name, scale), left, right in zip(scales.items(), our_row, their_row, strict=True)
                    if not agree(left, right, scale)
                ]
                assert not differing, (table, our_row[:4], differing)
        (held_out,) = connection.execute(
            "select count(*) from gold.audience_core_retention where treatment_group = 'holdout'"
        ).fetchone() or (0,)
        assert held_out > 0


# What was sent


# Words that Snowflake takes for no name (its "Reserved & limited keywords", less those no query would use).
RESERVED = set(
    re.findall(
        r"\w+",
        """
        all alter and any as between by case cast check column connect constraint create cross current database delete
        distinct drop else exists false following for from full grant group having ilike in increment inner insert
        intersect into is issue join lateral left like minus natural not null of on or order organization qualify regexp
        revoke right rlike row rows sample schema select set some start table tablesample then to trigger true try_cast
        union unique update using values view when whenever where with
        """,
    )
)


def test_the_sql_is_snowflakes(run: Run) -> None:
    """Every compiled statement parses, names nothing by a reserved word and calls nothing unknown."""
    files = sorted(run.target_path.glob("runs/*/run/**/*.sql"))
    assert len({path.name for path in files}) > 80
    for path in files:
        for statement in sqlglot.parse(path.read_text(), read="snowflake"):
            assert statement is not None
            assert not isinstance(statement, exp.Command), (path.name, statement.sql()[:200])
            names = {
                node.alias.lower() for node in statement.find_all(exp.Alias, exp.TableAlias, exp.CTE) if node.alias
            }
            assert not names & RESERVED, path.name
            unknown = {call.name for call in statement.find_all(exp.Anonymous)}
            assert not unknown, (path.name, unknown)
            assert not list(statement.find_all(exp.Filter)), path.name


# Last: a session killed inside a transaction stays open in the emulator until its server ends


DIES_HALF_WAY = """
import json, os, signal, sys, snowflake.connector
port, statements = int(sys.argv[1]), json.loads(sys.argv[2])
connection = snowflake.connector.connect(
    account="fakesnow", user="fake", password="snow", host="127.0.0.1", port=port, protocol="http",
    database="segmentation", schema="silver", login_timeout=10, network_timeout=20,
)
for statement in statements:
    connection.cursor().execute(statement)
print(connection.cursor().execute("select count(*) from gold.segment_summary").fetchone()[0], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def statements_up_to_the_delete(run: Run) -> Sequence[str]:
    """What dbt sent when it replaced a month, up to the point at which the month is gone."""
    folder = run.target_path / "runs" / f"publication-{run.told[RERUN]['run_id'][:8]}"
    sent = (folder / "run/segmentation/models/segments/segment_summary.sql").read_text()
    statements = [part.strip() for part in sent.split(";") if part.strip()]
    assert [statement.split()[0] for statement in statements] == ["begin", "delete", "insert", "commit"]
    return statements[:2]


def test_a_client_lost_between_delete_and_insert_leaves_the_month_as_it_was(account: dict[str, str], run: Run) -> None:
    with session_on(account) as session:
        before = session.rows("select * from gold.segment_summary order by snapshot_month, customer_segment")
        statements = json.dumps(statements_up_to_the_delete(run))
        died = subprocess.run(
            [sys.executable, "-c", DIES_HALF_WAY, account["SNOWFLAKE_PORT"], statements],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert int(died.stdout) == len(before) - 5  # the dying session itself saw the month gone
        assert session.rows("select * from gold.segment_summary order by snapshot_month, customer_segment") == before
