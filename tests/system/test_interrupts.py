"""Ctrl-C and SIGTERM at any moment of a real run.

Locks out: a process that aborts inside DuckDB, goes on for minutes, dumps its memory, or ends with a code that no shell
knows; published tables that an interrupted run has touched in part; a page of traceback in place of a line.
"""

import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.command_line import finish, start
from tests.support.november import SETTINGS, database, published

LONGEST_SECONDS = 5
# In the log of a whole run, at least.
LINES = 400
LINE = re.compile(r"(Interrupted|Ended by SIGTERM)\. Published months are whole; the same command again .*\n")
# Of a run that takes some fifteen seconds: its beginning, and two moments that no two runs share.
MOMENTS = random.Random(17)


def ended(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[int, str, float]:
    """Exit code, what stderr says, and how long the process took to end."""
    began = time.monotonic()
    process.send_signal(number)
    code, _, err = finish(process)
    return code, err, time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "part"),
    [
        (signal.SIGTERM, 0.0),
        (signal.SIGINT, MOMENTS.uniform(0.05, 0.3)),
        (signal.SIGTERM, MOMENTS.uniform(0.3, 0.6)),
        (signal.SIGINT, MOMENTS.uniform(0.6, 0.95)),
    ],
)
def test_a_signal_at_any_moment_ends_the_run(folder: Path, number: signal.Signals, part: float) -> None:
    before = published(database(folder))
    process = start(folder, "month", "2025-11-01", **SETTINGS)
    follow(folder, process, part)
    code, err, seconds = ended(process, number)
    assert code == 128 + number, err
    assert LINE.fullmatch(err), err
    assert seconds < LONGEST_SECONDS
    after = published(database(folder))
    assert {name: rows for name, rows in after.items() if name in before} == before


def follow(folder: Path, process: "subprocess.Popen[str]", part: float) -> None:
    """Waits until the command listens to signals, by what the system says that it catches (Python itself catches no
    SIGTERM), and then until about that part of the run is over, by the lines of its log: a clock would not know this
    machine."""
    status, log = Path("/proc", str(process.pid), "status"), folder / ".dagster" / "last-run.log"
    given_up_at, lines = time.monotonic() + 200, 0
    while time.monotonic() < given_up_at and process.poll() is None:
        caught = re.search(r"SigCgt:\s*([0-9a-f]+)", status.read_text())
        has_begun = caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1
        lines = log.read_bytes().count(b"\n") if log.exists() else 0
        if has_begun and lines >= part * LINES:
            return
        time.sleep(0.02)
    raise AssertionError(f"the run was over after {lines} lines: {finish(process)}")
