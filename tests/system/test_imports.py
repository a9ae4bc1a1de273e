"""What a command does not need is not imported: it would cost every start of the UI, the daemon and a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "altair", "apprise", "dagster_snowflake", "dbt.adapters.snowflake", "duckdb", "numpy", "pandas", "pyarrow", "scipy",
    "snowflake.connector", "statsmodels", "vl_convert",
)  # fmt: skip


# What every command of a person's imports, and `make why` as it looks.
ASKED = "from segmentation_assets.cli.commands import main; main(['why', '--', 'nobody'])"


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        ("from segmentation_assets.definitions import defs; defs()", HEAVY),
        ("from segmentation_assets.cli.commands import main; main(['--help'])", (*HEAVY, "dagster", "dbt")),
        (ASKED, (*HEAVY, "dagster", "dbt")),
    ],
    ids=["definitions", "command line", "why"],
)
def test_on_duckdb_nothing_is_imported_that_is_not_needed(tmp_path: Path, command: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys\ntry:\n    {command}\nfinally:\n    print('modules:', *sys.modules)"
    # Of a database of another name the project would be parsed first.
    missing = {"SEGMENTATION_DUCKDB_PATH": str(tmp_path / "missing.duckdb")} if command == ASKED else {}
    environment = {**os.environ, **missing, "SEGMENTATION_TARGET": "duckdb", "SEGMENTATION_SOURCE": "warehouse"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ("There is no DuckDB file" in done.stderr) if command == ASKED else done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].removeprefix("modules: ").split())
    assert "segmentation_assets" in loaded
    assert not loaded & set(heavy)
