"""An export that is cut off: at every file it opens, renames, makes or removes, by a process that ends there and then.

Locks out: a manifest that names files which are not there or not whole, files of two versions under one manifest, and
remains that stay for ever or stop the next export.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

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


def cut_off_at(touch: int, store: ExportStore, root: Path, made: Version) -> bool:
    """Write in a process of its own that ends before its `touch`-th touch; whether it got that far."""
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
            store.write(CAMPAIGN, MONTH, *made)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, CUT_OFF), "the write failed by itself"
    return code == CUT_OFF


def cuts(path: Path, *before: tuple[str, ...]) -> Iterator[tuple[ExportStore, dict[str, Any] | None, Version]]:
    """The store after each cut, the manifest from before, and the version that was being written."""
    for touch in range(1, 1000):
        root = path / str(touch)
        store = ExportStore(str(root))
        for customers in before:
            store.write(CAMPAIGN, MONTH, *version(store, *customers))
        old = store.manifest(CAMPAIGN, MONTH)
        new = version(store, "B", "C")
        if not cut_off_at(touch, store, root, new):
            # Each of six files is opened and renamed at least: fewer cuts have not been everywhere.
            assert touch > 12
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
        pytest.param((("A",), ("A", "B")), id="third, which removes the first"),
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
        store.write(CAMPAIGN, MONTH, *again)
        assert again == (files, new)
        assert store.manifest(CAMPAIGN, MONTH) == new
        assert_whole(store, new)
        kept = {new["version"], new["previous_version"]} - {None}
        assert {path.name for path in folder(store).iterdir()} == {"manifest.json", *kept}
        assert {path.name for path in (folder(store) / new["version"]).iterdir()} == set(files)
    assert "old" in seen
    assert "new" in seen or len(before) < 2  # after the manifest only the removal of a version is left to cut
