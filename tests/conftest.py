"""What holds for every test: surroundings of its own, nothing written below the checkout, no telemetry."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import checkout, surroundings

# Before any module of the product is imported; session- and module-wide fixtures live in these.
OF_THE_PROCESS = surroundings.of_this_process()

pytest_plugins = [
    "tests.support.warehouse_fixture",
    "tests.support.published_months",
    "tests.support.published_by_job",
    "tests.support.november",
]

# CI has to fail for the same examples every time; at a desk, new ones are welcome.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")

# A worker takes a whole file. One of these begun last would keep it busy alone: the longest come first.
BEGIN_FIRST = (
    # system
    "test_snowflake", "test_cli", "test_crashes", "test_browser", "test_load", "test_service", "test_dbt_in_process",
    "test_no_addresses", "test_concurrency", "test_wheel",
    # warehouse
    "test_contact", "test_what_if", "test_rules_examples", "test_months", "test_bad_input", "test_dbt_command",
    "test_contact_policy", "test_restatements", "test_audiences", "test_alerts", "test_binding", "test_parity",
    "test_mapped_source", "test_audience_checks", "test_metrics_of_ones_own", "test_any_order", "test_overrides",
    "test_calibration", "test_earlier_versions", "test_guest", "test_demo_source", "test_export_interrupted",
    "test_publication", "test_identity", "test_insights", "test_ownership", "test_metadata", "test_dbt_package",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(BEGIN_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))  # stable: the order within a file stays


@pytest.fixture(autouse=True)
def _places_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a module-wide fixture has named a place, that one holds."""
    for name, place in surroundings.places(tmp_path).items():
        if os.environ.get(name) == OF_THE_PROCESS[name]:
            monkeypatch.setenv(name, place)


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_written_below_the_checkout(request: pytest.FixtureRequest) -> Iterator[None]:
    before = checkout.seen()
    yield
    written = checkout.written(before, checkout.seen())
    assert not written, f"While {request.node.nodeid} ran, these were written below the checkout: {written}"


def pytest_sessionfinish() -> None:
    shutil.rmtree(Path(OF_THE_PROCESS["DAGSTER_HOME"]).parent, ignore_errors=True)
