"""What every test needs: a star schema of its own making (SEGMENTATION_SOURCE=warehouse), no files, no telemetry."""

import os

import hypothesis

os.environ["SEGMENTATION_TARGET"] = "duckdb"
os.environ["SEGMENTATION_SOURCE"] = "warehouse"
os.environ["SEGMENTATION_EXPORT_URI"] = "memory://exports"  # a test about files names a folder of its own
os.environ.pop("SEGMENTATION_RULES", None)
os.environ["DO_NOT_TRACK"] = "1"
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"

from tests.warehouse_fixture import pipeline  # noqa: F401 - a fixture is used by its name

# CI has to fail for the same examples every time; at a desk, new ones are welcome.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")
