"""The dbt project as a process loaded it: where it is, its settings, rules and manifest, and how dbt is called on it.

Building it is in runner.py. Nothing here needs a warehouse.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import dagster as dg
import yaml

from segmentation_assets.dbt.generated import project_files, project_variables, write
from segmentation_assets.portfolio import Portfolio
from segmentation_assets.rules.load import Rules, load_rules
from segmentation_assets.settings import Settings, database_name, variables_set
from segmentation_assets.sources.star_schema import refuse_unusable_mapping

Entry = Mapping[str, Any]  # of a model or a source, in dbt's manifest

logger = logging.getLogger(__name__)


def project_dir() -> Path:
    """The dbt project: inside the package when installed from a wheel, beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]
    packaged = here / "dbt_models"
    return packaged if packaged.is_dir() else here.parent / "dbt_models"


def rules_file(settings: Settings) -> Path | None:
    """A source whose customers are no card-holders brings rules of its own, unless SEGMENTATION_RULES names others."""
    if settings.rules is not None or settings.source != "completejourney":
        return settings.rules
    return completejourney_rules()


def completejourney_rules() -> Path:
    return project_dir() / "rules" / "completejourney.yml"


@dataclass(frozen=True, eq=False)
class Project:
    """Loaded once for a graph or a command, and handed on: whatever uses it sees the same rules and the same manifest,
    though a file may change meanwhile."""

    settings: Settings
    rules: Rules
    portfolio: Portfolio

    @classmethod
    def load(cls, settings: Settings | None = None, key_prefix: str | Sequence[str] = ()) -> Self:
        """By the settings, or the environment as it is now. Raises SettingsError and RulesError."""
        settings = settings or Settings.from_environment()
        rules = load_rules(project_dir(), rules_file(settings))
        if settings.source == "completejourney" and rules.star_schema is None:
            # A person's own rules for it need not say again where its tables are.
            rules = rules.with_star_schema(load_rules(project_dir(), completejourney_rules()))
        refuse_unusable_mapping(settings, rules)
        return cls(settings, rules, Portfolio.of(settings, key_prefix))

    @cached_property
    def target_dir(self) -> Path:
        """Where manifests and run artifacts go: DBT_TARGET_PATH, else the project's own folder where it can be
        written."""
        if self.settings.dbt_target_path is not None:
            return self.settings.dbt_target_path
        if os.access(project_dir(), os.W_OK):
            return project_dir() / "target"
        return (self.settings.cache_home or Path.home() / ".cache") / "customer-segmentation"

    @property
    def variables(self) -> dict[str, Any]:
        """Vars that change what the project is, not which months it computes."""
        # rules_are_passed: macros/rules/last_publication.sql.
        return {**project_variables(self.rules), "rules_are_passed": True}

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """What dbt reads, with the models that the rules make. Raises HandWrittenCampaignError."""
        return project_files(project_dir(), self.rules)

    def file_of(self, key: str) -> Path:
        """Where the rules say what they say of `key`."""
        file = rules_file(self.settings)
        return file.resolve() if file is not None and key in self.rules.replaced else project_dir() / "dbt_project.yml"

    @cached_property
    def _files_hash(self) -> str:
        digest = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            digest.update(f"{path}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:16]

    @property
    def dbt_dir(self) -> Path:
        """The folder of these files, in which dbt is called. Its name says what is in it, and it is moved in whole: two
        processes may ask for it at once, and one of other rules has its own."""
        folder = self.target_dir / "projects" / self._files_hash
        # Asked for at every call: those of other rules may have pushed it out since.
        if not folder.is_dir():
            with _moved_in_whole(folder) as scratch:
                write(self.files, scratch)
        return folder

    def fingerprint(self) -> str:
        """Changes with every file that dbt reads, the rules, the engine, its database and the place of the sources."""
        digest = hashlib.sha256(self._files_hash.encode())
        settings = self.settings
        # What the manifest calls the database of every table: DuckDB names it after the file.
        database = database_name(settings.duckdb_path) if settings.target == "duckdb" else settings.snowflake.database
        place = [settings.target, database, settings.source_schema, settings.gold_schema, settings.silver_schema]
        place += [settings.source_database] if settings.source_database else []
        # By these dbt_project.yml says whether tags are copied.
        place += [settings.snowflake.protocol, str(bool(settings.snowflake.personal_data_tag))]
        digest.update(json.dumps([self.variables, *place, version("dbt-core")], sort_keys=True).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def manifest_path(self) -> Path:
        """The manifest; parsed once and kept on the disk until a file changes.

        A run has to build with the manifest its definitions were loaded from.
        """
        folder = self.target_dir / "manifests" / self.fingerprint()
        if not (folder / "manifest.json").exists():
            self._parse(folder)
        return folder / "manifest.json"

    @property
    def lineage_dir(self) -> Path:
        """Of column lineage, which names assets by their keys. In a folder of the manifest, whose SQL it is of."""
        return self.manifest_path.with_name(self.portfolio.name("lineage"))

    def _parse(self, folder: Path) -> None:
        with _root_logger_kept():
            from dbt.cli.main import dbtRunner

        logger.info("Parsing the dbt project %s", project_dir())
        with _moved_in_whole(folder) as scratch, self.environment():
            result = dbtRunner().invoke(
                ["--log-level", "none", "parse", "--no-partial-parse", *self.arguments(scratch), *self.vars_arguments()]
            )
            if not result.success:
                raise dg.DagsterInvalidDefinitionError(f"The dbt project does not parse: {result.exception}")

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The manifest's models and sources by their name."""
        from dagster_dbt.dbt_manifest import validate_manifest

        manifest = validate_manifest(self.manifest_path)  # read once, by dagster-dbt too
        models = {node["name"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
        return models | {source["name"]: source for source in manifest["sources"].values()}

    @property
    def stored_failures(self) -> dict[str, set[str]]:
        """Schema -> the tables that hold the rows which failed a test."""
        from dagster_dbt.dbt_manifest import validate_manifest

        found: dict[str, set[str]] = {}
        for node in validate_manifest(self.manifest_path)["nodes"].values():
            if node["resource_type"] == "test":
                found.setdefault(node["schema"], set()).add(node["alias"].lower())
        return found

    def arguments(self, artifacts: Path) -> list[str]:
        folder = str(self.dbt_dir)
        return [
            "--project-dir", folder, "--profiles-dir", folder, "--target", self.settings.target,
            "--target-path", str(artifacts), "--log-path", str(artifacts),
        ]  # fmt: skip

    def vars_arguments(self, month_vars: Mapping[str, object] | None = None) -> list[str]:
        # YAML, not JSON: dbt reads JSON's 1e-05 back as text.
        return ["--vars", yaml.safe_dump({**self.variables, **(month_vars or {})}, sort_keys=True)]

    @contextmanager
    def environment(self) -> Iterator[None]:
        """What dbt reads from the environment and the working directory, which it changes and does not put back."""
        folder = Path.cwd()
        with variables_set(self.settings.for_dbt()):
            try:
                yield
            finally:
                os.chdir(folder)


@contextmanager
def _moved_in_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder`: the webserver, the daemon and a run may all find it missing at once.

    The oldest of its neighbours go."""
    scratch = folder.with_name(f"{folder.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        yield scratch
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    for old in sorted(folder.parent.iterdir(), key=lambda path: path.stat().st_mtime)[:-20]:
        shutil.rmtree(old, ignore_errors=True)
    try:
        scratch.rename(folder)
    except OSError:  # another process was faster with the same content
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """dbt imports snowplow_tracker, which calls logging.basicConfig(): from then on every library's INFO would go to
    stderr. dagster_dbt takes the handler away again, but only where it is the first to import dbt."""
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        yield
    finally:
        root.handlers = before
