"""A place for exports that cannot be used: one line with the address, what happened and the way out.

Locks out: a backend's own traceback, a password in an error, and an error that names no fix.
"""

import socket
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from segmentation_assets.exports.place import EXTRAS, ExportError, without_credentials
from segmentation_assets.exports.store import ExportStore

CAMPAIGN, MONTH = "premium_rewards", date(2025, 11, 1)
FILES = {"full.csv": b"customer_id\n"}
MANIFEST = {"version": "0123456789ab", "previous_version": None}


def refusal(uri: str) -> str:
    """What a write says."""
    with pytest.raises(ExportError) as refused:
        ExportStore(uri).write(CAMPAIGN, MONTH, FILES, MANIFEST)
    said = str(refused.value)
    assert len(said.splitlines()) == 1
    assert refused.value.__suppress_context__
    return said


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(("scheme", "package", "extra"), [(scheme, *both) for scheme, both in EXTRAS.items()])
def test_a_package_that_is_not_there_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what Python keeps of a package that is not installed
    said = refusal(f"{scheme}://user:hunter2@place/exports")
    assert said == (
        f"SEGMENTATION_EXPORT_URI is '{scheme}://place/exports', and {package}, which writes there, is not installed:"
        f' pip install "customer-segmentation[{extra}]". Then export again.'
    )


def test_every_extra_is_one_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for package, extra in set(EXTRAS.values()):
        assert f'\n{extra} = ["{package}>=' in text


def test_an_unknown_scheme_is_told_with_those_there_are() -> None:
    said = refusal("s4://user:hunter2@bucket/exports")
    assert said.startswith("The exports at 's4://bucket/exports': the place cannot be used (Protocol not known: s4). ")
    assert "such as s3://, gs://, abfs://, sftp://; then export again." in said


def test_a_store_that_answers_503_is_told_in_one_line(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/webhdfs/v1/exports", method="GET").respond_with_data("", status=503)
    httpserver.expect_request("").respond_with_data("", status=503)
    said = refusal(f"webhdfs://{httpserver.host}:{httpserver.port}/exports")
    assert said.startswith(f"The exports at 'webhdfs://{httpserver.host}:{httpserver.port}/exports': the place cannot")
    assert "503" in said
    assert said.endswith(
        "See that it can be reached and that this job's login there may read and write; then export again."
    )


@pytest.mark.parametrize("scheme", ["webhdfs", "ftp"])
def test_a_store_that_refuses_is_told_in_one_line_without_the_password(scheme: str) -> None:
    port = free_port()
    said = refusal(f"{scheme}://ada:hunter2@127.0.0.1:{port}/exports")
    assert f"'{scheme}://127.0.0.1:{port}/exports'" in said
    assert "refused" in said
    assert "hunter2" not in said
    assert "ada" not in said


@pytest.mark.parametrize("inside", ["", "exports"])
def test_a_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path, inside: str) -> None:
    (tmp_path / "taken").write_text("mine")
    said = refusal(str(tmp_path / "taken" / inside))
    assert f"'{tmp_path / 'taken' / inside}'".replace("/'", "'") in said.replace("/'", "'")
    assert "Let this user write there, make space, or name another folder in SEGMENTATION_EXPORT_URI" in said
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_of_the_system_that_nobody_may_write_is_told_in_one_line() -> None:
    assert "Let this user write there" in refusal("/proc/exports")


@pytest.mark.parametrize("content", [b"{}", b"[]", b"1", b"not JSON", b'{"version": "0123456789ab", "files": {}}'])
def test_a_manifest_that_is_none_of_ours_is_called_damaged(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / CAMPAIGN / str(MONTH)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(content)
    store = ExportStore(str(tmp_path))
    with pytest.raises(ExportError, match="is damaged: remove"):
        store.manifest(CAMPAIGN, MONTH)
    assert store.sweep(CAMPAIGN, datetime(2026, 1, 1, tzinfo=UTC), timedelta(0)) == 0


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://bucket/exports", "s3://bucket/exports"),
        ("sftp://ada@host/exports", "sftp://ada@host/exports"),
        ("sftp://ada:hunter2@host/exports", "sftp://host/exports"),
        ("sftp://ada:p/w@x@host/exports", "sftp://host/exports"),
        ("simplecache::sftp://ada:hunter2@host/e", "simplecache::sftp://host/e"),
        (
            "abfs://container@account.dfs.core.windows.net/e?sig=hunter2",
            "abfs://container@account.dfs.core.windows.net/e",
        ),
        ("/srv/a:b@c/exports", "/srv/a:b@c/exports"),
    ],
)
def test_an_address_is_shown_without_what_is_secret(uri: str, shown: str) -> None:
    assert without_credentials(uri) == shown


def test_what_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    """A person's own files where an export of ours would write: a manifest, a file of the same name, a report."""
    version = "0123456789ab"
    mine = {
        tmp_path / CAMPAIGN / str(MONTH) / version / "full.csv": b"my own list\n",
        tmp_path / "other" / str(MONTH) / "manifest.json": b'{"name": "my web app"}',
        tmp_path / "reports" / str(MONTH) / "segment_report.html": b"<html><title>My report</title></html>",
    }
    for path, content in mine.items():
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    store = ExportStore(str(tmp_path))
    manifest = {"version": version, "files": {}}
    for write in (
        lambda: store.write(CAMPAIGN, MONTH, {"full.csv": b"ours\n"}, manifest),
        lambda: store.write("other", MONTH, {"full.csv": b"ours\n"}, manifest),
        lambda: store.write_report(MONTH, "segment_report.html", b"<title>Customer segments, November 2025</title>"),
    ):
        with pytest.raises(ExportError, match="SEGMENTATION_EXPORT_URI"):
            write()
    assert {path: path.read_bytes() for path in mine} == mine
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(mine)


def test_what_an_export_that_was_cut_off_left_is_ours(tmp_path: Path) -> None:
    folder = tmp_path / CAMPAIGN / str(MONTH) / "0123456789ab"
    folder.mkdir(parents=True)
    (folder / "full.csv").write_bytes(b"ours\n")
    ExportStore(str(tmp_path)).write(CAMPAIGN, MONTH, {"full.csv": b"ours\n"}, {"version": folder.name, "files": {}})
    assert (folder.parent / "manifest.json").exists()
    report = tmp_path / "reports" / str(MONTH) / "segment_report.html"
    for content in (
        b"<title>Customer segments, November 2025</title>1",
        b"<title>Customer segments, November 2025</title>2",
    ):
        ExportStore(str(tmp_path)).write_report(MONTH, report.name, content)
        assert report.read_bytes() == content


def test_a_file_stays_where_it_is_as_it_would_be_written(tmp_path: Path) -> None:
    """And is written anew where it was changed, or opened for others."""
    store = ExportStore(str(tmp_path))
    files = {"full.csv": b"customer_id\nA\n", "added.csv": b"customer_id\n", "removed.csv": b"customer_id\n"}

    def write() -> dict[str, int]:
        store.write(CAMPAIGN, MONTH, files, {**MANIFEST, "campaign": CAMPAIGN, "snapshot_month": str(MONTH),
                                             "customers_sha256": "", "compared_with": None, "files": {}})  # fmt: skip
        found = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
        assert {path.name: path.read_bytes() for path in found if path.name in files} == files
        return {path.name: path.stat().st_ino for path in found}

    first = write()
    assert write() == first
    (folder,) = {path.parent for path in tmp_path.rglob("full.csv")}
    (folder / "full.csv").write_bytes(b"customer_id\nB\n")
    (folder / "added.csv").chmod(0o644)
    again = write()
    assert {name for name in first if again[name] != first[name]} == {"full.csv", "added.csv"}
