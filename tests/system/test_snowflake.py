"""The whole graph through the real connector and dbt-snowflake over HTTP, against an emulator of Snowflake.

Locks out: SQL that only DuckDB understands, an engine that gives another cent, segment, rank or holdout, a gate that
holds on one engine only, a month left half replaced, a secret in a log, and a lost connection that is tried for ever.
`make test-snowflake` runs the same against a real account. What an emulator cannot prove is in docs/snowflake.md; how
logins are refused is in test_snowflake_login.py.
"""

import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polyglot_sql
import pytest
import sqlglot
from pytest_httpserver import HTTPServer
from sqlglot import exp

from segmentation_assets.assets import star_schema
from segmentation_assets.dbt.project import Project
from segmentation_assets.privacy.erase import erase
from segmentation_assets.settings import Settings
from segmentation_assets.sources.snowflake_load import copy_tables
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support import snowflake_account
from tests.support.lost_connection import CuttingProxy, cutting_proxy
from tests.support.recording_emulator import recorded
from tests.support.run_steps import MARK, RECORD, of_restatements, tables_of_what_if
from tests.support.snowflake_account import ON_AN_ACCOUNT, environment, session_on
from tests.support.snowflake_portfolio import FIRST_MONTH, LAST_MONTH, SECOND_MONTH, thresholds_among_customers
from tests.support.snowflake_statements import Resolver, unresolved
from tests.support.warehouse_fixture import CANDIDATE, Pipeline
from tests.support.zetasql import Resolver as Zetasql
from tests.support.zetasql_server import analyzer

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 3600 if ON_AN_ACCOUNT else 1800  # against one that hangs
SECRET = "correct-horse-battery"
LAST_DAYS_ARE_MISSING = "delete from gold.fct_transactions where transaction_date >= '2025-10-22'"
# Bounds, and the categories too, so that the facts are read anew; and a cooldown, which looks back at published lists.
WHAT_IF = (
    "Declining.spend_change_pct=-10,category_groups.travel=Travel,core_retention.cooldown_months=1,"
    "everyday_rewards.channel=mail"
)
OTHER_RULES = {"approved_statuses": ["approved", "held"], "first_month": str(SECOND_MONTH)}
# Lists that look back, at what other systems sent too; as the shipped rules leave it all off.
CONTACT_RULES = """
contact_policy: {at_most: 1, per_months: 2, order: [core_retention]}
"""
CONTACT_TABLES = (
    "create table gold.contact_history as select customer_id, email, timestamp '2025-09-20 10:00:00' as contacted_at,"
    " 'Letter ' as channel, 'autumn' as campaign from gold.dim_customer where is_current and customer_key % 5 = 0;"
    "create table gold.campaign_eligibility as select customer_id, ' Core_Retention ' as campaign, 'old' as reason"
    " from gold.dim_customer where is_current and customer_key % 7 = 0;"
    "alter table gold.marketing_suppressions add column campaign varchar;"
    "alter table gold.marketing_suppressions add column expires_at date;"
    "update gold.marketing_suppressions set campaign = 'core_retention', expires_at = date '2025-10-15'"
)
# Of a whole month through the job, as an account would be asked: sessions, statements, questions to INFORMATION_SCHEMA,
# statements of data tests. A slow machine sends beats of the lease, and counts rows in several goes. Three tests
# warn in it and store their rows, which is four statements each.
MOST_ASKED = {"logins": 60, "statements": 282, "on information_schema": 5, "tests": 35}
# Roles and a tag that an account would know; the emulator is told of the tag alone (macros/publication/access.sql).
ACCESS = {
    "SNOWFLAKE_READER_ROLE": "test_readers",
    "SNOWFLAKE_LISTS_ROLE": "test_lists",
    "SNOWFLAKE_PERSONAL_DATA_TAG": "governance.tags.personal_data",
}
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
# When, by which run, and the engine's own hash of the content.
DIFFERS = re.compile(
    r"published_at|made_at|updated_at|erased_at|run_id|(\w+_)?content_hash|rollup_hash|facts_hash|erased_hash|salt"
)
# Members of the lists, of whom the source keeps its rows.
ERASED = ["CUST00000004", "CUST00000009"]


@dataclass(frozen=True)
class Run:
    """What the steps did on Snowflake, everything they said, and where they left their compiled SQL."""

    told: dict[str, dict[str, Any]]
    said: str
    target_path: Path
    logins_refused: int
    proxy: CuttingProxy | None
    what_if_on_duckdb: list[str]
    outdated_on_duckdb: list[str]


def steps(login_port: int, proxy_port: int | None) -> dict[str, dict[str, Any]]:
    """What is done on Snowflake, in this order."""
    last = {"do": "run", "first": str(LAST_MONTH), "last": str(LAST_MONTH)}
    second = {"do": "run", "first": str(SECOND_MONTH), "last": str(SECOND_MONTH)}
    elsewhere = {"SNOWFLAKE_HOST": "127.0.0.1", "SNOWFLAKE_PROTOCOL": "http", "SNOWFLAKE_PRIVATE_KEY_PATH": ""}
    wrong = {**elsewhere, "SNOWFLAKE_PORT": str(login_port), "SNOWFLAKE_PASSWORD": SECRET}
    asked = {
        "backfill": {**second, "first": str(FIRST_MONTH)},
        "month": last,
        "what if": {**last, "do": "what if", "first": str(SECOND_MONTH), "changes": WHAT_IF},
        "wrong password": {**last, "variables": wrong},
        "rerun": {**second, "selection": "models"},
        "other rules": {"do": "dbt", "arguments": ["run", "--select", "segment_summary"], "vars": OTHER_RULES},
        "no months": {"do": "dbt", "arguments": ["test", "--select", "one_row_per_month_and_segment"], "vars": {}},
        "freshness": {"do": "dbt", "arguments": ["source", "freshness"], "vars": {}},
        "profile": {
            "do": "dbt",
            "arguments": ["run", "--select", "customer_360_profile"],
            "vars": {"first_month": str(LAST_MONTH), "last_month": str(LAST_MONTH)},
        },
        "access": {"do": "dbt", "arguments": ["run-operation", "apply_access"], "vars": {}},
        "facts lost": {"do": "execute", "sql": LAST_DAYS_ARE_MISSING},
        "outdated": {"do": "outdated"},
        "refused": {**last, "selection": "models and audits"},
        "erased": {"do": "erase", "customers": ERASED},
    }
    # Last: a session that dies inside a transaction blocks its table at the emulator.
    if proxy_port is not None:
        cut = {"variables": {"SNOWFLAKE_PORT": str(proxy_port)}, "network_seconds": 2}
        asked["cut"] = {**second, **cut, "selection": [["gold", "customer_segment_history"]]}
    return asked


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("record") / "asked.jsonl"


@pytest.fixture(scope="module")
def account(record: Path) -> Iterator[dict[str, str]]:
    with snowflake_account.account(record) as variables:
        yield variables


@pytest.fixture(scope="module")
def duckdb_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parity") / "segmentation.duckdb"


@pytest.fixture(scope="module")
def process(account: dict[str, str], duckdb_file: Path, record: Path) -> Iterator[subprocess.Popen[str]]:
    """Runs the steps it is told on Snowflake; it loads while the data are made."""
    target_path = duckdb_file.parent / "snowflake"
    target_path.mkdir()
    # The project parsed by an earlier test run, where nothing has changed since.
    manifests = Project.load().target_dir / "manifests"
    manifests.mkdir(parents=True, exist_ok=True)
    (target_path / "manifests").symlink_to(manifests)
    duckdb_file.with_name("rules.yml").write_text(CONTACT_RULES, encoding="utf-8")
    with duckdb_file.with_name("said.log").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.run_steps"],
            cwd=ROOT,
            env={
                **environment(account),
                **({} if ON_AN_ACCOUNT else {**ACCESS, RECORD: str(record)}),
                "DBT_TARGET_PATH": str(target_path),
                "SEGMENTATION_EXPORT_URI": str(duckdb_file.with_name("exports")),
                "SEGMENTATION_RULES": str(duckdb_file.with_name("rules.yml")),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,  # a file: nobody reads a pipe while DuckDB is at work, and a full one would hold it up
            text=True,
        )
        yield process
        process.kill()
        process.wait(timeout=10)


@pytest.fixture(scope="module")
def refusing_server() -> Iterator[HTTPServer]:
    """Answers every login with a refusal. Not the plugin's server: all modules of a test process share that one."""
    with HTTPServer() as server:
        server.expect_request("/session/v1/login-request").respond_with_json(
            {
                "data": None,
                "code": "390100",
                "message": "Incorrect username or password was specified.",
                "success": False,
            }
        )
        yield server


@pytest.fixture(scope="module")
def run(
    account: dict[str, str], process: subprocess.Popen[str], duckdb_file: Path, refusing_server: HTTPServer
) -> Iterator[Run]:
    """The steps on Snowflake through the Dagster job, and at the same time on DuckDB through plain dbt."""
    pipeline = Pipeline(duckdb_file)
    pipeline.load(thresholds_among_customers())
    pipeline.execute(CONTACT_TABLES)
    with pipeline.connection() as connection, session_on(account) as session:
        copy_tables(session, connection, "gold", is_emulator=Settings.from_environment().snowflake.is_emulator)
    with ExitStack() as stack:
        proxy = None
        if not ON_AN_ACCOUNT:  # the proxy reads what passes, which TLS does not let it
            proxy = stack.enter_context(cutting_proxy(int(account["SNOWFLAKE_PORT"]), is_cut_at))
        asked = steps(refusing_server.port, proxy.port if proxy else None)
        assert process.stdin
        process.stdin.write("".join(json.dumps(step) + "\n" for step in asked.values()))
        process.stdin.flush()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SEGMENTATION_DUCKDB_PATH", str(duckdb_file))
            patch.setenv("SEGMENTATION_RULES", str(duckdb_file.with_name("rules.yml")))
            on_duckdb = same_steps_on_duckdb(pipeline)
        out, _ = process.communicate(timeout=RUN_SECONDS)
        said = duckdb_file.with_name("said.log").read_text() + out
        told = [json.loads(line.removeprefix(MARK)) for line in out.splitlines() if line.startswith(MARK)]
        assert len(told) == len(asked), said[-6000:]
        assert not [step["error"] for step in told if "error" in step]
        target_path = duckdb_file.parent / "snowflake"
        refused = len(refusing_server.log)
        yield Run(dict(zip(asked, told, strict=True)), said, target_path, refused, proxy, *on_duckdb)


def is_cut_at(sql: str) -> bool:
    """The month's own rows; the log of publications and the one of restatements read the table and come before."""
    return re.match(r"\s*insert into \S*customer_segment_history\b", sql, re.IGNORECASE) is not None


def same_steps_on_duckdb(pipeline: Pipeline) -> tuple[list[str], list[str]]:
    """The tables of the what-if, and what is said of outdated months."""
    tables, outdated = list[str](), list[str]()
    for first, last, select in (
        (FIRST_MONTH, SECOND_MONTH, None),
        (LAST_MONTH, LAST_MONTH, None),
        (SECOND_MONTH, SECOND_MONTH, f"{CANDIDATE} config.group:segments_published"),
        (LAST_MONTH, LAST_MONTH, CANDIDATE),  # the job stops at the checks, before publication
    ):
        if select == CANDIDATE:
            pipeline.execute(LAST_DAYS_ARE_MISSING)
            with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
                outdated = of_restatements(session)
        # The day the job passes: it decides which facts are of the future.
        variables = {"first_month": str(first), "last_month": str(last), "run_date": str(date.today())}
        succeeded, said = pipeline.dbt(
            first, last, select=select, arguments=[*NO_TESTS, *Project.load().vars_arguments(variables)]
        )
        assert succeeded, said
        if select is None and last == LAST_MONTH:
            tables = tables_of_what_if(DuckDBWarehouse(path=str(pipeline.path)), WHAT_IF, SECOND_MONTH, LAST_MONTH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGMENTATION_SOURCE", "warehouse")
        patch.setenv("SEGMENTATION_EXPORT_URI", str(pipeline.path.with_name("exports_of_duckdb")))
        erase(Project.load(), DuckDBWarehouse(path=str(pipeline.path)), ERASED)
    return tables, outdated


# Sources


def test_a_demo_source_fills_an_account_once(
    account: dict[str, str], process: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert process.poll() is None  # it loads meanwhile
    monkeypatch.setenv("SEGMENTATION_SOURCE", "synthetic")
    monkeypatch.setenv("SEGMENTATION_SOURCE_SCHEMA", "demo")
    monkeypatch.setenv("SEGMENTATION_CUSTOMERS", "15")
    with session_on(account) as session:
        demo = Settings.from_environment()  # with the account
        assert star_schema.fill(session, demo).startswith("Filled")
        (facts,) = session.rows("select count(*) as n, min(transaction_date) as first_day from demo.fct_transactions")
        assert facts["n"] > 1000
        assert star_schema.fill(session, demo).startswith("The star schema is complete already")


# The pipeline


def test_three_months_are_published_through_the_job(run: Run) -> None:
    backfill, last = run.told["backfill"], run.told["month"]
    assert backfill["success"] and last["success"], (backfill, last)
    assert [month for month, *_ in last["published"]] == [str(FIRST_MONTH), str(SECOND_MONTH), str(LAST_MONTH)]
    assert {"gold/audience_premium_rewards", "activation/export_premium_rewards", "gold/campaign_outcomes"} <= set(
        backfill["materialized"]
    )
    assert backfill["checks"] > 100


@pytest.mark.skipif(ON_AN_ACCOUNT, reason="an account lets nobody count in front of it; its query history does")
def test_a_month_more_asks_no_more_than_is_written_in_the_docs(run: Run) -> None:
    """docs/snowflake.md has these figures, counted as an account gets the statements."""
    asked = run.told["month"]["asked"]
    assert asked == {name: min(number, MOST_ASKED[name]) for name, number in asked.items()}


def test_a_month_computed_again_repeats_nothing(run: Run) -> None:
    rerun = run.told["rerun"]
    assert rerun["success"], rerun
    assert {"silver/customer_period_spend", "gold/customer_segment_history"} <= set(rerun["materialized"])
    assert rerun["published"] == run.told["month"]["published"]


def test_a_restatement_finds_on_both_engines_the_month_whose_facts_are_gone(run: Run) -> None:
    said = run.told["outdated"]["said"]
    assert said == run.outdated_on_duckdb
    assert re.match(
        rf"{LAST_MONTH}: the facts hold -[\d,]+ transactions and -[\d,.]+ of spend against the rollup", said[0]
    )
    assert [f"{month}: published as version 1." for month in (FIRST_MONTH, SECOND_MONTH, LAST_MONTH)] == said[-3:]


def test_plain_dbt_is_refused_under_other_rules_and_needs_no_months_for_tests_and_freshness(run: Run) -> None:
    refused, tested = run.told["other rules"], run.told["no months"]
    assert not refused["success"]
    assert 'approved_statuses: ["approved", "held"] (published: ["approved"])' in refused["said"]
    assert tested["success"], tested["said"]
    assert "tests of months look at the newest published one" in tested["said"]
    assert "ERROR STALE freshness of star_schema.fct_transactions" in run.told["freshness"]["said"]


def test_a_month_that_fails_its_audits_keeps_its_published_version(run: Run) -> None:
    refused = run.told["refused"]
    assert not refused["success"]
    assert "facts_reach_the_end_of_the_month" in refused["failed_checks"]
    assert "silver/segment_audits" in refused["materialized"]
    assert not {"gold/customer_segment_history", "gold/segment_summary"} & set(refused["materialized"])
    assert refused["published"] == run.told["rerun"]["published"]


def test_a_refused_login_ends_the_run_in_one_line_and_is_not_tried_again(run: Run) -> None:
    refused = run.told["wrong password"]
    (said,) = refused["failed_steps"].values()
    assert "SNOWFLAKE_PASSWORD" in said
    assert len(said.strip().splitlines()) == 1
    assert run.logins_refused == 1
    assert refused["published"] == run.told["month"]["published"]


def test_no_log_holds_a_secret(account: dict[str, str], run: Run) -> None:
    written = [path.read_text(errors="replace") for path in run.target_path.rglob("*") if path.is_file()]
    assert any("customer_segment_history" in text for text in written)
    for secret in (SECRET, account.get("SNOWFLAKE_PASSWORD"), account.get("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE")):
        if secret:
            word = re.compile(rf"\b{re.escape(secret)}\b")  # the emulator's, snow, begins many a word
            assert not [text for text in (run.said, *written) if word.search(text)]


if not ON_AN_ACCOUNT:

    def test_a_column_is_tagged_before_its_table_is_granted_to_anybody(run: Run) -> None:
        """In the statement after the one that makes the table. The emulator takes tags and knows no grants, which stand
        in dbt's log in their place."""
        profile = run.told["profile"]
        assert profile["success"], profile["said"][-2000:]
        made = profile["said"].index("create or replace")
        tagged, granted = (
            profile["said"].index(f"Access: {words}", made)
            for words in (
                "alter table segmentation.gold.customer_360_profile modify column customer_id set tag"
                " governance.tags.personal_data = 'customer_id', column first_name set tag"
                " governance.tags.personal_data = 'name', column last_name set tag",
                "grant select on segmentation.gold.customer_360_profile to role test_lists",
            )
        )
        assert made < tagged < granted
        assert profile["said"].count("create or replace") == 1
        assert "test_readers" not in profile["said"]

    def test_every_table_that_is_there_gets_its_tags_and_its_readers(run: Run) -> None:
        access = run.told["access"]
        assert access["success"], access["said"][-2000:]
        sent = re.findall(r"^Access: (.*)$", access["said"], re.MULTILINE)
        assert len(sent) > 40
        assert not [sql for sql in sent if sql.startswith("grant") and not re.fullmatch(
            r"grant select on segmentation\.gold\.\w+ to role test_(readers|lists)", sql)]  # fmt: skip
        on_lists = {sql.split()[3].split(".")[-1] for sql in sent if sql.endswith("test_lists")}
        assert {"audience_core_retention", "customer_360_profile", "audience_exclusions"} <= on_lists
        tagged = {sql.split()[2].split(".")[-1] for sql in sent if sql.startswith("alter")}
        assert {"stg_customers", "customer_contacts", "audience_core_retention", "customer_segment_history"} <= tagged
        granted = {sql.split()[3].split(".")[-1]: at for at, sql in enumerate(sent) if sql.startswith("grant")}
        assert {"campaign_outcomes", "segment_summary"} <= set(granted) - on_lists
        late = [sql for at, sql in enumerate(sent) if sql.startswith("alter")
                and granted.get(sql.split()[2].split(".")[-1], at) < at]  # fmt: skip
        assert not late


def agree(ours: object, theirs: object, scale: int, of: float = 0.0) -> bool:
    """Money to the cent, ratios to nine digits, the rest exactly. The emulator gives some sums back as doubles: a
    deviation of amounts has the digits that these have, and `of` is their mean."""
    if isinstance(ours, float) and isinstance(theirs, (float, int, Decimal)):
        return math.isclose(ours, float(theirs), rel_tol=1e-9, abs_tol=1e-9 * max(1.0, of))
    if isinstance(ours, Decimal) and isinstance(theirs, (float, int, Decimal)):
        # Squared money, with more than money's four places, was a double on the way: that has sixteen digits.
        inexact = abs(ours) * Decimal("1e-13") if scale > 4 else 0
        return abs(ours - round(Decimal(theirs), scale)) <= inexact
    if isinstance(ours, int) and isinstance(theirs, float):
        return ours == theirs
    return type(ours) is type(theirs) and ours == theirs


def sums_of_outcomes(spend: str) -> str:
    """As macros/audiences/outcome_sums.sql writes them."""
    pairs = [("x", "x"), ("x", "y"), ("y", "y")]
    products = [f"cast({one} as decimal(19, 2)) * cast({other} as decimal(19, 2))" for one, other in pairs]
    columns = [f"sum(cast({product} as decimal(38, 4))) as sum_{at}" for at, product in enumerate(products)]
    totals = [f"sum(cast({one} as decimal(18, 2))) as total_{one}" for one in ("x", "y")]
    return f"select {', '.join((*totals, *columns))} from {spend} from gold.customer_segment_history) as spend"


def test_every_table_is_the_same_on_both_engines(account: dict[str, str], run: Run, duckdb_file: Path) -> None:
    assert run.told["month"]["success"]
    with duckdb.connect(str(duckdb_file), read_only=True) as connection, session_on(account) as session:
        columns: dict[str, dict[str, int]] = {}
        for schema, table, column, scale in connection.execute(
            "select table_schema, table_name, column_name, coalesce(numeric_scale, 0) from information_schema.columns"
            " where table_schema in ('gold', 'silver') order by table_schema, table_name, ordinal_position"
        ).fetchall():
            if not DIFFERS.fullmatch(column):
                columns.setdefault(f"{schema}.{table}", {})[column] = scale
        assert {"gold.customer_segment_history", "gold.audience_premium_rewards", "silver.segment_audits"} <= set(
            columns
        )
        wrong: dict[str, object] = {}
        for table, scales in columns.items():
            # The key columns come first in every table; the rest makes the order of a doubled key plain.
            names = ", ".join(scales)
            order = ", ".join(f"{name} nulls first" for name in scales)
            ours = connection.execute(f"select {names} from {table} order by {order}").fetchall()
            theirs = [tuple(row.values()) for row in session.rows(f"select {names} from {table} order by {order}")]
            if len(ours) != len(theirs):
                wrong[table] = (len(ours), len(theirs))
                continue
            for our_row, their_row in zip(ours, theirs, strict=True):
                mean = float(dict(zip(scales, our_row, strict=True)).get("avg_transaction_value") or 0)
                differing = [
                    (name, left, right)
                    for (name, scale), left, right in zip(scales.items(), our_row, their_row, strict=True)
                    if not agree(left, right, scale, of=mean if name == "stddev_transaction_value" else 0.0)
                ]
                if differing:
                    wrong.setdefault(table, (our_row[:4], differing))
        assert not wrong, "\n".join(f"{table}: {found}" for table, found in wrong.items())
        # No window of an outcome has closed in these months: its sums, of the windows that the history has. To the last
        # of their digits, where the largest square is of somebody who spends a hundred million.
        sums = sums_of_outcomes("(select 100000000 + spend_prior_90_days as x, 100000000 + spend_last_90_days as y")
        ours = connection.execute(sums).fetchall()
        theirs = [tuple(row.values()) for row in session.rows(sums)]
        assert [tuple(map(Decimal, row)) for row in theirs] == ours
        (held_out,) = connection.execute(
            "select count(*) from gold.audience_core_retention where treatment_group = 'holdout'"
        ).fetchone() or (0,)
        assert held_out > 0
        reasons = {
            one for (one,) in connection.execute("select distinct reason from gold.audience_exclusions").fetchall()
        }
        assert {"over_contact_policy", "not_eligible", "suppressed"} <= reasons


def test_whoever_is_erased_is_in_no_table_and_the_day_of_the_last_copy_is_told(
    account: dict[str, str], run: Run
) -> None:
    """That the tables are those that DuckDB has afterwards is compared above."""
    erased = run.told["erased"]
    assert erased["rows"]["gold.customer_segment_history"] == 2 * 3
    assert {"gold.customer_segments", "silver.customer_period_spend", "silver.segment_assignments"} <= set(
        erased["rows"]
    )
    assert erased["last_copy_dies"] >= str(date.today())
    assert "Time Travel" in erased["said"] and not any(customer in erased["said"] for customer in ERASED)
    names = ", ".join(f"'{customer}'" for customer in ERASED)
    with session_on(account) as session:
        for table in ("gold.customer_segment_history", "gold.audience_exclusions", "silver.audience_candidates"):
            assert session.rows(f"select count(*) as n from {table} where customer_id in ({names})") == [{"n": 0}]
        rows = session.rows(
            "select snapshot_month, sum(customers) as n from gold.segment_restatements where to_segment = 'Erased'"
            " group by snapshot_month order by 1"
        )
        assert [int(row["n"]) for row in rows] == [2, 2, 2]
        assert session.rows(f"select count(*) as n from silver.stg_customers where customer_id in ({names})") == [
            {"n": 0}
        ]


def test_a_what_if_shows_the_same_on_both_engines_and_leaves_nothing(account: dict[str, str], run: Run) -> None:
    assert run.told["what if"]["tables"] == run.what_if_on_duckdb
    assert "| Stable Mid-Spenders | Declining |" in run.what_if_on_duckdb[1]
    shares, bounds = run.what_if_on_duckdb[-2:]
    assert "| 2025-07 |" in shares  # not published
    assert " gives " in bounds and "It takes who is left" in bounds
    with session_on(account, account["SNOWFLAKE_DATABASE"]) as session:
        schemas = [
            row["name"] for row in session.rows("select lower(schema_name) as name from information_schema.schemata")
        ]
    assert "gold" in schemas
    assert not [name for name in schemas if name.startswith("what_if")]


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


@pytest.fixture(scope="module")
def statements(run: Run, record: Path) -> list[str]:
    """Every one that was sent, by dbt and by Python, in its order and once."""
    assert run.told
    return list(dict.fromkeys(line["sql"] for line in recorded(record) if line["asked"] == "statement"))


@pytest.mark.skipif(ON_AN_ACCOUNT, reason="there Snowflake itself resolves them")
def test_every_statement_resolves_in_snowflakes_names_and_types(statements: list[str], duckdb_file: Path) -> None:
    """By sqlglot alone, against the tables there are: no engine that would let more pass has a say."""
    tables: dict[tuple[str, str], dict[str, str]] = {}
    with duckdb.connect(str(duckdb_file), read_only=True) as connection:
        for schema, table, column, kind in connection.execute(
            "select schema_name, table_name, column_name, data_type from duckdb_columns()"
            " where schema_name in ('gold', 'silver')"
        ).fetchall():
            tables.setdefault((schema, table), {})[column] = kind
    # The account's own tables are not among them; what-if and the demo have schemas of their own.
    elsewhere = re.compile(r"information_schema|\bwhat_if_|\bdemo\.|run_lease|publication_locks", re.IGNORECASE)
    asked = [sql for sql in statements if not elsewhere.search(sql)]
    resolved, wrong = unresolved(Resolver("segmentation", tables), asked)
    assert not wrong, "\n".join(f"{one.why}\n  {one.statement[:300]}" for one in wrong[:5])
    assert resolved > 300


@pytest.mark.skipif(ON_AN_ACCOUNT, reason="there Snowflake itself parses them")
def test_another_parser_takes_every_statement(statements: list[str]) -> None:
    """polyglot-sql, which shares no code with sqlglot. What it does not know, and nothing else may fail: more than 64
    calls inside of each other, one less than the blanks and control characters that an id is trimmed of; tags of
    several columns in one statement; COPY GRANTS and COPY TAGS of a table with a list of columns."""
    too_deep = "E_GUARD_FUNCTION_NESTING_DEPTH_EXCEEDED: value 65 exceeds"
    tags, copies = re.compile(r"\s*alter (table|view) .* set tag ", re.I), re.compile(r"\bcopy (grants|tags)\b", re.I)
    refused = []
    for sql in (copies.sub("", one) for one in statements if not tags.match(one)):
        try:
            polyglot_sql.parse(sql, "snowflake")
        except polyglot_sql.PolyglotError as error:
            if too_deep not in str(error):
                refused.append((str(error)[:200], sql[:300]))
    assert not refused, refused[:3]
    assert len(statements) > 500


@pytest.mark.skipif(ON_AN_ACCOUNT, reason="there Snowflake itself resolves them")
def test_an_analyzer_of_snowflakes_sql_resolves_every_statement(
    statements: list[str], account: dict[str, str], run: Run
) -> None:
    """Neither DuckDB nor sqlglot has a say in it. Where the analyzer differs from Snowflake: zetasql.STAND_INS."""
    assert run.told["outdated"]
    with session_on(account) as session:
        columns = session.rows(
            "select lower(table_schema) as within, lower(table_name) as name, lower(column_name) as column_name,"
            " data_type from information_schema.columns where lower(table_schema) in ('gold', 'silver')"
        )
    tables: dict[tuple[str, str], dict[str, str]] = {}
    for row in columns:
        tables.setdefault((row["within"], row["name"]), {})[row["column_name"]] = row["data_type"]
    with analyzer() as server:
        outcome = Zetasql(server, "segmentation", tables).resolve(statements)
    assert not outcome.refused, "\n".join(f"{one.why}\n  {one.statement[:300]}" for one in outcome.refused[:5])
    assert outcome.statements > 600
    assert outcome.analyzed > 400
    # The rest names one object and reads nothing, or is a detour of the emulator's.
    assert set(outcome.not_analyzed) <= {
        "alter", "begin", "comment", "commit", "create schema", "describe", "drop", "of the emulator alone", "show",
    }  # fmt: skip


# Functions in Snowflake's reference that sqlglot has no class for.
NOT_SQLGLOTS = {"hash"}


def test_the_sql_is_snowflakes(run: Run) -> None:
    """Every compiled statement parses, names nothing by a reserved word and calls nothing unknown."""
    # As it was sent; of a test that was asked together with others, as dbt compiled it.
    files = sorted({*run.target_path.glob("runs/*/run/**/*.sql"), *run.target_path.glob("runs/*/compiled/**/*.sql")})
    assert len({path.name for path in files}) > 80
    for path in files:
        for statement in sqlglot.parse(path.read_text(), read="snowflake"):
            assert statement is not None
            assert not isinstance(statement, exp.Command), (path.name, statement.sql()[:200])
            names = {
                node.alias.lower() for node in statement.find_all(exp.Alias, exp.TableAlias, exp.CTE) if node.alias
            }
            assert not names & RESERVED, path.name
            unknown = {call.name.lower() for call in statement.find_all(exp.Anonymous)} - NOT_SQLGLOTS
            assert not unknown, (path.name, unknown)
            assert not list(statement.find_all(exp.Filter)), path.name
        # What it means, the session says: a day as text, and a moment's type.
        said = re.findall(
            r"cast\((?:\w+\.)?(?:snapshot_month|\w+_date|day) as varchar\)|as timestamp\)", path.read_text()
        )
        assert not said, (path.name, said)


ACCENTS = re.compile(r"(?:replace\(){90,}(lower\(.*?\))(?:, '[^']+', '[^']+'\)){90,}", re.DOTALL)


def test_sqlfluff_finds_nothing_in_the_models_compiled_for_snowflake(run: Run, tmp_path: Path) -> None:
    """As the re-run has compiled them, which replaces months; the audiences as the backfill has."""
    built = {path.name for path in run.target_path.glob("runs/*/run/**/*.sql")}  # an ephemeral model is in its readers
    compiled = {
        path.name: path
        for path in sorted(run.target_path.glob("runs/*/compiled/**/*.sql"), key=lambda path: path.stat().st_mtime)
        if path.name in built
        and path.parent.suffix != ".yml"  # not the tests of the yml files, which are a few generic ones over and over
    }
    assert {"customer_period_spend.sql", "segment_audits.sql", "audience_core_retention.sql"} <= set(compiled)
    for name, path in compiled.items():
        # Its parser gives up at 600 levels: the table of accents, a replace() a letter, is taken out of the text.
        (tmp_path / name).write_text(ACCENTS.sub(r"\1", path.read_text()))
    # Any one rule: what does not parse is a finding with every rule. Layout is linted where the SQL is written.
    lint = [sys.executable, "-m", "sqlfluff", "lint", "--disable-progress-bar", "--processes", "2"]
    done = subprocess.run(
        [
            *lint,
            "--templater",
            "raw",
            "--dialect",
            "snowflake",
            "--rules",
            "CP01",
            "--config",
            "pyproject.toml",
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout


# Last: a session that ends inside a transaction stays open in the emulator until its server ends


DIES_HALF_WAY = """
import json, os, signal, sys
from tests.support.snowflake_account import session_on
with session_on(json.loads(sys.argv[1])) as session:
    for statement in json.loads(sys.argv[2]):
        session.execute(statement)
    print(session.rows("select count(*) as n from gold.segment_summary")[0]["n"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def statements_up_to_the_delete(run: Run) -> Sequence[str]:
    """What dbt sent when it replaced a month, up to the point at which the month is gone."""
    folder = run.target_path / "runs" / f"segmentation_publication-{run.told['rerun']['run_id'][:8]}"
    sent = (folder / "run/segmentation/models/segments/segment_summary.sql").read_text()
    statements = [part.strip() for part in sent.split(";") if part.strip()]
    assert [statement.split()[0] for statement in statements] == [
        "begin", "update", "delete", "insert", "commit",
    ]  # fmt: skip
    # What it inserted from is gone with the run.
    (batch,) = set(re.findall(r"from (\S+__dbt_tmp_\w+)", " ".join(statements), re.IGNORECASE))
    return [f"create table {batch} as select * from gold.segment_summary where snapshot_month = '{SECOND_MONTH}'",
            *statements[:3]]  # fmt: skip


def test_a_client_killed_between_delete_and_insert_leaves_the_month_as_it_was(
    account: dict[str, str], run: Run
) -> None:
    with session_on(account) as session:
        before = session.rows("select * from gold.segment_summary order by snapshot_month, customer_segment")
        died = subprocess.run(
            [sys.executable, "-c", DIES_HALF_WAY, json.dumps(account), json.dumps(statements_up_to_the_delete(run))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert int(died.stdout) == len(before) - 5  # the dying session itself saw the month gone
        assert session.rows("select * from gold.segment_summary order by snapshot_month, customer_segment") == before


if not ON_AN_ACCOUNT:

    def test_a_connection_lost_between_delete_and_insert_ends_the_run_and_leaves_the_month(run: Run) -> None:
        """The network goes away under dbt. The rows themselves are compared with DuckDB's above."""
        assert run.proxy is not None
        assert run.proxy.cut_at is not None
        assert [sql.split()[0].lower() for sql in run.proxy.passed if "customer_segment_history" in sql][-1] == "delete"
        cut = run.told["cut"]
        assert not cut["success"]
        assert cut["published"] == run.told["erased"]["published"]
        assert 0 < run.proxy.refused < 40  # tried again, with growing pauses, and given up

else:
    from tests.support.account_only import *  # noqa: F403
