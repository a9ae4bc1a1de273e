"""What `make test-snowflake` works out and takes away, of rows as an account's query history has them.

Locks out: credits that are counted twice or not at all, and a role, warehouse or user of the tests that stays behind.
"""

import re
from datetime import datetime, timedelta

import pytest

from segmentation_assets.settings import Snowflake
from segmentation_assets.warehouse.snowflake import connection_arguments, settings
from tests.support.account_report import billed, figures
from tests.support.account_setup import SETUP, OwnSetup
from tests.support.snowflake_account import statements_of

NOON = datetime(2026, 11, 1, 12)


def at(*seconds: int) -> list[tuple[datetime, datetime]]:
    """Statements by when they begin and end, in seconds after noon."""
    moments = [NOON + timedelta(seconds=second) for second in seconds]
    return list(zip(moments[::2], moments[1::2], strict=True))


@pytest.mark.parametrize(
    ("intervals", "seconds"),
    [
        ((), 0),
        ((0, 1), 61),
        ((0, 10, 5, 20), 80),  # at once
        ((0, 10, 70, 80), 140),  # awake in between
        ((0, 10, 71, 80), 70 + 69),  # suspended in between
        ((0, 100, 10, 20), 160),
    ],
)
def test_a_warehouse_is_billed_until_a_minute_after_its_last_statement(
    intervals: tuple[int, ...], seconds: int
) -> None:
    assert billed(at(*intervals)) == timedelta(seconds=seconds)


def test_statements_are_told_by_kind_and_credits_by_warehouse_and_size() -> None:
    def row(kind: str, size: str | None, begins: int, ends: int) -> dict[str, object]:
        return {
            "query_type": kind, "warehouse_name": size and f"{size}_WH", "warehouse_size": size,
            "start_time": NOON + timedelta(seconds=begins), "end_time": NOON + timedelta(seconds=ends),
            "execution_time": 1000 * (ends - begins), "bytes_scanned": 1_000_000, "credits_used_cloud_services": 0.001,
        }  # fmt: skip

    told = figures([
        row("SELECT", "X-Small", 0, 10), row("SELECT", "X-Small", 10, 20), row("SHOW", None, 500, 501),
        row("INSERT", "Medium", 0, 3540),
    ])  # fmt: skip
    assert told == [
        "4 statements: SELECT 2, SHOW 1, INSERT 1",
        "4.0 MB scanned",
        "Medium_WH (Medium): 1 statements, 3,540 s at work, 3,600 s awake, 4.000 credits",
        "X-Small_WH (X-Small): 2 statements, 20 s at work, 80 s awake, 0.022 credits",
        "cloud services: 0.0040 credits, free below a tenth of the day's",
    ]


def test_the_tests_set_up_names_of_their_own_and_drops_each() -> None:
    own = OwnSetup()
    statements = statements_of(own.sql())
    values = dict(re.findall(r"^set (\w+) = '([^']*)'", "\n".join(statements), re.M))
    shipped = dict(re.findall(r"^set (\w+) = '([^']*)'", SETUP.read_text(), re.M))
    kept = {name for name in shipped if values[name] == shipped[name]}
    assert kept == {"source_schema", "notified_users", "edition"}
    made = set()
    for kind, name in re.findall(
        r"^\s*(?:execute immediate ')?create (database|warehouse|role|user|resource monitor) if not exists"
        r" (?:identifier\(\$(\w+)\)|(?=segmentation))", own.sql(), re.M,
    ):  # fmt: skip
        made.add((kind, values[name]) if name else (kind, ""))
    dropped = {
        (kind, "" if kind == "resource monitor" else name)
        for kind, name in (re.findall(r"^drop ([a-z ]+) if exists (\w+)$", one)[0] for one in own.drops())
    }
    assert made == dropped
    monitors = set(re.findall(r"create resource monitor if not exists (\w+)", own.sql()))
    assert {f"drop resource monitor if exists {name}" for name in monitors} <= set(own.drops())


def test_every_statement_of_the_set_up_is_sent_alone_and_whole() -> None:
    statements = statements_of(OwnSetup().sql())
    assert all(one.endswith(";") and one.count("$$") in (0, 2) for one in statements)
    assert sum("$$" in one for one in statements) == SETUP.read_text().count("$$") // 2
    assert statements[-1].startswith("alter user SEGMENTATION_SERVICE_TEST_")
    assert not any(re.search(r"\bsegmentation_(?:monitor|readers_monitor)\b", one) for one in statements)


def test_the_tests_sign_in_as_the_user_whom_the_set_up_makes() -> None:
    own = OwnSetup()
    account = Snowflake.model_validate({"SNOWFLAKE_ACCOUNT": "ab12345", **own.variables()})
    arguments = connection_arguments(settings(account))
    assert arguments["authenticator"] == "snowflake_jwt"
    assert arguments["user"] == own["service_user"] and own["service_user"] in own.sql()
    assert "password" not in arguments
    standard = OwnSetup(edition="standard").variables()
    assert not {"SNOWFLAKE_LISTS_ROLE", "SNOWFLAKE_PERSONAL_DATA_TAG"} & set(standard)
