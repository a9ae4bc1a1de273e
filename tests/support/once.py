"""A folder that is made once per machine: by the first of pytest-xdist's workers that asks, for all of them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once(folders: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name`, filled by `make`. Whoever changes what is in it copies it first."""
    base = folders.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "once" / name
    shared.parent.mkdir(exist_ok=True)
    done = shared.with_name(f"{name}.done")
    with FileLock(shared.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(shared, ignore_errors=True)  # what a worker left that failed on it
            shared.mkdir()
            make(shared)
            done.touch()
    return shared
