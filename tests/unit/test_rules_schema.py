"""The JSON schema of a rules file against the files that are shipped, and against mistakes that an editor should mark.

Locks out: a file that loads and is marked as wrong, a mistake that the models refuse and no editor shows, and a
validator that the schema knows nothing of.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from segmentation_assets.cli.commands import main
from segmentation_assets.dbt.project import project_dir
from segmentation_assets.rules.json_schema import rules_schema
from segmentation_assets.rules.load import KEYS

SCHEMA = rules_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
EXAMPLES = sorted((project_dir() / "rules" / "examples").glob("*.yml"))
SHIPPED = {
    key: value
    for key, value in yaml.safe_load((project_dir() / "dbt_project.yml").read_text(encoding="utf-8"))["vars"].items()
    if key in KEYS
}


def test_it_is_a_schema_of_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(KEYS)
    blank = [f"{model}.{name}" for model, name, said in _properties() if not set(said) - {"title", "default"}]
    # What a table is mapped to is a map or a word, read one by one when the file loads.
    assert blank == []


def _properties() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (model, name, said)
        for model, definition in SCHEMA["$defs"].items()
        for name, said in definition.get("properties", {}).items()
    ]


@pytest.mark.parametrize(
    "file", [*EXAMPLES, project_dir() / "rules" / "completejourney.yml"], ids=lambda file: file.stem
)
def test_what_is_shipped_is_right(file: Path) -> None:
    assert list(VALIDATOR.iter_errors(yaml.safe_load(file.read_text(encoding="utf-8")))) == []


def test_the_shipped_rules_are_right() -> None:
    assert list(VALIDATOR.iter_errors(SHIPPED)) == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_names_the_schema(file: Path) -> None:
    first = file.read_text(encoding="utf-8").splitlines()[0]
    named = (file.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve()
    assert named == Path(__file__).parents[2] / "docs" / "rules.schema.json"
    assert json.loads(named.read_text(encoding="utf-8")) == SCHEMA


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("segment",), []),
        (("segments", 0, "criterias"), []),
        (("segments", 0, "minimum_share_pct"), 101),
        (("segments", 0, "expected_share_pct"), [10]),
        (("segments", 0, "criteria", 0), {"metric": "avg_monthly_spend", "at_least": 1, "at_most": 2}),
        (("segments", 0, "criteria", 0), {"metric": "avg_monthly_spend", "at_least": "5000"}),
        (("campaigns", 0, "name"), "Premium Rewards"),
        (("campaigns", 0, "channel"), "sms"),
        (("campaigns", 0, "cap"), 0),
        (("campaigns", 0, "holdout_pct"), 60),
        (("campaigns", 0, "shows"), "lifetime_value"),
        (("audits", "drift_max_psi"), 0),
        (("suppressions",), "sometimes"),
        (("insights", "recency_days"), {"active": 30}),
    ],
)
def test_a_mistake_is_marked(path: tuple[str | int, ...], value: object) -> None:
    rules: Any = copy.deepcopy(SHIPPED)
    inside = rules
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value
    places = [list(error.absolute_path) for error in VALIDATOR.iter_errors(rules)]
    assert places
    assert all(one == other for place in places for one, other in zip(place, path, strict=False)), places


def test_the_command_prints_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["rules-schema"]) == 0
    assert json.loads(capfd.readouterr().out) == SCHEMA
