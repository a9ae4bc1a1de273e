"""Readers beside a run: what DuckDB's lock does to them, and the copy that is theirs.

Locks out: a reader who finds half a copy; names and addresses of customers in it; a copy that somebody other than its
readers may open; a copy written over the database, or over a file that is no copy.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from segmentation_assets.errors import WarehouseError
from segmentation_assets.publication import reader_copy
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.command_line import in_process
from tests.support.published_months import pipeline_at
from tests.support.warehouse_fixture import Pipeline

READ = "import duckdb, sys; duckdb.connect(sys.argv[1], read_only=True).execute('select 1'); print('read')"


@pytest.fixture
def published(audiences_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    """Three published months and their audiences."""
    with pipeline_at(tmp_path / "segmentation.duckdb", audiences_file) as pipeline:
        yield pipeline


def read(path: Path) -> str:
    """What a reader in another process gets."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_snapshot_is_read_while_a_run_writes(published: Pipeline, tmp_path: Path) -> None:
    to = tmp_path / "shared" / "segments.duckdb"
    code, out, err = in_process(
        tmp_path, "snapshot", "shared/segments.duckdb", SEGMENTATION_DUCKDB_PATH=str(published.path)
    )
    assert code == 0, err
    assert str(to) in out.replace("\n", "")
    with DuckDBWarehouse(path=str(published.path)).session() as session:
        session.execute("begin")
        session.execute("delete from gold.customer_segment_history")
        assert "Could not set lock on file" in read(published.path)
        assert read(to) == "read\n"
        session.execute("rollback")


def test_a_snapshot_holds_what_is_published_and_no_contact_data(published: Pipeline, tmp_path: Path) -> None:
    to = tmp_path / "segments.duckdb"
    copied = reader_copy.take(DuckDBWarehouse(path=str(published.path)), to)
    with duckdb.connect(str(to), read_only=True) as connection:
        columns = connection.execute(
            "select table_name, column_name from information_schema.columns where table_catalog = current_database()"
        ).fetchall()
        explained = connection.execute("select * from gold.segment_explanations order by all").fetchall()
        history = connection.execute("select * from gold.customer_segment_history order by all").fetchall()
    assert {table for table, _ in columns}.isdisjoint({"fct_transactions", "dim_customer", "marketing_suppressions"})
    assert {column for _, column in columns}.isdisjoint({"email", "first_name", "last_name"})
    assert "audience_premium_rewards" in {table for table, _ in columns}
    assert len({table for table, _ in columns}) == copied
    assert b"@example." not in to.read_bytes()
    assert history == published.rows("select * from gold.customer_segment_history order by all")
    assert explained == published.rows("select * from gold.segment_explanations order by all")


def test_the_next_snapshot_replaces_the_file_and_not_what_a_reader_has_open(
    published: Pipeline, tmp_path: Path
) -> None:
    to, warehouse = tmp_path / "segments.duckdb", DuckDBWarehouse(path=str(published.path))
    reader_copy.take(warehouse, to)
    assert to.stat().st_mode & 0o777 == 0o600
    to.chmod(0o640)
    killed = tmp_path / ".segments.duckdb.abc.partial"
    killed.mkdir()
    (killed / to.name).write_bytes(b"half")
    count = "select count(*) from gold.segment_publications"
    with duckdb.connect(str(to), read_only=True) as reader:
        before = reader.execute(count).fetchall()
        published.execute("insert into gold.segment_publications select * from gold.segment_publications")
        reader_copy.take(warehouse, to)
        assert reader.execute(count).fetchall() == before
        assert reader.execute("select count(distinct customer_id) from gold.customer_segment_history").fetchall()
    with duckdb.connect(str(to), read_only=True) as reader:
        assert reader.execute(count).fetchall() == [(2 * before[0][0],)]
    assert to.stat().st_mode & 0o777 == 0o640
    assert not killed.exists()


def test_a_snapshot_is_not_written_over_anything_else(published: Pipeline, tmp_path: Path) -> None:
    warehouse = DuckDBWarehouse(path=str(published.path))
    notes = tmp_path / "notes.txt"
    notes.write_text("not a database")
    theirs = tmp_path / "theirs.duckdb"
    with duckdb.connect(str(theirs)) as connection:
        connection.execute("create schema gold; create table gold.customer_segment_history as select 'mine' as word")
    before = theirs.read_bytes()
    for to, words in (
        (theirs, "did not make"),
        (published.path, "is the database itself"),
        (notes, "no DuckDB file"),
        (tmp_path, "is a folder"),
        (notes / "below.duckdb", "cannot be written"),
    ):
        with pytest.raises(WarehouseError, match=words):
            reader_copy.take(warehouse, to)
    assert notes.read_text() == "not a database"
    assert theirs.read_bytes() == before
    empty = DuckDBWarehouse(path=str(tmp_path / "empty.duckdb"))
    duckdb.connect(empty.path).close()
    with pytest.raises(WarehouseError, match="Nothing is published yet"):
        reader_copy.take(empty, tmp_path / "segments.duckdb")
    assert not (tmp_path / "segments.duckdb").exists()


def test_a_snapshot_takes_nothing_that_is_no_model(published: Pipeline, tmp_path: Path) -> None:
    """A table somebody put beside the published ones, a source in capitals, a column somebody added to a model."""
    to = tmp_path / "segments.duckdb"
    published.execute("create table gold.crm_export as select '+44 20 7946 0018' as phone")
    published.execute("create view gold.crm_view as select * from gold.crm_export")
    published.execute("drop table gold.dim_customer; create table gold.\"DIM_CUSTOMER\" as select 'Ada' as first_name")
    published.execute("alter table gold.customer_segments add column phone varchar default '+44 20 7946 0018'")
    reader_copy.take(DuckDBWarehouse(path=str(published.path)), to)
    with duckdb.connect(str(to), read_only=True) as connection:
        columns = connection.execute(
            "select lower(table_name), lower(column_name) from information_schema.columns"
            " where table_catalog = current_database()"
        ).fetchall()
        schemas = connection.execute("select distinct schema_name from duckdb_tables()").fetchall()
    assert {table for table, _ in columns}.isdisjoint({"crm_export", "crm_view", "dim_customer"})
    assert {column for _, column in columns}.isdisjoint({"phone", "email", "first_name", "last_name"})
    assert ("customer_segments", "customer_id") in columns
    assert schemas == [("gold",)]
    assert b"7946 0018" not in to.read_bytes()
