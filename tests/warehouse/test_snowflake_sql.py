"""What Snowflake is told apart from the models, without an account: its macros, its set-up script and its variables.

Locks out: a holdout that changes with the engine, a set-up script that cannot be run twice, an undocumented variable,
and a dbt profile that lets a failed transaction be committed by the next model.
"""

import hashlib
import json
import re
from functools import cache
from pathlib import Path

import duckdb
import jinja2
import pytest
import sqlglot
import yaml
from hypothesis import given
from hypothesis import strategies as st

from segmentation_assets.dbt.runner import ONE_SESSION
from segmentation_assets.settings import Settings
from segmentation_assets.warehouse.snowflake import SETTINGS, scripting_block

ROOT = Path(__file__).parents[2]
SETUP = (ROOT / "snowflake" / "setup.sql").read_text()


def macro(file: str, name: str) -> str:
    """The text of one macro."""
    found = re.search(
        rf"\{{% macro {name}\(.*?endmacro %\}}", (ROOT / "dbt_models" / "macros" / file).read_text(), re.S
    )
    assert found, name
    return found.group(0)


@cache
def hash_number_in_duckdb() -> str:
    """Snowflake's spelling of the hash, translated: the translation is sqlglot's, the arithmetic is the macro's."""
    template = macro("publication/publication.sql", "snowflake__hash_number") + "{{ snowflake__hash_number('text') }}"
    sql = jinja2.Environment(autoescape=False).from_string(template).render()
    return (
        "with texts as (select unnest(?) as text) "
        + sqlglot.transpile(f"select {sql} from texts", read="snowflake", write="duckdb")[0]
    )


@given(st.lists(st.text(max_size=40), min_size=1, max_size=20))
def test_snowflakes_hash_number_is_the_first_sixty_bits_of_the_md5(texts: list[str]) -> None:
    found = duckdb.execute(hash_number_in_duckdb(), [texts]).fetchall()
    assert found == [(int(hashlib.md5(text.encode()).hexdigest()[:15], 16),) for text in texts]


def test_publishing_is_one_block_that_the_server_begins_and_ends() -> None:
    """One statement to the connector, which dbt splits texts with: no client can be killed between two of its parts.
    The emulator knows no blocks, and is sent the parts one by one."""
    from io import StringIO

    from snowflake.connector.util_text import split_statements
    from sqlfluff.core import Linter

    statements = [
        "update silver.publication_locks set writes = writes + 1 where table_name = 'segment_summary'",
        "\ndelete from gold.segment_summary where snapshot_month in ('2025-11-01')\n",
        "insert into gold.segment_summary (a, b) select a, ';' || b from silver.batch",
    ]
    template = jinja2.Environment(autoescape=False).from_string(
        macro("publication/locks.sql", "snowflake_block") + "{{ snowflake_block(statements) }}"
    )
    sql = template.render(statements=statements).strip()
    assert [text for text, _ in split_statements(StringIO(sql)) if text] == [sql]
    (body,) = re.findall(r"^execute immediate \$\$\n(.*)\n\$\$$", sql, re.S)
    parsed = Linter(dialect="snowflake").parse_string(body)
    assert parsed.tree is not None
    assert [str(error) for error in parsed.violations] == []
    parts = [part.strip() for part in body.split(";\n")]
    assert parts[0].split() == ["begin", "begin", "transaction"]
    assert parts[1:5] == [*(statement.strip() for statement in statements), "commit"]
    assert parts[5].split() == ["exception", "when", "other", "then", "rollback"]
    assert [part.split()[0] for part in parts[6:]] == ["raise", "end;"]
    # Python's is the same, and a working table is dropped when all is committed.
    assert scripting_block([one.strip() for one in statements]).split() == sql.split()
    dropping = macro("publication/locks.sql", "snowflake_block") + "{{ snowflake_block(statements, 'drop table a') }}"
    rendered = jinja2.Environment(autoescape=False).from_string(dropping).render(statements=statements)
    assert rendered.split() == sql.replace("commit;", "commit; drop table a;").split()


def test_every_statement_of_the_setup_parses() -> None:
    statements = sqlglot.parse(SETUP, read="snowflake")
    assert len(statements) > 30
    assert all(statements)


def test_the_setup_can_be_run_again() -> None:
    text = re.sub(r"--[^\n]*", "", SETUP)
    creates = re.findall(r"^create [^;]+|'create [^']+", text, re.M)
    assert len(creates) > 15
    assert [body for body in creates if " if not exists " not in body] == []
    assert not re.search(r"^\s*(drop|truncate|create or replace)\b|'(drop|truncate|create or replace)\b", text, re.M)


def test_every_variable_has_a_line_in_the_example() -> None:
    code = "\n".join(path.read_text() for path in sorted((ROOT / "segmentation_assets").rglob("*.py")))
    used = set(re.findall(r"\b(?:SEGMENTATION|SNOWFLAKE)_[A-Z_]+[A-Z]\b", code)) | set(SETTINGS.values())
    known = {name for name in Settings.names().values() if name.startswith("SEGMENTATION_")}
    assert used == known | set(SETTINGS.values())
    example = (ROOT / ".env.example").read_text()
    listed = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.M))
    assert used - set(listed) == set()
    for name in SETTINGS.values():
        assert re.search(rf"^#.*\n{name}=", example, re.M), f"{name} has no line that says what it is"
    assert {name: listed[name] for name in listed if re.search("PASS|KEY|TOKEN", name)} == {
        "SNOWFLAKE_PRIVATE_KEY_PATH": "",
        "SNOWFLAKE_PRIVATE_KEY": "",
        "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "",
        "SNOWFLAKE_TOKEN": "",
        "SNOWFLAKE_TOKEN_FILE_PATH": "",
        "SNOWFLAKE_PASSWORD": "",
    }


@pytest.mark.parametrize(("environment", "expected"), [({}, ("False", "4")), (ONE_SESSION, ("True", "1"))])
def test_a_session_is_shared_by_the_nodes_of_a_run_one_after_the_other_and_by_no_others(
    environment: dict[str, str], expected: tuple[str, str]
) -> None:
    """Plain dbt closes it after every node: what a failed one had begun would be committed by the next. A run closes it
    itself after a node that failed (tests/system/test_snowflake_login.py)."""
    profile = yaml.safe_load((ROOT / "dbt_models" / "profiles.yml").read_text())["segmentation"]["outputs"]["snowflake"]
    assert profile["connect_retries"] <= 1
    engine = jinja2.Environment(autoescape=False)
    engine.filters |= {"as_bool": str, "as_number": str}
    rendered = (
        engine.from_string(str(profile[name])).render(env_var=environment.get)
        for name in ("reuse_connections", "threads")
    )
    assert tuple(rendered) == expected


@pytest.mark.parametrize("last_month", ["2025-11-01", None])
def test_the_query_tag_says_which_run_and_which_months(last_month: str | None) -> None:
    profile = yaml.safe_load((ROOT / "dbt_models" / "profiles.yml").read_text())["segmentation"]["outputs"]["snowflake"]
    given = {"run_id": "4f9977ff", "first_month": "2025-08-01", **({"last_month": last_month} if last_month else {})}
    rendered = jinja2.Environment(autoescape=False).from_string(profile["query_tag"])
    assert json.loads(rendered.render(var=given.get)) == {
        "app": "customer-segmentation",
        "run_id": "4f9977ff",
        "first_month": "2025-08-01",
        "last_month": last_month or "2025-08-01",
    }
