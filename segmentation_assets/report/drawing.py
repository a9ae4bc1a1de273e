"""Draws charts (Vega-Lite): as SVG to stand in a page, as PNG for metadata.

Nothing in a picture is fetched from anywhere, and the same chart gives the same picture.
"""

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from segmentation_assets.text import drawable, printable

Chart = Mapping[str, Any]

PAGES_INK = "currentColor"
# In the page's own colour a picture alone would be black on Dagster's dark background.
INK, PAPER = "#24292f", "white"
NAMESPACES = re.compile(r' (?:xmlns(?::xlink)?|version)="[^"]*"')
SIZE = re.compile(r' width="([0-9.]+)" height="([0-9.]+)"')
TITLE_HEIGHT, GAP = 22, 12


def svg(chart: Chart) -> str:
    """The chart in the page's own colour; nothing where it is empty."""
    if not chart:
        return ""
    import vl_convert

    return vl_convert.vegalite_to_svg(styled(chart), allowed_base_urls=[])


def element(drawn: str, words: str) -> Markup:
    """What `svg` gave, as an element of an HTML page that is read out as `words`."""
    # In HTML an SVG needs no namespaces; without them the page holds no address at all.
    return Markup(NAMESPACES.sub("", drawn).replace("<svg ", f'<svg role="img" aria-label="{escaped(words)}" ', 1))


def png(drawn: Mapping[str, str]) -> bytes:
    """What `svg` gave, by title, on one white picture, two in a row. None of them is empty."""
    import vl_convert

    parts: list[str] = []
    width = bottom = 0.0
    titled = list(drawn.items())
    for row in (titled[start : start + 2] for start in range(0, len(titled), 2)):
        left, top = 0.0, bottom
        for title, picture in row:
            wide, high = size_of(picture)
            room = TITLE_HEIGHT if title else 0
            parts.append(
                f'<text x="{left + wide / 2}" y="{top + room - 5}" text-anchor="middle" font-family="sans-serif"'
                f' font-size="13" font-weight="bold" fill="{INK}">{escaped(drawable(title))}</text>'
                + picture.replace("<svg ", f'<svg x="{left}" y="{top + room}" ', 1)
            )
            left += wide + GAP
            width, bottom = max(width, left - GAP), max(bottom, top + room + high)
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom}">'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>{"".join(parts)}</svg>'
    )
    return vl_convert.svg_to_png(whole.replace(PAGES_INK, INK), scale=1)


def size_of(drawn: str) -> tuple[float, float]:
    found = SIZE.search(drawn)
    if found is None:
        raise ValueError(f"A picture without a size: {drawn[:100]}")
    return float(found[1]), float(found[2])


def styled(chart: Chart) -> dict[str, Any]:
    axis = {
        "labelColor": PAGES_INK, "titleColor": PAGES_INK, "gridColor": PAGES_INK, "domainColor": PAGES_INK,
        "tickColor": PAGES_INK, "gridOpacity": 0.15, "domainOpacity": 0.4, "tickOpacity": 0.4, "labelFontSize": 11,
        "titleFontSize": 11, "titleFontWeight": "normal",
    }  # fmt: skip
    config = {
        "background": "transparent",
        "font": "sans-serif",
        "axis": axis,
        "axisY": {"tickCount": 5},
        "title": {"color": PAGES_INK},
        "view": {"stroke": None},
    }
    return {**drawable(chart), "config": config}


def escaped(text: str) -> Markup:
    return escape(printable(text))
