"""What a command does not need is not imported: it would cost every start of the UI, the daemon and a run."""

import os
import subprocess
import sys

import pytest

HEAVY = (
    "altair", "apprise", "dagster_snowflake", "dbt.adapters.snowflake", "duckdb", "numpy", "pandas", "pyarrow", "scipy",
    "snowflake.connector", "statsmodels", "vl_convert",
)  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "from segmentation_assets.definitions import defs; defs()",
        "from segmentation_assets.cli.commands import main; main(['--help'])",
    ],
    ids=["definitions", "command line"],
)
def test_on_duckdb_nothing_is_imported_that_is_not_needed(command: str) -> None:
    code = f"import sys\ntry:\n    {command}\nfinally:\n    print('modules:', *sys.modules)"
    environment = {**os.environ, "SEGMENTATION_TARGET": "duckdb", "SEGMENTATION_SOURCE": "warehouse"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].removeprefix("modules: ").split())
    assert "segmentation_assets" in loaded
    assert not loaded & set(HEAVY)
