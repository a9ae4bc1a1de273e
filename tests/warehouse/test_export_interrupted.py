"""An export, and the sweep of what it replaced, cut off at every file they open, rename, make or remove, by a process
that ends there and then.

Locks out: a manifest that names files which are not there or not whole, files of two versions under one manifest,
remains that stay for ever or stop the next export, and a replaced version that goes too soon, or never.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest

from segmentation_assets.exports import files as export_files
from segmentation_assets.exports.files import Audience
from segmentation_assets.exports.store import ExportStore

CAMPAIGN, MONTH = "premium_rewards", date(2025, 11, 1)
SCHEMA = pa.schema([("customer_id", pa.string()), ("email", pa.string())])
# What Python tells its audit hooks of: every way in which a write touches the file system.
TOUCHES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
CUT_OFF = 77
# The week of the shipped rules.
KEEP, MONDAY = timedelta(days=7), datetime(2025, 12, 1, 2, tzinfo=UTC)
Version = tuple[dict[str, bytes], dict[str, Any]]


def audience(*customers: str) -> Audience:
    return Audience(
        campaign=CAMPAIGN,
        audience_code="audience-1a2b3c",
        segment="High-Value Travelers",
        month=MONTH,
        schema=SCHEMA,
        rows=[{"customer_id": name, "email": f"{name}@example.com"} for name in customers],
        waterfall={"sent": len(customers)},
        left_since=0,
        suppressed_since=0,
        publication={"run_id": "r", "rules_hash": "h", "version": 1, "content_hash": "c", "audits_verdict": "passed"},
        audits_passed=[],
    )


def version(store: ExportStore, *customers: str) -> Version:
    listed = audience(*customers)
    files = export_files.files_of(listed, None)
    manifest = export_files.manifest_of(listed, files, None, store.manifest(CAMPAIGN, MONTH))
    return {name: file.content for name, file in files.items()}, manifest


def export(store: ExportStore, made: Version, now: datetime = MONDAY) -> None:
    """As the asset does."""
    store.write(CAMPAIGN, MONTH, *made)
    store.sweep(CAMPAIGN, now, KEEP)


def cut_off_at(touch: int, root: Path, action: Callable[[], object]) -> bool:
    """Act in a process of its own that ends before its `touch`-th touch; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = touch

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in TOUCHES and str(arguments[0]).startswith(str(root)):
                left -= 1
                if left == 0:
                    os._exit(CUT_OFF)

        sys.addaudithook(hook)
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, CUT_OFF), "the write failed by itself"
    return code == CUT_OFF


def cuts(path: Path, *before: tuple[str, ...]) -> Iterator[tuple[ExportStore, dict[str, Any] | None, Version]]:
    """The store after each cut, the manifest from before, and the version that was being written."""
    prepared = ExportStore(str(path / "prepared"))
    for customers in before:
        export(prepared, version(prepared, *customers))
    for touch in range(1, 1000):
        root = path / str(touch)
        store = ExportStore(str(root))
        if before:
            shutil.copytree(prepared.uri, root)
        old = store.manifest(CAMPAIGN, MONTH)
        new = version(store, "B", "C")
        if not cut_off_at(touch, root, lambda store=store, new=new: export(store, new)):
            # Each of nine files is opened and renamed at least: fewer cuts have not been everywhere.
            assert touch > 18
            return
        yield store, old, new
    raise AssertionError("the write never came to its end")


def folder(store: ExportStore) -> Path:
    return Path(store.uri, CAMPAIGN, str(MONTH))


def assert_whole(store: ExportStore, manifest: dict[str, Any]) -> None:
    for entry in manifest["files"].values():
        content = (folder(store) / entry["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((), id="first export"),
        pytest.param((("A", "B"),), id="second"),
        pytest.param((("B", "C"), ("A", "B")), id="one that was replaced before"),
    ],
)
def test_a_reader_finds_the_old_export_or_the_new_one(tmp_path: Path, before: tuple[tuple[str, ...], ...]) -> None:
    seen = set[str]()
    for store, old, (files, new) in cuts(tmp_path, *before):
        found = store.manifest(CAMPAIGN, MONTH)
        assert found in (old, new)
        seen.add("new" if found == new else "old")
        if found is not None:
            assert_whole(store, found)
            assert found == json.loads((folder(store) / "manifest.json").read_text())
        # Who has just read the old manifest still finds its files.
        if old is not None:
            assert_whole(store, old)

        again = version(store, "B", "C")
        export(store, again)
        assert again == (files, new)
        assert store.manifest(CAMPAIGN, MONTH) == new
        assert_whole(store, new)
        assert {path.name for path in (folder(store) / new["version"]).iterdir()} == set(files)
        replaced = {version(store, *customers)[1]["version"] for customers in before} - {new["version"]}
        assert {path.name for path in folder(store).iterdir()} == {"manifest.json", new["version"], *replaced}
        # A week later nothing is left of the others, and nothing of the writes that were cut off.
        assert store.sweep(CAMPAIGN, MONDAY + KEEP, KEEP) == len(replaced)
        assert {path.name for path in folder(store).iterdir()} == {"manifest.json", new["version"]}
        assert_whole(store, new)
    assert "old" in seen
    assert "new" in seen


def three_versions(root: Path) -> tuple[ExportStore, list[str]]:
    """Replaced a day after one another, and the last one is the current one."""
    store, names = ExportStore(str(root)), []
    for day, customers in enumerate((("A",), ("A", "B"), ("B", "C"))):
        made = version(store, *customers)
        export(store, made, MONDAY + timedelta(days=day))
        names.append(made[1]["version"])
    return store, names


def test_a_sweep_that_is_cut_off_is_completed_by_the_next(tmp_path: Path) -> None:
    prepared, names = three_versions(tmp_path / "prepared")
    for touch in range(1, 1000):
        root = tmp_path / str(touch)
        store = ExportStore(str(root))
        shutil.copytree(prepared.uri, root)
        later = MONDAY + KEEP + timedelta(days=2)
        went_on = cut_off_at(touch, root, lambda store=store, later=later: store.sweep(CAMPAIGN, later, KEEP))
        manifest = store.manifest(CAMPAIGN, MONTH)
        assert manifest is not None
        assert_whole(store, manifest)
        # Of any later run, and no later than it: what was due before is due now.
        store.sweep(CAMPAIGN, later, KEEP)
        assert {path.name for path in folder(store).iterdir()} == {"manifest.json", names[-1]}
        if not went_on:
            assert touch > 10
            return
    raise AssertionError("the sweep never came to its end")


def test_a_replaced_version_goes_once_the_stated_time_has_passed(tmp_path: Path) -> None:
    store, (first, second, third) = three_versions(tmp_path / "out")

    def left(after: timedelta) -> set[str]:
        store.sweep(CAMPAIGN, MONDAY + after, KEEP)
        return {path.name for path in folder(store).iterdir()} - {"manifest.json"}

    day = timedelta(days=1)
    assert left(KEEP) == {first, second, third}  # the first was replaced a day after it was written
    assert left(KEEP + day - timedelta(seconds=1)) == {first, second, third}
    assert left(KEEP + day) == {second, third}
    assert left(KEEP + 2 * day) == {third}
    assert left(1000 * day) == {third}


def test_a_version_that_comes_back_has_its_whole_time_again(tmp_path: Path) -> None:
    store = ExportStore(str(tmp_path / "out"))
    day = timedelta(days=1)
    for number, customers in enumerate((("A",), ("B",), ("A",))):
        export(store, version(store, *customers), MONDAY + number * day)
    # Written again, and replaced again by a run that was stopped before it swept.
    made = version(store, "A")[1]["version"]
    store.write(CAMPAIGN, MONTH, *version(store, "C"))
    # Its first note was of day 1: by that one it would go now, as B does.
    assert store.sweep(CAMPAIGN, MONDAY + 2 * day + KEEP, KEEP) == 1
    assert (folder(store) / made / "full.csv").exists()
    assert store.sweep(CAMPAIGN, MONDAY + 2 * day + 2 * KEEP, KEEP) == 1
    assert not (folder(store) / made).exists()


@pytest.mark.parametrize("kind", ["none", "another campaign's", "damaged", "not whole"])
def test_nothing_goes_without_a_manifest_of_ours_whose_files_are_whole(tmp_path: Path, kind: str) -> None:
    store, names = three_versions(tmp_path / "out")
    path = folder(store) / "manifest.json"
    if kind == "none":
        path.unlink()
    elif kind == "another campaign's":
        path.write_text(path.read_text().replace(CAMPAIGN, "core_retention"))
    elif kind == "damaged":
        path.write_text("[]")
    else:
        (folder(store) / names[-1] / "ads.csv").unlink()
    before = {path: path.read_bytes() for path in folder(store).rglob("*") if path.is_file()}
    assert store.sweep(CAMPAIGN, MONDAY + 100 * KEEP, KEEP) == 0
    assert {path: path.read_bytes() for path in folder(store).rglob("*") if path.is_file()} == before


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    store, (first, second, third) = three_versions(tmp_path / "out")
    others = [folder(store) / "notes.txt", folder(store) / first / "notes.txt", folder(store) / "0123" / "full.csv"]
    others[2].parent.mkdir()
    for other in others:
        other.write_text("mine")
    assert store.sweep(CAMPAIGN, MONDAY + 2 * KEEP, KEEP) == 1
    assert all(other.read_text() == "mine" for other in others)
    assert not (folder(store) / first / "full.csv").exists()
    assert {path.name for path in folder(store).iterdir()} == {"manifest.json", first, third, "notes.txt", "0123"}
    assert second not in {path.name for path in folder(store).iterdir()}


def test_a_clock_that_was_ahead_keeps_nothing_for_ever(tmp_path: Path) -> None:
    store, (first, second, third) = three_versions(tmp_path / "out")
    for name in (first, second):
        (folder(store) / name / "replaced.json").write_text('{"replaced_at": "2099-01-01T00:00:00+00:00"}')
    store.sweep(CAMPAIGN, MONDAY + KEEP, KEEP)
    store.sweep(CAMPAIGN, MONDAY + 2 * KEEP, KEEP)
    assert {path.name for path in folder(store).iterdir()} == {"manifest.json", third}


def test_an_object_store_is_swept_too(tmp_path: Path) -> None:
    store = ExportStore(f"memory://{tmp_path.name}")
    for day, customers in enumerate((("A",), ("B",))):
        export(store, version(store, *customers), MONDAY + timedelta(days=day))
    first = version(store, "A")[1]["version"]
    files, root = fsspec.url_to_fs(store.uri)
    assert files.exists(f"{root}/{CAMPAIGN}/{MONTH}/{first}/full.csv")
    assert store.sweep(CAMPAIGN, MONDAY + 2 * KEEP, KEEP) == 1
    assert not files.exists(f"{root}/{CAMPAIGN}/{MONTH}/{first}")
