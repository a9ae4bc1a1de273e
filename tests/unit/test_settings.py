"""Settings: what the environment may say, and what is said of it where it cannot be used.

Locks out: a value that fails deep inside with a traceback, the second mistake told only after the first is corrected,
another engine than the one named, a secret in a message or a repr, and a way in that does not read `.env`.
"""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import time_machine
import yaml
from pydantic import ValidationError

from segmentation_assets.dbt.project import Project, rules_file
from segmentation_assets.errors import SettingsError
from segmentation_assets.months import MonthRange
from segmentation_assets.partitions import check_months, monthly_partitions, source_bounds
from segmentation_assets.settings import (
    Settings,
    Snowflake,
    load_env_file,
    secret_values,
    set_variable,
    variable,
    variables_set,
)
from segmentation_assets.warehouse.session import warehouse

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def the_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is what is tested; everything else may run with it switched off."""
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED", raising=False)


def refusal(**given: str) -> str:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(given)
    return str(refused.value)


def test_nothing_set_is_the_embedded_default() -> None:
    found = Settings.from_environment({})
    assert (found.target, found.source, found.customers, found.source_schema) == ("duckdb", "synthetic", None, "gold")
    assert found.duckdb_path == Path.cwd() / "data" / "segmentation.duckdb"
    for source in ("completejourney", "warehouse"):
        other = Settings.from_environment({"SEGMENTATION_SOURCE": source})
        assert other.duckdb_path == Path.cwd() / "data" / f"{source}.duckdb"
    assert found.export_uri == str(Path.cwd() / "exports")
    assert (found.start_month, found.rules, found.dbt_target_path) == (None, None, None)
    assert (found.snowflake.port, found.snowflake.protocol, found.snowflake.is_emulator) == (443, "https", False)


def test_a_variable_set_to_nothing_is_not_set() -> None:
    names = {*Settings.names().values(), *Snowflake.names().values()}
    assert len(names) == 38
    assert Settings.from_environment(dict.fromkeys(names, " ")) == Settings.from_environment({})


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two portfolios in one process: neither the other's place nor its account may be left over."""
    monkeypatch.setenv("SEGMENTATION_SOURCE_SCHEMA", "dwh")
    monkeypatch.setenv("SNOWFLAKE_DATABASE", "of_the_environment")
    monkeypatch.setenv("SNOWFLAKE_PASSWORD", "hunter2")
    found = Settings.given(target="snowflake", snowflake_database="cards", autostart=True, rules=None)
    assert (found.target, found.source, found.source_schema) == ("snowflake", "warehouse", "dwh")
    assert found.autostart
    assert not Settings.from_environment().autostart
    assert found.rules is None
    assert found.place == ("snowflake", "", "cards", "gold")
    assert found.place != Settings.given(target="snowflake").place
    read_by_dbt = found.for_dbt()
    assert (read_by_dbt["SNOWFLAKE_DATABASE"], read_by_dbt["SNOWFLAKE_PASSWORD"]) == ("cards", "hunter2")
    assert set(Snowflake.names().values()) <= set(read_by_dbt)
    assert "hunter2" not in repr(warehouse(found))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sauce": "warehouse"}, "^sauce: no such setting; there are alert_urls, autostart, "),
        ({"source": "oracle"}, "^SEGMENTATION_SOURCE is 'oracle'; it has to be one of"),
        ({"autostart": "maybe"}, "^SEGMENTATION_AUTOSTART is 'maybe'; it has to be one of: 1, true, yes, on, 0,"),
    ],
)
def test_what_is_given_wrongly_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.given(**given)


def test_the_example_is_valid_and_names_every_variable_of_ours() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    names = {*Settings.names().values(), *Snowflake.names().values()}
    assert set(example) == {name for name in names if name.startswith(("SEGMENTATION_", "SNOWFLAKE_"))}
    found = Settings.from_environment(example)
    assert (found.target, found.source, found.start_month) == ("duckdb", "synthetic", date(2024, 1, 1))


def test_values_are_typed() -> None:
    found = Settings.from_environment(
        {
            "SEGMENTATION_TARGET": " snowflake ",
            "SEGMENTATION_DUCKDB_PATH": "~/x.duckdb",
            "SEGMENTATION_START_MONTH": "2025-03-01",
            "SEGMENTATION_CUSTOMERS": "12",
            "SEGMENTATION_RULES": "mine.yml",
            "SEGMENTATION_UI_URL": "https://dagster.example.org/prefix/",
            "SNOWFLAKE_PORT": "8080",
            "SNOWFLAKE_PROTOCOL": "http",
        }
    )
    assert (found.target, found.source) == ("snowflake", "warehouse")
    assert found.duckdb_path == Path.home() / "x.duckdb"
    assert (found.start_month, found.customers, found.rules) == (date(2025, 3, 1), 12, Path("mine.yml"))
    assert found.ui_url == "https://dagster.example.org/prefix"
    assert (found.snowflake.port, found.snowflake.is_emulator) == (8080, True)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SEGMENTATION_TARGET", "Snowflake", "is 'Snowflake'; it has to be one of: duckdb, snowflake."),
        ("SEGMENTATION_SOURCE", "excel", "is 'excel'; it has to be one of: synthetic, completejourney, warehouse."),
        ("SEGMENTATION_CUSTOMERS", "0", "is '0'; it has to be a whole number of at least 1."),
        ("SEGMENTATION_CUSTOMERS", "-5", "is '-5'; it has to be a whole number of at least 1."),
        ("SEGMENTATION_CUSTOMERS", "1e3", "is '1e3'; it has to be a whole number of at least 1."),
        ("SEGMENTATION_CUSTOMERS", "٣", "is '٣'; it has to be a whole number of at least 1."),
        ("SEGMENTATION_START_MONTH", "March", "is 'March'; it has to be the first day of a month of 1900 to 2199, as"),
        ("SEGMENTATION_START_MONTH", "2025-03-02", "is '2025-03-02'; it has to be the first day of a month of 1900"),
        ("SEGMENTATION_START_MONTH", "0001-01-01", "is '0001-01-01'; it has to be the first day of a month of 1900"),
        ("SEGMENTATION_START_MONTH", "9999-12-01", "is '9999-12-01'; it has to be the first day of a month of 1900"),
        *(
            ("SEGMENTATION_SOURCE_SCHEMA", name, f"is {name!r}; the name of a schema has letters, digits and _")
            for name in ("a;drop", "it's", 'a"b', "a.b", "-a", "a\x00b", "a\nb", "{{ x }}", "pg_catalog", "Temp")
        ),
        *(
            ("SEGMENTATION_DUCKDB_PATH", f"data/{name}", f"is {f'data/{name}'!r}, and ")
            for name in (
                "main.duckdb",
                "Temp.db",
                "system.x",
                "memory.duckdb",
                "pg_catalog.duckdb",
                "it's.duckdb",
                'a"b.duckdb',
                "gold.v2.duckdb",
                ".silver.duckdb",
                "a?b.duckdb",
                "a.duckdb#x",
                "a%20b.duckdb",
                "a\nb.duckdb",
            )
        ),
        ("SEGMENTATION_EXPORT_URI", "s3:/bucket/x", "begins with 's3:/'; an address has two slashes, as s3://"),
        ("SEGMENTATION_EXPORT_URI", "s3:bucket", "begins with 's3:'; an address has two slashes, as s3://"),
        ("SEGMENTATION_EXPORT_URI", "simplecache::s3:/x", "begins with 's3:/'; an address has two slashes"),
        ("SEGMENTATION_UI_URL", "dagster:3000", "is 'dagster:3000'; it has to begin with http:// or https://."),
        ("SEGMENTATION_DUCKDB_PATH", "data/Gold.duckdb", "is 'data/Gold.duckdb', and DuckDB would take the database"),
        ("SEGMENTATION_RULES", "~nobody-of-this-name/r.yml", "whose ~ stands for nobody's folder on this machine"),
        ("SNOWFLAKE_PORT", "https", "is 'https'; it has to be a whole number up to 65535, as 443."),
        ("SNOWFLAKE_PORT", "70000", "is '70000'; it has to be a whole number up to 65535, as 443."),
        ("SNOWFLAKE_PROTOCOL", "ftp", "is 'ftp'; it has to be one of: https, http."),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_with_the_variable_and_the_fix(
    name: str, value: str, told: str
) -> None:
    said = refusal(**{name: value})
    assert "\n" not in said
    assert said.startswith(f"{name} ")
    assert told in said


@pytest.mark.parametrize("name", ["select", "a b-ü", "x.y", "1x", "GOLDEN", "data.2025-11"])
def test_a_database_may_have_any_name_that_quotes_hold(name: str) -> None:
    for schema in ("gold", "table", "My schema-ü", "Größe 2", "DWH"):
        found = Settings.from_environment(
            {"SEGMENTATION_DUCKDB_PATH": f"/srv/{name}.duckdb", "SEGMENTATION_SOURCE_SCHEMA": schema}
        )
        assert (found.duckdb_path.name, found.source_schema) == (f"{name}.duckdb", schema)


@pytest.mark.parametrize(
    ("variable", "value"),
    [(variable, value) for variable in ("SNOWFLAKE_DATABASE", "SEGMENTATION_SOURCE_SCHEMA")
     for value in ("my-db", "my db", "select", "Table", "1x", "größe")],
)  # fmt: skip
def test_on_snowflake_a_name_that_needs_quotes_is_refused_with_the_variable(variable: str, value: str) -> None:
    told = refusal(SEGMENTATION_TARGET="snowflake", **{variable: value})
    assert told.startswith(f"{variable} is {value!r}, which Snowflake takes only in quotes")


@pytest.mark.parametrize(
    "value", ["out", "./a:b", "/srv/a:b", "s3://bucket/x", "memory://x", "simplecache::s3://x/y", "file:///srv/x"]
)
def test_a_folder_or_an_address_is_taken(value: str) -> None:
    found = Settings.from_environment({"SEGMENTATION_EXPORT_URI": value}).export_uri
    assert found == (value if "://" in value else str(Path(value).absolute()))


def test_every_mistake_is_told_at_once() -> None:
    said = refusal(SEGMENTATION_TARGET="oracle", SEGMENTATION_CUSTOMERS="many", SNOWFLAKE_PORT="x").splitlines()
    assert [line.split()[0] for line in said] == ["SEGMENTATION_TARGET", "SEGMENTATION_CUSTOMERS", "SNOWFLAKE_PORT"]


def test_the_file_may_not_be_named_as_the_schema_of_the_sources() -> None:
    given = {"SEGMENTATION_DUCKDB_PATH": "/srv/dwh.duckdb", "SEGMENTATION_SOURCE_SCHEMA": "DWH"}
    assert refusal(**given).startswith("SEGMENTATION_DUCKDB_PATH is /srv/dwh.duckdb, and DuckDB would take")
    assert Settings.from_environment({**given, "SEGMENTATION_TARGET": "snowflake"}).source_schema == "DWH"


def test_secrets_show_in_no_repr_and_no_message() -> None:
    given = {
        "SNOWFLAKE_PASSWORD": SECRET,
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": SECRET,
        "SEGMENTATION_ALERT_URLS": f"json://user:{SECRET}@host",
        "SEGMENTATION_EXPORT_URI": f"ftp://user:{SECRET}@host/x",
    }
    found = Settings.from_environment(given)
    assert SECRET not in repr(found) + str(found)
    assert found.snowflake.password is not None
    assert found.snowflake.password.get_secret_value() == SECRET
    said = refusal(**{**given, "SEGMENTATION_EXPORT_URI": f"ftp:/user:{SECRET}@host/x", "SEGMENTATION_TARGET": "x"})
    assert said.startswith("SEGMENTATION_TARGET is 'x'")
    assert SECRET not in said


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.from_environment({}).target = "snowflake"  # pyright: ignore[reportAttributeAccessIssue]


def test_the_environment_is_read_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTATION_SOURCE_SCHEMA", "one")
    assert Settings.from_environment().source_schema == "one"
    monkeypatch.setenv("SEGMENTATION_SOURCE_SCHEMA", "two")
    assert Settings.from_environment().source_schema == "two"


def test_nothing_else_reads_the_environment() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "segmentation_assets").rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"os\.(environ|getenv)|\bgetenv\(", line) and path.name != "settings.py"
    }
    # Before anything is imported that would ask.
    assert {line for line in found if ".setdefault(" not in line} == set()


# The months on offer


@pytest.mark.parametrize(
    ("start", "source", "newest"),
    [("2030-01-01", "warehouse", "2025-12-01"), ("2026-01-01", "warehouse", "2025-12-01"),
     ("2024-01-01", "completejourney", "2017-12-01")],
)  # fmt: skip
def test_a_start_that_leaves_no_month_is_one_line(start: str, source: str, newest: str) -> None:
    settings = Settings.from_environment({"SEGMENTATION_START_MONTH": start, "SEGMENTATION_SOURCE": source})
    with time_machine.travel(datetime(2026, 1, 15, tzinfo=UTC), tick=False):
        for asked in (
            lambda: source_bounds(settings),
            lambda: monthly_partitions(settings),
            lambda: check_months(MonthRange(date(2025, 11, 1), date(2025, 11, 1)), settings),
        ):
            with pytest.raises(SettingsError) as refused:
                asked()
            assert str(refused.value) == (
                f"SEGMENTATION_START_MONTH is {start!r}, and the newest month of the source {source!r} that is over is"
                f" {newest}: name that one or one before it."
            )


def test_the_last_closed_month_may_be_the_first() -> None:
    settings = Settings.from_environment({"SEGMENTATION_START_MONTH": "2025-12-01"})
    with time_machine.travel(datetime(2026, 1, 15, tzinfo=UTC), tick=False):
        assert monthly_partitions(settings).get_partition_keys() == ["2025-12-01"]


# What is handed on


def test_a_source_of_no_card_holders_brings_rules_of_its_own() -> None:
    journey = {"SEGMENTATION_SOURCE": "completejourney"}
    shipped = rules_file(Settings.from_environment(journey))
    assert shipped is not None
    assert shipped.name == "completejourney.yml"
    assert rules_file(Settings.from_environment({**journey, "SEGMENTATION_RULES": "mine.yml"})) == Path("mine.yml")
    assert rules_file(Settings.from_environment({})) is None


def test_a_project_keeps_its_rules_and_its_manifest_though_files_change(tmp_path: Path) -> None:
    """A run builds with what its definitions were loaded from."""
    file = tmp_path / "rules.yml"
    given = {"SEGMENTATION_RULES": str(file), "DBT_TARGET_PATH": str(tmp_path / "target")}
    file.write_text("campaigns: []\n", encoding="utf-8")
    project = Project.load(Settings.from_environment(given))
    fingerprint, manifest = project.fingerprint(), tmp_path / "target" / "manifests" / project.fingerprint()
    manifest.mkdir(parents=True)
    (manifest / "manifest.json").write_text("{}")
    assert project.manifest_path == manifest / "manifest.json"
    shipped = yaml.safe_load((ROOT / "dbt_models" / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]["campaigns"]
    file.write_text(yaml.safe_dump({"campaigns": shipped[:2]}), encoding="utf-8")
    assert project.rules.campaigns == ()
    assert project.fingerprint() == fingerprint
    assert project.manifest_path == manifest / "manifest.json"
    other = Project.load(Settings.from_environment(given))
    assert [campaign.name for campaign in other.rules.campaigns] == [one["name"] for one in shipped[:2]]
    assert other.fingerprint() != fingerprint


def test_dbt_is_given_the_defaults_of_what_is_set_to_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """profiles.yml and sources.yml take a variable that is set and empty as it stands."""
    for name in ("SEGMENTATION_SOURCE_SCHEMA", "SNOWFLAKE_PORT", "SNOWFLAKE_PROTOCOL"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SEGMENTATION_DUCKDB_PATH", str(tmp_path / "x.duckdb"))
    folder = Path.cwd()
    with Project.load().environment():
        os.chdir(tmp_path)
        assert os.environ["SEGMENTATION_SOURCE_SCHEMA"] == "gold"
        assert (os.environ["SNOWFLAKE_PORT"], os.environ["SNOWFLAKE_PROTOCOL"]) == ("443", "https")
        assert os.environ["SEGMENTATION_DUCKDB_PATH"] == str(tmp_path / "x.duckdb")
    assert os.environ["SEGMENTATION_SOURCE_SCHEMA"] == os.environ["SNOWFLAKE_PORT"] == ""
    assert Path.cwd() == folder


def test_variables_are_set_for_a_while_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_VARIABLE", "before")
    monkeypatch.delenv("ANOTHER_VARIABLE", raising=False)
    with pytest.raises(KeyboardInterrupt), variables_set({"A_VARIABLE": "a", "ANOTHER_VARIABLE": "b"}):
        assert (variable("A_VARIABLE"), variable("ANOTHER_VARIABLE")) == ("a", "b")
        raise KeyboardInterrupt
    assert (variable("A_VARIABLE"), variable("ANOTHER_VARIABLE")) == ("before", "")
    set_variable("A_VARIABLE", "default", unless_set=True)
    assert variable("A_VARIABLE") == "before"
    set_variable("A_VARIABLE", "after")
    assert variable("A_VARIABLE") == "after"


def test_the_words_of_secret_variables_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOWFLAKE_PASSWORD", SECRET)
    monkeypatch.setenv("SOMEBODYS_TOKEN", "abc def")
    monkeypatch.setenv("SNOWFLAKE_USER", "visible")
    assert {SECRET, "abc", "def"} <= secret_values()
    assert "visible" not in secret_values()


# .env


def test_the_file_fills_in_what_the_environment_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("A_NEW_ONE=from the file\nA_SET_ONE=from the file\nAN_EMPTY_ONE=from the file\n")
    monkeypatch.setenv("A_NEW_ONE", "")  # put back by monkeypatch when the test ends
    monkeypatch.delenv("A_NEW_ONE")
    monkeypatch.setenv("A_SET_ONE", "from the environment")
    monkeypatch.setenv("AN_EMPTY_ONE", "")
    monkeypatch.chdir(tmp_path)
    load_env_file()
    assert variable("A_NEW_ONE") == "from the file"
    assert variable("A_SET_ONE") == "from the environment"
    assert variable("AN_EMPTY_ONE") == "", "somebody has said: none"


def test_only_the_working_directory_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("A_NEW_ONE=from above\n")
    (tmp_path / "below").mkdir()
    monkeypatch.delenv("A_NEW_ONE", raising=False)
    monkeypatch.chdir(tmp_path / "below")
    load_env_file()
    assert variable("A_NEW_ONE") == ""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")
    load_env_file()
    assert variable("A_NEW_ONE") == ""


def test_lines_that_cannot_be_read_are_told_by_number_and_not_by_content(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"A=1\n= {SECRET}\nB='{SECRET}\n")
    with pytest.raises(SettingsError) as refused:
        load_env_file(tmp_path)
    assert str(refused.value) == f"{path}: line 2, 3: cannot be read; write NAME=value, one to a line."
    path.write_bytes(b"A=caf\xe9\n")
    with pytest.raises(SettingsError, match="cannot be read: it is not UTF-8"):
        load_env_file(tmp_path)


def without_settings() -> dict[str, str]:
    own = ("SEGMENTATION_", "DAGSTER_HOME", "PYTHON_DOTENV")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(own)},
        "PYTHONPATH": str(ROOT),
    }


# `segmentation ui`, with Dagster's own reading of the environment in place of its server.
UI = """
import json, os
from segmentation_assets.cli.commands import main

def begin(*command):
    from dagster._cli.utils import get_possibly_temporary_instance_for_cli
    names = ("SEGMENTATION_TARGET", "SEGMENTATION_CUSTOMERS", "SEGMENTATION_DUCKDB_PATH", "SEGMENTATION_RULES",
             "DAGSTER_HOME")
    with get_possibly_temporary_instance_for_cli("dagster dev"):
        print(json.dumps({name: os.environ.get(name) for name in names}))

os.execvp = begin
main(["ui"])
"""
DOORS = {
    "the command line": "from segmentation_assets.cli.commands import main; raise SystemExit(main(['run']))",
    "definitions that Dagster loads": "from segmentation_assets.definitions import defs; defs()",
}


@pytest.mark.parametrize("code", DOORS.values(), ids=DOORS.keys())
def test_every_way_in_reads_the_file(code: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SEGMENTATION_TARGET=oracle\nSEGMENTATION_CUSTOMERS=many\n")
    environment = {**without_settings(), "SEGMENTATION_CUSTOMERS": "12"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=200
    )
    assert done.returncode != 0
    assert "SEGMENTATION_TARGET is 'oracle'; it has to be one of: duckdb, snowflake." in done.stderr
    assert "SEGMENTATION_CUSTOMERS" not in done.stderr, "the environment's own value holds"


def test_what_the_environment_has_holds_in_the_ui_too(tmp_path: Path) -> None:
    """Dagster's own commands let the .env of their folder override the environment."""
    (tmp_path / ".env").write_text(
        "SEGMENTATION_TARGET=snowflake\nSEGMENTATION_CUSTOMERS=12\nSEGMENTATION_DUCKDB_PATH=here.duckdb\n"
        "SEGMENTATION_RULES=mine.yml\nDAGSTER_HOME=home\n"
    )
    started = [sys.executable, "-c", UI]
    environment = {**without_settings(), "SEGMENTATION_TARGET": "duckdb"}
    done = subprocess.run(started, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "SEGMENTATION_TARGET": "duckdb",
        "SEGMENTATION_CUSTOMERS": "12",
        "SEGMENTATION_DUCKDB_PATH": str(tmp_path / "here.duckdb"),
        "SEGMENTATION_RULES": str(tmp_path / "mine.yml"),
        "DAGSTER_HOME": str(tmp_path / "home"),
    }


def test_an_error_of_settings_stops_dagster_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from segmentation_assets.errors import as_failure

    monkeypatch.setenv("SEGMENTATION_TARGET", "oracle")
    with pytest.raises(dg.Failure) as failed, as_failure():
        Settings.from_environment()
    assert failed.value.description == "SEGMENTATION_TARGET is 'oracle'; it has to be one of: duckdb, snowflake."
