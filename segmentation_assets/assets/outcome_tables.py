"""Tables and pictures of outcomes as Dagster shows them."""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from segmentation_assets.outcomes.table import Table
from segmentation_assets.report import drawing
from segmentation_assets.report.drawing import Chart

# Metadata is kept with every event and sent to the browser whole.
LARGEST_PICTURE_BYTES = 200_000


def schema(table: Table) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(column.name, column.kind, column.meaning) for column in table.columns])


def lineage(table: Table, read: dg.AssetKey) -> dg.TableColumnLineage:
    """What each column is worked out from; what the rules say is from no table."""
    return dg.TableColumnLineage(
        {
            column.name: [dg.TableColumnDep(read, source) for source in column.sources]
            for column in table.columns
            if column.sources
        }
    )


def shown(table: Table, rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    kinds = {"bigint": "int", "double": "float"}

    def plain(value: Any) -> str | int | float | None:
        if isinstance(value, date):
            return str(value)
        return round(value, 6) if isinstance(value, float) else value

    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: plain(row[name]) for name in table.names}) for row in rows],
        schema=dg.TableSchema(
            [dg.TableColumn(column.name, kinds.get(column.kind, "string")) for column in table.columns]
        ),
    )


def picture(name: str, chart: Chart) -> dict[str, dg.MetadataValue]:
    """The chart as an entry of metadata; none where there is nothing to draw, or it is too large."""
    if not chart:
        return {}
    drawn = drawing.png({"": drawing.svg(chart)})
    if len(drawn) >= LARGEST_PICTURE_BYTES:
        return {}
    return {name: dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(drawn).decode()})")}
