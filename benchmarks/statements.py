"""What a month and a sensor's look send to Snowflake, counted in front of the emulator, and what that costs there.

    python -m benchmarks.statements [--record FILE]

The portfolio of the emulator's tests, as the number of statements does not depend on it: two months, a month more, and
the looks of segmentation_catch_up around it. A statement needs a warehouse when it reads or writes rows or makes a
table of a query; SHOW, DESCRIBE, comments, tags and views are the cloud services' work. Seconds and credits follow from
the assumptions of benchmarks.beyond.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from benchmarks.beyond import CLIENT, STATEMENT, SUSPEND
from segmentation_assets.months import TIME_ZONE
from tests.support.snowflake_portfolio import FIRST_MONTH, LAST_MONTH, SECOND_MONTH, thresholds_among_customers

ROOT = Path(__file__).parents[1]
RUNS = ("the first two months, in one run", "a month more")
METADATA = 0.1  # seconds of a statement that needs no warehouse: assumed, as the other's
KINDS = {
    "reads": r"\s*(select|with|describe result)\b",
    "writes rows": r"\s*(insert|update|delete|merge|execute immediate|copy)\b",
    "makes a table": r"\s*create (or replace )?(transient |temporary )?table\b",
    "makes a view, a schema, or drops": r"\s*(create|drop|alter (view|schema))\b",
    "asks the catalogue (SHOW, DESCRIBE)": r"\s*(show|describe|desc)\b",
    "comments, tags": r"\s*(comment|alter)\b",
}
IN_A_WAREHOUSE = ("reads", "writes rows", "makes a table")


def kind_of(sql: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.match(pattern, sql, re.I)), "other")


def on_an_account(lines: Sequence[dict[str, Any]]) -> list[str]:
    """The statements, those from a BEGIN to its COMMIT, with the drop of the working table behind it, as the one
    scripting block that they are there: the emulator knows none. It is asked for comments in a catalogue of its own."""
    sent, open_blocks, behind = list[str](), set[int](), set[int]()
    for line in lines:
        if line["asked"] != "statement" or "_fs_global" in line["sql"]:
            continue
        session, words = line["session"], line["sql"].lower().split()
        is_behind = session in behind and words[:2] == ["drop", "table"]
        behind.discard(session)
        if words[0] == "begin":
            open_blocks.add(session)
            sent.append("execute immediate")
        elif words[0].rstrip(";") in ("commit", "rollback"):
            open_blocks.discard(session)
            behind.add(session)
        elif session not in open_blocks and not is_behind:
            sent.append(line["sql"])
    return sent


def counted(kept: Path | None) -> tuple[dict[str, Counter[str]], dict[str, int]]:
    """By what was done: statements by kind, and sessions."""
    from tests.support.recording_emulator import recorded
    from tests.support.snowflake_account import emulator, environment

    with tempfile.TemporaryDirectory() as folder:
        record = kept or Path(folder, "asked.jsonl")
        record.write_text("")
        done: dict[str, list[dict[str, Any]]] = {}
        with emulator(record) as variables:
            names = {**environment(variables), "SEGMENTATION_EXPORT_URI": f"{folder}/exports", "DAGSTER_HOME": folder}
            _fill(variables)

            def noted(what: str, work: Callable[[], object]) -> None:
                before = len(recorded(record))
                work()
                done[what] = recorded(record)[before:]

            noted(RUNS[0], lambda: _run(names, FIRST_MONTH, SECOND_MONTH))
            noted(RUNS[1], lambda: _run(names, LAST_MONTH, LAST_MONTH))
            with pytest.MonkeyPatch.context() as patch:
                for name, value in names.items():
                    patch.setenv(name, value)
                for what, look in _looks():
                    noted(what, look)
        statements = {what: Counter(map(kind_of, on_an_account(lines))) for what, lines in done.items()}
        return statements, {what: sum(line["asked"] == "login" for line in lines) for what, lines in done.items()}


def _fill(variables: Mapping[str, str]) -> None:
    from segmentation_assets.sources.snowflake_load import copy_tables
    from tests.support.snowflake_account import session_on

    with duckdb.connect() as connection, session_on(variables) as session:
        thresholds_among_customers().load(connection)
        copy_tables(session, connection, "gold", is_emulator=True)


def _run(names: Mapping[str, str], first: date, last: date) -> None:
    step = {"do": "run", "first": str(first), "last": str(last)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.run_steps"],
        cwd=ROOT, env=dict(names), input=json.dumps(step) + "\n", capture_output=True, text=True, check=False,
        timeout=900,
    )  # fmt: skip
    told = [json.loads(line.removeprefix("STEP ")) for line in done.stdout.splitlines() if line.startswith("STEP ")]
    if not told or not told[0].get("success"):
        raise SystemExit(f"{first} to {last} was not published: {told or done.stderr[-2000:]}")


def _looks() -> Iterator[tuple[str, Callable[[], object]]]:
    """Of the sensor, tick by tick, from the evening before the next month is due."""
    import dagster as dg

    from segmentation_assets.automation import catch_up
    from segmentation_assets.warehouse.session import warehouse
    from tests.support.own_runs import surroundings

    due = datetime(2025, 12, 1, 2, 0, tzinfo=ZoneInfo(TIME_ZONE))  # November's, whose facts are not there
    with dg.DagsterInstance.ephemeral() as instance:
        place = surroundings(instance, warehouse())

        def tick(at: datetime) -> Callable[[], object]:
            return lambda: catch_up.evaluate(place, at)

        yield "a tick that finds every month published, once", tick(due - timedelta(hours=2))
        yield "every later tick of that month", tick(due - timedelta(hours=1))
        yield "a look for facts that have not arrived", tick(due + timedelta(minutes=31))
        yield "a tick within the half hour after it", tick(due + timedelta(minutes=40))


def lines(statements: Mapping[str, Counter[str]], sessions: Mapping[str, int]) -> Iterator[str]:
    yield "| | Sessions | Statements | … in a warehouse | Seconds | Credits on an X-Small |"
    yield "|---|---|---|---|---|---|"
    for what, kinds in statements.items():
        heavy = sum(kinds[kind] for kind in IN_A_WAREHOUSE)
        seconds = heavy * STATEMENT + (sum(kinds.values()) - heavy) * METADATA
        seconds += CLIENT if what in RUNS else 0
        credits = (seconds + SUSPEND) / 3600 if heavy else 0
        yield f"| {what} | {sessions[what]} | {sum(kinds.values())} | {heavy} | {seconds:.0f} | {credits:.3f} |"
    more = statements[RUNS[1]]
    yield ""
    yield "| Statements of a month more | |"
    yield "|---|---|"
    yield from (f"| {kind} | {number} |" for kind, number in more.most_common())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, help="keeps what was asked, a line of JSON each")
    statements, sessions = counted(parser.parse_args(arguments).record)
    print(f"{datetime.now(tz=UTC).date()}; the emulator, fakesnow {version('fakesnow')}\n")
    print("\n".join(lines(statements, sessions)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
