"""Outbox: alerts persisted in Dagster's own storage, marked sent only after delivery.

Everything under way is one JSON document under one key, so that it is written whole or not at all. What was sent stands
under a key of its own for good, so that the document stays small and nothing is ever told a second time.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from segmentation_assets.alerts.receivers import AlertAddressError, Receiver, Severity
from segmentation_assets.dagster_home.key_values import Notes

DOCUMENT = "alerts"
SENT = "alerts/told/"
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 30, 1800


@dataclass
class Alert:
    """One message. `identity` says what happened, and is the same whenever it is looked at."""

    identity: str
    severity: Severity
    title: str
    body: str
    recovered: bool = False
    delivered: list[str] = field(default_factory=list)
    tries: dict[str, int] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return hashlib.blake2b(self.identity.encode(), digest_size=8).hexdigest()


@dataclass
class Waiting:
    """A receiver that did not answer: how often in a row, and when it is tried again."""

    failures: int
    until: float


@dataclass
class Outbox:
    """The document, and the storage it is in. One writer at a time: see `sensor.one_at_a_time`."""

    notes: Notes
    pending: list[Alert] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    # Failed check and month -> reference of the alert that told it; gone when it passes.
    open: dict[str, str] = field(default_factory=dict)
    # Finished runs within the overlap that were read already.
    read_runs: dict[str, float] = field(default_factory=dict)
    watermark: float | None = None

    @classmethod
    def load(cls, notes: Notes) -> "Outbox":
        stored = json.loads(notes.get(DOCUMENT) or "{}")
        return cls(
            notes,
            pending=[Alert(**alert) for alert in stored.get("pending", [])],
            waiting={key: Waiting(**wait) for key, wait in stored.get("waiting", {}).items()},
            open=stored.get("open", {}),
            read_runs=stored.get("read_runs", {}),
            watermark=stored.get("watermark"),
        )

    def save(self) -> None:
        document: dict[str, Any] = {
            "pending": [asdict(alert) for alert in self.pending],
            "waiting": {key: asdict(wait) for key, wait in self.waiting.items()},
            "open": self.open,
            "read_runs": self.read_runs,
            "watermark": self.watermark,
        }
        self.notes.put(DOCUMENT, json.dumps(document))

    def add(self, alert: Alert) -> bool:
        """Whether it is news. Not written yet: the caller saves what it read and what it made of it together."""
        if any(alert.identity == other.identity for other in self.pending) or self.notes.get(SENT + alert.reference):
            return False
        self.pending.append(alert)
        return True

    def deliver(
        self,
        receivers: Sequence[Receiver],
        *,
        seconds: float,
        close: bool = True,
        now: Callable[[], float] = time.time,
    ) -> tuple[int, list[str]]:
        """Send what is due, for at most about `seconds`; how many messages arrived, and a line per trouble.

        A receiver that fails is left alone for a while that doubles, and its message goes behind its others: neither a
        dead receiver nor a message that one receiver refuses keeps anything else back. Without `close` everything
        stays, for an address that somebody has yet to correct.
        """
        started, arrived, troubles = now(), 0, list[str]()
        self.waiting = {key: wait for key, wait in self.waiting.items() if key in {one.key for one in receivers}}
        # Those that answered last time first: the seconds are not spent on waiting for the others.
        for receiver in sorted(receivers, key=lambda one: self._failures(one.key)):
            wait = self.waiting.get(receiver.key)
            if wait and now() < wait.until:
                troubles.append(self._trouble(receiver, now()))
                continue
            for alert in self._due(receiver):
                if now() - started > seconds:
                    troubles.append("The rest is sent at the next look.")
                    break
                try:
                    taken = receiver.send(alert.title, alert.body, alert.severity, recovered=alert.recovered)
                except AlertAddressError as error:
                    troubles.append(str(error))
                    break
                if not taken:
                    alert.tries[receiver.key] = alert.tries.get(receiver.key, 0) + 1
                    failures = self._failures(receiver.key) + 1
                    seconds_to_wait = min(FIRST_WAIT_SECONDS * 2 ** min(failures - 1, 16), LONGEST_WAIT_SECONDS)
                    self.waiting[receiver.key] = Waiting(failures, now() + seconds_to_wait)
                    troubles.append(self._trouble(receiver, now()))
                    self.save()
                    break
                arrived += 1
                self.waiting.pop(receiver.key, None)
                alert.delivered.append(receiver.key)
                self.save()
        if close and receivers:
            self._close(receivers)
        return arrived, troubles

    def _due(self, receiver: Receiver) -> list[Alert]:
        due = [
            alert
            for alert in self.pending
            if alert.severity in receiver.severities and receiver.key not in alert.delivered
        ]
        return sorted(due, key=lambda alert: alert.tries.get(receiver.key, 0))

    def _failures(self, key: str) -> int:
        return self.waiting[key].failures if key in self.waiting else 0

    def _trouble(self, receiver: Receiver, now: float) -> str:
        wait = self.waiting[receiver.key]
        return (
            f"{receiver.name} did not take it, {wait.failures} times in a row; {len(self._due(receiver))} wait for it,"
            f" tried again in {max(wait.until - now, 0):.0f} s."
        )

    def _close(self, receivers: Sequence[Receiver]) -> None:
        """What every receiver of its severity has, or nobody asked for, is told: noted before it leaves the list."""
        for alert in list(self.pending):
            wanted = [receiver.key for receiver in receivers if alert.severity in receiver.severities]
            if all(key in alert.delivered for key in wanted):
                self.notes.put(SENT + alert.reference, alert.identity)
                self.pending.remove(alert)
        self.save()
