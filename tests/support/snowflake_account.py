"""Where the Snowflake tests run: an emulator's server, or, where `make test-snowflake` says so, a real account.

On an account everything happens in a database of its own, which is made before and dropped after. Who signs in as
ACCOUNTADMIN, as on a trial account, has snowflake/setup.sql run under names of the tests' own, and the tests run as the
user whom it makes, with what it gives them.
"""

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import pytest
import snowflake.connector
from snowflake.connector.util_text import split_statements

from segmentation_assets.errors import SettingsError
from segmentation_assets.settings import Settings, Snowflake
from segmentation_assets.warehouse.snowflake import (
    REQUIRED,
    SESSION_PARAMETERS,
    SETTINGS,
    SnowflakeSession,
    connection_arguments,
    settings,
)
from tests.support.account_setup import OwnSetup

# Set by `make test-snowflake` only: tests that anybody runs never touch an account because its variables are set.
ON_AN_ACCOUNT = os.environ.get("SEGMENTATION_TEST_SNOWFLAKE") == "account"
# A statement the emulator cannot answer makes the connector ask again until its time is up.
SERVER_SECONDS, STATEMENT_SECONDS = 60, 600 if ON_AN_ACCOUNT else 30


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these Snowflake variables and no others."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("SNOWFLAKE_")}
    return {**own, "SEGMENTATION_TARGET": "snowflake", **variables}


@contextmanager
def account(record: Path | None = None) -> Iterator[dict[str, str]]:
    """The variables that lead to a database of the test's own; an emulator writes to `record` what it is asked."""
    with on_an_account() if ON_AN_ACCOUNT else emulator(record) as variables:
        yield variables


@contextmanager
def emulator(record: Path | None = None) -> Iterator[dict[str, str]]:
    """A server of its own: a session that dies inside a transaction blocks the table until its server ends.

    With `record`, a file, what it is asked is written there (tests/support/recording_emulator.py).
    """
    port = free_port()
    plain = [str(Path(sys.executable).with_name("fakesnow")), "-s", "-p", str(port)]
    recording = [sys.executable, "-m", "tests.support.recording_emulator", str(port), str(record)]
    server = subprocess.Popen(
        recording if record else plain,
        cwd=Path(__file__).parents[2],
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
            "SNOWFLAKE_ACCOUNT": "fakesnow",
            "SNOWFLAKE_USER": "fake",
            "SNOWFLAKE_PASSWORD": "snow",
            # The emulator makes the database that a session names.
            "SNOWFLAKE_DATABASE": "segmentation",
            "SNOWFLAKE_HOST": "127.0.0.1",
            "SNOWFLAKE_PORT": str(port),
            "SNOWFLAKE_PROTOCOL": "http",
        }
    finally:
        server.kill()
        server.wait(timeout=10)


@dataclass(frozen=True)
class Own:
    """What setup.sql made under names of our own, and the variables of who ran it."""

    setup: OwnSetup
    admin: dict[str, str]


# Of this process, while `on_an_account` is in its `with`.
own: list[Own] = []


@contextmanager
def on_an_account() -> Iterator[dict[str, str]]:
    given = {name: value for name in SETTINGS.values() if (value := os.environ.get(name, "").strip())}
    without = {name: value for name, value in given.items() if name != "SNOWFLAKE_DATABASE"}
    with session_on(without) as session:
        (who,) = session.rows("select current_role() as role")
    is_admin = str(who["role"]).upper() == "ACCOUNTADMIN"
    with _as_set_up(without) if is_admin else _in_a_database(given, without) as variables:
        yield variables


@contextmanager
def _in_a_database(given: dict[str, str], without: dict[str, str]) -> Iterator[dict[str, str]]:
    database = f"segmentation_test_{secrets.token_hex(4)}"
    with session_on(without) as session:
        session.execute(
            f"create database {database} data_retention_time_in_days = 0 default_ddl_collation = ''"
            " comment = 'Tests; may be dropped'"
        )
    try:
        yield {**given, "SNOWFLAKE_DATABASE": database}
    finally:
        with session_on(without) as session:
            session.execute(f"drop database if exists {database}")


@contextmanager
def _as_set_up(admin: dict[str, str]) -> Iterator[dict[str, str]]:
    setup = OwnSetup()
    try:
        try:
            run_setup(admin, setup)
        except snowflake.connector.errors.ProgrammingError as error:
            if "Unsupported feature" not in str(error):
                raise
            setup = replace(setup, edition="standard")  # neither tags nor masks
            run_setup(admin, setup)
        run_setup(admin, setup)  # every statement may be run again
        own.append(Own(setup, admin))
        account = {name: admin[name] for name in ("SNOWFLAKE_ACCOUNT", "SNOWFLAKE_HOST") if name in admin}
        yield {**account, **setup.variables()}
    finally:
        own.clear()
        with session_on(admin) as session:
            for statement in setup.drops():
                session.execute(statement)


def run_setup(admin: Mapping[str, str], setup: OwnSetup) -> None:
    """In one session, as a worksheet does: the names at its top are variables of the session."""
    with session_on(admin) as session:
        for statement in statements_of(setup.sql()):
            session.execute(statement)


def statements_of(text: str) -> list[str]:
    return [statement for statement, _ in split_statements(StringIO(text), remove_comments=True) if statement]


@contextmanager
def session_on(variables: Mapping[str, str], database: str | None = None) -> Iterator[SnowflakeSession]:
    """A session through the connector alone: dagster-snowflake takes seconds to import."""
    # An account alone has no database until the tests have made theirs.
    arguments = connection_arguments(settings(Snowflake.model_validate({"SNOWFLAKE_DATABASE": "none", **variables})))
    if "SNOWFLAKE_DATABASE" not in variables:
        del arguments["database"]
    if database:
        arguments["database"] = database
    connection = snowflake.connector.connect(
        **arguments,
        login_timeout=30,
        network_timeout=STATEMENT_SECONDS,
        session_parameters={"CLIENT_TELEMETRY_ENABLED": False, **SESSION_PARAMETERS},
    )
    with closing(connection), pytest.MonkeyPatch.context() as patch:
        # What the product's loader asks, to know an emulator by.
        patch.setenv("SNOWFLAKE_PROTOCOL", variables.get("SNOWFLAKE_PROTOCOL", "https"))
        yield SnowflakeSession(connection)


def missing() -> str:
    """What `make test-snowflake` lacks, in one line; empty when it may begin."""
    try:
        settings()
    except SettingsError as error:
        unset = [SETTINGS[key] for key in REQUIRED if not os.environ.get(SETTINGS[key], "").strip()]
        return f"make test-snowflake needs a real account. Not set: {', '.join(unset)}." if unset else str(error)
    if Settings.from_environment().snowflake.is_emulator:
        return "make test-snowflake needs a real account, and SNOWFLAKE_PROTOCOL is http: an emulator. Unset it."
    return ""


if __name__ == "__main__":
    raise SystemExit(missing() or None)
