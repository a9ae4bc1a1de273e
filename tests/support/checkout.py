"""What a test has written below the checkout: a person's data, history and settings lie there."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What tools and compilers keep there, for themselves.
COMPILED = frozenset({
    ".git", ".venv", "__pycache__", ".hypothesis", ".pytest_cache", ".ruff_cache", ".import_linter_cache",
    "customer_segmentation.egg-info",
})  # fmt: skip
TARGET = Path("dbt_models", "target")
# Where the product writes when no variable says otherwise. Nothing there may change; elsewhere nothing may appear.
DEFAULTS = frozenset({"data", "exports", ".dagster", ".env", "logs"})
Seen = dict[str, tuple[int, int]]


def seen(root: Path = ROOT) -> Seen:
    """Every file and folder with its size and time of change."""
    return dict(_below(str(root), ""))


def _below(folder: str, inside: str) -> Iterator[tuple[str, tuple[int, int]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{inside}{entry.name}"
            if entry.name in COMPILED or name == str(TARGET):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # an editor's, gone since
            is_folder = entry.is_dir(follow_symlinks=False)
            yield name, (0, 0) if is_folder else (status.st_size, status.st_mtime_ns)
            if is_folder:
                yield from _below(entry.path, f"{name}/")


def written(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> list[str]:
    """What appeared anywhere, and what changed or went where the product writes by default.

    A source file that somebody edits while the tests run is none of their business.
    """
    appeared = after.keys() - before.keys()
    others = {name for name in before if name.partition("/")[0] in DEFAULTS and before[name] != after.get(name)}
    return sorted(appeared | others)
