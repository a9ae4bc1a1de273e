"""The warehouse as a run of Dagster's has it."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Warehouse


class DuckDBFile(dg.ConfigurableResource):  # pyright: ignore[reportMissingTypeArgument]
    """A DuckDB file, which a run opens once. One process at a time may have it open for writing."""

    path: str
    gold: str = "gold"
    silver: str = "silver"

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[DuckDBWarehouse]:  # pyright: ignore[reportIncompatibleMethodOverride]
        del context
        with DuckDBWarehouse(self.path, self.gold, self.silver).kept_open() as warehouse:
            yield warehouse


def as_resource(warehouse: Warehouse) -> DuckDBFile | Warehouse:
    """What a step is given of it: an account as it is, whose secrets may stand in no configuration of Dagster's."""
    if type(warehouse) is DuckDBWarehouse:
        return DuckDBFile(path=warehouse.path, gold=warehouse.gold, silver=warehouse.silver)
    return warehouse
