"""Erasure of people from all that this pipeline wrote. Killed anywhere, it is done again from the start and completes.

In this order, each step harmless to repeat: onto the list of the erased, so that no run brings anybody back; out of the
files, logs and stores, for which the tables still know address and name; out of the tables, in one transaction; out of
the free blocks of the DuckDB file, which is written anew; and the copies for readers are taken anew.
"""

import csv
import secrets
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import UserError, WarehouseError
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.privacy import erased, in_exports, in_stores, in_tables
from segmentation_assets.privacy.in_tables import Removed
from segmentation_assets.privacy.search import Search
from segmentation_assets.publication import migration, reader_copy
from segmentation_assets.spelling import trimmed
from segmentation_assets.text import counted
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Warehouse

Tell = Callable[[str], None]
FIRST_LINES = ("customer_id", "id", "customer")


class ErasureError(UserError):
    """Nobody to erase as asked; one line, which names nobody."""


@dataclass
class Erasure:
    """What was removed where."""

    customers: int = 0
    in_source: int = 0  # of whom the source still has a row
    tables: Removed = field(default_factory=Removed)
    exports: in_exports.Counts = field(default_factory=in_exports.Counts)
    reports: int = 0
    stores: in_stores.Cleaned = field(default_factory=in_stores.Cleaned)
    database_bytes: tuple[int, int] | None = None  # before and after it was written anew
    copies: list[str] = field(default_factory=list)
    copies_lost: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"Erased: {counted(self.customers, 'customer')}."
        for place, rows in sorted(self.tables.rows.items()):
            yield f"  {place}: {counted(rows, 'row')}"
        if self.tables.versions:
            yield f"  {counted(len(self.tables.versions), 'published month')}: a new version each, sums as they were"
        yield (
            f"  exports: {counted(self.exports.lines, 'line')} of {counted(self.exports.months, 'month')};"
            f" {counted(self.exports.versions, 'earlier version')} removed"
        )
        yield f"  reports: {counted(self.reports, 'file')}"
        yield (
            f"  Dagster's storage: {counted(self.stores.stored, 'value')}; logs: {counted(self.stores.files, 'file')}"
        )
        for path in self.stores.not_ours:
            yield f"  {path} names somebody and was not written by this pipeline: look at it yourself"
        if self.database_bytes:
            before, after = self.database_bytes
            yield f"  the DuckDB file was written anew, without its free blocks: {before:,} bytes, now {after:,}"
        for copy in self.copies:
            yield f"  the copy for readers {copy} was taken anew"
        for copy in self.copies_lost:
            yield f"  the copy for readers {copy} is no longer there, or no copy of ours: see who has it"
        if self.in_source:
            yield (
                f"The source still has {self.in_source:,} of them: left out of every run from now on"
                " (erased_customers). Remove them there too."
            )
        if self.tables.last_copy_dies:
            yield (
                f"Snowflake keeps what was deleted until {self.tables.last_copy_dies} (Time Travel, then fail-safe):"
                " on that day the last copy is gone."
            )


def asked(customer: str, file: str) -> list[str]:
    """The ids: the one that was typed, or those of a file, one a line or the first column of a CSV file.

    Raises ErasureError.
    """
    if bool(trimmed(customer)) == bool(file.strip()):
        raise ErasureError("Name one customer or one file of ids: CUSTOMER=... or FILE=..., and not both.")
    if trimmed(customer):
        try:
            customer.encode()
        except UnicodeEncodeError:
            raise ErasureError("CUSTOMER is no text in UTF-8: write the id as it is in the source.") from None
        return [trimmed(customer)]
    try:
        with Path(file).expanduser().open(encoding="utf-8-sig", newline="") as lines:
            ids = [trimmed(row[0]) for row in csv.reader(lines, strict=True) if row and trimmed(row[0])]
    except (OSError, UnicodeDecodeError, csv.Error, RuntimeError) as error:
        reason = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        reason = (error.strerror or reason) if isinstance(error, OSError) else reason
        raise ErasureError(f"FILE is {file}, which cannot be read: {reason}. Name a file with one id a line.") from None
    if ids and ids[0].lower() in FIRST_LINES:
        ids = ids[1:]
    if not ids:
        raise ErasureError(f"FILE is {file}, which holds no id: write one a line.")
    return list(dict.fromkeys(ids))


def erase(
    project: Project,
    warehouse: Warehouse,
    customers: Collection[str],
    tell: Tell = lambda _: None,
    instance: Any = None,
    copies: dict[str, Any] | None = None,
) -> Erasure:
    """Remove the customers; `tell` hears of each step, and of nobody. `copies` is what a copy for readers holds beside
    the models.

    Raises ErasureError where nobody of that id is known, and WarehouseError.
    """
    if isinstance(warehouse, DuckDBWarehouse) and not Path(warehouse.path).exists():
        raise ErasureError(f"There is no DuckDB file at {warehouse.path}, so nobody is in it.")
    done = Erasure()
    with warehouse.writing(f"erasure {secrets.token_hex(4)}"):
        migration.bring_up_to_date(warehouse, project)
        tell("Looking for them ...")
        wanted, found = _found(project, warehouse, customers)
        done.customers = len(wanted)
        tell("Leaving them out of every run from now on ...")
        in_tables.leave_out(project, warehouse, wanted)
        known = frozenset(address for addresses, _ in found.values() for address in addresses)
        tell("Writing export files and manifests anew ...")
        store = ExportStore(project.settings.export_uri)
        # The day that a list was sent they may have had another address than the tables know.
        addresses = known | in_exports.addresses_of(store, frozenset(wanted))
        search = Search([*wanted, *addresses, *(name for _, names in found.values() for name in names)])
        done.exports = in_exports.rewrite(store, in_exports.erasure(frozenset(wanted), addresses))
        done.reports = _clean_reports(store, search)
        tell("Cleaning Dagster's storage and the logs ...")
        done.stores = in_stores.clean(project, search, instance)
        tell("Removing their rows ...")
        done.tables = in_tables.remove(project, warehouse, search)
        if isinstance(warehouse, DuckDBWarehouse):
            tell("Writing the DuckDB file anew ...")
            done.database_bytes = warehouse.write_anew()
            _take_copies(project, warehouse, done, copies or {})
        with warehouse.session(read_only=True) as session:
            done.in_source = in_tables.still_in_source(session, project, wanted)
    return done


def _found(
    project: Project, warehouse: Warehouse, customers: Collection[str]
) -> tuple[list[str], dict[str, tuple[set[str], set[str]]]]:
    """The ids that are known here, on the list already or not; and what the tables know of them."""
    with warehouse.session(read_only=True) as session:
        found = in_tables.people(session, project, customers)
        salt = erased.salt_of(session)
        before = erased.known(session, salt, customers) if salt else set[str]()
    unknown = [one for one in customers if one not in found and one not in before]
    if unknown:
        raise ErasureError(
            f"{counted(len(unknown), 'id')} of {len(customers)} {'is' if len(unknown) == 1 else 'are'} known neither in"
            " the source nor in any table here, so nothing was erased. Correct the spelling (capitals count), or leave"
            " them out of the file."
        )
    return list(customers), found


def _clean_reports(store: ExportStore, search: Search) -> int:
    cleaned = 0
    for month, name, content in store.reports():
        anew, places = search.without(content)
        if places:
            store.replace_report(month, name, anew)
            cleaned += 1
    return cleaned


def _take_copies(project: Project, warehouse: DuckDBWarehouse, done: Erasure, further: dict[str, Any]) -> None:
    for copy in reader_copy.known(warehouse):
        if not copy.exists():
            done.copies_lost.append(str(copy))
            continue
        try:
            reader_copy.take(warehouse, copy, project, further)
            done.copies.append(str(copy))
        except WarehouseError:
            done.copies_lost.append(str(copy))
