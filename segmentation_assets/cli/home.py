"""Dagster's home and instance, as the commands use them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from segmentation_assets.atomic import atomically
from segmentation_assets.errors import WarehouseError
from segmentation_assets.private import make_folder, tighten
from segmentation_assets.settings import Settings, set_variable, variable


def dagster_home() -> Path:
    """Made where it is missing, with our settings if nobody named it: one that was named is its owner's to set up."""
    home = Settings.from_environment().dagster_home
    settings, is_ours = home / "dagster.yaml", not variable("DAGSTER_HOME")
    try:
        make_folder(home)
        if is_ours and not settings.exists():
            # Half a file, left by a kill, would be read as Dagster's defaults from then on.
            with atomically(settings) as partial:
                shutil.copy(Path(__file__).parents[1] / "dagster_home" / "dagster.yaml", partial)
        with tempfile.TemporaryFile(dir=home):
            pass
        # By the file in it, the folder is Dagster's: of storage, logs and what steps printed.
        tighten([*([home] if is_ours else []), *home.glob("*.log")])
    except OSError as error:
        raise WarehouseError(
            f"DAGSTER_HOME is {home}, which cannot be written: {error.strerror}. Name a folder that can."
        ) from error
    set_variable("DAGSTER_HOME", str(home))
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
