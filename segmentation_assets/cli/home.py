"""Dagster's home and instance, as the commands use them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from segmentation_assets.errors import WarehouseError


def dagster_home() -> Path:
    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster").absolute()
    settings = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not settings.exists():
            # Aside first: half a file, left by a kill, would be read as Dagster's defaults from then on.
            shipped = Path(__file__).parents[1] / "dagster_home" / "dagster.yaml"
            Path(shutil.copy(shipped, home / f"dagster.yaml.{os.getpid()}")).replace(settings)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise WarehouseError(
            f"DAGSTER_HOME is {home}, which cannot be written: {error.strerror}. Name a folder that can."
        ) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


@contextmanager
def dagster_instance(home: Path) -> Iterator[Any]:
    """The instance of DAGSTER_HOME. Two commands that open a new home at once would both create Dagster's SQLite
    tables, and one of them would fail: they open it one after the other."""
    import dagster as dg
    from filelock import FileLock

    with ExitStack() as opened:
        with FileLock(home / "opening.lock"):
            instance = opened.enter_context(dg.DagsterInstance.get())
        yield instance
