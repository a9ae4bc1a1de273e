"""Lint of the dbt project's SQL, for `make lint`: `python -m tools.lint_sql` ends with 1 when there is a finding.

Layout and structure are linted in DuckDB's dialect, through dbt's own templater and an empty database. In Snowflake's
dialect tests/system/test_snowflake.py lints what dbt has compiled for Snowflake: that takes a connection, and an
emulator is up there anyway.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from segmentation_assets.dbt.generated import project_files, write
from segmentation_assets.rules.load import load_rules

PROJECT = Path(__file__).parents[1] / "dbt_models"
LINE_LENGTH = 120
MONTH = "{first_month: '2025-11-01'}"


def main() -> int:
    # Macros and generic tests are templates of SQL: what they write is linted in the models that call them.
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        # With the models that the rules make: the others refer to them.
        made = folder / "dbt_models"
        write(project_files(PROJECT, load_rules(PROJECT)), made)
        files = [*sorted(made.glob("models/**/*.sql")), *sorted(made.glob("tests/*.sql"))]
        shutil.copy(PROJECT.parent / "pyproject.toml", folder)  # sqlfluff's settings, dbt_models beside them
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SEGMENTATION_", "DBT_"))},
            "SEGMENTATION_TARGET": "duckdb",
            "SEGMENTATION_DUCKDB_PATH": str(folder / "segmentation.duckdb"),
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
            "DO_NOT_TRACK": "1",
        }
        # First, so that the templater's processes find the project parsed (under the same vars, see pyproject.toml).
        compile_all(environment, made, folder / "target")
        layout = sqlfluff(environment, folder, *(str(file.relative_to(folder)) for file in files))
    long_lines = [
        f"{path.relative_to(PROJECT.parent)}:{number}: {len(line)} characters, at most {LINE_LENGTH}"
        for path in sorted(PROJECT.glob("*/**/*.sql"))
        if "target" not in path.relative_to(PROJECT).parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > LINE_LENGTH
    ]
    print("\n".join(long_lines), end="\n" if long_lines else "")
    print(f"SQL lint: {'findings above' if layout or long_lines else 'no findings'}")
    return 1 if layout or long_lines else 0


def sqlfluff(environment: dict[str, str], folder: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "sqlfluff", "lint", "--disable-progress-bar", "--processes", "2", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
    return done.returncode


def compile_all(environment: dict[str, str], project_dir: Path, target: Path) -> None:
    dbt = [sys.executable, "-W", "ignore::RuntimeWarning:runpy", "-m", "dbt.cli.main", "--quiet", "compile"]
    project = ["--project-dir", str(project_dir), "--profiles-dir", str(project_dir), "--target-path", str(target)]
    # Not the 130 tests of the yml files, which are eight generic ones over and over.
    select = ["--select", "resource_type:model", "test_type:singular"]
    subprocess.run([*dbt, *project, *select, "--vars", MONTH], env=environment, check=True)


if __name__ == "__main__":
    raise SystemExit(main())
