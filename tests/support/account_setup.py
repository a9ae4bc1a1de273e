"""snowflake/setup.sql under names of the tests' own, so that what it gives is what the tests run with.

It makes roles, warehouses, monitors, a user and a database beside whatever the account has, and `drop` takes them away.
"""

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SETUP = Path(__file__).parents[2] / "snowflake" / "setup.sql"
# What setup.sql names at its top, and what it names in passing.
NAMES = (
    "database_name", "source_database", "pipeline_role", "reader_role", "lists_role", "email_role", "service_user",
    "pipeline_warehouse", "readers_warehouse",
)  # fmt: skip
MONITORS = ("segmentation_monitor", "segmentation_readers_monitor")


@dataclass(frozen=True)
class OwnSetup:
    """The names, and the key of the user who signs in as the pipeline does."""

    edition: str = "enterprise"
    suffix: str = field(default_factory=lambda: f"_test_{secrets.token_hex(4)}")
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048), repr=False
    )

    def __getitem__(self, name: str) -> str:
        (shipped,) = re.findall(rf"^set {name} = '(\w+)';", SETUP.read_text(encoding="utf-8"), re.M)
        return f"{shipped}{self.suffix}".upper()

    def sql(self) -> str:
        text = SETUP.read_text(encoding="utf-8")
        for name in NAMES:
            text = re.sub(rf"^set {name} = '\w+';", f"set {name} = '{self[name]}';", text, flags=re.M)
        text = re.sub(r"^set edition = '\w+';", f"set edition = '{self.edition}';", text, flags=re.M)
        for monitor in MONITORS:
            text = re.sub(rf"\b{monitor}\b", f"{monitor}{self.suffix}", text)
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        bare = "".join(public.splitlines()[1:-1])
        return f"{text}\nalter user {self['service_user']} set rsa_public_key = '{bare}';\n"

    def drops(self) -> list[str]:
        kinds = {
            "database": ("database_name",),
            "user": ("service_user",),
            "role": ("pipeline_role", "reader_role", "lists_role", "email_role"),
            "warehouse": ("pipeline_warehouse", "readers_warehouse"),
        }
        named = [f"drop {kind} if exists {self[name]}" for kind, names in kinds.items() for name in names]
        return [*named, *(f"drop resource monitor if exists {monitor}{self.suffix}" for monitor in MONITORS)]

    def variables(self) -> dict[str, str]:
        """As docs/snowflake.md writes them into .env; the account itself is the caller's."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        access = {
            "SNOWFLAKE_READER_ROLE": self["reader_role"],
            "SNOWFLAKE_LISTS_ROLE": self["lists_role"],
            "SNOWFLAKE_PERSONAL_DATA_TAG": f"{self['database_name']}.GOVERNANCE.PERSONAL_DATA",
        }
        return {
            "SNOWFLAKE_USER": self["service_user"],
            "SNOWFLAKE_PRIVATE_KEY": key,
            "SNOWFLAKE_ROLE": self["pipeline_role"],
            "SNOWFLAKE_WAREHOUSE": self["pipeline_warehouse"],
            "SNOWFLAKE_DATABASE": self["database_name"],
            **(access if self.edition == "enterprise" else {"SNOWFLAKE_READER_ROLE": self["reader_role"]}),
        }
