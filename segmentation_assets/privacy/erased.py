"""Who was erased: a list of salted hashes in the warehouse, by which views leave out whom the source still has.

The salt stands beside the hashes, in the schema that only the pipeline's role reads. Views are made with it, so that
the warehouse would hold it anyway; and a variable of the environment that one machine lacks would bring everybody back
without a word. Whoever may read the list and a list of ids can find out who is on it: it is kept to honour an
erasure, and is no anonymous data. macros/privacy/erased.sql reads it.
"""

import hashlib
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from segmentation_assets.publication.ownership import MARK
from segmentation_assets.warehouse.catalog import table_exists
from segmentation_assets.warehouse.session import Session

TABLE = "erased_customers"
_BATCH = 500


def place(session: Session) -> str:
    return f"{session.silver}.{TABLE}"


def salt_of(session: Session) -> str | None:
    """None where nobody was ever erased."""
    if not table_exists(session, session.silver, TABLE):
        return None
    return session.rows(f"select min(salt) as salt from {place(session)}")[0]["salt"]


def hash_of(customer_id: str, salt: str) -> str:
    """The same as the macro erased_hash."""
    return hashlib.sha256(f"{salt}{customer_id}".encode()).hexdigest()


def sql_hash(session: Session, column: str, salt: str) -> str:
    text = f"'{salt}' || {column}"
    return f"sha2({text}, 256)" if session.folds_names else f"sha256({text})"


def is_erased(session: Session, column: str, salt: str) -> str:
    """A condition: whether the id in the column is on the list."""
    return f"{sql_hash(session, column, salt)} in (select erased_hash from {place(session)})"


def known(session: Session, salt: str, customers: Collection[str]) -> set[str]:
    """Those of the ids that are on the list."""
    hashes = {row["erased_hash"] for row in session.rows(f"select erased_hash from {place(session)}")}
    return {one for one in customers if hash_of(one, salt) in hashes}


def add(session: Session, customers: Collection[str]) -> str:
    """Puts the ids on the list, and makes it where it is not there; its salt."""
    session.execute(f"create schema if not exists {session.silver}")
    session.execute(
        f"create table if not exists {place(session)} (erased_hash varchar, salt varchar, erased_at timestamp)"
    )
    session.execute(f"comment on table {place(session)} is 'Who was erased: one row per salted hash of an id. {MARK}'")
    salt = salt_of(session) or secrets.token_hex(16)
    new = sorted(set(customers) - known(session, salt, customers))
    erased_at = datetime.now(tz=UTC).replace(tzinfo=None, microsecond=0)
    for some in batches(new, _BATCH):
        values = [value for one in some for value in (hash_of(one, salt), salt, erased_at)]
        session.execute(f"insert into {place(session)} values {', '.join(['(?, ?, ?)'] * len(some))}", values)
    return salt


def batches(values: Iterable[str], size: int) -> Iterator[Sequence[str]]:
    rest = iter(values)
    while some := tuple(islice(rest, size)):
        yield some
