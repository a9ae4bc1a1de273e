"""Another dbt project that has this one among its packages (`packages: - local: ...`), built on DuckDB.

Locks out: a macro that is found only while this project is the root, schemas that the other project's
generate_schema_name moves, rules of the other project that do not arrive, working tables that it may build on, and a
model of the other project that is taken for ours as it has the same name.
"""

from collections.abc import Sequence
from contextlib import chdir
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from segmentation_assets.dbt.project import project_dir
from segmentation_assets.dbt.runner import close_connections
from tests.support.command_line import in_process
from tests.support.portfolio import CONTRACT
from tests.support.published_months import NOVEMBER, OCTOBER

# A rule of the package, and one for all packages; the rest is as it ships.
RULES = {"segmentation": {"audits": {}}, "other_statuses": ["declined", "reversed", "pending", "held"]}
FLOOR = 1
OWN_MODELS_FIRST = "require_ref_searches_node_package_before_root"
SCHEMA_NAMES = (
    "{% macro generate_schema_name(name, node) %}{{ 'shop_' ~ (name or target.schema) | trim }}{% endmacro %}"
)
# Names of our own macros, in the other project.
NAMESAKES = "{% macro parse_month(value, name) %}{{ return('another') }}{% endmacro %}"
LOYAL = "select customer_id from {{ ref('segmentation', 'customer_segments') }} where is_active"
# A name that many projects have, and this package too.
NAMESAKE = "select 'theirs' as whose"
CURIOUS = "select customer_id from {{ ref('segmentation', 'segment_assignments') }}"


def shop(folder: Path) -> Path:
    """The other project, with the star schema in its database."""
    shipped = yaml.safe_load((project_dir() / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    rules = {**RULES, "segmentation": {"audits": {**shipped["audits"], "minimum_segment_share_pct": FLOOR}}}
    output: dict[str, Any] = {"type": "duckdb", "path": str(folder / "shop.duckdb"), "schema": "main", "threads": 2}
    output["settings"] = {"TimeZone": "UTC"}
    files: dict[str, Any] = {
        "dbt_project.yml": {
            "name": "shop",
            "profile": "shop",
            "vars": rules,
            "flags": {"send_anonymous_usage_stats": False, OWN_MODELS_FIRST: True},
            "dispatch": [{"macro_namespace": "dbt", "search_order": ["shop", "segmentation", "dbt"]}],
        },
        "packages.yml": {"packages": [{"local": str(folder / "segmentation")}]},
        "profiles.yml": {"shop": {"target": "dev", "outputs": {"dev": output}}},
    }
    code, _, err = in_process(folder, "dbt-project", "segmentation")
    assert code == 0, err
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    for name, text in (
        ("macros/generate_schema_name.sql", SCHEMA_NAMES),
        ("macros/namesakes.sql", NAMESAKES),
        ("models/loyal.sql", LOYAL),
        ("models/stg_customers.sql", NAMESAKE),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def dbt(folder: Path, *arguments: str) -> tuple[bool, str]:
    from dbt.cli.main import dbtRunner

    said: list[str] = []

    def listen(event: Any) -> None:
        if event.info.level != "debug":
            said.append(event.info.msg)

    with chdir(folder):
        close_connections()
        result = dbtRunner(callbacks=[listen]).invoke(
            [
                "--log-level",
                "none",
                "--no-write-json",
                *arguments,
                "--project-dir",
                str(folder),
                "--profiles-dir",
                str(folder),
            ]
        )
        close_connections()
    return bool(result.success), "\n".join([*said, str(result.exception or "")])


def months(first: date, last: date) -> Sequence[str]:
    return ["--vars", f"{{first_month: {first}, last_month: {last}}}"]


def test_a_project_with_this_package_builds(
    published_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMENTATION_DUCKDB_PATH")  # its profile says where the tables are
    folder = shop(tmp_path)
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute(f"attach '{published_file}' as theirs (read_only)")
        connection.execute("create schema gold")
        for table in CONTRACT:
            connection.execute(f"create table gold.{table} as from theirs.gold.{table}")
    succeeded, said = dbt(folder, "deps")
    assert succeeded, said
    models = ("customer_segments", "+segment_summary", "+audience_premium_rewards", "loyal", "package:shop")
    succeeded, said = dbt(folder, "run", "--select", *models, *months(OCTOBER, NOVEMBER))
    assert succeeded, said
    # One that looks at the asked months, and one that asks for the rules of the log.
    tests = ("one_row_per_month_and_segment", "rules_are_those_of_the_last_publication")
    succeeded, said = dbt(folder, "test", "--select", *tests, *months(OCTOBER, NOVEMBER))
    assert succeeded, said
    with duckdb.connect(str(folder / "shop.duckdb"), read_only=True) as connection:
        found = connection.execute("select distinct table_schema from information_schema.tables").fetchall()
        assert {schema for (schema,) in found} == {"gold", "silver", "test_failures", "shop_main"}
        published = connection.execute(
            "select count(distinct snapshot_month), count(distinct customer_segment) from gold.segment_summary"
        ).fetchall()
        assert published == [(2, 5)]
        assert connection.execute("select whose from shop_main.stg_customers").fetchall() == [("theirs",)]
        (loyal,) = connection.execute("select count(*) from shop_main.loyal").fetchall()[0]
        assert loyal > 500
        floors = connection.execute(
            "select distinct lower_bound from silver.segment_audits where audit like '%minimum_share'"
        ).fetchall()
        assert floors == [(FLOOR,)]
        statuses = connection.execute(
            "select distinct entry_value from gold.segment_decisions where entry = 'other_statuses'"
        ).fetchall()
        assert "held" in statuses[0][0]
    (folder / "models" / "curious.sql").write_text(CURIOUS, encoding="utf-8")
    succeeded, said = dbt(folder, "parse", *months(OCTOBER, NOVEMBER))
    assert not succeeded
    assert "segment_assignments" in said and "protected" in said
    # Without the flag dbt takes the other project's stg_customers for ours.
    (folder / "models" / "curious.sql").unlink()
    project = (folder / "dbt_project.yml").read_text(encoding="utf-8")
    (folder / "dbt_project.yml").write_text(project.replace(f"{OWN_MODELS_FIRST}: true", ""), encoding="utf-8")
    succeeded, said = dbt(folder, "run", "--select", "segment_summary", *months(OCTOBER, NOVEMBER))
    assert not succeeded
    assert "The models stg_customers of project shop would be taken for those of package segmentation" in said
