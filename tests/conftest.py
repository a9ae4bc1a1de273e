"""What every test needs: a star schema of its own making (SEGMENTATION_SOURCE=warehouse), no files, no telemetry."""

import os
from collections import Counter

import hypothesis
import pytest

os.environ["SEGMENTATION_TARGET"] = "duckdb"
os.environ["SEGMENTATION_SOURCE"] = "warehouse"
os.environ["SEGMENTATION_EXPORT_URI"] = "memory://exports"  # a test about files names a folder of its own
os.environ.pop("SEGMENTATION_RULES", None)
os.environ["DO_NOT_TRACK"] = "1"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"

pytest_plugins = [
    "tests.support.warehouse_fixture",
    "tests.support.published_months",
    "tests.support.published_by_job",
]

# CI has to fail for the same examples every time; at a desk, new ones are welcome.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of few tests come first. They run whole jobs; begun last, one of them would keep one worker busy alone."""
    tests_of = Counter(item.path for item in items)
    items.sort(key=lambda item: (tests_of[item.path], item.path))  # stable: a file's own order stays
