"""What went wrong where nobody mistyped anything: a full disk, no memory, a store that does not answer; one line each.

Whatever is not known here is one line too, with the place of the log that holds its traceback.
"""

import errno
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT}
LOG = "last-run.log"
# Below it, a folder's disk is the one that is full.
LEAST_FREE_BYTES = 1 << 20


def explained(error: BaseException) -> str | None:
    """The line for a mishap that a person can do something about; None for any other error."""
    for one in chain(error):
        line = explained_text(f"{type(one).__name__}: {one}")
        if isinstance(one, OSError) and one.errno in FULL:
            line = full_disk(one.filename)
        if isinstance(one, MemoryError):
            line = no_memory()
        if line is not None:
            return line
    return None


def explained_text(said: str) -> str | None:
    """The same, of an error that a step of a run left as text."""
    low = said.lower()
    if "no space left on device" in low or "disk quota exceeded" in low or "disk is full" in low:
        return full_disk()
    if "disk i/o error" in low and "(" in (line := full_disk()):  # SQLite's words, where a place of ours is full
        return line
    if "memoryerror" in low or "outofmemoryexception" in low or "out of memory error" in low:
        return no_memory()
    if "failed to allocate" in low or "cannot allocate memory" in low:
        return no_memory()
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those it was raised from, the outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def full_disk(named: object = None) -> str:
    """Says which of the folders is on the disk that is full, as far as it can be told."""
    from segmentation_assets.errors import SettingsError
    from segmentation_assets.settings import Settings

    try:
        settings = Settings.from_environment()
        places = {
            "SEGMENTATION_DUCKDB_PATH": settings.duckdb_path.parent,
            "DAGSTER_HOME": settings.dagster_home,
            "SEGMENTATION_EXPORT_URI": Path(settings.export_uri),
            "DBT_TARGET_PATH": settings.dbt_target_path or Path.cwd(),
            "TMPDIR": Path(tempfile.gettempdir()),
        }
    except (SettingsError, OSError):
        places = {}
    full = [f"{name} {place}" for name, place in places.items() if _free_bytes(place) < LEAST_FREE_BYTES]
    where = ", ".join(full) or str(named or "")
    found = f" ({where})" if where else ""
    return (
        f"The disk is full: No space left on device{found}. Published months are whole."
        " Free space and run the same again."
    )


def no_memory() -> str:
    return (
        "There is not enough memory. Published months are whole. End what else is running, or ask for fewer months at"
        " once (make month MONTH=...), and run the same again."
    )


def _free_bytes(place: Path) -> float:
    try:
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free
    except OSError:
        return float("inf")


def unforeseen(error: BaseException) -> str:
    """The line for anything else. Its traceback goes behind what the log of the last run holds."""
    cause = list(chain(error))[-1]
    said = next(iter(f"{type(cause).__name__}: {cause}".splitlines()))[:300]
    try:
        log = _log()
        with log.open("a", encoding="utf-8") as file:
            file.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} this was not foreseen:\n")
            traceback.print_exception(error, file=file)
        log.chmod(0o600)
    except OSError:
        return f"{said} (this was not foreseen, and its traceback could be written nowhere)"
    return f"{said} (this was not foreseen; the traceback is in {log})"


def _log() -> Path:
    from segmentation_assets.errors import SettingsError
    from segmentation_assets.settings import Settings

    try:
        home = Settings.from_environment().dagster_home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(home, os.W_OK):
            return home / LOG
    except (SettingsError, OSError):
        pass
    opened, path = tempfile.mkstemp(prefix="segmentation-", suffix=".log")
    os.close(opened)
    return Path(path)
