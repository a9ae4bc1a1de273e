"""Three published months of a synthetic portfolio, computed once and copied by every test that starts from them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from segmentation_assets.sources import synthetic
from tests.warehouse_fixture import Pipeline

SEPTEMBER, OCTOBER, NOVEMBER = (date(2025, month, 1) for month in (9, 10, 11))
CANDIDATE_AND_PUBLISHED = "path:models/staging path:models/metrics path:models/segments"
PUBLISHED = "config.group:segments_published"
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
TABLES = ("customer_segment_history", "customer_segments", "segment_summary", "segment_transitions", "segment_publications")


@contextmanager
def pipeline_at(path: Path, copied_from: Path | None = None) -> Iterator[Pipeline]:
    """A pipeline on a file. Its name is always the same: the compiled project calls the database after it."""
    with pytest.MonkeyPatch.context() as patch:
        path.parent.mkdir(parents=True, exist_ok=True)
        if copied_from is not None:
            shutil.copy(copied_from, path)
        patch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
        yield Pipeline(path)


def published_tables(pipeline: Pipeline) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of what consumers read."""
    return {table: pipeline.rows(f"select * from gold.{table} order by all") for table in TABLES}


@pytest.fixture(scope="session")
def published_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 customers, published September to November 2025 by one plain dbt build; no fact lies in the future."""
    path = tmp_path_factory.mktemp("published") / "segmentation.duckdb"
    with pipeline_at(path) as pipeline:
        with pipeline.connection() as connection:
            synthetic.build(
                connection, "gold", customers=1000, first_month=date(2025, 1, 1), last_month=NOVEMBER, sized_at=NOVEMBER
            )
            connection.execute("delete from gold.fct_transactions where transaction_date >= '2025-12-01'")
        succeeded, said = pipeline.dbt(SEPTEMBER, NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
        assert succeeded, said
    return path


@pytest.fixture
def published(published_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", published_file) as pipeline:
        yield pipeline
