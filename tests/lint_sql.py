"""Lint of the dbt project's SQL, for `make lint`: `python -m tests.lint_sql` ends with 1 when there is a finding.

Layout and structure are linted in DuckDB's dialect, through dbt's own templater and an empty database. For Snowflake
there is no account to compile with: the same compiled SQL has to parse in Snowflake's dialect. What the dispatched
macros write for Snowflake alone is not seen here; tests/integration/test_snowflake.py runs it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "dbt_models"
LINE_LENGTH = 120
MONTH = "{first_month: '2025-11-01'}"


def main() -> int:
    # Macros and generic tests are templates of SQL: what they write is linted in the models that call them.
    files = [*sorted(PROJECT.glob("models/**/*.sql")), *sorted(PROJECT.glob("tests/*.sql"))]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SEGMENTATION_", "DBT_"))},
            "SEGMENTATION_TARGET": "duckdb",
            "SEGMENTATION_DUCKDB_PATH": str(folder / "segmentation.duckdb"),
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
            "DO_NOT_TRACK": "1",
        }
        # First, so that the templater's processes find the project parsed (under the same vars, see pyproject.toml).
        compiled = compile_all(environment, folder / "target")
        layout = sqlfluff(environment, *map(str, files))
        # Any one rule: what does not parse is a finding with every rule.
        snowflake = sqlfluff(
            environment, "--templater", "raw", "--dialect", "snowflake", "--rules", "CP01", str(compiled)
        )
    long_lines = [
        f"{path.relative_to(PROJECT.parent)}:{number}: {len(line)} characters, at most {LINE_LENGTH}"
        for path in sorted(PROJECT.glob("*/**/*.sql"))
        if "target" not in path.relative_to(PROJECT).parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > LINE_LENGTH
    ]
    print("\n".join(long_lines), end="\n" if long_lines else "")
    for dialect, found in (("duckdb", layout), ("snowflake", snowflake)):
        print(f"SQL lint, {dialect}: {'findings above' if found else 'no findings'}")
    return 1 if layout or snowflake or long_lines else 0


def sqlfluff(environment: dict[str, str], *arguments: str) -> int:
    command = [sys.executable, "-m", "sqlfluff", "lint", "--disable-progress-bar", "--processes", "2", *arguments]
    done = subprocess.run(command, cwd=PROJECT.parent, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
    return done.returncode


def compile_all(environment: dict[str, str], target: Path) -> Path:
    """The folder of the compiled models and tests; those that other models take in are not written by themselves."""
    dbt = [sys.executable, "-W", "ignore::RuntimeWarning:runpy", "-m", "dbt.cli.main", "--quiet", "compile"]
    project = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(target)]
    # Not the 130 tests of the yml files, which are eight generic ones over and over.
    select = ["--select", "resource_type:model", "test_type:singular"]
    subprocess.run([*dbt, *project, *select, "--vars", MONTH], env=environment, check=True)
    return target / "compiled" / "segmentation"


if __name__ == "__main__":
    raise SystemExit(main())
