"""Tables of outcomes that Python makes: their columns, and replacing months of them in one transaction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from segmentation_assets.publication import ownership
from segmentation_assets.warehouse.catalog import columns_of
from segmentation_assets.warehouse.columns import Statement
from segmentation_assets.warehouse.session import Session


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    meaning: str
    sources: tuple[str, ...] = ()  # columns of the table of sums that it is worked out from


def bounded(name: str, meaning: str, bounds: str, sources: tuple[str, ...]) -> Iterator[Column]:
    """A number and the two ends of its 95 % interval; `bounds` is how their names begin."""
    yield Column(name, "double", meaning, sources)
    for end in ("lower", "upper"):
        word = f"{end.capitalize()} end of the 95 % interval of {name}."
        yield Column(f"{bounds}_{end}_95", "double", word, sources)


@dataclass(frozen=True)
class Table:
    name: str
    comment: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def replace_from(self, session: Session, first: date, rows: Sequence[Mapping[str, Any]]) -> None:
        """The months from `first` on become `rows`. What an earlier version made gets the columns it lacks, empty."""
        table = f"{session.gold}.{self.name}"
        described = ", ".join(f"{column.name} {column.kind}" for column in self.columns)
        present = columns_of(session, session.gold, self.name)
        is_new = not present
        if is_new:
            session.execute(f"create table if not exists {table} ({described})")
            session.show_readers(table)
            present = list(self.names)
        lacking = [column for column in self.columns if column.name not in present]
        for column in lacking:
            session.execute(f"alter table {table} add column if not exists {column.name} {column.kind}")
        if is_new or lacking:
            session.execute(f"comment on table {table} is '{self.comment} {ownership.MARK}'")
        statements: list[Statement] = [(f"delete from {table} where snapshot_month >= ?", (first,))]
        if rows:
            places = ", ".join([f"({', '.join('?' * len(self.names))})"] * len(rows))
            values = [row[name] for row in rows for name in self.names]
            statements.append((f"insert into {table} ({', '.join(self.names)}) values {places}", values))
        session.in_one_transaction(self.name, statements)
