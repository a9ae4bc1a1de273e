"""Sign-ins of the sensors: one that was refused is not tried again before something can have changed.

A sensor ticks every minute, and five refused passwords lock a Snowflake user. What was refused is noted for all sensors
of the portfolio, with a salted hash of what was signed in with: another secret, user or role is tried at once.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from segmentation_assets.dagster_home.key_values import Notes
from segmentation_assets.errors import RefusedLoginError
from segmentation_assets.warehouse.session import Session, Warehouse, try_session
from segmentation_assets.warehouse.snowflake import SnowflakeWarehouse

DOCUMENT = "refused-login"
# A secret that was refused stays refused; one attempt a day finds a public key that was put right in the account, and
# locks nobody. A grant or a network policy is changed in the account, and costs no attempt that counts.
SECRET_AGAIN, OTHERWISE_AGAIN = timedelta(days=1), timedelta(hours=1)


@contextmanager
def sensor_session(notes: Notes, warehouse: Warehouse, now: datetime) -> Iterator[Session | None]:
    """As try_session. Raises RefusedLoginError without an attempt where the same was refused lately."""
    if not isinstance(warehouse, SnowflakeWarehouse):
        with try_session(warehouse) as session:
            yield session
        return
    noted = json.loads(notes.get(DOCUMENT) or "{}")
    if noted and now < datetime.fromisoformat(noted["again"]) and noted["hash"] == warehouse.login_hash(noted["salt"]):
        raise RefusedLoginError(
            f"{noted['told']} It is not tried again before {noted['again'][:16]} unless it changes.",
            noted["is_of_the_secret"],
        )
    opened = False
    try:
        with try_session(warehouse) as session:
            opened = True
            if noted:
                notes.put(DOCUMENT, "{}")
            yield session
    except RefusedLoginError as refused:
        if not opened:
            salt = secrets.token_hex(16)
            notes.put(
                DOCUMENT,
                json.dumps(
                    {
                        "told": str(refused),
                        "is_of_the_secret": refused.is_of_the_secret,
                        "salt": salt,
                        "hash": warehouse.login_hash(salt),
                        "again": (now + (SECRET_AGAIN if refused.is_of_the_secret else OTHERWISE_AGAIN)).isoformat(),
                    }
                ),
            )
        raise
