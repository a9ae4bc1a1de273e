"""Who may read what in an account: the roles of snowflake/setup.sql against what is made, granted and read.

Locks out: a published table that nobody or everybody may read, a name or an address that is granted to those who are
to see neither, a privilege that a statement needs and setup.sql does not give, and one that it gives and no statement
needs. That a column is tagged before its table is granted: tests/system/test_snowflake.py.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from segmentation_assets.dbt.generated import project_files
from segmentation_assets.dbt.personal_data import CONTACT_DETAILS, KINDS, of_table
from segmentation_assets.rules.load import load_rules
from segmentation_assets.warehouse.snowflake import SESSION_PARAMETERS

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "dbt_models"
SETUP = (ROOT / "snowflake" / "setup.sql").read_text()
# They hold no name, and say who has objected or was left out, and why.
ABOUT_OBJECTIONS = {"audience_exclusions"}
TABLE_KINDS = ("tables", "views", "materialized views", "dynamic tables", "external tables", "iceberg tables")


class Model(NamedTuple):
    name: str
    config: Mapping[str, Any]
    columns: Mapping[str, Any]

    @property
    def grantees(self) -> list[str]:
        role = self.config.get("meta", {}).get("granted_to")
        return [role] if role else []


@cache
def models() -> tuple[Model, ...]:
    """Every model, those that the rules make too, with what dbt_project.yml says of its folder under its own config."""
    files = project_files(SHIPPED, load_rules(SHIPPED))
    folders = yaml.safe_load(files["dbt_project.yml"])["models"]["segmentation"]
    found = []
    for path, content in files.items():
        if not (path.startswith("models/") and path.endswith(".yml")):
            continue
        inherited = {
            key.removeprefix("+"): value for key, value in folders.get(path.split("/")[1], {}).items() if key[0] == "+"
        }
        for model in yaml.safe_load(content).get("models", []):
            sql = files.get(path.removesuffix(".yml") + ".sql", b"").decode()
            in_sql = dict(re.findall(r"(\w+)='(\w+)'", "".join(re.findall(r"\{\{ config\((.*?)\) \}\}", sql))))
            config = {**inherited, **model.get("config", {}), **in_sql}
            found.append(Model(model["name"], config, {column["name"]: column for column in model.get("columns", [])}))
    assert len(found) > 45
    return tuple(found)


def test_every_published_table_is_granted_to_those_who_may_see_what_it_holds() -> None:
    wrong = {}
    for model in models():
        is_for_lists = of_table(model.columns) == CONTACT_DETAILS or model.name in ABOUT_OBJECTIONS
        role = "SNOWFLAKE_LISTS_ROLE" if is_for_lists else "SNOWFLAKE_READER_ROLE"
        wanted = [role] if model.config.get("access") == "public" else []
        if model.grantees != wanted:
            wrong[model.name] = (model.grantees, wanted)
    assert not wrong
    granted = {role for model in models() for role in model.grantees}
    assert granted == {"SNOWFLAKE_READER_ROLE", "SNOWFLAKE_LISTS_ROLE"}


def test_no_view_with_a_name_or_an_address_is_granted() -> None:
    """`create or replace view` keeps grants and loses tags: for a moment nothing would mask it."""
    views = [model for model in models() if model.config.get("materialized") == "view"]
    assert len(views) > 10
    assert [view.name for view in views if view.grantees and of_table(view.columns) == CONTACT_DETAILS] == []


# What setup.sql gives


def setup() -> str:
    """setup.sql with its names written out, without comments; what a block sends is in it as a text."""
    text = re.sub(r"--[^\n]*", "", SETUP)
    values: dict[str, str] = {}
    for name, value in re.findall(r"^set (\w+) = (.*?);", text, re.M):
        values[name] = "".join(values.get(part[1:], part).strip("'") for part in str(value).split(" || "))
    text = re.sub(r"identifier\(\$(\w+)\)", lambda found: values[found[1]], text)
    return re.sub(r"\$(?!\$)(\w+)", lambda found: values.get(found[1], found[0]), text)


def given(role: str) -> set[tuple[str, str, str]]:
    """(privilege, kind of object, its name) of what the role is given."""
    found = set()
    for privileges, kind, name in re.findall(
        rf"^grant ([\w, ]+?) on ((?:(?:all|future) [a-z ]+ in )?[a-z]+) ([\w.]+) to role {role};", setup(), re.M
    ):
        found |= {(privilege.strip(), kind, name) for privilege in privileges.split(",")}
    return found


def test_readers_are_given_the_way_in_and_no_table() -> None:
    """No future grant either: it would open a table in the moment it is made, before anything masks it."""
    assert given("SEGMENTATION_MARKETING") == {
        ("usage", "warehouse", "SEGMENTATION_READERS_WH"),
        ("usage", "database", "SEGMENTATION"),
        ("usage", "schema", "SEGMENTATION.GOLD"),
    }
    assert given("SEGMENTATION_LISTS") == given("SEGMENTATION_EMAIL_READER") == set()
    inherited = set(re.findall(r"^grant role (\w+) to (?:role|user) (\w+);", setup(), re.M))
    assert inherited == {
        ("SEGMENTATION_MARKETING", "sysadmin"),
        ("SEGMENTATION_MARKETING", "SEGMENTATION_LISTS"),
        ("SEGMENTATION_LISTS", "SEGMENTATION_EMAIL_READER"),
        ("SEGMENTATION_PIPELINE", "SEGMENTATION_SERVICE"),
    }


def needed() -> Iterator[tuple[str, str, str]]:
    """What the pipeline's statements need, on objects that it does not own: what it makes it may read, write, comment
    on, tag, grant and drop."""
    yield "usage", "warehouse", "SEGMENTATION_WH"
    yield "usage", "database", "SEGMENTATION"
    for model in models():
        schema = f"SEGMENTATION.{model.config['schema'].upper()}"
        made = "create view" if model.config["materialized"] == "view" else "create table"
        yield from (("usage", "schema", schema), (made, "schema", schema))
        if model.config["materialized"] == "incremental":  # its working table is in the target's schema
            yield "create table", "schema", "SEGMENTATION.SILVER"
    failures = yaml.safe_load((SHIPPED / "dbt_project.yml").read_text())["data_tests"]["segmentation"]["+schema"]
    yield from ((privilege, "schema", f"SEGMENTATION.{failures.upper()}") for privilege in ("usage", "create table"))
    sent = "".join(path.read_text() for path in sorted((ROOT / "segmentation_assets").rglob("*.py")))
    made_by_python = set(re.findall(r"execute\(\s*f?\"(create (?:or replace )?(?:table|view|schema))\b", sent))
    if "create schema" in made_by_python:  # a what-if; what is made in a schema of one's own needs nothing more
        yield "create schema", "database", "SEGMENTATION"
    # The star schema, of whatever kind its tables are.
    yield "usage", "schema", "SEGMENTATION.STAR_SCHEMA"
    for kind in TABLE_KINDS:
        for which in ("all", "future"):
            yield "select", f"{which} {kind} in schema", "SEGMENTATION.STAR_SCHEMA"


def test_the_pipeline_is_given_what_its_statements_need_and_nothing_else() -> None:
    found, wanted = given("SEGMENTATION_PIPELINE"), set(needed())
    assert ("create view", "schema", "SEGMENTATION.SILVER") in wanted
    assert found - wanted == set(), "given, and needed by nothing"
    assert wanted - found == set(), "needed, and not given"
    # Sent by the block that makes the tag.
    for privilege in ("grant usage on schema ' || getvariable('GOVERNANCE')", "grant apply on tag ' || :tag"):
        assert privilege in SETUP


def test_the_mask_shows_no_kind_of_contact_details() -> None:
    policy = SETUP[SETUP.index("create masking policy") : SETUP.index("alter tag ' || :tag || ' set masking policy")]
    shown = set(re.findall(r"''(\w+)''", policy.split(" in (")[1].split(") then value")[0]))
    assert shown == {name for name, kind in KINDS.items() if kind.tag != CONTACT_DETAILS}
    assert "else ''*****'' end" in policy  # a kind that somebody adds is masked


def test_the_users_sessions_are_those_of_the_pipeline() -> None:
    (said,) = re.findall(r"^alter user SEGMENTATION_SERVICE set(.*?);", setup(), re.M | re.S)
    found = {name.upper(): value.strip("'") for name, value in re.findall(r"^\s+(\w+) = ('[^']*'|\S+)", said, re.M)}
    assert found.pop("STATEMENT_TIMEOUT_IN_SECONDS") == "3600"
    assert found == {name: str(value).lower() if isinstance(value, bool) else str(value)
                     for name, value in SESSION_PARAMETERS.items()}  # fmt: skip


def test_the_setup_is_valid_snowflake_sql() -> None:
    """To sqlfluff's grammar, which knows roles, users, tags and blocks where sqlglot gives up."""
    from sqlfluff.core import Linter

    parsed = Linter(dialect="snowflake").parse_string(SETUP)
    assert parsed.tree is not None
    assert [str(error) for error in parsed.violations] == []
    assert "unparsable" not in parsed.tree.type_set()
