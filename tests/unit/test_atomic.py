"""A file that is written all at once.

Locks out: half a file under its own name, a file that others may read for a moment, and remains beside it.
"""

import os
import stat
from pathlib import Path

import pytest

from segmentation_assets.atomic import PARTIAL, all_atomically, atomically


def test_the_old_content_is_there_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with atomically(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        (tmp_path / partial.parent / "journal").write_text("what a database writes beside it")
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), atomically(path) as partial:
        partial.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file.txt"]


def test_nobody_else_can_read_it_before_it_has_its_mode(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with atomically(tmp_path / "private", mode=0o600) as partial:
            partial.write_text("x")
            assert stat.S_IMODE(partial.parent.stat().st_mode) == 0o700
            assert partial.parent.name.startswith(".private.")
            assert partial.parent.name.endswith(PARTIAL)
        with atomically(tmp_path / "as written", durable=False) as partial:
            partial.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "as written").stat().st_mode) == 0o666


def test_it_is_on_the_disk_before_it_has_its_name_and_so_is_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "file", list[tuple[str, bool]]()
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomically(path) as partial:
        partial.write_text("x")
    assert flushed == [(str(partial), False), (str(tmp_path), True)]
    with atomically(path, durable=False) as partial:
        partial.write_text("y")
    assert len(flushed) == 2


def test_several_are_on_the_disk_before_the_first_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = list[tuple[str, list[str]]]()
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        named = sorted(one.name for one in tmp_path.iterdir() if one.is_file())
        flushed.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, named))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    all_atomically(tmp_path, {"a": b"1", "b": b"2"}, mode=0o600)
    assert flushed == [("a", []), ("b", []), (tmp_path.name, ["a", "b"])]
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"a": b"1", "b": b"2"}
    assert {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()} == {0o600}
    all_atomically(tmp_path, {}, mode=0o600)
    assert flushed[3:] == [(tmp_path.name, ["a", "b"])]
