"""Small values kept in Dagster's own storage, on SQLite and Postgres alike: written whole, and there after a restart.

One key a call: Dagster's SQLite storage loses the new keys of a call that names old and new ones together.
"""

from dataclasses import dataclass

import dagster as dg

_ROOT = "segmentation"


@dataclass(frozen=True)
class Notes:
    """The values of one portfolio: another one in the same instance has its own under the same keys."""

    instance: dg.DagsterInstance
    portfolio: str
    # Whether it goes on with what a version before this one noted, which knew one portfolio to an instance.
    continues: bool = True

    def get(self, key: str) -> str | None:
        own = self._stored(f"{_ROOT}/{self.portfolio}/{key}")
        return self._stored(f"{_ROOT}/{key}") if own is None and self.continues else own

    def put(self, key: str, value: str) -> None:
        self.instance.daemon_cursor_storage.set_cursor_values({f"{_ROOT}/{self.portfolio}/{key}": value})

    def _stored(self, key: str) -> str | None:
        return self.instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
