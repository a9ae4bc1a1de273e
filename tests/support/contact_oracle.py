"""Who a campaign writes to in a month, worked out a second time from the words of docs/segmentation_guide.md.

The unit of contact is the mailbox, or the customer where the channel needs no address. Nothing here is shared with the
SQL; its lists and its memory are its own.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

ADDRESS = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_%+&'-]*(\.[A-Za-z0-9_%+&'-]+)*@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"
)


def plain(text: str | None) -> str:
    """Without blanks, controls and format characters at either end."""

    def is_unseen(letter: str) -> bool:
        return unicodedata.category(letter) in ("Cc", "Cf", "Zs", "Zl", "Zp")

    letters = list(text or "")
    while letters and is_unseen(letters[0]):
        letters.pop(0)
    while letters and is_unseen(letters[-1]):
        letters.pop()
    return "".join(letters)


def mailbox_of(address: str | None) -> str | None:
    found = plain(address)
    return found.lower() if ADDRESS.fullmatch(found) else None


@dataclass(frozen=True)
class Version:
    key: int
    customer: str
    email: str | None
    start: date
    end: date | None
    is_current: bool

    def is_valid_on(self, day: date) -> bool:
        return self.start <= day and (self.end is None or day < self.end)


def population(versions: Iterable[Version]) -> list[Version]:
    """Without the unknown member and its like, and without customers of whom no version was ever valid."""
    named = [
        Version(v.key, plain(v.customer), v.email, v.start, v.end, v.is_current)
        for v in versions
        if v.key not in (-1, 0) and plain(v.customer).upper() not in ("", "-1", "0", "UNKNOWN")
    ]
    real = {v.customer for v in named if v.end is None or v.end > v.start}
    return [v for v in named if v.customer in real]


@dataclass(frozen=True)
class Listed:
    month: date
    customer: str
    mailbox: str | None  # none in a list whose channel needs none
    unit: str  # the id that the side of the mailbox, or of the customer, was drawn by
    group: str


@dataclass
class Contacts:
    """The source as it is on the day that lists are made."""

    versions: Sequence[Version]
    objectors: set[str]
    now: dict[str, str | None] = field(init=False)
    ever: dict[str, set[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.versions = population(self.versions)
        self.objectors = {plain(one) for one in self.objectors}
        self.now, self.ever = {}, {}
        for version in sorted(self.versions, key=lambda v: (v.is_current, v.start, v.key)):
            self.now[version.customer] = mailbox_of(version.email)  # the current one, else the newest, comes last
            mailbox = mailbox_of(version.email)
            if mailbox:
                self.ever.setdefault(version.customer, set()).add(mailbox)

    def is_customer_on(self, customer: str, day: date) -> bool:
        return any(v.customer == customer and v.is_valid_on(day) for v in self.versions)


def bucket(campaign: str, unit: str, epoch: str) -> int:
    """`epoch` is a year or a quarter (2025-Q4), or never: then the campaign and the unit decide once for all."""
    drawn = f"{campaign}|{unit}" if epoch == "never" else f"{campaign}|{unit}|{epoch}"
    return int(hashlib.md5(drawn.encode(), usedforsecurity=False).hexdigest()[:15], 16) % 10_000


def month_before(month: date, count: int) -> date:
    number = month.year * 12 + month.month - 1 - count
    return date(number // 12, number % 12 + 1, 1)


def list_of(
    campaign: str,
    rules: Mapping[str, Any],
    ranked: Sequence[tuple[str, bool]],
    month: date,
    contacts: Contacts,
    memory: Sequence[Listed],
    known: Sequence[Listed] = (),
) -> tuple[list[Listed], dict[str, str]]:
    """The list in its order, and the reason of everybody else of `ranked`: (customer, meets the criteria), best first.

    `rules` has cap, holdout_pct, cooldown_months and perhaps channel; `memory` is what was listed by this campaign so
    far, `known` what was listed by the others.
    """
    if rules.get("channel", "email") in ("mail", "phone", "app"):
        return _list_without_addresses(campaign, rules, ranked, month, contacts, memory)
    as_of = month_before(month, -1)
    ever = {customer: set(mailboxes) for customer, mailboxes in contacts.ever.items()}
    for row in (*memory, *known):
        if row.mailbox:
            ever.setdefault(row.customer, set()).add(row.mailbox)
    closed = {mailbox for one in contacts.objectors for mailbox in ever.get(one, ())}
    recent = [row for row in memory if month_before(month, rules["cooldown_months"]) <= row.month < month]
    resting = {row.customer for row in recent} | {row.mailbox for row in recent if row.mailbox}
    listed, reasons = list[Listed](), dict[str, str]()
    for customer, meets in ranked:
        mailbox = contacts.now.get(customer)  # none of somebody the source no longer has
        if not meets:
            reasons[customer] = "misses_criteria"
        elif not contacts.is_customer_on(customer, as_of):
            reasons[customer] = "no_customer_now"
        elif mailbox is None:
            reasons[customer] = "no_deliverable_email"
        elif customer in contacts.objectors or mailbox in closed:
            reasons[customer] = "suppressed"
        elif customer in resting or mailbox in resting:
            reasons[customer] = "in_cooldown"
        elif any(row.mailbox == mailbox for row in listed):
            reasons[customer] = "shares_email"
        elif len(listed) == rules["cap"]:
            # Who has the address of somebody on the list shares it, whether there is room or not.
            reasons[customer] = "beyond_cap"
        else:
            unit = _unit(mailbox, contacts, ever, memory)
            side = "holdout" if bucket(campaign, unit, str(month.year)) < rules["holdout_pct"] * 100 else "target"
            listed.append(Listed(month, customer, mailbox, unit, side))
    seen = {row.mailbox for row in listed}
    for customer, _ in ranked:  # two beyond the cap at one address: the second shares it
        if reasons.get(customer) == "beyond_cap":
            mailbox = contacts.now[customer]
            assert mailbox is not None
            if mailbox in seen:
                reasons[customer] = "shares_email"
            seen.add(mailbox)
    return listed, reasons


def _list_without_addresses(
    campaign: str,
    rules: Mapping[str, Any],
    ranked: Sequence[tuple[str, bool]],
    month: date,
    contacts: Contacts,
    memory: Sequence[Listed],
) -> tuple[list[Listed], dict[str, str]]:
    """A letter, a call or a message in the app goes to a customer, whatever their address, and whoever shares it."""
    earliest = month_before(month, rules["cooldown_months"])
    resting = {row.customer for row in memory if earliest <= row.month < month}
    listed, reasons = list[Listed](), dict[str, str]()
    for customer, meets in ranked:
        if not meets:
            reasons[customer] = "misses_criteria"
        elif not contacts.is_customer_on(customer, month_before(month, -1)):
            reasons[customer] = "no_customer_now"
        elif customer in contacts.objectors:
            reasons[customer] = "suppressed"
        elif customer in resting:
            reasons[customer] = "in_cooldown"
        elif len(listed) == rules["cap"]:
            reasons[customer] = "beyond_cap"
        else:
            earlier = sorted((row.month, row.unit) for row in memory if row.customer == customer)
            unit = earlier[0][1] if earlier else customer
            side = "holdout" if bucket(campaign, unit, str(month.year)) < rules["holdout_pct"] * 100 else "target"
            listed.append(Listed(month, customer, None, unit, side))
    return listed, reasons


def _unit(mailbox: str, contacts: Contacts, ever: Mapping[str, set[str]], memory: Sequence[Listed]) -> str:
    """By whose id the mailbox's side is drawn."""

    def first(is_theirs: Callable[[Listed], bool]) -> str | None:
        rows = sorted((row.month, row.unit) for row in memory if is_theirs(row))
        return rows[0][1] if rows else None

    if unit := first(lambda row: row.mailbox == mailbox):
        return unit
    here = [customer for customer, now in contacts.now.items() if now == mailbox]
    moved = [unit for one in here if (unit := first(lambda row, one=one: row.customer == one))]
    if moved:
        return min(moved)
    at_it = [customer for customer, mailboxes in ever.items() if mailbox in mailboxes]
    others = set[str]().union(*(ever[customer] for customer in at_it))
    inherited = [unit for other in others if (unit := first(lambda row, other=other: row.mailbox == other))]
    if inherited:
        return min(inherited)
    return min(customer for customer, mailboxes in ever.items() if mailboxes & others)
