"""Credentials that are missing, wrong or lead nowhere, and the set-up script, through the real connector.

Locks out: an error that comes late, in many words or without the variable's name, a secret in a log, and a login
that is tried again and again.
"""

import logging
import os
import re
import socket
import threading
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from pytest_httpserver import HTTPServer

from segmentation_assets.automation import catch_up, logins
from segmentation_assets.automation.own_runs import OwnRuns
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import ONE_SESSION, close_connections, roll_back
from segmentation_assets.errors import RefusedLoginError, UserError, WarehouseBusyError
from segmentation_assets.warehouse.lease import lease
from segmentation_assets.warehouse.session import warehouse
from segmentation_assets.warehouse.snowflake import SETTINGS, SnowflakeWarehouse
from tests.support.snowflake_account import emulator, session_on

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, str]]:
    """An emulator wherever the tests run: it accepts any login, and what is refused never reaches an account."""
    with emulator() as variables:
        yield variables


@pytest.fixture
def configured(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in SETTINGS.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in account.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def refused(warehouse: SnowflakeWarehouse | None = None) -> str:
    with pytest.raises(UserError) as caught, (warehouse or SnowflakeWarehouse()).session():
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
    configured.setenv("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", SECRET)
    said = refused()
    assert "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE" in said
    assert SECRET not in said
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
    configured: pytest.MonkeyPatch,
    httpserver: HTTPServer,
    caplog: pytest.LogCaptureFixture,
    code: str,
    message: str,
    named: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    httpserver.expect_request("/session/v1/login-request").respond_with_json(
        {"data": None, "code": code, "message": message, "success": False}
    )
    configured.setenv("SNOWFLAKE_PORT", str(httpserver.port))
    configured.setenv("SNOWFLAKE_PASSWORD", SECRET)
    configured.setenv("SNOWFLAKE_ROLE", "analyst")
    configured.setenv("SNOWFLAKE_WAREHOUSE", "big")
    said = refused()
    assert named in said
    assert SECRET not in said
    assert caplog.text
    assert SECRET not in caplog.text
    assert len(httpserver.log) == 1


def test_a_refused_password_is_tried_once_by_the_sensors_and_another_one_at_once(
    configured: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    """Ten ticks a minute apart were ten logins, and five lock a user."""
    httpserver.expect_request("/session/v1/login-request").respond_with_json(
        {"data": None, "code": "390100", "message": "Incorrect username or password was specified.", "success": False}
    )
    configured.setenv("SEGMENTATION_TARGET", "snowflake")
    configured.setenv("SNOWFLAKE_PORT", str(httpserver.port))
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(at: datetime) -> str:
            project = Project.load()
            own_runs = OwnRuns.of(project.portfolio, (), (), (), ())
            place = catch_up.Surroundings(instance, own_runs, warehouse(project.settings), project)
            with pytest.raises(RefusedLoginError) as refused:
                catch_up.evaluate(place, at)
            with pytest.raises(RefusedLoginError):
                catch_up.reason_to_skip(place, place.warehouse, project, date(2026, 10, 1), at)
            return str(refused.value)

        configured.setenv("SNOWFLAKE_PASSWORD", SECRET)
        told = [tick(now + timedelta(minutes=minute)) for minute in range(10)]
        assert len(httpserver.log) == 1
        assert "SNOWFLAKE_PASSWORD" in told[0]
        assert "It is not tried again before 2026-11-27T12:00 unless it changes." in told[-1]
        configured.setenv("SNOWFLAKE_PASSWORD", f"{SECRET}-2")
        told = [tick(now + timedelta(minutes=minute)) for minute in range(10, 20)]
        assert len(httpserver.log) == 2
        # What was put right in the account is found a day later.
        tick(now + timedelta(days=1, minutes=11))
        assert len(httpserver.log) == 3
        kept = instance.daemon_cursor_storage.get_cursor_values(
            {f"segmentation/{Project.load().portfolio.identity}/{logins.DOCUMENT}"}
        )
        assert kept
        assert SECRET not in str(kept)


@pytest.fixture
def hangs_up() -> Iterator[tuple[int, list[object]]]:
    """A port where somebody listens who closes every connection, and who came."""
    came: list[object] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                client, address = listener.accept()
            except OSError:
                return
            came.append(address)
            client.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1], came
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=10)


def test_a_host_that_does_not_answer_is_given_up_after_a_few_attempts(
    configured: pytest.MonkeyPatch, hangs_up: tuple[int, list[object]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port, came = hangs_up
    configured.setenv("SNOWFLAKE_PORT", str(port))
    configured.setenv("SNOWFLAKE_PASSWORD", SECRET)
    said = refused(SnowflakeWarehouse(login_seconds=3))
    assert "SNOWFLAKE_HOST" in said
    assert SECRET not in caplog.text
    assert 0 < len(came) < 15


@pytest.mark.usefixtures("configured")
def test_a_run_of_dbt_gets_the_limits_of_the_warehouse_and_nobody_after_it() -> None:
    import snowflake.connector

    def limit() -> int | None:
        with snowflake.connector.connect(
            account="fakesnow", user="fake", password="snow", host=os.environ["SNOWFLAKE_HOST"],
            port=int(os.environ["SNOWFLAKE_PORT"]), protocol="http",
        ) as connection:  # fmt: skip
            return connection.network_timeout

    before = limit()
    with SnowflakeWarehouse(network_seconds=7).exclusive():
        assert limit() == 7
    assert limit() == before


def test_one_run_at_a_time_has_the_lease_and_a_killed_one_is_waited_for(
    account: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with session_on(account, "leases") as one, session_on(account, "leases") as other:
        with lease(one, "first", beat=0.2):
            with lease(other, "first"):  # another step of the same run
                pass
            with pytest.raises(WarehouseBusyError) as refused, lease(other, "second", look=0.5):
                pass
            assert "Run first is writing to this database since" in str(refused.value)
        (row,) = one.rows("select * from silver.run_lease")
        assert row["holder"] is None
        # Taken, and never heard of again.
        one.execute(
            "update silver.run_lease set holder = 'killed', heard_at = cast(current_timestamp() as timestamp_ntz)"
        )
        caplog.clear()
        with lease(other, "second", seconds=2, look=0.5):
            (row,) = one.rows("select * from silver.run_lease")
            assert row["holder"] == "second"
        (told,) = [record.message for record in caplog.records if record.name.endswith("lease")]
        assert told.startswith("Run killed writes to this database since")
        assert "waiting for that" in told


def test_what_a_failed_node_had_begun_is_rolled_back_and_not_committed_by_the_next(
    account: dict[str, str], configured: pytest.MonkeyPatch
) -> None:
    """The nodes of a build share a session, and Snowflake commits an open transaction before any DDL."""
    from dbt.adapters.factory import get_adapter_by_type, register_adapter
    from dbt.config.runtime import RuntimeConfig
    from dbt.flags import set_from_args
    from dbt.mp_context import get_mp_context
    from dbt_common.context import set_invocation_context

    for name, value in {"SEGMENTATION_TARGET": "snowflake", **ONE_SESSION}.items():
        configured.setenv(name, value)
    project = Project.load()
    arguments = Namespace(
        project_dir=str(project.dbt_dir), profiles_dir=str(project.dbt_dir), target="snowflake", profile=None, vars={},
        threads=None, which="run", version_check=False, macro_debugging=False,
        REQUIRE_RESOURCE_NAMES_WITHOUT_SPACES=False,
    )  # fmt: skip
    with session_on(account, "segmentation") as session, project.environment():
        session.execute("create schema if not exists nodes")
        session.execute("create table nodes.months (number integer)")
        set_invocation_context(dict(os.environ))
        set_from_args(arguments, None)
        register_adapter(RuntimeConfig.from_args(arguments), get_mp_context())
        try:
            adapter = get_adapter_by_type("snowflake")
            for name, ends_well in (("first", True), ("second", False), ("third", True)):
                with adapter.connection_named(name):
                    adapter.execute("begin")
                    adapter.execute("insert into nodes.months values (1)")
                    if ends_well:
                        adapter.execute("commit")
                # Shared: the connector still has it open.
                assert adapter.connections.get_if_exists().state == "open"
                if not ends_well:
                    roll_back()
                with adapter.connection_named(f"ddl after {name}"):
                    adapter.execute(f"create table nodes.{name} (number integer)")
        finally:
            close_connections()
        assert session.rows("select count(*) as n from nodes.months") == [{"n": 2}]


def test_the_setup_runs_twice_where_the_emulator_can(account: dict[str, str]) -> None:
    places = re.findall(r"^create (?:database|schema)[^;]+;", (ROOT / "snowflake/setup.sql").read_text(), re.M)
    assert len(places) == 6
    names = {"database_name": "SEGMENTATION", "own_source": "SEGMENTATION.STAR_SCHEMA"}
    names |= {name: f"SEGMENTATION.{name}" for name in ("gold", "silver", "test_failures", "governance")}
    with session_on(account, "setup") as session:
        for statement in [*places, *places]:
            # Neither session variables nor what a schema is made with is known there.
            plain = re.sub(r"identifier\(\$(\w+)\)", lambda found: names[found[1]], statement)
            session.execute(re.sub(r" with managed access| default_ddl_collation = ''", "", plain))
        schemas = session.rows("select lower(schema_name) as name from segmentation.information_schema.schemata")
    assert {"gold", "silver", "test_failures", "governance", "star_schema"} <= {row["name"] for row in schemas}
