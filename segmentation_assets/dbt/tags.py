"""The tags of every asset: where in the flow its table lies, and whether it holds personal data.

In the UI `tag:personal_data=contact-details` lists what holds somebody's name or address.
"""

from collections.abc import Iterable

LAYER, PERSONAL_DATA = "layer", "personal_data"
CONTACT_DETAILS = frozenset({"email", "first_name", "last_name"})
CUSTOMER_KEYS = frozenset({"customer_id", "customer_key"})


def tags(layer: str, columns: Iterable[str]) -> dict[str, str]:
    return {LAYER: layer, PERSONAL_DATA: personal_data(columns)}


def personal_data(columns: Iterable[str]) -> str:
    """contact-details, pseudonymous (a row is about a customer, by key alone) or none."""
    names = set(columns)
    if names & CONTACT_DETAILS:
        return "contact-details"
    return "pseudonymous" if names & CUSTOMER_KEYS else "none"
