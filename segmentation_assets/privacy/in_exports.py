"""Erasure and blanking in the files of the exports: each month's version and manifest are written anew, others removed.

Files are rewritten line by line: who stays is in them byte for byte as before. The new version stands beside the old
one, the manifest is put over the old one in one step, and then every other version goes at once, for a replaced one
would keep the person for its days of grace.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from segmentation_assets.exports import files
from segmentation_assets.exports.addresses import PLATFORMS
from segmentation_assets.exports.files import ADS_COLUMN, FULL, FULL_PARQUET
from segmentation_assets.exports.store import ExportError, ExportStore

Record = dict[str, str]
# What becomes of one line, by the names of its columns: None where it goes.
Change = Callable[[Record], Record | None]
CONTACT = ("email", "first_name", "last_name")


@dataclass
class Counts:
    lines: int = 0
    months: int = 0
    versions: int = 0


@dataclass(frozen=True)
class Rewriting:
    """`change` of a line that names a customer, `keeps_hash` of a hashed address."""

    change: Change
    keeps_hash: Callable[[str], bool]
    counts: Counts = field(default_factory=Counts)


def erasure(customers: frozenset[str], addresses: frozenset[str]) -> Rewriting:
    hashes = hashes_of(addresses)
    return Rewriting(
        lambda record: None if record["customer_id"] in customers else record, lambda found: found not in hashes
    )


def blanking(pseudonym: Callable[[str], str] | None) -> Rewriting:
    """Without names, addresses and their hashes; the ids as `pseudonym` has them, where there is one."""

    def change(record: Record) -> Record:
        kept = {name: "" if name in CONTACT else value for name, value in record.items()}
        return {**kept, "customer_id": pseudonym(kept["customer_id"])} if pseudonym else kept

    return Rewriting(change, lambda _: False)


def hashes_of(addresses: frozenset[str]) -> frozenset[str]:
    """Every hash that a file of ours, or an ad platform, has of an address."""
    ways = (files.hashed_email, *(lambda text, way=one.normalised: files.sha256(way(text)) for one in PLATFORMS))
    return frozenset(way(address) for address in addresses for way in ways)


def addresses_of(store: ExportStore, customers: frozenset[str]) -> frozenset[str]:
    """The addresses that files there are have for the customers, of whatever version."""
    found: set[str] = set()
    for campaign in store.campaigns():
        for month in store.exported_months(campaign):
            try:
                manifest = store.manifest(campaign, month)
            except ExportError:
                continue  # told when it is rewritten
            assert manifest is not None  # it is among the exported
            others = [content for name, content in store.other_versions(campaign, month, manifest) if name == FULL]
            for content in (store.file(campaign, month, manifest, FULL), *others):
                for _, record in _records(content)[1]:
                    if record["customer_id"] in customers and record.get(files.ADDRESS):
                        # As a person has it: a cell that a spreadsheet would run has a mark before it.
                        found.add(record[files.ADDRESS].removeprefix(files.MARK))
    return frozenset(found)


def rewrite(store: ExportStore, rewriting: Rewriting) -> Counts:
    """Every month of every campaign, those that the rules no longer have too."""
    for campaign in store.campaigns():
        rewrite_campaign(store, campaign, rewriting)
    return rewriting.counts


def rewrite_campaign(
    store: ExportStore,
    campaign: str,
    rewriting: Rewriting,
    concerns: Callable[[date], bool] = lambda _: True,
    mark: str | None = None,
) -> Counts:
    """The months that it `concerns`; a manifest with the `mark` says that its month was done before."""
    digests: dict[str, str] = {}  # of the ids of a list, before and after
    for month in store.exported_months(campaign):
        try:
            manifest = store.manifest(campaign, month)
        except ExportError:
            if mark is None:
                raise
            continue  # of somebody else, or damaged, which its own export tells
        assert manifest is not None  # it is among the exported
        if concerns(month):
            if mark is None or manifest.get("contact_details") != mark:
                _rewrite_month(store, campaign, month, manifest, rewriting, digests, mark)
        else:
            _follow(store, campaign, month, manifest, digests)
    return rewriting.counts


def _rewrite_month(
    store: ExportStore,
    campaign: str,
    month: date,
    manifest: Mapping[str, Any],
    rewriting: Rewriting,
    digests: dict[str, str],
    mark: str | None,
) -> None:
    contents = {name: store.file(campaign, month, manifest, name) for name in manifest["files"]}
    lines = rewriting.counts.lines
    made = {name: _rewritten(name, content, rewriting) for name, content in contents.items()}
    compared = _followed(manifest, digests)
    is_changed = any(made[name][0] != contents[name] for name in contents)
    if is_changed or mark or compared != manifest["compared_with"]:
        anew = _manifest(manifest, made, compared, mark)
        if manifest["customers_sha256"] != anew["customers_sha256"]:
            digests[manifest["customers_sha256"]] = anew["customers_sha256"]
        store.write(campaign, month, {name: content for name, (content, _) in made.items()}, anew)
        rewriting.counts.months += is_changed
        manifest = anew
    if is_changed or _others_hold_somebody(store, campaign, month, manifest, rewriting, lines):
        rewriting.counts.versions += store.remove_other_versions(campaign, month, manifest)


def _follow(
    store: ExportStore, campaign: str, month: date, manifest: Mapping[str, Any], digests: Mapping[str, str]
) -> None:
    """A month that stays is compared with one that did not: its manifest says what that one is now."""
    compared = _followed(manifest, digests)
    if compared != manifest["compared_with"]:
        contents = {name: store.file(campaign, month, manifest, name) for name in manifest["files"]}
        store.write(campaign, month, contents, {**manifest, "compared_with": compared})


def _followed(manifest: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any] | None:
    compared = manifest["compared_with"]
    if not compared:
        return compared
    found = compared["customers_sha256"]
    return {**compared, "customers_sha256": digests.get(found, found)}


def _others_hold_somebody(
    store: ExportStore, campaign: str, month: date, manifest: Mapping[str, Any], rewriting: Rewriting, lines: int
) -> bool:
    """As where a rewriting was cut off between the manifest and the removal."""
    for name, content in store.other_versions(campaign, month, manifest):
        changed, _ = _rewritten(name, content, rewriting)
        rewriting.counts.lines = lines  # of versions that go, nobody counts lines
        if changed != content:
            return True
    return False


def _rewritten(name: str, content: bytes, rewriting: Rewriting) -> tuple[bytes, int]:
    """The file's bytes and how many rows it has."""
    if name.endswith(".parquet"):
        return _parquet(content, rewriting.change)
    kept, rows, gone = [], 0, 0
    columns, records = _records(content)
    for text, record in records:
        if ADS_COLUMN in record:
            anew = record if rewriting.keeps_hash(record[ADS_COLUMN]) else None
        else:
            anew = rewriting.change(record)
        gone += anew != record
        if anew is not None:
            rows += 1
            kept.append(text if anew == record else _line(anew, columns))
    if name == FULL:
        rewriting.counts.lines += gone
    return "".join([_line(dict(zip(columns, columns, strict=True)), columns), *kept]).encode(), rows


def _records(content: bytes) -> tuple[Sequence[str], Iterator[tuple[str, Record]]]:
    """The columns, and each line as it stands with its values."""
    text = content.decode()
    reader = csv.reader(io.StringIO(text, newline=""))
    columns = next(reader)

    def records() -> Iterator[tuple[str, Record]]:
        for values in reader:
            record = dict(zip(columns, values, strict=True))
            yield _line(record, columns), record

    return columns, records()


def _line(record: Mapping[str, str], columns: Sequence[str]) -> str:
    """As files.csv_bytes writes it; what is marked there is marked already."""
    sink = io.StringIO(newline="")
    csv.writer(sink, lineterminator="\r\n").writerow([record[column] for column in columns])
    return sink.getvalue().removesuffix("\r\n") + "\n"


def _parquet(content: bytes, change: Change) -> tuple[bytes, int]:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    rows: list[dict[str, Any]] = []
    is_changed = False
    for row in table.to_pylist():
        texts = {name: row[name] or "" for name in ("customer_id", *CONTACT) if name in row}
        anew = change(texts)
        is_changed = is_changed or anew != texts
        if anew is not None:
            rows.append(row if anew == texts else {**row, **{name: text or None for name, text in anew.items()}})
    schema = table.schema.remove_metadata()
    return (files.parquet_bytes(schema, rows) if is_changed else content), len(rows)


def _manifest(
    manifest: Mapping[str, Any],
    made: Mapping[str, tuple[bytes, int]],
    compared: Mapping[str, Any] | None,
    mark: str | None,
) -> dict[str, Any]:
    digests = {name: hashlib.sha256(content).hexdigest() for name, (content, _) in made.items()}
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    version = hashlib.sha256(lines.encode()).hexdigest()[:12]
    customers = files.customers_in(made[FULL_PARQUET][0])
    entries = {
        name: {
            **entry,
            "path": f"{version}/{name}",
            "rows": made[name][1],
            "bytes": len(made[name][0]),
            "sha256": digests[name],
        }
        for name, entry in manifest["files"].items()
    }
    return json.loads(
        json.dumps(
            {
                **manifest,
                "version": version,
                "previous_version": None,
                "customers_sha256": files.customers_digest(customers),
                "compared_with": compared,
                "files": entries,
                **({"contact_details": mark} if mark else {}),
            }
        )
    )
