"""E-mail addresses: which a message can be sent to, and how each ad platform writes one before it is hashed."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

# The same as is_deliverable in dbt_models/macros/text/email.sql, which says why.
_LOCAL = r"[A-Za-z0-9_][A-Za-z0-9_%+&'-]*(?:[.][A-Za-z0-9_%+&'-]+)*"
_DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]"
_DELIVERABLE = re.compile(f"({_LOCAL})@{_DOMAIN}")
LONGEST_LOCAL_PART, LONGEST_ADDRESS = 64, 254
GOOGLES_OWN = ("gmail.com", "googlemail.com")


def is_deliverable(address: str) -> bool:
    found = _DELIVERABLE.fullmatch(address) if len(address) <= LONGEST_ADDRESS else None
    return found is not None and len(found[1]) <= LONGEST_LOCAL_PART


def generic(address: str) -> str:
    """Trimmed, lower case, composed. Composed before lower case too, as some letters have a small form only when
    composed."""
    composed = unicodedata.normalize("NFC", address.strip())
    return unicodedata.normalize("NFC", composed.lower())


def google(address: str) -> str:
    """Customer Match: lower case, no blanks, and for Google's own mailboxes no dots and no tag before the @."""
    plain = "".join(address.split()).lower()
    local, _, domain = plain.rpartition("@")
    if domain not in GOOGLES_OWN:
        return plain
    return f"{local.partition('+')[0].replace('.', '')}@{domain}"


def meta(address: str) -> str:
    """Custom Audiences: trimmed, lower case, and nothing else: dots and tags stay, at Gmail too."""
    return address.strip().lower()


@dataclass(frozen=True)
class Platform:
    file: str
    normalised: Callable[[str], str]
    words: str  # for who reads the manifest


PLATFORMS = (
    Platform(
        "ads_google.csv",
        google,
        "Google Customer Match: lower case, without blanks; before @gmail.com and @googlemail.com without dots and"
        " without + and what follows it",
    ),
    Platform("ads_meta.csv", meta, "Meta Custom Audiences: trimmed, lower case"),
    Platform("ads_generic.csv", generic, "any other platform: trimmed, lower case, Unicode composed (NFC)"),
)
