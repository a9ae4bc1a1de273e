"""The Dagster UI and the monthly report as a person sees them: headless Chromium against the running service.

Locks out: a page with an error in it, a group or a column that is not shown, a month that cannot be materialised by
clicking, a failed gate whose words nobody sees, a schedule that never ticks, and a report that breaks on a phone.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from segmentation_assets.definitions import build_defs
from tests.support.published_by_job import NEWEST, Published
from tests.support.published_months import CANDIDATE_ASSETS
from tests.support.ui_service import LOCATION, service

# Without a browser nothing is published for it.
pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("browser")]
# A first page loads 4 MB of script, on a machine that does much else.
PAGE_MILLISECONDS, RUN_MILLISECONDS = 30_000, 120_000
EMPTY_PICTURE_BYTES = 8_000

expect.set_options(timeout=PAGE_MILLISECONDS)

Look = Callable[[str], None]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        told = "no Chromium on the PATH: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    with sync_playwright() as playwright:
        # In a container there is no sandbox to be had, and /dev/shm is small.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=PAGE_MILLISECONDS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(published_by_job: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with service(tmp_path_factory.mktemp("service"), published_by_job.environment) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """No test passes with an error in the console of a page it opened."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page, errors = context.new_page(), list[str]()
    page.set_default_timeout(PAGE_MILLISECONDS)

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors


@pytest.fixture
def look(page: Page, tmp_path: Path) -> Look:
    """Takes a picture, for a person to look at when a test fails."""

    def take(name: str) -> None:
        picture = tmp_path / f"{name}.png"
        page.screenshot(path=picture)
        assert picture.stat().st_size > EMPTY_PICTURE_BYTES, f"{picture} shows nothing"

    return take


def shows(page: Page, text: str | re.Pattern[str], timeout: int = PAGE_MILLISECONDS) -> None:
    expect(page.get_by_text(text).first).to_be_visible(timeout=timeout)


def test_the_lineage_shows_every_group(page: Page, address: str, look: Look) -> None:
    groups = {spec.group_name for spec in build_defs().resolve_all_asset_specs()}
    assert len(groups) == 8
    page.goto(f"{address}/asset-groups")
    for group in sorted(filter(None, groups)):
        expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=PAGE_MILLISECONDS)
    # In the graph itself long names are shortened.
    expect(page.locator("svg foreignObject").filter(has_text="activation").first).to_be_visible()
    look("lineage")
    assert not re.search(r"error|could not", page.inner_text("body"), re.IGNORECASE)


def test_customer_segments_shows_columns_and_lineage(page: Page, address: str, look: Look) -> None:
    page.goto(f"{address}/assets/gold/customer_segments")
    shows(page, "One row per customer, of the newest published month.")
    for words in ("spend_change_pct", "varchar", "Durable identity of the customer", "personal_data", "DuckDB"):
        shows(page, re.compile(words))
    look("columns")
    page.goto(f"{address}/assets/gold/customer_segments?view=lineage&lineageScope=upstream")
    shows(page, "customer_segment_history")
    expect(page.get_by_text("Loading").first).to_be_hidden()
    shows(page, re.compile(r"^\d+ / \d+ Passed$"))
    look("lineage")


def test_a_month_shows_its_numbers_and_the_picture(page: Page, address: str, look: Look) -> None:
    page.goto(f"{address}/assets/gold/segment_summary?view=partitions&partition={NEWEST}")
    shows(page, "share_pct: Declining")
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.get_by_alt_text("shares")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 400
    look("shares")


def test_an_audience_shows_its_actions_and_its_waterfall(page: Page, address: str, look: Look) -> None:
    page.goto(f"{address}/assets/gold/audience_premium_rewards")
    shows(page, "Keep the most valuable travellers with premium rewards.")
    shows(page, "Exclusive lounge invitation")
    look("audience")
    page.goto(f"{address}/assets/gold/audience_premium_rewards?view=partitions&partition={NEWEST}")
    steps = page.locator("tr").filter(has_text=re.compile("^(deliverable_email|sent)"))
    expect(steps).to_have_count(3)  # and the number above the table
    steps.first.scroll_into_view_if_needed()
    look("waterfall")
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", page.inner_text("body"))


def test_the_schedule_runs_and_knows_its_next_tick(page: Page, address: str, look: Look) -> None:
    page.goto(f"{address}/locations/{LOCATION}/schedules/monthly_segmentation_schedule")
    row = page.locator("tr").filter(has_text="Next tick")
    expect(row).to_contain_text(re.compile(r"[A-Z][a-z]{2} 1, .*2:00:00 AM E[SD]T"))
    expect(page.locator("tr").filter(has_text="Running").locator("input[type=checkbox]").first).to_be_checked()
    look("schedule")


@pytest.mark.parametrize("width", [400, 1400])
def test_the_report_opens_on_a_phone_and_on_a_desk(
    page: Page, published_by_job: Published, look: Look, width: int
) -> None:
    (report,) = published_by_job.exports.glob(f"**/{NEWEST}/segment_report.html")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(report.as_uri())
    shows(page, "Customer segments, October 2026")
    assert page.locator("section").count() == 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    hidden = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, svg, table')]"
        ".filter(element => element.getBoundingClientRect().width === 0).length"
    )
    assert hidden == 0
    look("top")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight / 2)")
    look("middle")


def test_a_month_materialised_by_clicking_ends_green(
    page: Page, address: str, published_by_job: Published, look: Look
) -> None:
    key = dg.AssetKey(["gold", "segment_explanations"])
    page.goto(f"{address}/assets/gold/segment_explanations")
    shows(page, "One row per customer per month, segment and criterion")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Partition selection")
    everything = dialog.get_by_text("Show all partitions")
    if everything.count():
        everything.click()
    selection = dialog.locator("input[type=text]").first
    selection.fill(str(NEWEST))
    selection.press("Enter")
    expect(dialog).to_contain_text("1 partition")
    look("dialog")
    dialog.get_by_role("button", name=re.compile("^Launch")).click()
    with pytest.MonkeyPatch.context() as patch:
        instance = published_by_job.pipeline(patch).instance
        run = newest_run(instance)
        page.goto(f"{address}/runs/{run.run_id}")
        shows(page, re.compile("^Success"), timeout=RUN_MILLISECONDS)
        look("run")
        (record,) = instance.fetch_materializations(key, limit=1).records
        assert (record.run_id, record.partition_key) == (run.run_id, str(NEWEST))
        instance.dispose()
    assert re.search(r"gold[/_ ]*segment_explanations|publication", page.inner_text("body"))


def newest_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """The run that a click has asked for, once there is one."""
    given_up_at = time.monotonic() + RUN_MILLISECONDS / 1000
    while time.monotonic() < given_up_at:
        runs = instance.get_runs(limit=1)
        if len(instance.get_runs(limit=10)) > 1:
            return runs[0]
        time.sleep(0.5)
    raise AssertionError("no run was asked for")


def test_the_gate_is_seen_to_pass_and_to_fail(
    page: Page, address: str, published_by_job: Published, look: Look
) -> None:
    """Last: it spoils the month."""
    audit = "facts_reach_the_end_of_the_month"
    checks = f"{address}/assets/silver/segment_assignments?view=checks&checkDetail={audit}"
    page.goto(checks)
    shows(page, "The load of the last days has not arrived")
    shows(page, "Passed")
    assert page.get_by_text("Failed", exact=True).count() == 0
    look("passed")
    with pytest.MonkeyPatch.context() as patch:
        pipeline = published_by_job.pipeline(patch)
        pipeline.execute("delete from gold.fct_transactions where transaction_date >= '2026-10-29'")
        run = pipeline.run(NEWEST, select=CANDIDATE_ASSETS)
        pipeline.instance.dispose()
    assert not run.success
    page.goto(checks)
    shows(page, "Failed")
    shows(page, re.compile(rf"{NEWEST}: {audit}: 3 days without facts before the as-of date \(allowed: \d\)"))
    look("failed")
