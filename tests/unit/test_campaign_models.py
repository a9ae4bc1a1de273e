"""The dbt project that the rules make.

Locks out: a list whose columns depend on hand-written text, a name of a segment that dbt takes for a template, a model
of a campaign that somebody wrote by hand and that is silently doubled, a folder of somebody else's that is written to,
and a process that finds half a project.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from segmentation_assets.dbt.campaign_models import HandWrittenCampaignError, literal
from segmentation_assets.dbt.generated import ProjectFolderError, project_files, write_for_others
from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.rules.load import Rules, load_rules, parse_rules
from segmentation_assets.settings import Settings

RULES = load_rules(project_dir())
# The published columns of the shipped lists; users' SQL names them. Those between the names and the sides are shown.
FIRST = {
    "snapshot_month": "date", "campaign": "varchar", "audience_rank": "bigint", "customer_id": "varchar",
    "email": "varchar", "first_name": "varchar", "last_name": "varchar",
}  # fmt: skip
SHOWN = {
    "premium_rewards": {
        "lifetime_value": "decimal(18,2)", "avg_monthly_spend": "double", "travel_spend_pct": "double",
    },
    "churn_prevention": {
        "lifetime_value": "decimal(18,2)", "spend_change_pct": "double", "spend_last_90_days": "decimal(18,2)",
        "spend_prior_90_days": "decimal(18,2)",
    },
    "onboarding_acceleration": {
        "tenure_months": "bigint", "spend_change_pct": "double", "avg_monthly_spend": "double",
        "projected_annual_value": "double",
    },
    "everyday_rewards": {
        "avg_monthly_spend": "double", "necessities_spend_pct": "double", "lifetime_value": "decimal(18,2)",
    },
    "core_retention": {"avg_monthly_spend": "double", "lifetime_value": "decimal(18,2)"},
}  # fmt: skip
LAST = {
    "treatment_group": "varchar", "holdout_unit": "varchar", "content_hash": "varchar", "holdout_epoch": "varchar",
}  # fmt: skip


def audience(files: dict[str, bytes], name: str) -> Any:
    (model,) = yaml.safe_load(files[f"models/audiences/audience_{name}.yml"])["models"]
    return model


def with_campaign(**said: Any) -> Rules:
    entry = {
        "name": "lounge", "segment": "Declining", "cap": 7, "shows": ["is_active"],
        "rank_by": {"metric": "lifetime_value", "order": "highest_first"}, **said,
    }  # fmt: skip
    return parse_rules({**RULES.raw, "campaigns": [entry]}, "the rules")


def test_the_shipped_lists_have_the_columns_that_are_published() -> None:
    files = project_files(project_dir(), RULES)
    for name, shown in SHOWN.items():
        columns = audience(files, name)["columns"]
        found = [(column["name"], column["data_type"]) for column in columns]
        assert found == [*FIRST.items(), *shown.items(), *LAST.items()], name
        assert all(column["description"] for column in columns)
        never_null = {column["name"] for column in columns if column.get("constraints")}
        assert never_null == {"snapshot_month", "campaign", "audience_rank", "customer_id", "email", "treatment_group"}


def test_what_a_list_shows_is_described_as_in_the_history() -> None:
    files = project_files(project_dir(), with_campaign(channel="mail"))
    columns = {column["name"]: column for column in audience(files, "lounge")["columns"]}
    assert columns["is_active"] == {
        "name": "is_active", "data_type": "boolean", "description": "{{ doc('is_active') }}",
    }  # fmt: skip
    assert "constraints" not in columns["email"], "a letter needs no address"
    assert not any("premium_rewards" in path for path in files)


@pytest.mark.parametrize("name", ["{{ var('x') }}", "{% raw %}", "{# gone #}", "a } brace {", "plain"])
def test_a_name_is_never_a_template(name: str) -> None:
    assert Environment().from_string(literal(name)).render() == name


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("audience_lounge.sql", "{{ audience('lounge') }}", "has all that it needs"),
        ("audience_lounge.yml", "version: 2", "has all that it needs"),
        ("audience_other.sql", "{{- audience('other') }}", "is needed, and all that is"),
    ],
)
def test_a_model_written_by_hand_is_told_of(tmp_path: Path, path: str, text: str, told: str) -> None:
    write_for_others(project_files(project_dir(), RULES), tmp_path / "copy")
    for made in (tmp_path / "copy" / "models" / "audiences").glob("audience_*.*"):
        if made.stem.removeprefix("audience_") in SHOWN:
            made.unlink()
    (tmp_path / "copy" / "models" / "audiences" / path).write_text(text)
    with pytest.raises(HandWrittenCampaignError) as error:
        project_files(tmp_path / "copy", with_campaign())
    assert str(error.value).startswith(f"models/audiences/{path}: a campaign's model is made from the rules")
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_project_for_others_replaces_its_own_and_nobody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    write_for_others(project_files(project_dir(), RULES), folder)
    assert (folder / "models" / "audiences" / "audience_core_retention.sql").exists()
    (folder / "target").mkdir()
    write_for_others(project_files(project_dir(), with_campaign()), folder)
    assert not (folder / "models" / "audiences" / "audience_core_retention.sql").exists()
    assert (folder / "models" / "audiences" / "audience_lounge.sql").exists()
    assert (folder / "target").exists()
    assert yaml.safe_load((folder / "dbt_project.yml").read_text())["vars"]["campaigns"][0]["name"] == "lounge"
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "dbt_project.yml").write_text("name: theirs\n")
    for theirs in (tmp_path / "theirs", tmp_path / "theirs" / "dbt_project.yml"):
        with pytest.raises(ProjectFolderError, match="name a folder that is empty, or not there yet"):
            write_for_others(project_files(project_dir(), RULES), theirs)
    assert (tmp_path / "theirs" / "dbt_project.yml").read_text() == "name: theirs\n"


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """Several processes and threads may ask for it at once; nobody finds a part of it."""
    settings = Settings.from_environment({"DBT_TARGET_PATH": str(tmp_path)})

    def asked(_: int) -> set[str]:
        folder = Project.load(settings).dbt_dir
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(asked, range(8)))
    assert all(files == set(project_files(project_dir(), RULES)) for files in found)
    assert [folder.name for folder in (tmp_path / "projects").iterdir()] == [Project.load(settings).dbt_dir.name]
