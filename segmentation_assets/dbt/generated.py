"""The dbt project that dbt reads: the files of dbt_models, with the rules in effect and with what is made from them.

Every file that the rules make comes from one of GENERATORS. dbt_models itself may be read-only and is never written to.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segmentation_assets.dbt.campaign_models import as_yaml, campaign_models, literal, load_yaml
from segmentation_assets.errors import UserError
from segmentation_assets.rules.load import Rules

# Each is given the files that are there so far, and may add to them or replace some.
GENERATORS: tuple[Callable[[Rules, Mapping[str, bytes]], Mapping[str, str]], ...] = (campaign_models,)
# At the top of dbt_project.yml. By it a folder is known that may be replaced.
MARK = "# Made by customer-segmentation of its dbt_models and of the rules. What is changed here is lost."
LEFT_BY_DBT = ("target", "logs")
SUFFIXES = (".sql", ".yml", ".yaml", ".md")


class ProjectFolderError(UserError):
    """A folder that a project cannot or must not be written to."""


def project_files(source: Path, rules: Rules) -> dict[str, bytes]:
    """Path -> content of every file that dbt reads. Raises HandWrittenCampaignError."""
    tops = [folder for folder in source.iterdir() if folder.name not in LEFT_BY_DBT]
    paths = sorted(file for top in tops for file in (top, *top.rglob("*")) if file.is_file())
    files = {path.relative_to(source).as_posix(): path.read_bytes() for path in paths if path.suffix in SUFFIXES}
    files["dbt_project.yml"] = _under(rules, files["dbt_project.yml"])
    for generator in GENERATORS:
        files |= {path: text.encode() for path, text in generator(rules, files).items()}
    return files


def project_variables(rules: Rules) -> dict[str, Any]:
    """What the rules replace of the vars of dbt_project.yml."""
    replaced = rules.dbt_vars()
    # The columns of further metrics are for the contracts, in whose yml no macro is known.
    columns = [{**column, "description": literal(column["description"])} for column in rules.metrics.columns()]
    further = {"further_columns": columns}
    return {**replaced, "uses_shipped_segments": "segments" not in replaced, **further}


def _under(rules: Rules, project: bytes) -> bytes:
    said = load_yaml(project)
    said["vars"] = {**said["vars"], **project_variables(rules)}
    return f"{MARK}\n{as_yaml(said)}".encode()


def write(files: Mapping[str, bytes], folder: Path) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        try:
            (folder / path).write_bytes(content)
        except OSError as error:  # which names no file where the disk is full
            raise OSError(error.errno, error.strerror, str(folder / path)) from error


def write_for_others(files: Mapping[str, bytes], folder: Path) -> None:
    """A project for plain dbt, or for another project's packages.yml. Raises ProjectFolderError."""
    project = folder / "dbt_project.yml"
    try:
        is_made = project.is_file() and project.read_text(encoding="utf-8").startswith(MARK)
        if folder.exists() and not is_made and (not folder.is_dir() or any(folder.iterdir())):
            raise ProjectFolderError(
                f"{folder} holds something that `segmentation dbt-project` did not write, so nothing was written:"
                " name a folder that is empty, or not there yet."
            )
        # What dbt left beside it (target, logs, packages) is the reader's.
        for top in {path.partition("/")[0] for path in files} & {"macros", "models", "tests", "rules"}:
            shutil.rmtree(folder / top, ignore_errors=True)
        write(files, folder)
    except OSError as error:
        raise ProjectFolderError(f"{folder} cannot be written to: {error.strerror}. Name another folder.") from error
