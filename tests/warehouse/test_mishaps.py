"""What nobody mistyped: one line each, and the traceback of what nobody foresaw in the log.

Locks out: "MemoryError" and nothing else; a page of traceback; a command that waits in silence; a database, a log or a
home that others may read.
"""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from segmentation_assets.cli import commands, mishaps
from segmentation_assets.private import make_folder, tighten
from segmentation_assets.publication import explanations
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.command_line import in_process, settings

HOLD = """
import sys
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
with DuckDBWarehouse(path=sys.argv[1]).exclusive():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "There is not enough memory."),
        (duckdb.OutOfMemoryException("failed to pin block of size 256 KiB"), "There is not enough memory."),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "There is not enough memory."),
        (OSError(errno.ENOSPC, "No space left on device", "/full/x"), "The disk is full: No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/full/x"), "The disk is full: No space left on device"),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), "The disk is full"),
    ],
)
def test_a_mishap_is_a_line_with_the_way_out(error: Exception, said: str) -> None:
    wrapped = ValueError("outer")
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        line = mishaps.explained(raised)
        assert line is not None
        assert line.startswith(said)
        assert "Published months are whole" in line
        assert line.endswith("run the same again.")
        assert "\n" not in line
    assert mishaps.explained_text(f"{type(error).__name__}: {error}") is not None
    assert mishaps.explained(KeyError("MEM")) is None


def test_memory_that_duckdb_really_lacks_is_told(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute("set memory_limit = '2MB'; set max_temp_directory_size = '1MB'")
        with pytest.raises(duckdb.Error) as raised:
            connection.execute("create table t as select range, hash(range) from range(20000000) order by 2")
    line = mishaps.explained(raised.value)
    assert line is not None
    assert line.startswith("There is not enough memory.")


def test_what_nobody_foresaw_is_a_line_and_a_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError("nobody thought of this\nsecond line")

    monkeypatch.setattr(explanations, "explain", breaks)
    database = tmp_path / "segmentation.duckdb"
    duckdb.connect(str(database)).close()
    home = tmp_path / "home"
    code, out, err = in_process(
        tmp_path, "why", "C1", "2025-11", SEGMENTATION_DUCKDB_PATH=str(database), DAGSTER_HOME=str(home)
    )
    log = home / "last-run.log"
    assert (code, out) == (commands.FAILED, "")
    assert err == (
        f"error: ZeroDivisionError: nobody thought of this (this was not foreseen; the traceback is in {log})\n"
    )
    assert "Traceback (most recent call last)" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, "subprocess.Popen[str]"]]:
    database = tmp_path / "data" / "segmentation.duckdb"
    database.parent.mkdir()
    duckdb.connect(str(database)).close()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield database, process
    process.kill()
    process.wait()


def test_whoever_waits_is_told_for_whom(held: tuple[Path, "subprocess.Popen[str]"]) -> None:
    database, process = held
    assert process.stdin is not None
    waiting = subprocess.Popen(
        [sys.executable, "-m", "segmentation_assets.cli", "why", "C1", "2025-11"],
        env=settings(SEGMENTATION_DUCKDB_PATH=str(database), DAGSTER_HOME=str(database.parent)),
        cwd=database.parent, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert waiting.stderr is not None
    said = waiting.stderr.readline()
    assert said.startswith(f"Waiting for process {process.pid} (python"), said
    assert said.endswith(f"which has {database} open ... (this goes on when it ends; Ctrl-C stops it here)\n")
    process.stdin.write("\n")
    process.stdin.flush()
    rest = waiting.stderr.read()
    assert waiting.wait(timeout=60) == 2
    assert rest.startswith("error: ")


def test_what_is_made_is_the_owners_and_what_is_looser_is_tightened(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = tmp_path / "data" / "segmentation.duckdb"
        with DuckDBWarehouse(path=str(path)).session() as session:
            session.execute("create table t as select 1 as x")
        assert path.parent.stat().st_mode & 0o777 == 0o700
        for name in (path, path.with_name("segmentation.duckdb.lock")):
            name.chmod(0o644)
        with DuckDBWarehouse(path=str(path)).session(read_only=True):
            assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}
    finally:
        os.umask(before)


def test_what_is_shared_on_purpose_is_left_alone(tmp_path: Path) -> None:
    shared, file, link = tmp_path / "shared", tmp_path / "file", tmp_path / "link"
    shared.mkdir()
    shared.chmod(0o1777)
    file.write_text("")
    file.chmod(0o644)
    link.symlink_to(file)
    tighten([shared, link, tmp_path / "missing"])
    assert (shared.stat().st_mode & 0o7777, file.stat().st_mode & 0o777) == (0o1777, 0o644)
    made = shared / "a" / "b"
    make_folder(made)
    assert [folder.stat().st_mode & 0o777 for folder in (made, made.parent)] == [0o700, 0o700]
    assert shared.stat().st_mode & 0o7777 == 0o1777
