"""Alert destinations: the addresses of SEGMENTATION_ALERT_URLS, and sending one message to one of them by Apprise.

An Apprise address holds passwords and tokens. It is never logged, shown or stored: a receiver is named by its scheme
and its position, and recognised by a hash.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, cast

from segmentation_assets.errors import UserError

Severity = Literal["error", "warn"]
SEVERITIES: tuple[Severity, ...] = ("error", "warn")
VARIABLE = "SEGMENTATION_ALERT_URLS"
# Apprise's own syntax for tags: `error,warn=slack://...`.
_ADDRESS = re.compile(r"(?:(?P<tags>[A-Za-z, ]+)=)?(?P<url>(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://\S+)")
# What these log may quote an address: Apprise in its warnings, urllib3 in its debug lines.
_LOUD_LOGGERS = ("apprise", "urllib3", "requests")


class AlertAddressError(UserError):
    """An address cannot be used; one line that names its position, never the address."""


@dataclass(frozen=True)
class Receiver:
    name: str
    severities: tuple[Severity, ...]
    url: str = field(repr=False)

    @property
    def key(self) -> str:
        """The same for the same address wherever it stands in the variable; it gives nothing of it away."""
        return hashlib.blake2b(self.url.encode(), digest_size=8, person=b"alert-receiver").hexdigest()

    def send(self, title: str, body: str, severity: Severity, *, recovered: bool) -> bool:
        """Whether the receiver took it. Waits as long as the address says (`?cto=4&rto=4`, in seconds)."""
        import apprise

        kind = apprise.NotifyType.FAILURE if severity == "error" else apprise.NotifyType.WARNING
        with _silent():
            service = apprise.Apprise.instantiate(self.url)
            if service is None:
                raise AlertAddressError(
                    f"{self.name} in {VARIABLE} is no address that Apprise speaks: correct it (`apprise --details`)."
                )
            try:
                return bool(
                    service.notify(
                        body=body,
                        title=title,
                        notify_type=apprise.NotifyType.SUCCESS if recovered else kind,
                        body_format=apprise.NotifyFormat.TEXT,
                    )
                )
            except Exception:  # noqa: BLE001 - 130 plugins raise what they like, and one must not stop the others
                return False


def receivers(text: str) -> tuple[list[Receiver], list[str]]:
    """The receivers that the value of SEGMENTATION_ALERT_URLS names, each once, and a line per address that cannot be
    used."""
    words = text.split()
    found: dict[str, Receiver] = {}
    problems: list[str] = []
    for position, word in enumerate(words, start=1):
        try:
            receiver = _receiver(word, position)
        except AlertAddressError as error:
            problems.append(str(error))
        else:
            known = found.get(receiver.key)
            wanted = (*receiver.severities, *(known.severities if known else ()))
            found[receiver.key] = Receiver(
                known.name if known else receiver.name, tuple(s for s in SEVERITIES if s in wanted), receiver.url
            )
    return list(found.values()), problems


def _receiver(word: str, position: int) -> Receiver:
    match = _ADDRESS.fullmatch(word)
    if match is None:
        raise AlertAddressError(
            f"Address {position} of {VARIABLE} is none: write scheme://..., or severities before it: error=scheme://..."
        )
    tags = [tag for tag in re.split("[, ]+", (match["tags"] or "").lower()) if tag] or list(SEVERITIES)
    unknown = sorted(set(tags) - set(SEVERITIES))
    if unknown:
        raise AlertAddressError(
            f"Address {position} of {VARIABLE} is for {', '.join(unknown)};"
            f" the severities are {', '.join(SEVERITIES)}, with commas between them."
        )
    return Receiver(
        f"{match['scheme'].lower()} (address {position})",
        cast("tuple[Severity, ...]", tuple(severity for severity in SEVERITIES if severity in tags)),
        match["url"],
    )


@contextmanager
def _silent(names: Sequence[str] = _LOUD_LOGGERS) -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
