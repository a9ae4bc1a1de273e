"""November published in a folder of its own, where a person asks for it again: `segmentation month`."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.support.known_mix import BUDGET, DECLINING, GROWING, STABLE, TRAVELERS, known_mix
from tests.support.once import once
from tests.support.published_months import CANDIDATE_AND_PUBLISHED, FILE, NO_TESTS, NOVEMBER, pipeline_at

SETTINGS = {
    "SEGMENTATION_SOURCE": "warehouse",
    "SEGMENTATION_DUCKDB_PATH": "data/segmentation.duckdb",
    "SEGMENTATION_EXPORT_URI": "memory://exports",
}


@pytest.fixture(scope="module")
def november(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """330 customers, November 2025 published by plain dbt."""

    def make(folder: Path) -> None:
        with pipeline_at(folder / FILE) as pipeline:
            pipeline.load(known_mix(NOVEMBER, {TRAVELERS: 40, DECLINING: 25, GROWING: 40, BUDGET: 75, STABLE: 150}))
            succeeded, said = pipeline.dbt(NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
            assert succeeded, said

    return once(tmp_path_factory, "november", make) / FILE


@pytest.fixture
def folder(november: Path, tmp_path: Path) -> Path:
    """A person's folder with a copy of it in data/."""
    (tmp_path / "data").mkdir()
    shutil.copy(november, tmp_path / "data" / "segmentation.duckdb")
    return tmp_path


def published(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that is published."""
    with duckdb.connect(str(file), read_only=True) as connection:
        names = connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'gold' and regexp_matches(table_name,"
            " '^(segment|customer)_') order by 1"
        ).fetchall()
        return {name: connection.execute(f"from gold.{name} order by all").fetchall() for (name,) in names}


def database(folder: Path) -> Path:
    return folder / "data" / "segmentation.duckdb"
