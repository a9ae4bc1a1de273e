"""What an export is made of: its files as bytes, and the manifest that describes them.

No warehouse, no store, no clock: the same audience gives the same bytes. Where they lie is in store.py.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from segmentation_assets.exports import addresses
from segmentation_assets.exports.addresses import PLATFORMS
from segmentation_assets.exports.store import ExportError
from segmentation_assets.months import as_of_date
from segmentation_assets.sources.formulas import begins_as_formula

if TYPE_CHECKING:
    import pyarrow as pa  # imported where it is used: with NumPy it takes 0.2 s, and loading the definitions needs none

FULL, FULL_PARQUET, ADDED, REMOVED, ADS = "full.csv", "full.parquet", "added.csv", "removed.csv", "ads.csv"
ADDRESS = "email"
JOINED, LEFT = "joined.csv", "left.csv"  # of the segment; added and removed are of the list
ADS_COLUMN, CODE_COLUMN = "email_sha256", "audience_code"
REMOVED_KINDS = {"snapshot_month": "date", "campaign": "text", "customer_id": "key"}
MARK = "'"
# How a column of a CSV file is written, in words for who reads the file by the manifest.
CSV = {
    "encoding": "UTF-8",
    "separator": ",",
    "end_of_line": "\n",
    "missing_value": "nothing between the separators",
    "kinds": {
        "key": "an identifier exactly as it is in the warehouse, never marked; read it as text",
        "text": "one apostrophe is put before text that a spreadsheet would run as a formula, and before text that"
        " begins with an apostrophe; to undo it, remove one apostrophe from the beginning where there is one",
        "number": "digits with a decimal point, never marked",
        "date": "YYYY-MM-DD",
        "boolean": "true or false",
        "hash": "SHA-256 of the normalised address in UTF-8, 64 lower-case hex digits",
    },
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Audience:
    """The customers a campaign is sent to in a month, and where the list comes from."""

    campaign: str
    audience_code: str  # what an ad platform may know it by
    segment: str
    month: date
    schema: "pa.Schema"
    rows: Sequence[Row]  # the target group, best rank first
    waterfall: Mapping[str, int]  # step -> customers left after it
    left_since: int  # on the list when the month was made, no customers any more when it is exported
    suppressed_since: int  # on the list when the month was made, suppressed when it is exported
    publication: Row  # the month's newest row of segment_publications
    audits_passed: Sequence[str]
    # Addresses of those who must not be reached, and may be on a platform under an address of the list: a@gmail.com
    # and a.b@gmail.com are one contact there, and two here.
    closed: Sequence[str] = ()
    channel: str = "email"
    # Who came into the segment in the month and who left it: customer_id, and the segment before or after.
    joined: Sequence[Row] = ()
    left: Sequence[Row] = ()
    unreachable_since: int = 0  # no address of their own any more, or one that must not be written to
    has_moves: bool = False  # whether the campaign asks for them

    @property
    def customers(self) -> frozenset[str]:
        return frozenset(row["customer_id"] for row in self.rows)


@dataclass(frozen=True)
class Baseline:
    """The last export before this one: added and removed lead from its customers to the present ones."""

    month: date
    customers: frozenset[str]


@dataclass(frozen=True)
class ExportFile:
    content: bytes
    rows: int
    columns: Mapping[str, str]  # name -> kind in a CSV file, name -> type in a Parquet file
    normalisation: str | None = None  # of the addresses, where they are hashed

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def files_of(audience: Audience, baseline: Baseline | None) -> dict[str, ExportFile]:
    """Every file by its name, empty lists included; none of hashed addresses where the list has no addresses.

    Who is removed is named by customer_id alone: a customer may leave because they objected, and then no file may offer
    a way to reach them.
    """
    before = baseline.customers if baseline else frozenset()
    removed = [
        {"snapshot_month": audience.month, "campaign": audience.campaign, "customer_id": customer_id}
        for customer_id in sorted(before - audience.customers)
    ]
    columns, kinds = audience.schema.names, kinds_of(audience.schema)
    types = {field.name: str(field.type) for field in audience.schema}
    header, *full = csv_lines(columns, audience.rows)
    added = [line for line, row in zip(full, audience.rows, strict=True) if row["customer_id"] not in before]
    return {
        FULL: ExportFile("".join([header, *full]).encode(), len(full), kinds),
        FULL_PARQUET: ExportFile(parquet_bytes(audience.schema, audience.rows), len(audience.rows), types),
        ADDED: ExportFile("".join([header, *added]).encode(), len(added), kinds),
        REMOVED: ExportFile(csv_bytes(list(REMOVED_KINDS), removed), len(removed), REMOVED_KINDS),
        **(moves_files(audience) if audience.has_moves else {}),
        **(ads_files(audience) if ADDRESS in columns else {}),
    }


def moves_files(audience: Audience) -> dict[str, ExportFile]:
    """Who came into the segment, and who left it, for a journey that begins with the one and ends with the other."""
    files: dict[str, ExportFile] = {}
    for name, rows, segment in ((JOINED, audience.joined, "from_segment"), (LEFT, audience.left, "to_segment")):
        kinds = {**REMOVED_KINDS, segment: "text"}
        about = {"snapshot_month": audience.month, "campaign": audience.campaign}
        files[name] = ExportFile(csv_bytes(list(kinds), [{**about, **row} for row in rows]), len(rows), kinds)
    return files


def ads_files(audience: Audience) -> dict[str, ExportFile]:
    """Hashed addresses: ads.csv, and one file per platform, each address once as the platform counts it.

    By hash, so that the order tells the advertiser nothing about a customer's rank. An address that is the same to the
    platform as one of somebody who must not be reached is left out of its file.
    """
    listed: list[str] = [row["email"] for row in audience.rows]
    in_order: dict[frozenset[str], list[str]] = {}  # most platforms mean the same by most lists: hash and sort once

    def hashes(names: frozenset[str]) -> list[str]:
        if names not in in_order:
            in_order[names] = sorted(map(sha256, names))
        return in_order[names]

    everybody = hashes(frozenset(map(addresses.generic, listed)))
    words = "trimmed, lower case, Unicode composed (NFC)"
    content = "".join(f"{line}\n" for line in (ADS_COLUMN, *everybody)).encode()
    files = {ADS: ExportFile(content, len(everybody), {ADS_COLUMN: "hash"}, words)}
    for platform in PLATFORMS:
        closed = frozenset(map(platform.normalised, audience.closed))
        found = hashes(frozenset(map(platform.normalised, listed)) - closed)
        lines = [f"{audience.audience_code},{one}\n" for one in found]
        files[platform.file] = ExportFile(
            "".join([f"{CODE_COLUMN},{ADS_COLUMN}\n", *lines]).encode(),
            len(found),
            {CODE_COLUMN: "key", ADS_COLUMN: "hash"},
            platform.words,
        )
    return files


def manifest_of(
    audience: Audience, files: Mapping[str, ExportFile], baseline: Baseline | None, replaced: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What manifest.json says. `replaced` is the month's manifest up to now; after a rerun both are equal."""
    version, publication = version_of(files), audience.publication
    previous = None if replaced is None else replaced["version"]
    if replaced is not None and previous == version:
        previous = replaced["previous_version"]
    return {
        "format": 1,
        "campaign": audience.campaign,
        "audience_code": audience.audience_code,
        "channel": audience.channel,
        "segment": audience.segment,
        "snapshot_month": str(audience.month),
        "as_of_date": str(as_of_date(audience.month)),
        "version": version,
        "previous_version": previous,
        "run_id": publication["run_id"],
        "rules_hash": publication["rules_hash"],
        "publication": {key: publication[key] for key in ("version", "content_hash", "audits_verdict")},
        "audits_passed": list(audience.audits_passed),
        "waterfall": dict(audience.waterfall),
        "left_since": audience.left_since,
        "suppressed_since": audience.suppressed_since,
        "unreachable_since": audience.unreachable_since,
        "customers_sha256": customers_digest(audience.customers),
        "compared_with": baseline
        and {"snapshot_month": str(baseline.month), "customers_sha256": customers_digest(baseline.customers)},
        "csv": CSV,
        "files": {
            name: {
                "path": f"{version}/{name}",
                "rows": file.rows,
                "bytes": len(file.content),
                "sha256": file.sha256,
                "columns": dict(file.columns),
                **({"normalisation": file.normalisation} if file.normalisation else {}),
            }
            for name, file in files.items()
        },
    }


def is_compared_with(manifest: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    """Whether a manifest's added and removed lead from the export `before` it, as it is now."""
    expected = before and {key: before[key] for key in ("snapshot_month", "customers_sha256")}
    return manifest["compared_with"] == expected


def version_of(files: Mapping[str, ExportFile]) -> str:
    """12 hex digits of the content: the folder's name."""
    lines = "".join(f"{name} {files[name].sha256}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def customers_digest(customers: Iterable[str]) -> str:
    """SHA-256 of the sorted ids, each with its length so that no two lists read the same."""
    return hashlib.sha256("".join(f"{len(name)}:{name}" for name in sorted(customers)).encode()).hexdigest()


def customers_in(content: bytes) -> frozenset[str]:
    """The ids in a full.parquet, the file with types."""
    import pyarrow.parquet as pq

    return frozenset(pq.read_table(io.BytesIO(content), columns=["customer_id"]).column("customer_id").to_pylist())


def hashed_email(address: str) -> str:
    """As in ads.csv."""
    return sha256(addresses.generic(address))


def sha256(text: str) -> str:
    """Of the text in UTF-8, as lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_key(column: str) -> bool:
    """Whether a column identifies something: it is joined by, and so comes back as it was."""
    return column in ("customer_id", CODE_COLUMN) or column.endswith(("_id", "_key"))


def kinds_of(schema: "pa.Schema") -> dict[str, str]:
    import pyarrow as pa

    def kind(field: "pa.Field") -> str:
        if is_key(field.name):
            return "key"
        if pa.types.is_string(field.type):
            return "text"
        if pa.types.is_date(field.type):
            return "date"
        return "boolean" if pa.types.is_boolean(field.type) else "number"

    return {field.name: kind(field) for field in schema}


def csv_bytes(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    return "".join(csv_lines(columns, rows)).encode()


def csv_lines(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """A header and a line per row, each with \\n at its end; NULL is nothing between the commas."""
    # Python before 3.13 quotes a return only where it is part of the line's end: a name with one, left bare, would
    # begin a row of its own, and whatever follows could be a formula.
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(columns)
    written = [map(key_cell if is_key(column) else cell, [row[column] for row in rows]) for column in columns]
    writer.writerows(zip(*written, strict=True))
    return lines.written


class _Lines:
    """What a csv.writer writes to, a line at a time; each is kept with the shorter end."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, line: str) -> None:
        self.written.append(line.removesuffix("\r\n") + "\n")


def key_cell(value: object) -> str:
    return "" if value is None else str(value)


def cell(value: object) -> str:
    """Text that a spreadsheet could run as a formula gets an apostrophe before it, and so does text that begins with
    one, so that the mark can be undone; numbers, -3.50 too, stay numbers."""
    return _CELLS.get(type(value), str)(value)


def _text_cell(value: str) -> str:
    return f"{MARK}{value}" if value.startswith(MARK) or begins_as_formula(value) else value


_CELLS: Mapping[type, Callable[[Any], str]] = {
    str: _text_cell,
    type(None): lambda _: "",
    bool: lambda value: str(value).lower(),
    Decimal: lambda value: format(value, "f"),
}


def parquet_bytes(schema: "pa.Schema", rows: Sequence[Row]) -> bytes:
    """One row group, one thread, no Arrow or pandas metadata: the same rows give the same bytes under one pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [_array(field, [row[field.name] for row in rows]) for field in schema]
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=schema),
        sink,
        version="2.6",
        compression="zstd",
        row_group_size=max(len(rows), 1),
        store_schema=False,
    )
    return sink.getvalue()


def _array(field: "pa.Field", values: Sequence[object]) -> "pa.Array":
    import pyarrow as pa

    if pa.types.is_decimal(field.type):
        # Drivers differ in whether a whole or an exact amount comes as int, float or Decimal.
        step = Decimal(1).scaleb(-field.type.scale)
        values = [
            value if value is None or isinstance(value, Decimal) else Decimal(str(value)).quantize(step)
            for value in values
        ]
    try:
        return pa.array(values, type=field.type)
    except pa.ArrowException:
        # Arrow's own words quote the value, which may be an address.
        raise ExportError(f"The column {field.name} holds a value that is not of its type, {field.type}.") from None
