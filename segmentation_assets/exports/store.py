"""Where exports lie: a folder or an object store, any fsspec address. What is in a file is in files.py.

    <uri>/<campaign>/<month>/<version>/full.csv ...
    <uri>/<campaign>/<month>/manifest.json
    <uri>/reports/<month>/segment_report.html

A version is named after its content, so a rerun with other content writes beside the files that readers may have open.
The manifest names the version's files and is put last, in one step: who reads the manifest finds all the files of one
version. The version it replaces stays for those who have just read the old manifest: a note beside its files says since
when it is replaced, and a sweep removes it once a stated time has passed.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from segmentation_assets.atomic import all_atomically, flush
from segmentation_assets.exports.place import ExportError, unusable

MANIFEST = "manifest.json"
REPORTS = "reports"
# What a report says of itself near its beginning, in any release.
REPORT_TITLE = b"<title>Customer segments, "
# Beside the files of a version that was replaced: since when. Outside the manifest, which no clock may change.
REPLACED = "replaced.json"
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}-01")
_VERSION = re.compile(r"[0-9a-f]{12}")
FILE_MODE = 0o600
# A write that was cut off leaves such a folder behind; the next export of the month removes it.
_PARTIAL = re.compile(r"[.].+[.]partial")
# What a version of an export is made of, in any release. A sweep removes nothing else.
_EXPORTED = re.compile(r"(full|added|removed|joined|left|ads(_[a-z0-9]+)?)[.](csv|parquet)")


class ExportStore:
    """The exports under one address. Backends take their credentials from their own variables."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @cached_property
    def _place(self) -> tuple[Any, str]:
        with self._told("cannot be used"):
            files, root = fsspec.url_to_fs(self.uri)
        return files, root.rstrip("/")

    @contextmanager
    def _told(self, failed: str) -> Iterator[None]:
        """What a backend raises, as one line."""
        try:
            yield
        except ExportError:
            raise
        except Exception as error:  # noqa: BLE001 - each backend raises errors of its own, without a common base
            raise unusable(self.uri, failed, error) from None

    def location(self, campaign: str, month: date) -> str:
        """The address of a month's folder, without credentials."""
        files, root = self._place
        return files.unstrip_protocol(f"{root}/{campaign}/{month}")

    def exported_months(self, campaign: str) -> list[date]:
        """Months with a manifest, in order."""
        return [month for month in self._months(campaign) if self._has_manifest(campaign, month)]

    def last_exported_month(self, campaign: str, before: date) -> date | None:
        earlier = [month for month in self._months(campaign) if month < before]
        return next((month for month in reversed(earlier) if self._has_manifest(campaign, month)), None)

    def manifest(self, campaign: str, month: date) -> dict[str, Any] | None:
        """None where the month was never exported. Raises ExportError for one that is no manifest."""
        content = self._read(f"{campaign}/{month}/{MANIFEST}")
        if content is None:
            return None
        manifest = _manifest_in(content, campaign, month)
        if manifest is None:
            raise ExportError(
                f"The manifest of {campaign}, {month}, is damaged: remove {self.location(campaign, month)} and export"
                " it again. If that is no folder of this pipeline's, name another place in SEGMENTATION_EXPORT_URI."
            )
        return manifest

    def file(self, campaign: str, month: date, manifest: Mapping[str, Any], name: str) -> bytes:
        """A file the manifest names. Raises ExportError when it is not what the manifest says."""
        entry = manifest["files"][name]
        content = self._read(f"{campaign}/{month}/{entry['path']}") or b""
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ExportError(
                f"{entry['path']} of {campaign}, {month}, is not what its manifest says: export {month} again."
            )
        return content

    def write(self, campaign: str, month: date, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
        """The files of `manifest["version"]`, then the manifest.

        Raises ExportError where that would replace something that is not ours.
        """
        folder = f"{campaign}/{month}"
        version = f"{folder}/{manifest['version']}"
        if self.manifest(campaign, month) is None:
            # Named after its content: what no export of ours has left there as it is now belongs to somebody else.
            for name in sorted(files.keys() & set(self._names(version))):
                if self._read(f"{version}/{name}") != files[name]:
                    raise self._foreign(f"{version}/{name}")
        # It may have been replaced before and come back: first of all it is no more what a sweep may remove.
        if REPLACED in self._names(version):
            self._remove(f"{version}/{REPLACED}")
        self._put_all(version, files)
        self._put_all(folder, {MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()})
        for place in (folder, version):
            for name in self._names(place):
                if _PARTIAL.fullmatch(name):
                    self._remove(f"{place}/{name}", recursive=True)

    def other_versions(self, campaign: str, month: date, manifest: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Name and content of every file of a version that the manifest does not name."""
        folder = f"{campaign}/{month}"
        for version in self._names(folder):
            if _VERSION.fullmatch(version) and version != manifest["version"]:
                for name in self._names(f"{folder}/{version}"):
                    content = self._read(f"{folder}/{version}/{name}") if _EXPORTED.fullmatch(name) else None
                    if content is not None:
                        yield name, content

    def remove_other_versions(self, campaign: str, month: date, manifest: Mapping[str, Any]) -> int:
        """At once, without days of grace; how many they were."""
        folder = f"{campaign}/{month}"
        others = [one for one in self._names(folder) if _VERSION.fullmatch(one) and one != manifest["version"]]
        return sum(self._remove_version(f"{folder}/{version}") for version in others)

    def reports(self) -> Iterator[tuple[date, str, bytes]]:
        """Month, name and content of every report."""
        for month in self._months(REPORTS):
            for name in self._names(f"{REPORTS}/{month}"):
                content = self._read(f"{REPORTS}/{month}/{name}") if name.endswith((".html", ".json")) else None
                if content is not None:
                    yield month, name, content

    def replace_report(self, month: date, name: str, content: bytes) -> None:
        self._put(f"{REPORTS}/{month}/{name}", content)

    def campaigns(self) -> list[str]:
        """Names of the folders that may be a campaign's, today's or an earlier one's."""
        return [name for name in self._names("") if name != REPORTS]

    def sweep(self, campaign: str, now: datetime, keep: timedelta) -> int:
        """Remove the campaign's versions that were replaced `keep` before `now` or earlier; how many they were.

        Only beside a manifest of ours that names another version, of which every file is whole. The time of a version
        begins with the first sweep that finds it replaced.
        """
        return sum(self._sweep_month(campaign, month, now, keep) for month in self._months(campaign))

    def _sweep_month(self, campaign: str, month: date, now: datetime, keep: timedelta) -> int:
        folder = f"{campaign}/{month}"
        names = self._names(folder)
        versions = [name for name in names if _VERSION.fullmatch(name)]
        if MANIFEST not in names or len(versions) < 2:
            return 0
        manifest = _manifest_in(self._read(f"{folder}/{MANIFEST}") or b"", campaign, month)
        if manifest is None or manifest["version"] not in versions:
            return 0
        removed, is_whole = 0, None
        for version in versions:
            if version == manifest["version"] or self._replaced_at(f"{folder}/{version}", now) + keep > now:
                continue
            is_whole = self._is_whole(folder, manifest) if is_whole is None else is_whole
            removed += is_whole and self._remove_version(f"{folder}/{version}")
        return removed

    def _replaced_at(self, version: str, now: datetime) -> datetime:
        content = self._read(f"{version}/{REPLACED}")
        try:
            noted = datetime.fromisoformat(json.loads(content or b"")["replaced_at"])
            if noted <= now:
                return noted
        except (ValueError, TypeError, KeyError):
            pass  # not there yet, or damaged; and a clock that was ahead would keep a version for ever
        if self._names(version):
            self._put(f"{version}/{REPLACED}", (json.dumps({"replaced_at": now.isoformat()}) + "\n").encode())
            return now
        return datetime.min.replace(tzinfo=now.tzinfo)  # an empty folder that an interrupted sweep left

    def _is_whole(self, folder: str, manifest: Mapping[str, Any]) -> bool:
        return all(
            hashlib.sha256(self._read(f"{folder}/{entry['path']}") or b"").hexdigest() == entry["sha256"]
            for entry in manifest["files"].values()
        )

    def _remove_version(self, version: str) -> bool:
        """The note goes last: what an interrupted sweep leaves is due at once the next time."""
        for name in self._names(version):
            if _EXPORTED.fullmatch(name) or _PARTIAL.fullmatch(name):
                self._remove(f"{version}/{name}", recursive=True)
        is_ours = set(self._names(version)) <= {REPLACED}
        if is_ours:
            self._remove(version, recursive=True)
        return is_ours

    def write_report(self, month: date, name: str, content: bytes) -> str:
        """`reports/<month>/<name>`, all of it or nothing; its address, without credentials.

        Raises ExportError where a file of that name is no report.
        """
        files, root = self._place
        folder = f"{REPORTS}/{month}"
        standing = self._read(f"{folder}/{name}")
        if standing is not None and REPORT_TITLE not in standing[:2_000]:
            raise self._foreign(f"{folder}/{name}")
        self._put(f"{folder}/{name}", content)
        for left in self._names(folder):
            if _PARTIAL.fullmatch(left):
                self._remove(f"{folder}/{left}", recursive=True)
        return files.unstrip_protocol(f"{root}/{folder}/{name}")

    def write_evidence(self, month: date, name: str, content: bytes, form: str) -> str:
        """`reports/<month>/<name>`; its address. Raises ExportError where a file of that name is none of that form."""
        files, root = self._place
        path = f"{REPORTS}/{month}/{name}"
        standing = self._read(path)
        if standing is not None and form.encode() not in standing:
            raise self._foreign(path)
        self._put(path, content)
        return files.unstrip_protocol(f"{root}/{path}")

    def _foreign(self, path: str) -> ExportError:
        files, root = self._place
        return ExportError(
            f"{files.unstrip_protocol(f'{root}/{path}')} is there and was not written by this pipeline, so it is not"
            " replaced: move it away, or name another place in SEGMENTATION_EXPORT_URI. Then export again."
        )

    def _months(self, campaign: str) -> list[date]:
        """Months with a folder, in order."""
        return [date.fromisoformat(name) for name in self._names(campaign) if _MONTH.fullmatch(name)]

    def _has_manifest(self, campaign: str, month: date) -> bool:
        return MANIFEST in self._names(f"{campaign}/{month}")

    def _names(self, folder: str) -> list[str]:
        files, root = self._place
        with self._told("cannot be read"):
            files.invalidate_cache()
            try:
                return sorted(Path(path).name for path in files.ls(f"{root}/{folder}".rstrip("/"), detail=False))
            except FileNotFoundError:
                return []

    def _read(self, path: str) -> bytes | None:
        """None where there is no such file."""
        files, root = self._place
        with self._told("cannot be read"):
            try:
                return files.cat_file(f"{root}/{path}")
            except FileNotFoundError:
                return None

    def _put(self, path: str, content: bytes) -> None:
        folder, _, name = path.rpartition("/")
        self._put_all(folder, {name: content})

    def _put_all(self, folder: str, contents: Mapping[str, bytes]) -> None:
        """All of each file or nothing. To an object store a put is that already; a folder needs help."""
        files, root = self._place
        with self._told("cannot be written"):
            if isinstance(files, LocalFileSystem):
                _replace(Path(root), Path(root, folder), contents)
                return
            for name, content in contents.items():
                files.pipe_file(f"{root}/{folder}/{name}", content)

    def _remove(self, path: str, recursive: bool = False) -> None:
        files, root = self._place
        with self._told("does not let a file be removed"):
            files.rm(f"{root}/{path}", recursive=recursive)


def _manifest_in(content: bytes, campaign: str, month: date) -> dict[str, Any] | None:
    """A manifest that this pipeline wrote for this campaign and month."""
    try:
        manifest = json.loads(content)
    except ValueError:
        return None
    ours = {"campaign": campaign, "snapshot_month": str(month)}
    needed = {"version", "previous_version", "customers_sha256", "compared_with", "files"}
    if not isinstance(manifest, dict) or not needed <= manifest.keys() or not ours.items() <= manifest.items():
        return None
    return manifest


def _replace(root: Path, folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write aside, flush to the disk, rename. For the owner's eyes only: the files hold customers' addresses. What is
    there as it would be written stays: a run again writes the lists it has written before."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for one in (root, *reversed([parent for parent in folder.parents if root in parent.parents]), folder):
        one.mkdir(mode=0o700, exist_ok=True)
    changed = {name: content for name, content in contents.items() if not _is_there(folder / name, content)}
    all_atomically(folder, changed, mode=FILE_MODE)
    flush(folder.parent)


def _is_there(path: Path, content: bytes) -> bool:
    try:
        found = path.stat()
        return found.st_size == len(content) and found.st_mode & 0o777 == FILE_MODE and path.read_bytes() == content
    except FileNotFoundError:
        return False
