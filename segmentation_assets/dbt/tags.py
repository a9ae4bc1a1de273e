"""The tags of every asset: where in the flow its table lies, and whether it holds personal data.

In the UI `tag:personal_data=contact-details` lists what holds somebody's name or address.
"""

import re
from collections.abc import Iterable

LAYER, PERSONAL_DATA = "layer", "personal_data"
CONTACT_DETAILS = frozenset({"email", "first_name", "last_name"})
# external_id is what other tools call the customer_id they are given.
CUSTOMER_KEYS = frozenset({"customer_id", "customer_key", "external_id"})


def tags(layer: str, columns: Iterable[str]) -> dict[str, str]:
    # A schema may have any name, a tag of Dagster letters of ASCII only.
    return {LAYER: re.sub(r"[^A-Za-z0-9_.-]", "-", layer)[:63], PERSONAL_DATA: personal_data(columns)}


def personal_data(columns: Iterable[str]) -> str:
    """contact-details, pseudonymous (a row is about a customer, by key alone) or none."""
    names = set(columns)
    if names & CONTACT_DETAILS:
        return "contact-details"
    return "pseudonymous" if names & CUSTOMER_KEYS else "none"
