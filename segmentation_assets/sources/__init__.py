"""Where the star schema comes from: one of the sources, chosen with SEGMENTATION_SOURCE."""

import os
from pathlib import Path
from typing import Literal, cast

from segmentation_assets.settings import target

Source = Literal["synthetic", "completejourney", "warehouse"]
SOURCES: tuple[Source, ...] = ("synthetic", "completejourney", "warehouse")
DEFAULT_CUSTOMERS = 50_000


class SourceError(ValueError):
    """The source cannot be used; one line per finding that names what was found and what to do."""


def source() -> Source:
    named = os.environ.get("SEGMENTATION_SOURCE", "").strip()
    if not named:
        return "synthetic" if target() == "duckdb" else "warehouse"
    if named not in SOURCES:
        raise SourceError(f"SEGMENTATION_SOURCE is {named!r}; it has to be one of: {', '.join(SOURCES)}.")
    return cast("Source", named)


def portfolio_size() -> int:
    named = os.environ.get("SEGMENTATION_CUSTOMERS", "").strip()
    if not named:
        return DEFAULT_CUSTOMERS
    if not named.isdecimal() or int(named) < 1:
        raise SourceError(f"SEGMENTATION_CUSTOMERS is {named!r}; it has to be a whole number of at least 1.")
    return int(named)


def rules_file(project_dir: Path) -> Path | None:
    """A source whose customers are no card-holders brings rules of its own, unless SEGMENTATION_RULES names others."""
    if os.environ.get("SEGMENTATION_RULES", "").strip():
        return None  # load_rules reads the variable itself
    return project_dir / "rules" / "completejourney.yml" if source() == "completejourney" else None
