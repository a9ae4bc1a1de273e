"""A small portfolio published by a real run of the job, and what Dagster has recorded of it, in a home of its own."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from segmentation_assets.partitions import months_between
from segmentation_assets.sources import synthetic
from tests.integration.conftest import pipeline_at
from tests.warehouse_fixture import Pipeline

# Later months have no facts, so that the daemon's catch-up finds none to ask for.
MONTHS = months_between(date(2026, 8, 1), date(2026, 10, 1))
NEWEST = MONTHS[-1]
CUSTOMERS = 700
SETTINGS = Path(__file__).parents[2] / "segmentation_assets" / "dagster.yaml"


@dataclass(frozen=True)
class Published:
    pipeline: Pipeline
    home: Path
    exports: Path

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.pipeline.instance

    @property
    def environment(self) -> dict[str, str]:
        """What a process of its own needs to find the same."""
        return {
            "DAGSTER_HOME": str(self.home),
            "SEGMENTATION_DUCKDB_PATH": str(self.pipeline.path),
            "SEGMENTATION_EXPORT_URI": str(self.exports),
            "SEGMENTATION_SOURCE": "warehouse",
        }


def publish(folder: Path) -> Published:
    """Every asset of the three months by one run."""
    home, exports = folder / "home", folder / "exports"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(SETTINGS.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with pipeline_at(folder / "segmentation.duckdb") as pipeline:
            pipeline.instance = dg.DagsterInstance.get()
            with pipeline.connection() as connection:
                synthetic.build(
                    connection, "gold", customers=CUSTOMERS, first_month=date(2025, 6, 1), last_month=NEWEST
                )
            patch.setenv("SEGMENTATION_EXPORT_URI", str(exports))
            run = pipeline.run(MONTHS[0], NEWEST)
    assert run.success, [event.message for event in run.all_events if event.is_failure]
    return Published(pipeline, home, exports)
