"""The lease of a Snowflake database: one run at a time writes there, which nothing outside the account sees to.

One row says who writes and when they were last heard of. UPDATEs of it wait for each other in Snowflake, so that one of
two runs has it. Who has it says so again every minute; a run that was killed stops doing that, and is waited for.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from segmentation_assets.errors import WarehouseBusyError

logger = logging.getLogger(__name__)

TABLE = "run_lease"
# And that of dbt_models/macros/publication/locks.sql.
TABLES = (TABLE, "publication_locks")
# Whoever was not heard of for so long is gone: longer than a session that lost its client keeps its transaction, which
# is five minutes, so that what it left half done is undone by then.
LEASE_SECONDS, BEAT_SECONDS, LOOK_SECONDS = 330, 60, 15
_NOW = "cast(current_timestamp() as timestamp_ntz)"  # sessions are in UTC


class Session(Protocol):
    silver: str

    @property
    def engine_error(self) -> type[Exception]: ...

    def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> None: ...

    def rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[dict[str, object]]: ...


@contextmanager
def lease(session: Session, holder: str, *, seconds: int = LEASE_SECONDS, beat: float = BEAT_SECONDS,
          look: float = LOOK_SECONDS) -> Iterator[None]:  # fmt: skip
    """Has the lease inside of the `with`; the session is the lease's alone there. Steps of one run, which are of one
    holder, may be in it at once. Raises WarehouseBusyError, in words, where another run is writing."""
    table = f"{session.silver}.{TABLE}"
    try:
        is_taken = _is_taken(session, table, holder, seconds)
    except session.engine_error:  # the first run of all; what else is wrong shows at once
        _make(session, table)
        is_taken = False
    if not is_taken and _is_renewed(session, table, holder):  # whoever took it first gives it back
        yield
        return
    if not is_taken:
        _take(session, table, holder, seconds, look)
    done = threading.Event()
    beats = threading.Thread(target=_beat, args=(session, table, holder, beat, done), daemon=True)
    beats.start()
    try:
        yield
    finally:
        done.set()
        beats.join()
        # One that cannot be given back runs out by itself.
        try:
            session.execute(f"update {table} set holder = null where holder = ?", (holder,))
        except session.engine_error as error:
            logger.warning("The lease of %s was not given back: %s", table, type(error).__name__)


def _make(session: Session, table: str) -> None:
    schema, name = table.split(".")
    found = session.rows(
        "select (select count(*) from information_schema.schemata where lower(schema_name) = lower(?)) as schemas,"
        " (select count(*) from information_schema.tables where lower(table_schema) = lower(?)"
        " and lower(table_name) = lower(?)) as tables",
        (schema, schema, name),
    )[0]
    if not found["schemas"]:  # asked first: `if not exists` needs the right to make one even where it is there
        session.execute(f"create schema {schema}")
    if not found["tables"]:
        session.execute(
            f"create table if not exists {table} (holder varchar, taken_at timestamp_ntz, heard_at timestamp_ntz)"
        )
        # Two runs at once may both do so: each UPDATE then takes both rows, or none.
        session.execute(f"insert into {table} select null, null, null where not exists (select 1 from {table})")


def _take(session: Session, table: str, holder: str, seconds: int, look: float) -> None:
    first: tuple[object, object] | None = None
    while not _is_taken(session, table, holder, seconds):
        (found, *_) = session.rows(
            f"select holder, taken_at, heard_at, datediff(second, heard_at, {_NOW}) as silent from {table}"
        )
        if found["holder"] is None:
            continue
        seen = (found["holder"], found["heard_at"])
        if first is None:
            first = seen
            logger.warning(
                "Run %s writes to this database since %s (UTC), and was last heard of %s seconds ago. If it was killed,"
                " its place is free in %s seconds at most: waiting for that, or for a sign of it.",
                found["holder"], str(found["taken_at"])[:19], found["silent"],
                max(0, seconds - int(str(found["silent"]))),
            )  # fmt: skip
        elif seen[0] != first[0] or seen[1] != first[1]:
            raise WarehouseBusyError(
                f"Run {found['holder']} is writing to this database since {str(found['taken_at'])[:19]} (UTC) and is at"
                f" work: it said so {found['silent']} seconds ago. Nothing was touched. Start this one when that one"
                " has ended."
            )
        time.sleep(look)


def _is_taken(session: Session, table: str, holder: str, seconds: int) -> bool:
    (updated, *_) = session.rows(
        f"update {table} set holder = ?, taken_at = {_NOW}, heard_at = {_NOW}"
        f" where holder is null or heard_at < dateadd(second, {-seconds}, {_NOW})",
        (holder,),
    )
    return bool(next(iter(updated.values())))


def _is_renewed(session: Session, table: str, holder: str) -> bool:
    (updated, *_) = session.rows(f"update {table} set heard_at = {_NOW} where holder = ?", (holder,))
    return bool(next(iter(updated.values())))


def _beat(session: Session, table: str, holder: str, every: float, done: threading.Event) -> None:
    while not done.wait(every):
        try:
            session.execute(f"update {table} set heard_at = {_NOW} where holder = ?", (holder,))
        except session.engine_error as error:  # the run goes on; another one may take the lease from it
            logger.warning("The lease of %s could not be renewed: %s", table, type(error).__name__)
