"""Column lineage is kept for as long as a model's SQL is the same but for its dates, and never gets in the way.

Locks out: lineage of another SQL, and a build that fails because the folder of what is known is damaged or read-only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from segmentation_assets.dbt.lineage import LINEAGE, known_lineage


class DagsterDbt:
    """Counts how often lineage has to be worked out; it leads from the column that the SQL names."""

    def __init__(self, sql: Path) -> None:
        self.sql = sql
        self.worked_out = 0

    def __call__(self, with_column_lineage: bool) -> Mapping[str, Any]:
        schema: dict[str, Any] = {"dagster/column_schema": "schema"}
        if not with_column_lineage:
            return schema
        self.worked_out += 1
        column = self.sql.read_text(encoding="utf-8").split()[1]
        dep = dg.TableColumnDep(asset_key=dg.AssetKey("parent"), column_name=column)
        return {**schema, LINEAGE: dg.TableColumnLineage({"a": [dep]})}


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    path = tmp_path / "model.sql"
    path.write_text("select b from parent where day < date '2025-12-01' /* 0f2898f6-73f5-416e-8fec-971b5494f79b */")
    return path


def test_another_month_is_known_and_another_column_is_not(tmp_path: Path, sql: Path) -> None:
    fetch = DagsterDbt(sql)
    first = known_lineage(tmp_path / "known", "model", sql, fetch)
    sql.write_text("select b from parent where day < date '2026-01-01' /* 1f2898f6-73f5-416e-8fec-971b5494f79b */")
    assert known_lineage(tmp_path / "known", "model", sql, fetch) == first
    assert fetch.worked_out == 1
    sql.write_text("select c from parent where day < date '2026-01-01'")
    changed = known_lineage(tmp_path / "known", "model", sql, fetch)
    assert fetch.worked_out == 2
    assert changed[LINEAGE].deps_by_column["a"][0].column_name == "c"


@pytest.mark.parametrize("content", ["", "{", '{"__class__": "Nothing"}', "[]"])
def test_what_cannot_be_read_is_worked_out_again(tmp_path: Path, sql: Path, content: str) -> None:
    fetch = DagsterDbt(sql)
    first = known_lineage(tmp_path / "known", "model", sql, fetch)
    (file,) = (tmp_path / "known").iterdir()
    file.write_text(content)
    assert known_lineage(tmp_path / "known", "model", sql, fetch) == first
    assert known_lineage(tmp_path / "known", "model", sql, fetch) == first
    assert fetch.worked_out == 2


def test_a_model_without_sql_is_fetched_whole(tmp_path: Path, sql: Path) -> None:
    fetch = DagsterDbt(sql)
    for _ in range(2):
        assert LINEAGE in known_lineage(tmp_path / "known", "model", tmp_path / "missing.sql", fetch)
    assert fetch.worked_out == 2
