"""The command line as a person starts it: a process of its own, in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SECONDS = 400


def settings(**given: str) -> dict[str, str]:
    """This environment without any of the pipeline's own settings, and with the given ones."""
    own = ("SEGMENTATION_", "SNOWFLAKE_", "DAGSTER_HOME", "DBT_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "PYTHONPATH": str(CHECKOUT), **given}


def start(folder: Path, *arguments: str, **given: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "segmentation_assets.cli", *arguments],
        cwd=folder, env=settings(**given), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; the process is killed when it takes too long."""
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return process.returncode, out, err


def segmentation(folder: Path, *arguments: str, **given: str) -> tuple[int, str, str]:
    return finish(start(folder, *arguments, **given))
