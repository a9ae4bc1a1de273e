"""The dbt project as this process sees it: where it is, its rules and vars, its manifest, and how dbt is called on it.

Building it is in dbt.py. Nothing here needs a warehouse.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from segmentation_assets import sources
from segmentation_assets.rules.load import Rules, load_rules
from segmentation_assets.settings import duckdb_path, source_schema, target

logger = logging.getLogger(__name__)


def project_dir() -> Path:
    """The dbt project: inside the package when installed from a wheel, beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    packaged = here / "dbt_models"
    return packaged if packaged.is_dir() else here.parent / "dbt_models"


@cache
def rules() -> Rules:
    """The rules this code location was loaded with."""
    return load_rules(project_dir(), sources.rules_file(project_dir()))


def target_dir() -> Path:
    """Where manifests and run artifacts go: DBT_TARGET_PATH, else the project's own folder where it can be written."""
    named = os.environ.get("DBT_TARGET_PATH", "").strip()
    if named:
        return Path(named).absolute()
    inside = project_dir() / "target"
    if os.access(project_dir(), os.W_OK):
        return inside
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache_home / "customer-segmentation"


def project_vars() -> dict[str, Any]:
    """Vars that change what the project is, not which months it computes."""
    replaced = rules().dbt_vars()
    return {**replaced, "uses_shipped_segments": "segments" not in replaced}


def fingerprint() -> str:
    """Changes with every file of the dbt project, the rules, the engine, its database and the place of the sources."""
    digest = hashlib.sha256()
    project = project_dir()
    inputs = [folder for folder in project.iterdir() if folder.name not in ("target", "logs")]
    for path in sorted(file for top in inputs for file in (top, *top.rglob("*")) if file.is_file()):
        if path.suffix in (".sql", ".yml", ".md"):
            digest.update(str(path.relative_to(project)).encode() + b"\0" + path.read_bytes())
    place = [target(), _database(), source_schema()]
    digest.update(json.dumps([project_vars(), *place, dbt_version()], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _database() -> str:
    """What the manifest calls the database of every table: DuckDB names it after the file."""
    return duckdb_path().stem if target() == "duckdb" else os.environ.get("SNOWFLAKE_DATABASE", "").strip()


@cache
def dbt_version() -> str:
    from importlib.metadata import version

    return version("dbt-core")


@cache
def manifest_path() -> Path:
    """The manifest of the project as this process first saw it; parsed once and kept until a file changes.

    A run has to build with the manifest its definitions were loaded from, though a file may change meanwhile.
    """
    folder = target_dir() / "manifests" / fingerprint()
    if not (folder / "manifest.json").exists():
        _parse(folder)
    return folder / "manifest.json"


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """dbt imports snowplow_tracker, which calls logging.basicConfig(): from then on every library's INFO would go to
    stderr. dagster_dbt sees to it where it is imported first, as in any process but the one that parses the project."""
    before = list(logging.getLogger().handlers)
    try:
        yield
    finally:
        logging.getLogger().handlers = before


def _parse(folder: Path) -> None:
    with _root_logger_kept():
        from dbt.cli.main import dbtRunner

    # Parsed aside and moved in whole: the webserver, the daemon and a run may all find it missing at once.
    scratch = folder.with_name(f"{folder.name}.{os.getpid()}")
    logger.info("Parsing the dbt project %s", project_dir())
    with environment():
        result = dbtRunner().invoke(
            ["--log-level", "none", "parse", "--no-partial-parse", *project_arguments(scratch), *vars_arguments({})]
        )
    if not result.success:
        raise dg.DagsterInvalidDefinitionError(f"The dbt project does not parse: {result.exception}")
    for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-20]:
        shutil.rmtree(old, ignore_errors=True)
    try:
        scratch.rename(folder)
    except OSError:  # another process was faster with the same content
        shutil.rmtree(scratch, ignore_errors=True)


def project_arguments(artifacts: Path) -> list[str]:
    folder = str(project_dir())
    return [
        "--project-dir", folder, "--profiles-dir", folder, "--target", target(),
        "--target-path", str(artifacts), "--log-path", str(artifacts),
    ]  # fmt: skip


def vars_arguments(month_vars: Mapping[str, object]) -> list[str]:
    # YAML, not JSON: dbt reads JSON's 1e-05 back as text.
    return ["--vars", yaml.safe_dump({**project_vars(), **month_vars}, sort_keys=True)]


@contextmanager
def environment() -> Iterator[None]:
    """What dbt reads from the environment and the working directory, which it changes and does not put back."""
    names = {"SEGMENTATION_DUCKDB_PATH": str(duckdb_path()), "DO_NOT_TRACK": "1"}
    before, folder = {name: os.environ.get(name) for name in names}, Path.cwd()
    os.environ.update(names)
    try:
        yield
    finally:
        os.chdir(folder)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
