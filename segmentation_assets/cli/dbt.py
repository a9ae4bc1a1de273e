"""dbt's own commands, and MetricFlow's, under the rules, months and profile of this project.

What plain dbt lacks is what it cannot know: the rules of SEGMENTATION_RULES, as vars, and which months. The words that
follow `segmentation dbt` are handed to dbt as they are.
"""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any, cast

import click
import yaml

from segmentation_assets.cli import terminal
from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.dbt.runner import close_connections
from segmentation_assets.errors import UserError
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import migration, published
from segmentation_assets.rules.load import KEYS
from segmentation_assets.settings import variable, variables_set
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Warehouse, warehouse

SUCCEEDED, FAILED, REFUSED = 0, 1, 2  # dbt's own exit codes
# Vars that are read when a model runs. Any other may change what the project is, and dbt has to parse it anew.
READ_BY_MODELS = frozenset({"first_month", "last_month", "run_id", "run_date", "rollup_from", "changed_months"})
# These touch no table, and so wait for nobody who has the DuckDB file open.
WITHOUT_WAREHOUSE = frozenset({"clean", "deps", "init", "list", "ls", "parse", "serve"})
WRITES_MODELS = frozenset({"build", "run"})
# These make the manifest themselves, or have no use for one.
OWN_MANIFEST = frozenset({"clean", "debug", "deps", "init", "parse", "retry", "serve"})
OF_THE_SOURCE = frozenset({"clean", "deps", "init"})
METRICFLOW = "customer-segmentation[metricflow]"


class DbtCommandError(UserError):
    """Words behind `segmentation dbt` that dbt would not understand, or that contradict the rules."""


def run_dbt(arguments: Sequence[str], months: MonthRange | None) -> int:
    """Runs `dbt <arguments>` and returns its exit code. Without `months`, those of the newest publication."""
    from dbt.cli.main import dbtRunner

    project = Project.load()
    found = warehouse(project.settings)
    words, given = without_vars(arguments)
    command = command_of(words)
    name, takes_vars = command.name or "", any(parameter.name == "vars" for parameter in command.params)
    if name == "clone":
        raise DbtCommandError(
            "dbt clone would put another state's tables in place of published ones, which no audit here was about, so"
            " nothing was cloned. `make snapshot TO=...` makes a copy for readers."
        )
    touches_tables = takes_vars and name not in WITHOUT_WAREHOUSE and not {"--help", "-h", "--version"} & {*words}
    if touches_tables and name in WRITES_MODELS:
        migration.bring_up_to_date(found, project)
    variables = {**given}
    if touches_tables and "first_month" not in given:
        months = months or newest_published(found)
        variables = {"run_date": str(date.today()), **(months.dbt_vars() if months else {}), **given}
    # Before `--`, behind which dbt takes everything for an argument.
    end = words.index("--") if "--" in words else len(words)
    told = [*words[:end], *(project.vars_arguments(variables) if takes_vars else []), *words[end:]]
    is_parsed = touches_tables and name not in OWN_MANIFEST and given.keys() <= READ_BY_MODELS
    with ExitStack() as stack:
        if touches_tables:
            writes = name in WRITES_MODELS
            stack.enter_context(found.writing(f"{name} on {socket.gethostname()}") if writes else found.exclusive())
        # What these change or ask of is the project itself, where its owner works.
        folder = project_dir() if name in OF_THE_SOURCE else project.dbt_dir
        stack.enter_context(dbt_environment(project, folder, project.target_dir))
        result = dbtRunner(manifest=parsed(project) if is_parsed else None).invoke(told)
    if result.exception is None:
        return SUCCEEDED if result.success else FAILED
    if not isinstance(result.exception, Exception):
        raise result.exception  # an interrupt, which dbt hands back like an error of its own
    if type(result.exception).__name__ == "DbtUsageException":  # the one kind that dbt has not told yet
        raise DbtCommandError(f"{result.exception} (dbt {' '.join(words)})")
    return REFUSED


def without_vars(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The words without --vars, and what it gives: dbt would take the last --vars for the only one."""
    words: list[str] = []
    given: dict[str, Any] = {}
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            return [*words, word, *rest], given
        if word != "--vars" and not word.startswith("--vars="):
            words.append(word)
            continue
        text = word.partition("=")[2] if word.startswith("--vars=") else next(rest, "")
        try:
            read = yaml.safe_load(text)
        except yaml.YAMLError:
            read = None
        if not isinstance(read, dict):
            raise DbtCommandError(f"--vars is {text!r}; it has to be a YAML map, as '{{first_month: 2025-11-01}}'.")
        given |= {str(name): str(value) if isinstance(value, date) else value for name, value in read.items()}
    rules = [name for name in given if name in KEYS]
    if rules:
        raise DbtCommandError(
            f"--vars names {', '.join(rules)}, which {'is' if len(rules) == 1 else 'are'} of the rules: they come from"
            " the file of SEGMENTATION_RULES, which is checked. Write it there."
        )
    return words, given


def command_of(words: Sequence[str]) -> click.Command:
    """dbt's command that the words name; dbt itself where they name none."""
    from dbt.cli.main import cli

    command: click.Command = cli
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.commands.get(word, command)
    return command


def newest_published(found: Warehouse) -> MonthRange | None:
    if isinstance(found, DuckDBWarehouse) and not Path(found.path).exists():
        return None
    with found.session(read_only=True) as session:
        known = published.months(session)
    if not known:
        return None
    terminal.complain(f"The month is {known[-1]}, the newest that is published; --month names another.")
    return MonthRange.single(known[-1])


def parsed(project: Project) -> Any:
    """The manifest of the definitions: the months are read when models run, so dbt need not parse for them."""
    from dbt.contracts.graph.manifest import Manifest

    manifest = Manifest.from_msgpack(project.manifest_path.with_name("partial_parse.msgpack").read_bytes())
    manifest.build_flat_graph()
    return manifest


@contextmanager
def dbt_environment(project: Project, folder: Path, target: Path) -> Iterator[None]:
    """Where dbt and MetricFlow find project and profile. By variables, so that an option of dbt's still wins."""
    places = {
        "DBT_PROJECT_DIR": str(folder),
        "DBT_PROFILES_DIR": str(folder),
        "DBT_TARGET_PATH": str(target),
        **({} if variable("DBT_LOG_PATH") else {"DBT_LOG_PATH": str(target / "logs")}),
    }
    with project.environment(), variables_set(places):
        close_connections()
        try:
            yield
        finally:
            close_connections()


def run_metricflow(arguments: Sequence[str]) -> int:
    """Runs `mf <arguments>` over the published tables and returns its exit code."""
    try:
        from dbt_metricflow.cli.main import cli
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "dbt_metricflow":
            raise
        raise DbtCommandError(f"MetricFlow is not installed: pip install '{METRICFLOW}'.") from None

    project = Project.load()
    found = warehouse(project.settings)
    folder = metricflow_folder(project)
    with found.exclusive(), dbt_environment(project, folder, folder / "target"):
        os.chdir(folder)
        # click's group is wrapped by a progress line, which the type does not show.
        code = cast("click.Command", cli).main(list(arguments), prog_name="segmentation mf", standalone_mode=False)
    return code if isinstance(code, int) else SUCCEEDED


def metricflow_folder(project: Project) -> Path:
    """A folder in which `mf` works: it asks for a project's file, its profile and target/semantic_manifest.json, and
    writes its logs there. The metrics are those of the manifest in use."""
    manifest = project.manifest_path
    folder = manifest.with_name("metricflow")
    files: Mapping[str, Path] = {
        "dbt_project.yml": project_dir() / "dbt_project.yml",
        "profiles.yml": project_dir() / "profiles.yml",
        "target/semantic_manifest.json": manifest.with_name("semantic_manifest.json"),
    }
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)
    return folder
