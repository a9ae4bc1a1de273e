"""What the tests themselves stand on: no variable and no file of whoever runs them.

Locks out: a test that is green on a clean checkout and fails, or does harm, beside a person's data and settings.
"""

import os
from pathlib import Path

from tests.support import checkout, surroundings


def test_no_variable_of_the_persons_is_left() -> None:
    given = {"SNOWFLAKE_ACCOUNT": "mine", "SEGMENTATION_RULES": "mine.yml", "DAGSTER_HOME": "/mine", "DBT_TARGET": "x"}
    environment = {**given, "PATH": "/bin"}
    surroundings.clear(environment)
    assert environment == {"PATH": "/bin", **surroundings.FIXED}


def test_on_an_account_its_variables_are_left_and_no_others() -> None:
    environment = {"SNOWFLAKE_ACCOUNT": "mine", "SEGMENTATION_RULES": "mine.yml", surroundings.ON_AN_ACCOUNT: "account"}
    surroundings.clear(environment)
    assert environment.keys() - surroundings.FIXED.keys() == {"SNOWFLAKE_ACCOUNT", surroundings.ON_AN_ACCOUNT}


def test_this_test_has_places_of_its_own(tmp_path: Path) -> None:
    assert {name: os.environ[name] for name in surroundings.places(tmp_path)} == surroundings.places(tmp_path)
    assert "SEGMENTATION_CUSTOMERS" not in os.environ


def test_what_is_written_below_a_checkout_is_seen(tmp_path: Path) -> None:
    for name in ("data/segmentation.duckdb", "data/gone", "segmentation_assets/edited.py", "dbt_models/target/run.sql"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    before = checkout.seen(tmp_path)
    assert checkout.written(before, checkout.seen(tmp_path)) == []
    (tmp_path / "data" / "segmentation.duckdb").write_text("overwritten")
    (tmp_path / "data" / "gone").unlink()
    (tmp_path / "segmentation_assets" / "edited.py").write_text("by somebody, meanwhile")
    (tmp_path / "dbt_models" / "target" / "compiled.sql").write_text("")
    (tmp_path / "dbt_models" / "left.sql").write_text("")
    (tmp_path / "exports" / "premium").mkdir(parents=True)
    assert checkout.written(before, checkout.seen(tmp_path)) == [
        "data/gone", "data/segmentation.duckdb", "dbt_models/left.sql", "exports", "exports/premium",
    ]  # fmt: skip
