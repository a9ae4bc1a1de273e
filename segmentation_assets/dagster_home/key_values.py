"""Small values kept in Dagster's own storage, on SQLite and Postgres alike: written whole, and there after a restart.

One key a call: Dagster's SQLite storage loses the new keys of a call that names old and new ones together.
"""

import dagster as dg


def get(instance: dg.DagsterInstance, key: str) -> str | None:
    return instance.daemon_cursor_storage.get_cursor_values({key}).get(key)


def put(instance: dg.DagsterInstance, key: str, value: str) -> None:
    instance.daemon_cursor_storage.set_cursor_values({key: value})
