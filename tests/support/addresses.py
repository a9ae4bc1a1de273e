"""Addresses at the edge of what a message can be sent to, and whether it can: what SQL and Python both have to say."""

from pathlib import Path
from types import SimpleNamespace

import jinja2

TEXT = Path(__file__).parents[2] / "dbt_models" / "macros" / "text"
LABEL, TOO_LONG_A_LABEL = "d" * 63, "d" * 64
LOCAL, TOO_LONG_A_LOCAL = "l" * 64, "l" * 65


def of_length(characters: int) -> str:
    """A deliverable address but for its length: a local part of 64, labels of 63 at most."""
    domain = ".".join(["d" * 63] * 4)[: characters - len(LOCAL) - len("@.com")].rstrip(".")
    return f"{LOCAL}@{domain}.com"


HARD_CASES: dict[str | None, bool] = {
    "ada@example.com": True,
    "Ada.Lovelace+cards@mail.example.co.uk": True,
    "o'brien@example.com": True,
    "_%+&'-x@example.com": True,
    "1@2.example": True,
    "a@b.c1": True,
    "a@x--y.example": True,
    "a@xn--bcher-kva.example": True,
    f"{LOCAL}@example.com": True,
    f"{TOO_LONG_A_LOCAL}@example.com": False,
    f"{'l.' * 31}ll@example.com": True,  # 64 with its dots
    f"{'l.' * 32}l@example.com": False,
    f"ada@{LABEL}.com": True,
    f"ada@{TOO_LONG_A_LABEL}.com": False,
    f"ada@example.{LABEL}": True,
    f"ada@example.{TOO_LONG_A_LABEL}": False,
    f"ada@{LABEL}.{LABEL}.example": True,
    f"ada@{LABEL}.{TOO_LONG_A_LABEL}.example": False,
    f"ada@{'d-' * 31}d.com": True,
    f"ada@{'d-' * 32}d.com": False,
    of_length(254): True,
    of_length(255): False,
    f"a@{'.'.join([LABEL] * 4)}.com": False,  # a domain of 259
    None: False,
    "": False,
    "ada": False,
    "@example.com": False,
    "ada@": False,
    "ada@localhost": False,
    "ada@example.1com": False,
    "ada@example.c": False,
    "ada@-example.com": False,
    "ada@example-.com": False,
    "ada@example..com": False,
    "ada@.example.com": False,
    "ada@example.com.": False,
    "ada@exam_ple.com": False,
    ".ada@example.com": False,
    "ada.@example.com": False,
    "a..da@example.com": False,
    "+ada@example.com": False,
    "-ada@example.com": False,
    "=ada@example.com": False,
    "ada@bob@example.com": False,
    "ada@example.com, bob@example.com": False,
    "a da@example.com": False,
    " ada@example.com": False,
    "ada@example.com ": False,
    "ada@example.com\n": False,
    "ada\n@example.com": False,
    "ada@example.com\u00a0": False,
    "\u200bada@example.com": False,
    "\ufeffada@example.com": False,
    "jos\u00e9@example.com": False,
    "ada@b\u00fccher.example": False,
    "ada@example\u3002com": False,
    "ad\u0430@example.com": False,  # a Cyrillic letter
    '"ada"@example.com': False,
    "ada(work)@example.com": False,
    "ada@[192.0.2.1]": False,
    "ada\\@example.com": False,
}


def deliverable_sql(engine: str) -> str:
    """The macro is_deliverable of a column `address`, as dbt compiles it for the engine."""
    source = "".join((TEXT / name).read_text(encoding="utf-8") for name in ("text.sql", "email.sql"))
    macros: dict[str, object] = {}
    environment = jinja2.Environment(autoescape=False, extensions=["jinja2.ext.do"])
    environment.globals["adapter"] = SimpleNamespace(
        dispatch=lambda name, *_: macros.get(f"{engine}__{name}", macros[f"default__{name}"])
    )
    environment.globals["return"] = lambda value: value
    macros.update(vars(environment.from_string(source).module))
    macro = macros["is_deliverable"]
    assert callable(macro)
    return str(macro("address"))
