"""Search for people in the bytes of everything below some folders, and in every column of a database."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

Person = tuple[str, str, str, str]  # customer_id, email, first and last name


def spellings(people: Iterable[Person]) -> dict[str, str]:
    """What must be nowhere -> what it is, in words that name nobody."""
    found: dict[str, str] = {}
    for customer_id, email, first, last in people:
        digests = {hashlib.sha256(text.encode()).hexdigest() for text in (email, email.lower(), customer_id)}
        found |= {customer_id: "id", email: "address", email.lower(): "address", f"{first} {last}": "name"}
        found |= dict.fromkeys(digests, "hash")
    return found | {json.dumps(text)[1:-1]: kind for text, kind in found.items()}


def hits(people: Iterable[Person], *places: Path) -> list[str]:
    """`kind in file`, and `kind in file: table.column`, for everything that is still there."""
    wanted = spellings(people)
    return sorted({hit for file in _files(places) for hit in _hits_in(file, wanted)})


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield from (one for one in ([place] if place.is_file() else sorted(place.rglob("*"))) if one.is_file())


def _hits_in(file: Path, wanted: dict[str, str]) -> Iterator[str]:
    content = file.read_bytes()
    if file.suffix == ".parquet":
        # Compressed: what is in it is in its values.
        content += json.dumps(pq.read_table(io.BytesIO(content)).to_pylist(), default=str, ensure_ascii=False).encode()
    yield from (f"{kind} in {file.name}" for text, kind in wanted.items() if text.encode() in content)
    if file.suffix == ".duckdb":
        yield from _hits_in_tables(file, wanted)


def _hits_in_tables(file: Path, wanted: dict[str, str]) -> Iterator[str]:
    """Compressed too."""
    with duckdb.connect(str(file), read_only=True) as connection:
        columns = connection.execute(
            "select schema_name, table_name, column_name from duckdb_columns() join duckdb_tables()"
            " using (schema_name, table_name) where data_type = 'VARCHAR'"
        ).fetchall()
        for schema, table, column in columns:
            found = connection.execute(
                f'select distinct "{column}" from "{schema}"."{table}" where "{column}" in (select unnest(?))',
                [list(wanted)],
            ).fetchall()
            yield from (f"{wanted[text]} in {file.name}: {schema}.{table}.{column}" for (text,) in found)
