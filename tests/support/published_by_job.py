"""A small portfolio published by a real run of the job, and what Dagster has recorded of it, in a home of its own."""

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from segmentation_assets.months import MonthRange
from segmentation_assets.sources import synthetic
from tests.support.once import once
from tests.support.warehouse_fixture import Pipeline

# Later months have no facts, so that the daemon's catch-up finds none to ask for.
MONTHS = list(MonthRange(date(2026, 9, 1), date(2026, 10, 1)))
NEWEST = MONTHS[-1]
CUSTOMERS = 700
SETTINGS = Path(__file__).parents[2] / "segmentation_assets" / "dagster_home" / "dagster.yaml"


@dataclass(frozen=True)
class Published:
    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "segmentation.duckdb"

    @property
    def exports(self) -> Path:
        return self.folder / "exports"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find it."""
        return {
            "DAGSTER_HOME": str(self.folder / "home"),
            "SEGMENTATION_DUCKDB_PATH": str(self.database),
            "SEGMENTATION_EXPORT_URI": str(self.exports),
            "SEGMENTATION_SOURCE": "warehouse",
        }

    def pipeline(self, patch: pytest.MonkeyPatch) -> Pipeline:
        """With Dagster's instance of the folder; the environment is set for as long as `patch` lasts."""
        for name, given in self.environment.items():
            patch.setenv(name, given)
        return Pipeline(self.database, dg.DagsterInstance.get())


def publish(folder: Path) -> Published:
    """Every asset of the two months by one run."""
    (folder / "home").mkdir(parents=True)
    (folder / "home" / "dagster.yaml").write_text(SETTINGS.read_text(encoding="utf-8"), encoding="utf-8")
    published = Published(folder)
    with pytest.MonkeyPatch.context() as patch:
        pipeline = published.pipeline(patch)
        with pipeline.connection() as connection:
            synthetic.build(connection, "gold", customers=CUSTOMERS, first_month=date(2025, 6, 1), last_month=NEWEST)
        run = pipeline.run(MONTHS[0], NEWEST)
        pipeline.instance.dispose()
    assert run.success, [event.message for event in run.all_events if event.is_failure]
    return published


@pytest.fixture(scope="module")
def published_by_job(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Computed once, and copied by each file of tests."""
    shared = once(tmp_path_factory, "published_by_job", publish)
    return Published(Path(shutil.copytree(shared, tmp_path_factory.mktemp("published") / "copy")))
