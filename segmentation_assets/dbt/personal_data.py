"""What a column holds of a person, as its model's own metadata says: `config: {meta: {personal_data: KIND}}`.

Dagster's tags, Snowflake's tags, the copy for readers, erasure and the page docs/personal_data.md are made from it. A
column whose name speaks of a person and that declares nothing counts as contact details, and fails `make lint`.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

PERSONAL_DATA = "personal_data"
CONTACT_DETAILS, PSEUDONYMOUS, NONE = "contact-details", "pseudonymous", "none"

Column = Mapping[str, Any]  # of dbt's manifest, or of a yml


class Kind(NamedTuple):
    tag: str
    words: str


KINDS = {
    "email": Kind(CONTACT_DETAILS, "e-mail address of a customer"),
    "name": Kind(CONTACT_DETAILS, "name of a customer"),
    "customer_id": Kind(PSEUDONYMOUS, "durable id of a customer"),
    "customer_key": Kind(PSEUDONYMOUS, "key of a customer's version"),
    "transaction_key": Kind(PSEUDONYMOUS, "key of a customer's transaction"),
    "behaviour": Kind(NONE, "numbers about the customer of the row, in one text"),
    "erased": Kind(NONE, "salted hash of the id of somebody who was erased"),
    "staff": Kind(NONE, "name of who decided something here, no customer's"),
}
# By the name alone: what has to be declared.
_SPEAKS_OF_A_PERSON = re.compile(
    r"(^|_)(e?mail|mailbox|phone|mobile|address|street|(first|last|given|family|full|sur|maiden)_?name|birth\w*|iban|passport"
    r"|ssn|postcode|zip|external_id|holdout_unit|accepted_by|payload)(_|$)"
    r"|^(customer|client|person|account|card|member|user|household|transaction)_(id|key|number)$"
)


def declared(column: Column) -> str | None:
    said = column.get("meta") or (column.get("config") or {}).get("meta") or {}
    return said.get(PERSONAL_DATA)


def speaks_of_a_person(name: str) -> bool:
    return _SPEAKS_OF_A_PERSON.search(name.lower()) is not None


def tag_of(name: str, column: Column) -> str:
    """contact-details, pseudonymous or none. Closed where nothing, or an unknown kind, is declared."""
    kind = declared(column)
    if kind is None:
        return CONTACT_DETAILS if speaks_of_a_person(name) else NONE
    return KINDS[kind].tag if kind in KINDS else CONTACT_DETAILS


def of_table(columns: Mapping[str, Column]) -> str:
    """Of all its columns, what says most: contact-details, pseudonymous (a row is about a customer, by key alone) or
    none."""
    found = {tag_of(name, column) for name, column in columns.items()}
    return next((tag for tag in (CONTACT_DETAILS, PSEUDONYMOUS) if tag in found), NONE)


def held(columns: Mapping[str, Column], *kinds: str) -> list[str]:
    """The columns that declare one of the kinds, in order."""
    return [name for name, column in columns.items() if declared(column) in kinds]


def problems(table: str, columns: Mapping[str, Column]) -> list[str]:
    """What has to be declared before anybody may be shown the table."""
    told: list[str] = []
    for name, column in columns.items():
        kind = declared(column)
        if kind is not None and kind not in KINDS:
            told.append(f"{table}.{name}: personal_data is {kind!r}; it has to be one of {', '.join(KINDS)}")
        elif kind is None and speaks_of_a_person(name):
            told.append(
                f"{table}.{name}: its name speaks of a person; say what it holds in its yml:"
                f" `config: {{meta: {{personal_data: {next(iter(KINDS))}}}}}`, one of {', '.join(KINDS)}"
            )
    return told
