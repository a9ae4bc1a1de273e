"""The published portfolio of tests/ui/published.py: computed once for all workers, and copied by each file of tests."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from tests.ui.published import Published, publish


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "published"
    with FileLock(f"{shared}.lock"):
        done = Path(f"{shared}.done")
        if not done.exists():
            shutil.rmtree(shared, ignore_errors=True)
            publish(shared)
            done.touch()
    return Published(Path(shutil.copytree(shared, tmp_path_factory.mktemp("ui") / "copy")))
