"""The table that a run ends with, of segments with and without an expected share.

Locks out: a segment that nobody expects a share of shown as expected between 0 and 100 %, or marked as outside.
"""

from datetime import date

from segmentation_assets.cli.terminal import segments_table


def test_a_segment_without_a_band_has_a_dash_and_is_never_marked() -> None:
    row = {"customers": 40, "share_pct": 40.0, "avg_lifetime_value": 1.0, "total_lifetime_value": 40.0}
    rows = [{**row, "customer_segment": name} for name in ("Inside", "Outside", "Unexpected")]
    table = segments_table(date(2025, 11, 1), rows, {"Inside": (30, 50), "Outside": (5, 10)})
    expected, share = (
        next(column for column in table.columns if column.header == name) for name in ("Expected", "Share")
    )
    assert list(expected.cells) == ["30-50%", "5-10%", "-"]
    assert [str(getattr(cell, "style", "")) for cell in share.cells] == ["", "yellow", ""]
