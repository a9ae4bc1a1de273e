"""What is in the wheel, and that it works from there.

Locks out: a wheel without the dbt project or a part of it, a package that only works beside its checkout, writes into
its own folder, or needs DAGSTER_HOME to be loaded; a campaign that takes more than the rules there.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.support.command_line import CHECKOUT, settings

CAMPAIGN = """
campaigns:
  - name: winter_tyres
    segment: Declining
    rank_by: {metric: lifetime_value, order: highest_first}
    cap: 100
    shows: [tenure_months]
"""
LOAD = """
import json, os, sys
from pathlib import Path
import segmentation_assets
from segmentation_assets.dbt import project as dbt
from segmentation_assets.definitions import defs
definitions = defs()
keys = [key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()]
jobs = [job.name for job in definitions.resolve_all_job_defs()]
manifest = dbt.Project.load().manifest_path
print(json.dumps([segmentation_assets.__file__, str(dbt.project_dir()), str(manifest), keys, jobs]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder of the checkout leaks in or is left behind."""
    folder = tmp_path_factory.mktemp("checkout")
    # Without what other tests are writing meanwhile.
    artifacts = shutil.ignore_patterns("target", "logs", "__pycache__")
    for name in ("segmentation_assets", "dbt_models"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=artifacts)
    left_by_dbt = folder / "dbt_models" / "target" / "compiled"
    left_by_dbt.mkdir(parents=True)
    (left_by_dbt / "left.sql").write_text("select 1")
    for name in ("pyproject.toml", "setup.py", "LICENSE", "README.md"):
        shutil.copy(CHECKOUT / name, folder)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(folder)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_everything_of_the_project_is_inside(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "dbt_models", "segmentation_assets"],
        cwd=CHECKOUT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    wanted = {
        name.replace("dbt_models/", "segmentation_assets/dbt_models/", 1) if name.startswith("dbt_models/") else name
        for name in tracked
        if (CHECKOUT / name).exists()
    }
    assert wanted - shipped == set()
    assert not [name for name in shipped if name.startswith(("tests/", "benchmarks/")) or "/target/" in name]


def test_it_loads_from_an_empty_folder_that_it_cannot_write_to(wheel: Path, tmp_path: Path) -> None:
    installed, home, empty = tmp_path / "site", tmp_path / "home", tmp_path / "empty"
    for folder in (installed, home, empty):
        folder.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    before = read_only(installed)
    # The dependencies of this environment, and of the package only what the wheel holds.
    search = os.pathsep.join([str(installed), sysconfig.get_path("purelib")])
    # A company's campaigns, in one file beside the package.
    rules = tmp_path / "rules.yml"
    rules.write_text(CAMPAIGN, encoding="utf-8")
    environment = settings(
        HOME=str(home), PYTHONPATH=search, PYTHONDONTWRITEBYTECODE="1", SEGMENTATION_RULES=str(rules)
    )
    environment.pop("XDG_CACHE_HOME", None)
    code = [sys.executable, "-c", LOAD]
    if os.geteuid() == 0:
        # Root writes everywhere: leave out the capability that lets it.
        code = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", *code]
    done = subprocess.run(code, cwd=empty, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    package, project, manifest, keys, jobs = json.loads(done.stdout.splitlines()[-1])
    assert package == str(installed / "segmentation_assets" / "__init__.py")
    assert project == str(installed / "segmentation_assets" / "dbt_models")
    assert manifest.startswith(str(home)), "the manifest goes to the user's cache"
    assert {"gold/customer_segments", "silver/segment_assignments"} <= set(keys)
    assert "monthly_segmentation" in jobs
    assert {"gold/audience_winter_tyres", "activation/export_winter_tyres"} <= set(keys)
    assert not [key for key in keys if "premium_rewards" in key]
    assert sorted(installed.rglob("*")) == before, "nothing was written beside the package"
    assert list(empty.iterdir()) == [], "nothing was left where it was started"


def read_only(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*"))
    for path in [folder, *found]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return found
