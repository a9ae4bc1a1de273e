"""Settings: what the environment says of engine, file and schemas."""

import os
from pathlib import Path
from typing import Literal, cast

from segmentation_assets.errors import WarehouseError

Target = Literal["duckdb", "snowflake"]
TARGETS: tuple[Target, ...] = ("duckdb", "snowflake")
DUCKDB_DEFAULT_PATH = Path("data") / "segmentation.duckdb"
SOURCE_DEFAULT_SCHEMA = "gold"


def target() -> Target:
    """SEGMENTATION_TARGET, `duckdb` when it is not set. Never another engine than the one asked for."""
    named = os.environ.get("SEGMENTATION_TARGET", "").strip() or "duckdb"
    if named not in TARGETS:
        raise WarehouseError(f"SEGMENTATION_TARGET is {named!r}; it has to be one of: {', '.join(TARGETS)}.")
    return cast("Target", named)


def source_schema() -> str:
    return os.environ.get("SEGMENTATION_SOURCE_SCHEMA", "").strip() or SOURCE_DEFAULT_SCHEMA


def duckdb_path() -> Path:
    """Absolute, because dbt changes its working directory while it runs."""
    named = os.environ.get("SEGMENTATION_DUCKDB_PATH", "").strip()
    return Path(named or DUCKDB_DEFAULT_PATH).expanduser().absolute()
