"""The command line as a person meets it, in a folder of its own: as a process, or in this one."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

CHECKOUT = Path(__file__).parents[2]
SECONDS = 400


def settings(**given: str) -> dict[str, str]:
    """This environment without any of the pipeline's own settings, and with the given ones."""
    own = ("SEGMENTATION_", "SNOWFLAKE_", "DAGSTER_HOME", "DBT_", "PYTEST_", "PYTHON_DOTENV_DISABLED")
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


def in_process(folder: Path, *arguments: str, **given: str) -> tuple[int, str, str]:
    """The same in this process, as a person of that folder: what one command costs most is to start Python.

    How it looks as a process of its own is seen in tests/system/test_cli.py.
    """
    from segmentation_assets.cli import terminal
    from segmentation_assets.cli.commands import main

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {**settings(**given), "DAGSTER_DISABLE_TELEMETRY": "1"}, clear=True),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        forget()
        terminal.console.file, terminal.errors.file = out, err
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        finally:
            terminal.console.file, terminal.errors.file = sys.__stdout__, sys.__stderr__
            forget()
    return code, out.getvalue(), err.getvalue()


def forget() -> None:
    """What the product has read of an environment, once per process, is not that of another."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "segmentation_assets":
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
