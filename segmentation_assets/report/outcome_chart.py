"""Picture of what campaigns did: per campaign and epoch the effect with its interval, and the smallest visible one."""

from collections.abc import Mapping, Sequence
from typing import Any

from segmentation_assets.outcomes.words import name_of
from segmentation_assets.report.charts import WIDTH, specification

# In percent of the spend of those held back, so that campaigns of any size stand on one scale.
TITLE = "Effect in % of spend"
# Beyond this a bar would leave no room for the others; it is cut off there, and the table has its numbers.
MOST_PCT = 100.0


def effects(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """`rows` have the columns of outcomes/pooled.py, a campaign (none: all together) and an epoch."""
    import altair

    records = [record for row in rows if (record := _record(row)) is not None]
    if not records:
        return None
    names = [record["name"] for record in records]
    reach = max(abs(record[end]) for record in records for end in ("low", "high"))
    scale = altair.Scale(domain=[-reach, reach], nice=True)
    base = altair.Chart(altair.Data(values=records)).encode(
        y=altair.Y("name:N", title=None, sort=names, axis=None),
    )
    axis = altair.Axis(tickCount=5)
    x = altair.X("effect:Q", title=TITLE, scale=scale, axis=axis)
    layers = [
        # Within it an effect would mostly have looked like chance.
        base.transform_filter("isValid(datum.unseen)")
        .mark_bar(height=14, yOffset=7, opacity=0.25, color="#7d8590")
        .encode(x=altair.X("unseen_low:Q", scale=scale, title=TITLE, axis=axis), x2="unseen:Q"),
        base.mark_rule(strokeWidth=2, yOffset=7, color="#3f7fbf").encode(
            x=altair.X("low:Q", scale=scale, title=TITLE, axis=axis), x2="high:Q"
        ),
        base.mark_circle(size=60, yOffset=7, opacity=1, color="#3f7fbf").encode(x=x),
        base.mark_text(align="left", dy=-9, fontSize=12, color="currentColor").encode(
            text="label:N", x=altair.value(0)
        ),
        altair.Chart(altair.Data(values=[{"zero": 0}]))
        .mark_rule(color="currentColor", strokeDash=[3, 3], opacity=0.6)
        .encode(x=altair.X("zero:Q", scale=scale, title=TITLE, axis=axis)),
    ]
    return specification(altair.layer(*layers).properties(width=WIDTH - 10, height=altair.Step(40)), right=60)


def _record(row: Mapping[str, Any]) -> dict[str, Any] | None:
    mean, lower, upper = (row[key] for key in ("entered_holdout_mean_spend", "adjusted_lower_95", "adjusted_upper_95"))
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
