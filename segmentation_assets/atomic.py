"""Writing a file all at once: whoever opens it finds the old content or the new, never half of it."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# What a killed process leaves behind, beside the file: a folder of this name.
PARTIAL = ".partial"


@contextmanager
def atomically(path: Path, *, mode: int | None = None, durable: bool = True) -> Iterator[Path]:
    """A place to write `path` to, which becomes `path` at the end, or is gone where something was raised.

    It lies in a folder of its own that only its owner may enter: nobody reads a file before it has its `mode` (what it
    was written with where none is given), and what a database writes beside it goes the same way. Without `durable` a
    power cut may cost the file, which does for a cache.
    """
    aside = _beside(path)
    try:
        partial = aside / path.name
        yield partial
        if mode is not None:
            partial.chmod(mode)
        if durable:
            flush(partial)
        partial.replace(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if durable:
        flush(path.parent)


def all_atomically(folder: Path, contents: Mapping[str, bytes], *, mode: int) -> None:
    """Each file of `contents` in `folder`, whole and durable, as `atomically` does it for one; with the folder flushed
    once for all, and where there are none, too."""
    if contents:
        aside = _beside(folder / next(iter(contents)))
        try:
            for name, content in contents.items():
                partial = aside / name
                partial.write_bytes(content)
                partial.chmod(mode)
                flush(partial)
            for name in contents:
                (aside / name).replace(folder / name)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    flush(folder)


def _beside(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent))


def flush(path: Path) -> None:
    """To the disk. A rename survives a power cut once its folder is there too."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders and sees to it itself
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
