"""Picture of what campaigns did: per campaign and epoch the effect with its interval, and the smallest visible one."""

from collections.abc import Mapping, Sequence
from typing import Any

from segmentation_assets.outcomes.words import name_of, spend_untouched
from segmentation_assets.report.charts import OUTSIDE, PALETTE, WIDTH, labels, room
from segmentation_assets.report.drawing import PAGES_INK, Chart

# In percent of the spend of those held back, so that campaigns of any size stand on one scale.
TITLE = "Effect in % of spend"
# Beyond this a bar would leave no room for the others; it is cut off there, and the table has its numbers.
MOST_PCT = 100.0


def effects(rows: Sequence[Mapping[str, Any]]) -> Chart:
    """`rows` have the columns of outcomes/pooled.py, a campaign (none: all together) and an epoch."""
    records = [record for row in rows if (record := _record(row)) is not None]
    if not records:
        return {}
    reach = max(abs(record[end]) for record in records for end in ("low", "high"))

    def x(field: str) -> dict[str, Any]:
        scale = {"domain": [-reach, reach], "nice": True}
        return {"field": field, "type": "quantitative", "title": TITLE, "scale": scale, "axis": {"tickCount": 5}}

    names = [record["name"] for record in records]
    per_campaign: list[Chart] = [
        # Within it an effect would mostly have looked like chance.
        {
            "mark": {"type": "bar", "height": 14, "yOffset": 7, "opacity": 0.25, "color": OUTSIDE},
            "encoding": {"x": x("unseen_low"), "x2": {"field": "unseen"}},
            "transform": [{"filter": "isValid(datum.unseen)"}],
        },
        {
            "mark": {"type": "rule", "strokeWidth": 2, "yOffset": 7, "color": PALETTE[0]},
            "encoding": {"x": x("low"), "x2": {"field": "high"}},
        },
        {
            "mark": {"type": "circle", "size": 60, "yOffset": 7, "opacity": 1, "color": PALETTE[0]},
            "encoding": {"x": x("effect")},
        },
        labels(align="left", dy=-9),
    ]
    no_effect = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "strokeDash": [3, 3], "opacity": 0.6, "color": PAGES_INK},
        "encoding": {"x": x("zero")},
    }
    return {
        "width": WIDTH - 10,
        "height": {"step": 40},
        "padding": room(right=60),
        "layer": [
            {
                "data": {"values": records},
                "encoding": {"y": {"field": "name", "type": "nominal", "title": None, "sort": names, "axis": None}},
                "layer": per_campaign,
            },
            no_effect,
        ],
    }


def _record(row: Mapping[str, Any]) -> dict[str, Any] | None:
    mean, lower, upper = (spend_untouched(row), *(row[f"adjusted_{end}_95"] for end in ("lower", "upper")))
    if lower is None or not mean or mean <= 0:
        return None
    low, effect, high = (100 * value / mean for value in (lower, row["adjusted_effect"], upper))
    unseen = None if row["smallest_effect"] is None else min(100 * row["smallest_effect"] / mean, MOST_PCT)
    name = name_of(row)
    return {
        "name": name,
        "label": f"{name}: {effect:+.1f} % ({low:+.1f} to {high:+.1f})",
        "effect": max(-MOST_PCT, min(effect, MOST_PCT)),
        "low": max(-MOST_PCT, low),
        "high": min(MOST_PCT, high),
        "unseen": unseen,
        "unseen_low": None if unseen is None else -unseen,
    }
