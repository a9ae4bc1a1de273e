"""The surroundings of a test: no variable of the person's, and places of its own for what the product writes."""

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

# Whatever the product, Dagster, dbt or the connector reads.
READ = ("SEGMENTATION_", "SNOWFLAKE_", "DAGSTER_", "DBT_")
# What the make that runs the tests hands to the make that a test runs: with it, that one announces its folders.
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "MAKE_TERMOUT", "MAKE_TERMERR")
ON_AN_ACCOUNT = "SEGMENTATION_TEST_SNOWFLAKE"
FIXED = {
    "SEGMENTATION_TARGET": "duckdb",
    "SEGMENTATION_SOURCE": "warehouse",  # a star schema of the tests' own making
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PYTHON_DOTENV_DISABLED": "1",  # the checkout's .env is a person's
}


def places(folder: Path) -> dict[str, str]:
    return {
        "DAGSTER_HOME": str(folder / "dagster_home"),
        "SEGMENTATION_DUCKDB_PATH": str(folder / "segmentation.duckdb"),
        "SEGMENTATION_EXPORT_URI": str(folder / "exports"),
    }


def clear(environment: MutableMapping[str, str]) -> None:
    """Only `make test-snowflake` keeps the variables of an account, and those alone."""
    kept = ("SNOWFLAKE_", ON_AN_ACCOUNT) if environment.get(ON_AN_ACCOUNT) == "account" else ()
    for name in [name for name in environment if name.startswith(READ) and not name.startswith(kept)]:
        del environment[name]
    for name in OF_MAKE:
        environment.pop(name, None)
    environment.update(FIXED)


def of_this_process() -> dict[str, str]:
    """Clears this process's environment and gives it places in a new folder, for what no single test asks for."""
    clear(os.environ)
    # Not below pytest's own folders, which are not there yet when the first module is imported.
    found = places(Path(tempfile.mkdtemp(prefix="segmentation-tests-")))
    os.environ.update(found)
    return found
