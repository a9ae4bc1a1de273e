"""Takes the README's pictures: the lineage in Dagster's UI and the report of a month, of a real run.

`segmentation run` fills a small portfolio and publishes its twelve months in a folder of its own; the service is
started as `make ui` starts it, and Debian's Chromium looks at it, as in the browser tests. Look at what came out.

    python -m tools.pictures [FOLDER]
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from segmentation_assets.cli.commands import MONTHS_OF_A_FIRST_RUN
from segmentation_assets.months import last_closed_month, month_after
from tests.support.command_line import segmentation
from tests.support.published_by_job import SETTINGS
from tests.support.ui_service import service

CUSTOMERS = 2000
MOST_BYTES = 300_000
# A first page loads 4 MB of script.
PAGE_MILLISECONDS = 60_000
SETTLED_MILLISECONDS = 3_000  # until what moves into its place has
SHOWN = (
    "fct_transactions", "stg_transactions", "customer_period_spend", "transaction_window_metrics",
    "segment_assignments", "segment_audits", "customer_segment_history", "customer_segments", "segment_summary",
    "audience_premium_rewards", "export_premium_rewards", "segment_report",
)  # fmt: skip


@contextmanager
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("There is no Chromium on the PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


def opened(found: Browser, width: int, height: int) -> Page:
    page = found.new_context(viewport={"width": width, "height": height}, color_scheme="light").new_page()
    page.set_default_timeout(PAGE_MILLISECONDS)
    return page


def lineage(found: Browser, address: str, to: Path) -> None:
    """From the facts to a campaign's file: one table or two of each group. All of them would be too small to read."""
    page = opened(found, 1800, 760)
    page.goto(f"{address}/asset-groups")
    expect(page.locator("svg foreignObject").filter(has_text="activation").first).to_be_visible()
    page.get_by_text("Hide navigation").click()
    page.locator(".CodeMirror").click()
    page.keyboard.insert_text(" or ".join(f'key:"*{name}"' for name in SHOWN))
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(page.locator("svg foreignObject").filter(has_text="insights")).to_have_count(0)
    page.get_by_placeholder("Jump to").locator("xpath=following::button[1]").click()  # hides the list of groups
    page.keyboard.press("Alt+KeyE")  # every group shows its assets
    expect(page.locator("svg foreignObject").filter(has_text="segment_report").first).to_be_visible()
    page.wait_for_timeout(SETTLED_MILLISECONDS)
    # It is fitted to the window, part of which lies under the toolbar.
    page.mouse.move(700, 200)
    page.mouse.down()
    page.mouse.move(690, 230, steps=5)
    page.mouse.up()
    page.wait_for_timeout(SETTLED_MILLISECONDS)
    page.screenshot(path=to)


def report(found: Browser, exports: Path, to: Path) -> None:
    """Down to the picture of who moved where."""
    newest = max(exports.glob("reports/*/segment_report.html"))
    page = opened(found, 1000, 1400)
    page.goto(newest.as_uri())
    flow = page.locator("#migration svg.flow").bounding_box()
    assert flow is not None, "the report has no picture of who moved"
    page.set_viewport_size({"width": 1000, "height": int(flow["y"] + flow["height"]) + 8})
    page.wait_for_timeout(SETTLED_MILLISECONDS)
    page.screenshot(path=to)


def run(folder: Path) -> dict[str, str]:
    """The demo, published; what a process needs to find it."""
    settings = {
        "DAGSTER_HOME": str(folder / "home"),
        "SEGMENTATION_DUCKDB_PATH": str(folder / "segmentation.duckdb"),
        "SEGMENTATION_EXPORT_URI": str(folder / "exports"),
        "SEGMENTATION_SOURCE": "synthetic",
        "SEGMENTATION_CUSTOMERS": str(CUSTOMERS),
    }
    Path(settings["DAGSTER_HOME"]).mkdir()
    shutil.copyfile(SETTINGS, Path(settings["DAGSTER_HOME"]) / "dagster.yaml")
    code, out, err = segmentation(folder, "run", **settings)
    if code:
        raise SystemExit(f"The run failed:\n{out}{err}")
    return settings


def taken(folder: Path, settings: dict[str, str], to: Path) -> int:
    to.mkdir(parents=True, exist_ok=True)
    # The months that are published are all that there are: none is shown as missing.
    first = month_after(last_closed_month(), 1 - MONTHS_OF_A_FIRST_RUN)
    shown = {**settings, "SEGMENTATION_START_MONTH": str(first)}
    with service(folder / "service", shown) as address, browser() as found:
        lineage(found, address, to / "lineage.png")
        report(found, folder / "exports", to / "report.png")
    too_large = 0
    for picture in (to / "lineage.png", to / "report.png"):
        print(f"{picture}: {picture.stat().st_size:,} bytes")
        too_large += picture.stat().st_size > MOST_BYTES
    return 1 if too_large else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/pictures"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return taken(Path(folder), run(Path(folder)), given.folder)


if __name__ == "__main__":
    sys.exit(main())
