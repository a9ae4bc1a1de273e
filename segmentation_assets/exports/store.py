"""Where exports lie: a folder or an object store, any fsspec address. What is in a file is in files.py.

    <uri>/<campaign>/<month>/<version>/full.csv ...
    <uri>/<campaign>/<month>/manifest.json
    <uri>/reports/<month>/segment_report.html

A version is named after its content, so a rerun with other content writes beside the files that readers may have open.
The manifest names the version's files and is put last, in one step: who reads the manifest finds all the files of one
version. The version it replaces stays for those who have just read the old manifest; older ones are deleted.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from segmentation_assets.atomic import atomically, flush
from segmentation_assets.errors import UserError

MANIFEST = "manifest.json"
REPORTS = "reports"
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}-01")
_VERSION = re.compile(r"[0-9a-f]{12}")
# A write that was cut off leaves such a folder behind; the next export of the month removes it.
_PARTIAL = re.compile(r"[.].+[.]partial")


class ExportError(UserError):
    """An export that cannot be written or read; one line with the fix, and never an e-mail address."""


class ExportStore:
    """The exports under one address. Backends take their credentials from their own variables."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @cached_property
    def _place(self) -> tuple[Any, str]:
        try:
            files, root = fsspec.url_to_fs(self.uri)
        except (ImportError, ValueError) as error:
            # The protocol alone: an address may hold a password.
            protocol = self.uri.partition(":")[0]
            raise ExportError(
                f"SEGMENTATION_EXPORT_URI begins with {protocol!r}, which cannot be used: {error}"
            ) from None
        return files, root.rstrip("/")

    def location(self, campaign: str, month: date) -> str:
        """The address of a month's folder, without credentials."""
        files, root = self._place
        return files.unstrip_protocol(f"{root}/{campaign}/{month}")

    def exported_months(self, campaign: str) -> list[date]:
        """Months with a manifest, in order."""
        folders = sorted(name for name in self._names(campaign) if _MONTH.fullmatch(name))
        return [date.fromisoformat(name) for name in folders if MANIFEST in self._names(f"{campaign}/{name}")]

    def manifest(self, campaign: str, month: date) -> dict[str, Any] | None:
        """None where the month was never exported. Raises ExportError for one that is no manifest."""
        try:
            return json.loads(self._read(f"{campaign}/{month}/{MANIFEST}"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise ExportError(
                f"The manifest of {campaign}, {month}, is damaged: remove {self.location(campaign, month)} and export"
                " it again."
            ) from None

    def file(self, campaign: str, month: date, manifest: Mapping[str, Any], name: str) -> bytes:
        """A file the manifest names. Raises ExportError when it is not what the manifest says."""
        entry = manifest["files"][name]
        try:
            content = self._read(f"{campaign}/{month}/{entry['path']}")
        except FileNotFoundError:
            content = b""
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ExportError(
                f"{entry['path']} of {campaign}, {month}, is not what its manifest says: export {month} again."
            )
        return content

    def write(self, campaign: str, month: date, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
        """The files of `manifest["version"]`, then the manifest, then away with what neither it nor a reader of the one
        before names."""
        folder = f"{campaign}/{month}"
        for name, content in files.items():
            self._put(f"{folder}/{manifest['version']}/{name}", content)
        self._put(f"{folder}/{MANIFEST}", (json.dumps(manifest, indent=2) + "\n").encode())
        self._tidy(folder, keep={manifest["version"], manifest["previous_version"]})

    def write_report(self, month: date, name: str, content: bytes) -> str:
        """`reports/<month>/<name>`, all of it or nothing; its address, without credentials."""
        files, root = self._place
        folder = f"{REPORTS}/{month}"
        self._put(f"{folder}/{name}", content)
        for left in self._names(folder):
            if _PARTIAL.fullmatch(left):
                files.rm(f"{root}/{folder}/{left}", recursive=True)
        return files.unstrip_protocol(f"{root}/{folder}/{name}")

    def _tidy(self, folder: str, keep: set[str | None]) -> None:
        """Remove old versions and remains of interrupted writes, and nothing that is not ours."""
        files, root = self._place
        for name in self._names(folder):
            if _PARTIAL.fullmatch(name) or (_VERSION.fullmatch(name) and name not in keep):
                files.rm(f"{root}/{folder}/{name}", recursive=True)
            elif name in keep:
                for inner in self._names(f"{folder}/{name}"):
                    if _PARTIAL.fullmatch(inner):
                        files.rm(f"{root}/{folder}/{name}/{inner}", recursive=True)

    def _names(self, folder: str) -> list[str]:
        files, root = self._place
        files.invalidate_cache()
        try:
            return sorted(Path(path).name for path in files.ls(f"{root}/{folder}", detail=False))
        except FileNotFoundError:
            return []

    def _read(self, path: str) -> bytes:
        files, root = self._place
        return files.cat_file(f"{root}/{path}")

    def _put(self, path: str, content: bytes) -> None:
        """All of the file or nothing. To an object store a put is that already; a folder needs help."""
        files, root = self._place
        if isinstance(files, LocalFileSystem):
            _replace(Path(root), Path(root, path), content)
        else:
            files.pipe_file(f"{root}/{path}", content)


def _replace(root: Path, path: Path, content: bytes) -> None:
    """Write aside, flush to the disk, rename. For the owner's eyes only: the files hold customers' addresses."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for folder in (root, *reversed([parent for parent in path.parents if root in parent.parents])):
        folder.mkdir(mode=0o700, exist_ok=True)
    with atomically(path, mode=0o600) as partial:
        partial.write_bytes(content)
    flush(path.parent.parent)
