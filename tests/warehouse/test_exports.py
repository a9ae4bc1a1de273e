"""What marketing picks up, from the published months to the files.

Locks out: somebody in a file who objected or is held out, by the campaign or of all of them, or whose mailbox another
customer is at by now; added and removed lists that do not lead to the full one, an
unpublished month exported, and files others may read.
"""

import csv
import hashlib
import io
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segmentation_assets.assets.exports import export_month
from segmentation_assets.dbt.project import Project
from segmentation_assets.exports.audience import refuse_unpublished
from segmentation_assets.exports.store import ExportError, ExportStore
from segmentation_assets.rules.load import Campaign
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import DECEMBER, NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline, star_of

RULES = Project.load().rules
MONTHS = (SEPTEMBER, OCTOBER, NOVEMBER)
CAMPAIGNS = [campaign.name for campaign in RULES.campaigns]


@pytest.fixture
def made(audiences_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        yield pipeline


def export(pipeline: Pipeline, store: ExportStore, *months: date) -> None:
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        refuse_unpublished(session, months)
        for month in months:
            for campaign in RULES.campaigns:
                export_month(session, store, campaign, month, star_of(session))


def files(store: ExportStore, campaign: str, month: date) -> dict[str, bytes]:
    manifest = store.manifest(campaign, month)
    assert manifest is not None
    return {name: store.file(campaign, month, manifest, name) for name in manifest["files"]}


def records(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def customers(content: bytes) -> set[str]:
    return {row["customer_id"] for row in records(content)}


def exported(store: ExportStore, month: date) -> set[tuple[str, str]]:
    """Campaign and customer of every list."""
    return {(name, one) for name in CAMPAIGNS for one in customers(files(store, name, month)["full.csv"])}


def test_the_files_hold_the_target_group_and_the_manifest_describes_them(made: Pipeline, tmp_path: Path) -> None:
    store = ExportStore(str(tmp_path / "out"))
    export(made, store, NOVEMBER)
    for name in CAMPAIGNS:
        target = made.rows(
            f"select customer_id, sha256(email) from gold.audience_{name} where snapshot_month = '{NOVEMBER}'"
            " and treatment_group = 'target' order by audience_rank"
        )
        found, manifest = files(store, name, NOVEMBER), store.manifest(name, NOVEMBER)
        assert manifest is not None
        assert [row["customer_id"] for row in records(found["full.csv"])] == [row[0] for row in target]
        assert pq.read_table(io.BytesIO(found["full.parquet"]))["customer_id"].to_pylist() == [row[0] for row in target]
        steps = f"select step, customers from gold.audience_waterfall where campaign = '{name}'"
        assert manifest["waterfall"] == dict(made.rows(f"{steps} and snapshot_month = '{NOVEMBER}'"))
        assert manifest["waterfall"]["sent"] == manifest["files"]["full.csv"]["rows"] == len(target)
        for file, content in found.items():
            assert manifest["files"][file]["sha256"] == hashlib.sha256(content).hexdigest()
            if file.endswith(".csv"):
                assert manifest["files"][file]["rows"] == len(records(content))


def test_nobody_held_out_or_suppressed_since_is_in_a_file(made: Pipeline, tmp_path: Path) -> None:
    store = ExportStore(str(tmp_path / "out"))
    export(made, store, NOVEMBER)
    before = exported(store, NOVEMBER)
    objecting = {one for _, one in sorted(before)[::5]}
    assert objecting
    for one in objecting:
        made.execute(f"insert into gold.marketing_suppressions (customer_id) values ('{one}')")
    export(made, store, NOVEMBER)
    # Who shares an address with one who objected must not be written to either.
    mailboxes = {
        one: (mail or one).strip().lower()
        for one, mail in made.rows("select customer_id, email from gold.dim_customer where is_current")
    }
    closed = {mailboxes[one] for one in objecting}
    assert exported(store, NOVEMBER) == {(name, one) for name, one in before if mailboxes[one] not in closed}
    for name in CAMPAIGNS:
        held_out = {row[0] for row in made.rows(
            f"select customer_id from gold.audience_{name}"
            f" where snapshot_month = '{NOVEMBER}' and treatment_group = 'holdout'"
        )}  # fmt: skip
        found = files(store, name, NOVEMBER)
        for file in ("full.csv", "added.csv"):
            assert not customers(found[file]) & (held_out | objecting)


def test_nobody_of_the_universal_holdout_is_in_a_file_nor_whoever_is_at_their_mailbox_by_now(
    made: Pipeline, tmp_path: Path
) -> None:
    """Whatever happens between a list and its export. Where there is no universal holdout nobody is missed."""
    store, name = ExportStore(str(tmp_path / "out")), "core_retention"
    campaign = next(one for one in RULES.campaigns if one.name == name).model_copy(update={"trigger": "entered"})

    def export_it() -> dict[str, bytes]:
        with DuckDBWarehouse(path=str(made.path)).session(read_only=True) as session:
            export_month(session, store, campaign, NOVEMBER, star_of(session))
        return files(store, name, NOVEMBER)

    def write_to(customer_id: str, address: str) -> None:
        made.execute(f"update gold.dim_customer set email = '{address}' where customer_id = '{customer_id}'")

    # Customers with an address that nobody else ever had.
    alone = (
        "select d.customer_id, max(d.email), any_value(d.first_name) from gold.dim_customer as d"
        " where d.email like '%@%' group by 1 having max(lower(trim(d.email))) not in"
        " (select lower(trim(email)) from gold.dim_customer where email is not null group by 1"
        " having count(distinct customer_id) > 1)"
    )
    listed = [one for (one,) in made.rows(
        f"select a.customer_id from gold.audience_{name} as a inner join ({alone}) as d using (customer_id)"
        f" where snapshot_month = '{NOVEMBER}' and treatment_group = 'target'"
        " and a.customer_id not in (select customer_id from gold.segment_moves) order by 1"
    )]  # fmt: skip
    others = made.rows(
        f"select d.* from ({alone}) as d inner join gold.customer_segment_history as h using (customer_id)"
        f" where h.snapshot_month = '{NOVEMBER}' and h.customer_segment <> '{campaign.segment}' order by 1"
    )
    before = export_it()
    joined, full = sorted(customers(before["joined.csv"])), customers(before["full.csv"])
    (at_today, had_before, at_google, objector), (address, old, _, objected) = zip(
        *((one, mail) for one, mail, _ in others[:4]), strict=True
    )
    kept_out = {*joined[:3], listed[0], at_today, had_before, at_google}
    made.execute(
        "insert into gold.universal_holdout by name select customer_id, customer_id as holdout_unit, snapshot_month,"
        f" '2025' as holdout_epoch from gold.customer_segment_history where snapshot_month = '{NOVEMBER}'"
        f" and list_contains({sorted(kept_out)}, customer_id)"
    )
    write_to(listed[1], address.upper())
    write_to(joined[3], address)
    # Who is held out has moved on; the mailbox that they were drawn by is somebody else's.
    made.execute(
        "insert into gold.dim_customer by name select * replace (-customer_key as customer_key, timestamp '2025-12-02'"
        " as valid_from, 'moved@example.org' as email) from gold.dim_customer"
        f" where customer_id = '{had_before}' and is_current;"
        "update gold.dim_customer set is_current = false, valid_to = timestamp '2025-12-02'"
        f" where customer_id = '{had_before}' and customer_key > 0"
    )
    write_to(listed[2], old)
    write_to(listed[3], "moved@example.org")
    write_to(at_google, "some.body@gmail.com")
    write_to(listed[4], "somebody@gmail.com")
    write_to(joined[4], objected)
    made.execute(f"insert into gold.marketing_suppressions (customer_id) values ('{objector}')")
    found = export_it()
    assert set(listed[:4]) <= full and not set(listed[:4]) & customers(found["full.csv"])
    assert customers(before["joined.csv"]) - customers(found["joined.csv"]) == set(joined[:5])
    assert len(found["ads.csv"].splitlines()) == len(found["ads_google.csv"].splitlines()) + 1
    # A database of an earlier version.
    made.execute("drop table gold.universal_holdout")
    found = export_it()
    assert {listed[0], *listed[2:5]} <= customers(found["full.csv"])
    assert customers(before["joined.csv"]) - customers(found["joined.csv"]) == {joined[4]}


def test_added_and_removed_replayed_from_nothing_give_the_full_list(made: Pipeline, tmp_path: Path) -> None:
    store = ExportStore(str(tmp_path / "out"))
    export(made, store, *MONTHS)
    left = 0
    for name in CAMPAIGNS:
        listed = set[str]()
        for month in MONTHS:
            found = files(store, name, month)
            added, removed = customers(found["added.csv"]), customers(found["removed.csv"])
            assert not added & listed
            assert removed <= listed
            left += len(removed)
            listed = (listed - removed) | added
            assert listed == customers(found["full.csv"])
    assert left


def test_a_rerun_writes_the_same_bytes_in_any_store(made: Pipeline, tmp_path: Path) -> None:
    store, memory = ExportStore(str(tmp_path / "out")), ExportStore(f"memory://{tmp_path.name}")
    export(made, store, OCTOBER, NOVEMBER)
    paths = [path for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()]
    before = {path: path.read_bytes() for path in paths}
    export(made, store, OCTOBER, NOVEMBER)
    assert {path: path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file()} == before
    export(made, memory, OCTOBER, NOVEMBER)
    for name in CAMPAIGNS:
        assert files(memory, name, NOVEMBER) == files(store, name, NOVEMBER)
        assert memory.manifest(name, NOVEMBER) == store.manifest(name, NOVEMBER)


def test_a_month_that_is_not_published_is_refused_and_nothing_written(made: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"Not published.*{DECEMBER}"):
        export(made, ExportStore(str(tmp_path / "out")), NOVEMBER, DECEMBER)
    assert not (tmp_path / "out").exists()


def test_the_files_are_their_owners_alone(made: Pipeline, tmp_path: Path) -> None:
    export(made, ExportStore(str(tmp_path / "out")), NOVEMBER)
    for path in (tmp_path / "out", *(tmp_path / "out").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_list_of_calls_goes_out_without_addresses_and_to_nobody_who_objects_by_today(
    made: Pipeline, tmp_path: Path
) -> None:
    """And a list is exported for the channel that it was made for: the channel decides who is on it."""
    store, name, select = ExportStore(str(tmp_path / "out")), "core_retention", "path:models/audiences"
    by_email = next(campaign for campaign in RULES.campaigns if campaign.name == name)
    by_phone = by_email.model_copy(update={"channel": "phone"})

    def export_by(campaign: Campaign) -> None:
        with DuckDBWarehouse(path=str(made.path)).session(read_only=True) as session:
            export_month(session, store, campaign, NOVEMBER, star_of(session))

    with pytest.raises(
        ExportError, match="core_retention, 2025-11-01, was not made for the channel phone, which needs no"
    ):
        export_by(by_phone)
    made.execute(
        "update gold.dim_customer set email = case when hash(customer_id) % 2 = 0 then 'shared@example.com' end"
        " where is_current"
    )
    calls = [{**one, **({"channel": "phone"} if one["name"] == name else {})} for one in RULES.raw["campaigns"]]
    succeeded, said = made.dbt(NOVEMBER, select=select, variables={"campaigns": calls}, arguments=NO_TESTS)
    assert succeeded, said
    target = [
        one
        for (one,) in made.rows(
            f"select customer_id from gold.audience_{name} where snapshot_month = '{NOVEMBER}'"
            " and treatment_group = 'target' order by audience_rank"
        )
    ]
    assert len(target) > 100
    # Who objects has the address of half of the list, and only they are not called.
    shares = made.rows(
        f"select min(customer_id) from gold.audience_{name} where snapshot_month = '{NOVEMBER}' and treatment_group ="
        " 'target' and customer_id in (select customer_id from silver.customer_contacts where mailbox is not null)"
    )[0][0]
    made.execute(f"insert into gold.marketing_suppressions (customer_id) values ('{shares}')")
    export_by(by_phone)
    found, manifest = files(store, name, NOVEMBER), store.manifest(name, NOVEMBER)
    assert manifest is not None
    assert [row["customer_id"] for row in records(found["full.csv"])] == [one for one in target if one != shares]
    assert (manifest["channel"], manifest["suppressed_since"], manifest["left_since"]) == ("phone", 1, 0)
    assert sorted(found) == ["added.csv", "full.csv", "full.parquet", "removed.csv"]
    assert not any(b"@example.com" in content for file, content in found.items() if file.endswith(".csv"))
    assert "email" not in pq.read_schema(io.BytesIO(found["full.parquet"])).names
    with pytest.raises(ExportError, match="was not made for the channel email, which needs an address"):
        export_by(by_email)
