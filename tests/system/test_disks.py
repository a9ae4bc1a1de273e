"""What a person sees when the disk is read-only or full: `segmentation month` in a mount namespace of its own.

Locks out: a traceback or a page of dbt's in place of one line that says what is wrong, found where, and what to do; and
published tables that a refused run has touched.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import SECONDS, settings
from tests.support.november import SETTINGS, database, published

# What stands around the line that says what is wrong.
AROUND = (
    "The run failed",
    "Published",
    "Next: ",
    "Did not follow: ",
    "3 warnings besides:",
    "  - audience_is_not_empty",
)


def mounted(folder: Path, mount: str, after: str = "true", **given: str) -> tuple[int, str, str]:
    """`segmentation month` in a mount namespace of its own, where a read-only file system stops root too."""
    command = shlex.join([sys.executable, "-m", "segmentation_assets.cli", "month", "2025-11-01"])
    environment = settings(**{**SETTINGS, "SEGMENTATION_TARGET": "duckdb", **given})
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount} || exit 99; {command}; code=$?; {after}"
         " || exit 98; exit $code"],
        cwd=folder, env={**environment, "PATH": os.environ["PATH"]}, text=True, capture_output=True, timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode not in (98, 99), f"no file system could be mounted: {done.stderr}"
    return done.returncode, done.stdout, done.stderr


def test_a_read_only_disk_is_one_line(folder: Path) -> None:
    before = published(database(folder))
    code, out, err = mounted(folder, "mount --bind data data && mount -o remount,bind,ro data")
    assert (code, out) == (2, ""), out + err
    assert err == (
        f"error: SEGMENTATION_DUCKDB_PATH is {database(folder)}, whose folder cannot be written: Read-only file system."
        " Name one that can.\n"
    )
    assert published(database(folder)) == before
    assert [path.name for path in (folder / "data").iterdir()] == ["segmentation.duckdb"]


def test_a_read_only_dagster_home_is_one_line(folder: Path) -> None:
    before = published(database(folder))
    (folder / "home").mkdir()
    read_only = "mount --bind home home && mount -o remount,bind,ro home"
    code, out, err = mounted(folder, read_only, DAGSTER_HOME=str(folder / "home"))
    assert (code, out) == (2, ""), out + err
    assert err == (
        f"error: DAGSTER_HOME is {folder / 'home'}, which cannot be written: Read-only file system."
        " Name a folder that can.\n"
    )
    assert published(database(folder)) == before


def test_a_full_disk_is_one_line(folder: Path) -> None:
    before = published(database(folder))
    kilobytes = database(folder).stat().st_size // 1024 + 256
    (folder / "full").mkdir()
    code, out, err = mounted(
        folder,
        f"mount -t tmpfs -o size={kilobytes}k tmpfs full && cp data/segmentation.duckdb full/"
        " && { cat /dev/zero > full/filler 2>/dev/null; true; }",
        after="rm full/filler && cp full/segmentation.duckdb* data/",
        SEGMENTATION_DUCKDB_PATH="full/segmentation.duckdb",
    )
    assert code == 1, out + err
    said = [line for line in err.splitlines() if line and not line.startswith(AROUND)]
    assert len(said) == 1, err
    assert said[0].startswith("The disk is full: ")
    assert "No space left on device" in said[0]
    assert said[0].endswith("Free space and run the same again.")
    assert published(database(folder)) == before


@pytest.mark.parametrize(
    ("variable", "kilobytes"),
    [
        ("DAGSTER_HOME", 64),  # full from the beginning
        ("DAGSTER_HOME", 1500),  # full while the run is under way
        ("SEGMENTATION_EXPORT_URI", 16),
        ("DBT_TARGET_PATH", 1024),
    ],
)
def test_a_full_disk_under_any_folder_is_one_line(folder: Path, variable: str, kilobytes: int) -> None:
    before = published(database(folder))
    (folder / "small").mkdir()
    small = f"mount -t tmpfs -o size={kilobytes}k tmpfs small"
    code, out, err = mounted(folder, small, **{variable: str(folder / "small")})
    assert code == 1, out + err
    assert "Traceback" not in out + err
    said = [line for line in err.splitlines() if line and not line.startswith(AROUND)]
    assert len(said) == 1, err
    assert re.search(r"The disk is full: No space left on device|make space", said[0]), err
    assert str(folder / "small") in said[0]
    after = published(database(folder))
    assert {name: rows for name, rows in after.items() if name in before} == before
