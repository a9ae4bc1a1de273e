"""Notes of who asked for the run of a month, so that the schedule and the catch-up sensor do not both ask."""

import json
from datetime import date, datetime, timedelta
from typing import Any

from segmentation_assets.dagster_home.key_values import Notes

CATCH_UP, SCHEDULE = "segmentation_catch_up", "schedule"
_ASKED = "asked/"
# A tick that was asked for shows up as a run well within the hour.
CLAIM = timedelta(hours=1)


def claim(notes: Notes, month: date, by: str, now: datetime, *, asks: bool = True) -> None:
    """Note that a month was looked at, and whether its run was asked for: the other asker does not ask as well."""
    notes.put(_ASKED + str(month), json.dumps({"by": by, "at": now.isoformat(), "asks": asks}))


def asked_lately(notes: Notes, month: date, now: datetime) -> str | None:
    """Who asked for the month within the last hour."""
    noted: dict[str, Any] = json.loads(notes.get(_ASKED + str(month)) or "{}")
    if not noted.get("asks") or abs(now - datetime.fromisoformat(noted["at"])) > CLAIM:
        return None
    return noted["by"]


def was_looked_at(notes: Notes, month: date) -> bool:
    """Whether a tick ever came to the month, be it that it skipped."""
    return bool(notes.get(_ASKED + str(month)))
