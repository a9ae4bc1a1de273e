"""Pictures of the segments, for metadata and reports. They show numbers per segment and month, never a customer."""

import base64
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import dagster as dg

from segmentation_assets.text import drawable


def shares_against_bands(shares: Sequence[dict[str, Any]], order: Sequence[str]) -> dg.MarkdownMetadataValue:
    """The newest month's shares as dots over their expected bands, as an inline PNG well below 200 kB.

    `order` has the segments in the order they are tried.
    """
    newest = max((row["snapshot_month"] for row in shares), default=None)
    if newest is None:
        return dg.MetadataValue.md("No audits for this month.")
    records = [
        {"customer_segment": row["customer_segment"]}
        | {
            key: None if row[key] is None else float(row[key])
            for key in ("share_pct", "band_lower_pct", "band_upper_pct")
        }
        for row in shares
        if row["snapshot_month"] == newest
    ]
    chart = {
        "title": f"Segment shares, {newest}",
        "width": 420,
        "height": {"step": 36},
        "data": {"values": records},
        "encoding": {
            "y": {
                "field": "customer_segment", "type": "nominal", "title": None, "sort": list(order),
                "scale": {"paddingOuter": 0.5},  # room above the first for its label
            }
        },
        "layer": [
            {
                "mark": {"type": "bar", "color": "#cfe3f5", "height": 18},
                "encoding": {
                    "x": {"field": "band_lower_pct", "type": "quantitative", "title": "% of customers"},
                    "x2": {"field": "band_upper_pct"},
                },
                "transform": [{"filter": "isValid(datum.band_lower_pct)"}],  # a segment may have none
            },
            {
                "mark": {"type": "circle", "size": 120, "color": "#0b4f8a"},
                "encoding": {"x": {"field": "share_pct", "type": "quantitative"}},
            },
            {
                "mark": {"type": "text", "dy": -14, "fontSize": 11},
                "encoding": {
                    "x": {"field": "share_pct", "type": "quantitative"},
                    "text": {"field": "share_pct", "type": "quantitative", "format": ".1f"},
                },
            },
        ],
    }  # fmt: skip
    return dg.MetadataValue.md(f"![shares](data:image/png;base64,{png(json.dumps(drawable(chart)))})")


@lru_cache(maxsize=64)
def png(chart: str) -> str:
    """The chart (Vega-Lite as JSON) in base64. A month's candidate and what is published of it look the same."""
    import vl_convert

    return base64.b64encode(vl_convert.vegalite_to_png(chart, scale=1.5)).decode()
