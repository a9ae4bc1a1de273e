"""Column lineage is kept for as long as a model's SQL is the same but for its dates, and never gets in the way.

Locks out: lineage of another SQL, and a build that fails because the folder of what is known is damaged or read-only,
or because a statement cannot be read.
"""

from pathlib import Path

import dagster as dg
import pytest

from segmentation_assets.dbt.lineage import column_lineage, known_lineage

DECEMBER = "select b from parent where made_at < '2025-12-01 06:00:01' /* 0f2898f6-73f5-416e-8fec-971b5494f79b */"
JANUARY = "select b from parent where made_at < '2026-01-01 06:00:09' /* 1f2898f6-73f5-416e-8fec-971b5494f79b */"


class Worked:
    """Counts how often lineage has to be worked out; it leads from the column that the SQL names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0

    def lineage(self, sql: str) -> dg.TableColumnLineage | None:
        def work_out() -> dg.TableColumnLineage:
            self.times += 1
            column = sql.split()[1]
            return dg.TableColumnLineage({"a": [dg.TableColumnDep(dg.AssetKey("parent"), column)]})

        return known_lineage(self.folder, "model", sql, work_out)


@pytest.fixture
def worked(tmp_path: Path) -> Worked:
    return Worked(tmp_path / "known")


def test_another_month_is_known_and_another_column_is_not(worked: Worked) -> None:
    first = worked.lineage(DECEMBER)
    assert worked.lineage(JANUARY) == first
    assert worked.times == 1
    changed = worked.lineage(JANUARY.replace("select b", "select c"))
    assert worked.times == 2
    assert changed is not None
    assert changed.deps_by_column["a"][0].column_name == "c"


@pytest.mark.parametrize("content", ["", "{", '{"__class__": "Nothing"}', "[]"])
def test_what_cannot_be_read_is_worked_out_again(worked: Worked, content: str) -> None:
    first = worked.lineage(DECEMBER)
    (file,) = worked.folder.iterdir()
    file.write_text(content)
    assert worked.lineage(DECEMBER) == first
    assert worked.lineage(DECEMBER) == first
    assert worked.times == 2


def test_a_folder_that_keeps_nothing_stops_nothing(worked: Worked, caplog: pytest.LogCaptureFixture) -> None:
    worked.folder.write_text("a file where the folder should be")
    first = worked.lineage(DECEMBER)
    assert first is not None
    assert worked.lineage(DECEMBER) == first
    assert worked.times == 2
    assert "cannot be kept" in caplog.text


def test_sql_that_cannot_be_read_has_no_lineage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def work_out() -> dg.TableColumnLineage:
        return column_lineage("select from where (", "duckdb", columns=["a"], read={}, parents={})

    assert known_lineage(tmp_path, "model", "select from where (", work_out) is None
    assert "model is shown without the lineage of its columns" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dialect", ["duckdb", "snowflake"])
def test_a_column_leads_to_all_that_it_is_made_from(dialect: str) -> None:
    spelled = str.upper if dialect == "snowflake" else str.lower
    facts, dates, own = map(spelled, ("db.gold.facts", "db.gold.dates", "db.silver.spend"))
    sql = f"""
        with counted as (
            select facts.*, dates.day from {facts} as facts inner join {dates} as dates on facts.date_key = dates.key
        )
        select customer, sum(amount) as spend, max(day) as last_day, sum(amount) / count(*) as mean, 1 as one
        from counted where customer not in (select customer from {own}) group by customer
    """
    read = {
        facts: {"customer": "varchar", "amount": "decimal(18, 2)", "date_key": "integer"},
        dates: {"key": "integer", "day": "date"},
        own: {"customer": "varchar"},
    }
    keys = {facts: dg.AssetKey(["gold", "facts"]), dates: dg.AssetKey(["gold", "dates"])}
    found = column_lineage(
        sql, dialect, columns=map(spelled, ("customer", "spend", "last_day", "mean", "one", "made_elsewhere")),
        read={table: {spelled(name): kind for name, kind in columns.items()} for table, columns in read.items()},
        parents=keys,
    )  # fmt: skip
    made_from = {
        column: [f"{dep.asset_key.path[-1]}.{dep.column_name}" for dep in deps]
        for column, deps in found.deps_by_column.items()
    }
    assert made_from == {
        "customer": ["facts.customer"],
        "spend": ["facts.amount"],
        "last_day": ["dates.day"],
        "mean": ["facts.amount"],
        "one": [],
        "made_elsewhere": [],
    }
