"""Who gets which campaign under a contact policy, one customer after the other, written from the words of the guide.

A second implementation of macros/audiences/contact_policy.sql, which shares no line with it: no SQL, no sets of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BY_ADDRESS = ("email", "ads")


@dataclass(frozen=True)
class Contact:
    """One customer on a list, held out or not, or reached by another system."""

    month: int
    campaign: str
    customer: str | None
    mailbox: str | None
    everybody: frozenset[str] = frozenset()  # whom an address stands for that another system names without a customer


@dataclass
class World:
    """What is known of people in one portfolio. Months are numbers, 0 the first."""

    mailbox: Mapping[str, str]  # everybody has one, perhaps with somebody else
    members: Mapping[int, Mapping[str, tuple[str, int]]]  # month -> customer -> segment and lifetime value
    others: Sequence[tuple[int, str | None, str | None, str]] = ()  # month, customer, address, campaign: other systems
    lists: dict[int, list[Contact]] = field(default_factory=dict)
    reasons: dict[tuple[int, str, str], str] = field(default_factory=dict)  # month, campaign, customer
    taken_by: dict[tuple[int, str, str], set[str]] = field(default_factory=dict)


def turns(names: Sequence[str], order: Sequence[str]) -> list[str]:
    return [*order, *sorted(name for name in names if name not in order)] if order else list(names)


def choose(world: World, campaigns: Sequence[Mapping[str, Any]], policy: Mapping[str, Any], month: int) -> None:
    """The lists of a month, given those of the months before it."""
    by_name = {campaign["name"]: campaign for campaign in campaigns}
    world.lists[month] = []
    for name in turns(list(by_name), policy.get("order", ())):
        campaign = by_name[name]
        needs_address = campaign.get("channel", "email") in BY_ADDRESS
        chosen: list[str] = []
        members = [
            (one, value) for one, (segment, value) in world.members[month].items() if segment == campaign["segment"]
        ]
        seen: set[str] = set()
        for customer, _ in sorted(members, key=lambda row: (-row[1], row[0])):
            mailbox = world.mailbox[customer] if needs_address else None
            own = [
                contact
                for back in range(1, campaign.get("cooldown_months", 0) + 1)
                for contact in world.lists.get(month - back, ())
                if contact.campaign == name
            ]
            reached = [contact for contact in _counted(world, policy, month) if _reached(contact, customer, mailbox)]
            if any(_reached(contact, customer, mailbox) for contact in own):
                reason = "in_cooldown"
            elif len(reached) >= policy["at_most"]:
                reason = "over_contact_policy"
                newest = max(contact.month for contact in reached)
                world.taken_by[month, name, customer] = {one.campaign for one in reached if one.month == newest}
            elif needs_address and mailbox in seen:
                reason = "shares_email"
            elif len(chosen) == campaign["cap"]:
                reason = "beyond_cap"
                seen.add(str(mailbox))
            else:
                chosen.append(customer)
                seen.add(str(mailbox))
                continue
            world.reasons[month, name, customer] = reason
        world.lists[month] += [
            Contact(month, name, one, world.mailbox[one] if needs_address else None) for one in chosen
        ]


def _counted(world: World, policy: Mapping[str, Any], month: int) -> list[Contact]:
    first = month - policy["per_months"] + 1
    ours = [one for back in range(first, month + 1) for one in world.lists.get(back, ())]
    theirs = [
        Contact(
            day, campaign, customer, mailbox or world.mailbox[str(customer)],
            frozenset() if customer else frozenset(one for one, address in world.mailbox.items() if address == mailbox),
        )
        for day, customer, mailbox, campaign in set(world.others)
        if first <= day <= month
    ]  # fmt: skip
    return ours + theirs


def _reached(contact: Contact, customer: str, mailbox: str | None) -> bool:
    if contact.customer == customer or customer in contact.everybody:
        return True
    return contact.mailbox is not None and contact.mailbox == mailbox
