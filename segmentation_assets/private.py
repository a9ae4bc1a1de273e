"""Files and folders that only their owner may open, and a process that leaves no image of its memory behind.

The database, its log, Dagster's storage and the logs of runs hold names or addresses, or may quote them.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

FILE, FOLDER = 0o600, 0o700
_OTHERS = 0o077


def keep_to_owner() -> None:
    """From here on this process and its children write files for their owner alone, and dump no core: it would hold
    rows of whatever was being read."""
    os.umask(_OTHERS)
    with suppress(ImportError, ValueError, OSError):  # Windows has no limits; a lower hard limit does as well
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def tighten(paths: Iterable[Path]) -> None:
    """Takes from everybody else what an earlier version, or another umask, gave them.

    Only of files and folders of this user; never of a link, nor of a folder that is shared on purpose, as /tmp is.
    """
    for path in paths:
        with suppress(FileNotFoundError, PermissionError):
            found = path.lstat()
            is_ours = os.name != "nt" and found.st_uid == os.geteuid()
            mode = stat.S_IMODE(found.st_mode)
            plain = stat.S_ISREG(found.st_mode) or (stat.S_ISDIR(found.st_mode) and not mode & stat.S_ISVTX)
            if is_ours and plain and mode & _OTHERS:
                path.chmod(mode & ~_OTHERS)


def make_folder(path: Path) -> None:
    """And those above it; what is made is the owner's alone, what is there stays as it is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER, exist_ok=True)
    path.mkdir(exist_ok=True)  # says so where a file is in the way
