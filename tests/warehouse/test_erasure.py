"""Somebody who asked to be erased is nowhere, and nothing that was published about everybody has changed.

Locks out: an id, an address, a name or a hash left in a table, a file, a log or a store; a total that moved; a run that
sees a difference where somebody is gone, or that brings them back while the source still has them; a list or a file
older than the rules keep it, with an address.
"""

import csv
import hashlib
import io
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow.parquet as pq
import pytest

from segmentation_assets.automation.erase_job import ERASE
from segmentation_assets.dbt.project import Project
from segmentation_assets.definitions import build_defs
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.privacy import erased, in_exports, in_tables, retention
from segmentation_assets.privacy.erase import ErasureError, asked, erase
from segmentation_assets.publication import reader_copy, restatements
from segmentation_assets.rules.schema import Privacy
from segmentation_assets.sources import synthetic
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.byte_search import Person, hits
from tests.support.published_by_job import MONTHS, NEWEST, Published

SUMS = ("segment_summary", "segment_transitions", "hero_metrics", "campaign_outcome_groups", "program_outcome_groups",
        "campaign_outcomes", "program_outcomes")  # fmt: skip
SOURCE = ("dim_customer", "fct_transactions", "marketing_suppressions")
STAMPS = ("content_hash", "previous_content_hash", "base_content_hash")


def sums(path: Path, *further: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of what is summed up, to the cent; without the stamps, which name the version."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return {
            table: connection.execute(
                f"select columns(lambda c: c not in {STAMPS}) from gold.{table} order by all"
            ).fetchall()
            for table in (*SUMS, *further)
        }  # fmt: skip


@dataclass(frozen=True)
class Erased:
    published: Published
    people: list[Person]
    before: dict[str, list[tuple[Any, ...]]]
    copy: Path
    told: list[str]
    done: Any

    @property
    def stores(self) -> list[Path]:
        """Everything but the database, in which the source still has them."""
        return [self.published.exports, self.published.folder / "home", self.copy]


@pytest.fixture(scope="module")
def erasure(published_by_job: Published, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erased]:
    """Two people of a list are erased who are, besides, in a failed test, a what-if, a log and Dagster's storage."""
    copy = tmp_path_factory.mktemp("readers") / "copy.duckdb"
    with pytest.MonkeyPatch.context() as patch:
        for name, given in published_by_job.environment.items():
            patch.setenv(name, given)
        project = Project.load()
        warehouse = DuckDBWarehouse(path=str(published_by_job.database))
        people = plant(published_by_job)
        reader_copy.take(warehouse, copy, project)
        before = sums(published_by_job.database, "audience_waterfall")
        told: list[str] = []
        done = erase(project, warehouse, [person[0] for person in people], told.append)
        yield Erased(published_by_job, people, before, copy, [*told, *done.lines()], done)


THEIRS = "theirs.pickle"


def plant(published: Published) -> list[Person]:
    with duckdb.connect(str(published.database)) as connection:
        people: list[Person] = connection.execute(
            "select customer_id, email, first_name, last_name from gold.audience_core_retention"
            " where treatment_group = 'target' group by all having count(*) = 2 order by min(audience_rank) limit 2"
        ).fetchall()
        first, second = people[0], people[1]
        connection.execute("create schema if not exists test_failures")
        connection.execute("create or replace table test_failures.audience_addresses_are_unique_planted as"
                           " select ? as email, ? as unique_field, 7 as n_records", [first[1], second[0]])  # fmt: skip
        connection.execute("create schema what_if_20260101000000_abcdef_silver")
        connection.execute("create table what_if_20260101000000_abcdef_silver.segment_assignments as"
                           " from silver.segment_assignments")  # fmt: skip
        # Another customer's row refers to the first by the mailbox that they share.
        connection.execute(
            "update gold.audience_premium_rewards set holdout_unit = ? where audience_rank = 1", [first[0]]
        )
        # What a person wrote of a month names one of them, too.
        connection.execute(
            "update gold.segment_publications set override_reason = ? where version = 1", [f"Asked {first[0]}: right"]
        )
        connection.execute(
            "insert into silver.segment_audit_overrides by name select date '2025-11-01' as snapshot_month,"
            " 'segment_mix_is_stable' as audit, 'Ann' as accepted_by, timestamp '2025-12-01 08:00:00' as accepted_at,"
            " 0 as measured, ? as reason", [f"See {second[1]}, {first[0]}"]
        )  # fmt: skip
    home = published.folder / "home"
    # Somebody else's asset in the same Dagster, and their words.
    (home / THEIRS).write_bytes(b"PAR1\xff " + first[0].encode())
    (home / "notes.log").write_text(f"refused: {first[1]} of {first[0]}; {second[2]} {second[3]}\n", encoding="utf-8")
    # As an engine's error, or what somebody typed for a reason.
    (file,) = home.rglob("runs.db")
    with sqlite3.connect(file) as storage:
        (body,) = storage.execute("select run_body from runs limit 1").fetchone()
        about = json.loads(body)
        about["tags"] = {**about["tags"], "why": f"asked for by {first[1]}, {second[0]}"}
        storage.execute("update runs set run_body = ?", (json.dumps(about),))
    storage.close()
    return people


def test_nobody_erased_is_in_any_store_but_the_source(erasure: Erased) -> None:
    assert hits(erasure.people, *erasure.stores) == [f"id in {THEIRS}"]
    theirs = erasure.published.folder / "home" / THEIRS
    assert theirs.read_bytes().startswith(b"PAR1\xff") and erasure.done.stores.not_ours == [str(theirs)]
    left = {hit.rpartition(": ")[2].rpartition(".")[0] for hit in hits(erasure.people, erasure.published.database)
            if ": " in hit}  # fmt: skip
    assert left <= {f"gold.{table}" for table in SOURCE}, left
    with duckdb.connect(str(erasure.copy), read_only=True) as connection:
        assert connection.execute("select count(*) from gold.segment_summary").fetchone() != (0,)
    told = "\n".join(erasure.told)
    assert all(text not in told for person in erasure.people for text in person[:2])
    assert "Erased: 2 customers." in told and "The source still has 2 of them" in told
    assert erasure.done.tables.rows["gold.audience_core_retention"] == 4
    assert erasure.done.stores.stored >= 1 and erasure.done.stores.files >= 1


def test_what_was_published_is_as_it_was_to_the_cent_and_the_log_says_that_and_not_who(erasure: Erased) -> None:
    database = erasure.published.database
    assert sums(database, "audience_waterfall") == erasure.before
    with duckdb.connect(str(database), read_only=True) as connection:
        newest = connection.execute(
            "select log.snapshot_month, log.run_id[:8], log.customers, count(*) from gold.segment_publications as log"
            " join gold.customer_segment_history as history using (snapshot_month) where version = 2 group by all"
            " order by 1"
        ).fetchall()
        assert newest == [(month, "erasure ", n, n) for month, (_, _, n, _) in zip(MONTHS, newest, strict=True)]
        moved = connection.execute(
            "select snapshot_month, from_segment, customers from gold.segment_restatements where to_segment = 'Erased'"
            " order by 1"
        ).fetchall()
        assert moved == [(month, "Stable Mid-Spenders", 2) for month in MONTHS]
        assert connection.execute("select count(*) from silver.segment_gate where not is_audited").fetchone() == (0,)
        # A tool that keeps a copy of the feed is told that somebody is gone.
        payloads = connection.execute("select payload from gold.audience_feed where external_id = 'erased'").fetchall()
        assert [json.loads(payload)["customers"] for (payload,) in payloads] == [2]
        unit = connection.execute(
            "select customer_id, holdout_unit from gold.audience_premium_rewards where audience_rank = 1"
        ).fetchall()
        assert unit and all(customer_id == holdout_unit for customer_id, holdout_unit in unit)
    with DuckDBWarehouse(path=str(database)).session(read_only=True) as session:
        assert restatements.find(session) is None


def test_every_export_is_whole_and_follows_the_one_before(erasure: Erased) -> None:
    store = ExportStore(str(erasure.published.exports))
    for campaign in store.campaigns():
        before = None
        for month in store.exported_months(campaign):
            manifest = store.manifest(campaign, month)
            assert manifest is not None
            contents = {name: store.file(campaign, month, manifest, name) for name in manifest["files"]}
            assert {name: len(content) for name, content in contents.items()} == {
                name: entry["bytes"] for name, entry in manifest["files"].items()
            }
            rows = list(csv.DictReader(io.StringIO(contents["full.csv"].decode())))
            assert len(rows) == manifest["files"]["full.csv"]["rows"]
            assert list(store.other_versions(campaign, month, manifest)) == []
            if before:
                assert manifest["compared_with"]["customers_sha256"] == before["customers_sha256"]
            before = manifest
    core = store.manifest("core_retention", NEWEST)
    assert core is not None and core["files"]["full.csv"]["rows"] == core["waterfall"]["sent"] - 2


def test_erased_again_by_the_job_nothing_is_left_to_do_and_a_stranger_is_refused(
    erasure: Erased, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, given in erasure.published.environment.items():
        monkeypatch.setenv(name, given)
    warehouse, ids = DuckDBWarehouse(path=str(erasure.published.database)), tmp_path / "ids.txt"
    ids.write_text("".join(f"{person[0]}\n" for person in erasure.people), encoding="utf-8")
    with dg.DagsterInstance.ephemeral() as instance:
        run = (
            build_defs()
            .resolve_job_def(ERASE)
            .execute_in_process(
                run_config={"ops": {"segmentation_erase_people": {"config": {"file": str(ids)}}}}, instance=instance
            )
        )
        said = "\n".join(entry.user_message for entry in instance.all_logs(run.run_id))
    assert "Erased: 2 customers." in said and "exports: 0 lines of 0 months" in said
    assert "customer_segment_history" not in said and "published month" not in said
    assert not any(text in said for person in erasure.people for text in person[:2])
    with pytest.raises(ErasureError, match="1 id of 2 is known neither") as refused:
        erase(Project.load(), warehouse, [erasure.people[0][0], "NOBODY 7"])
    assert "NOBODY" not in str(refused.value)


def test_a_backfill_brings_nobody_back_while_the_source_has_them(
    erasure: Erased, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = erasure.published.pipeline(monkeypatch)
    run = pipeline.run(MONTHS[0], NEWEST)
    assert run.success, [event.message for event in run.all_events if event.is_failure]
    failed = [one.check_name for one in run.get_asset_check_evaluations()
              if not one.passed and one.severity == dg.AssetCheckSeverity.ERROR]  # fmt: skip
    assert failed == []
    pipeline.instance.dispose()
    assert hits(erasure.people, *erasure.stores) == [f"id in {THEIRS}"]
    # The versions are still those of the erasure, and the sums those of before it.
    found = sums(erasure.published.database)
    assert {table: found[table] for table in SUMS} == {table: erasure.before[table] for table in SUMS}
    with pipeline.connection() as connection:
        assert connection.execute("select max(version) from gold.segment_publications").fetchone() == (2,)
        assert connection.execute("select left_out from silver.unknown_members where left_out = 'erased'").fetchall()
        for table in SOURCE:
            connection.execute(f"drop table gold.{table}")
    DuckDBWarehouse(path=str(pipeline.path)).write_anew()
    assert hits(erasure.people, erasure.published.database) == []


def test_what_was_deleted_is_not_in_the_file_that_is_written_anew(tmp_path: Path) -> None:
    path, secret = tmp_path / "segmentation.duckdb", b"0b5c6c5e4a934d1f8a51"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema gold; create table gold.t (a integer primary key, b varchar not null)")
        connection.execute("comment on table gold.t is 'whose it is'; create view gold.v as select b from gold.t")
        connection.execute("insert into gold.t values (2, 'stays')")
        connection.execute("set force_compression = 'uncompressed'")
        connection.execute(f"create table gone as select '{secret.decode()}' || range as b from range(20000)")
        connection.execute("checkpoint")
        # After it in the file, so that its blocks are free ones in the middle.
        connection.execute("create table later as select 'later' || range as b from range(20000)")
        connection.execute("checkpoint; drop table gone")
    assert secret in path.read_bytes()
    left = tmp_path / ".segmentation.duckdb.killed.partial"
    left.mkdir()
    DuckDBWarehouse(path=str(path)).write_anew()
    assert secret not in path.read_bytes() and not path.with_name(f"{path.name}.wal").exists()
    assert not left.exists() and path.stat().st_mode & 0o777 == 0o600
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("from gold.v").fetchall() == [("stays",)]
        of_t = "where table_name = 't'"
        assert connection.execute(f"select comment from duckdb_tables() {of_t}").fetchall() == [("whose it is",)]
        assert connection.execute(f"select constraint_type from duckdb_constraints() {of_t} order by 1").fetchall() == [
            ("NOT NULL",), ("NOT NULL",), ("PRIMARY KEY",)
        ]  # fmt: skip


def test_a_demo_made_anew_has_nobody_of_the_list(
    published_by_job: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "segmentation.duckdb"
    shutil.copy(published_by_job.database, path)
    monkeypatch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
    monkeypatch.setenv("SEGMENTATION_SOURCE", "synthetic")
    with duckdb.connect(str(path)) as connection:
        synthetic.build(connection, "gold", customers=50, first_month=date(2026, 9, 1), last_month=NEWEST)
        ((customer,),) = connection.execute("select min(customer_id) from gold.dim_customer").fetchall()
        facts = (
            "select count(*) from gold.fct_transactions join gold.dim_customer using (customer_key)"
            " where customer_id = ?"
        )
        ((all_facts,),) = connection.execute("select count(*) from gold.fct_transactions").fetchall()
        ((his,),) = connection.execute(facts, [customer]).fetchall()
        assert his > 0
    with DuckDBWarehouse(path=str(path)).session() as session:
        erased.add(session, [customer])
        in_tables.remove_from_demo(session, Project.load())
        rows = session.rows("select count(*) as n from gold.dim_customer where customer_id = ?", (customer,))
        assert rows == [{"n": 0}]
        assert session.rows("select count(*) as n from gold.fct_transactions")[0]["n"] == all_facts - his


def test_older_lists_and_files_lose_names_and_addresses_and_nothing_else(
    published_by_job: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published_by_job.folder, folder)
    published = Published(folder)
    for name, given in published.environment.items():
        monkeypatch.setenv(name, given)
    rules = Project.load().rules
    before, store = sums_without_source(published), ExportStore(str(published.exports))
    name, older = "core_retention", MONTHS[0]
    kept = store.manifest(name, NEWEST)
    for pseudonymise in (False, True):
        changed = rules.model_copy(update={"privacy": Privacy(retention_months=1, pseudonymise=pseudonymise)})
        with DuckDBWarehouse(path=str(published.database)).session() as session:
            blanked = retention.blank(session, store, changed, name)
            assert blanked.rows > 0 and blanked.export_months == 1
            assert retention.blank(session, store, changed, name) == retention.Blanked(0, 0)
            rows = session.rows(f"select * from gold.audience_{name} order by snapshot_month, audience_rank")
        of_older = [row for row in rows if row["snapshot_month"] == older]
        assert all(row[column] is None for row in of_older for column in retention.CONTACT)
        assert all(row["email"] for row in rows if row["snapshot_month"] != older)
        assert all(row["customer_id"].startswith("pseudonym-") == pseudonymise for row in of_older)
        assert len({row["customer_id"] for row in of_older}) == len(of_older)
        manifest = store.manifest(name, older)
        assert manifest is not None
        contents = {file: store.file(name, older, manifest, file) for file in manifest["files"]}
        assert not any(b"@" in content for file, content in contents.items() if file.endswith(".csv"))
        listed = pq.read_table(io.BytesIO(contents["full.parquet"])).to_pylist()
        assert listed and all(row[column] is None for row in listed for column in retention.CONTACT)
        assert contents["ads.csv"] == b"email_sha256\n"
        assert manifest["files"]["full.csv"]["rows"] == manifest["waterfall"]["sent"]
        assert list(store.other_versions(name, older, manifest)) == []
        newest = store.manifest(name, NEWEST)
        assert newest is not None and kept is not None
        assert newest["files"] == kept["files"]
        assert newest["compared_with"]["customers_sha256"] == manifest["customers_sha256"]
    assert sums_without_source(published) == before


def sums_without_source(published: Published) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(published.database), read_only=True) as connection:
        return {table: connection.execute(f"from gold.{table} order by all").fetchall() for table in SUMS}


def test_the_evidence_of_a_month_is_whole_and_names_nobody(
    published_by_job: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, given in published_by_job.environment.items():
        monkeypatch.setenv(name, given)
    file = published_by_job.exports / "reports" / str(MONTHS[0]) / "evidence.json"
    pack = json.loads(file.read_text(encoding="utf-8"))
    assert pack["snapshot_month"] == str(MONTHS[0])
    assert pack["published"]["by_run"] and pack["published"]["content_hash"] and pack["published"]["decision_hash"]
    audits = {row["audit"]: row for row in pack["segment_audit_verdicts"]}
    assert {"measured", "lower_bound", "upper_bound", "passed"} <= audits["rollup_equals_the_facts"].keys()
    assert {row["entry"] for row in pack["decision"]} >= {"segments", "category_groups"}
    assert pack["rules"] and pack["exports"] and pack["segment_summary"] and pack["to_rebuild"]
    digest = pack.pop("sha256")
    text = json.dumps(pack, sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == digest
    with duckdb.connect(str(published_by_job.database), read_only=True) as connection:
        ids = connection.execute("select distinct customer_id from gold.customer_segment_history").fetchall()
    assert "@" not in text and not any(customer_id in text for (customer_id,) in ids)
    # Nor where it was made: the same month gives the same file on another machine.
    assert str(published_by_job.folder) not in text and re.fullmatch("[0-9a-f]{16}", pack["pipeline"]["project"])


@pytest.mark.parametrize(
    ("content", "ids"),
    [("CUST1\nCUST2\n\nCUST1\n", ["CUST1", "CUST2"]), ("customer_id,why\nCUST1,asked\n", ["CUST1"]),
     ("\ufeff CUST1 \r\n", ["CUST1"]), ("CUST1\u200b\r\n\u00a0CUST2\n", ["CUST1", "CUST2"])],
)  # fmt: skip
def test_ids_come_from_a_file_of_lines_or_of_commas(content: str, ids: list[str], tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(content, encoding="utf-8")
    assert asked("", str(file)) == ids


def test_a_file_that_is_no_list_is_told_in_words(tmp_path: Path) -> None:
    file = tmp_path / "ids.csv"
    file.write_text('"CUST1\n' + "CUST2\n" * 30_000, encoding="utf-8")
    with pytest.raises(ErasureError, match=r"FILE is .*, which cannot be read: .*field"):
        asked("", str(file))


@pytest.mark.parametrize(
    ("customer", "file"),
    [("", ""), ("A", "b.txt"), ("", "absent.txt"), ("", "~nobody-of-this-name/ids.txt"), ("A\udcff", "")],
)
def test_nobody_or_nothing_to_read_is_told_in_words(customer: str, file: str) -> None:
    with pytest.raises(ErasureError, match=r"CUSTOMER=|FILE is|CUSTOMER is"):
        asked(customer, file)


def test_the_address_that_a_list_was_sent_to_is_found_in_its_files(tmp_path: Path) -> None:
    """Of no table any more: an export writes the address of its day."""
    store, month = ExportStore(str(tmp_path)), date(2025, 11, 1)
    content = b"customer_id,email\nCUST1,'=a@old.example\nCUST2,b@old.example\n"
    manifest = {
        "campaign": "x", "snapshot_month": str(month), "version": "0123456789ab", "previous_version": None,
        "customers_sha256": "", "compared_with": None,
        "files": {"full.csv": {"path": "0123456789ab/full.csv", "sha256": hashlib.sha256(content).hexdigest()}},
    }  # fmt: skip
    store.write("x", month, {"full.csv": content}, manifest)
    assert in_exports.addresses_of(store, frozenset({"CUST1"})) == {"=a@old.example"}
    assert in_exports.addresses_of(store, frozenset({"CUST3"})) == frozenset()
