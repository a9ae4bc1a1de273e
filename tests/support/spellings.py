"""Texts that are hard to compare, and the macros of macros/text/spelling.sql as dbt compiles them."""

from pathlib import Path
from typing import Any

import jinja2

TEXT = Path(__file__).parents[2] / "dbt_models" / "macros" / "text"
# Every pair of one line is one code, by the rule; no two lines are.
SAME_CODE = (
    ("approved", "Approved", "APPROVED", " approved ", "\tapproved\r\n", "approved\u00a0", "\u2028approved\u3000"),
    ("declined", "\ufeffdeclined", "declined\u200b", "\u200e\u2060declined\u00ad", "declined\x00", "\x85declined\x1f"),
    ("sett led", "Sett led"),  # a blank inside is one of the name's letters
    ("settled",),
    ("strasse", "straße", "STRASSE", "STRAẞE", "Straße "),
    ("onaylandi", "ONAYLANDI", "onaylandı", "ONAYLANDİ", "onaylandi\u0307", "ONAYLANDI\u0307"),
    ("épicerie", "Épicerie", "E\u0301PICERIE", "e\u0301picerie", "ÉPICERIE"),
    ("epicerie",),
    ("größe", "GRÖSSE", "gro\u0308ße", "GRO\u0308SSE"),
    ("őrült", "O\u030bru\u0308lt"),
    ("οδος", "ΟΔΟΣ", "οδοσ"),
    ("бензин", "БЕНЗИН"),
    ("食料品", "\u3000食料品"),
    ("ﬁ",),  # a ligature is not taken apart
    ("fi", "FI"),
    ("\u212a", "k"),  # the Kelvin sign is a K
    ("a\u200bb",),
    ("ab",),
    ("it's", "IT'S"),
    ("", " ", "\u3164\u2800\u115f"),
)
HARD_CASES = tuple(text for line in SAME_CODE for text in line)


class Adapter:
    """Finds the engine's own version of a macro, as dbt's adapter does."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.macros: Any = None

    def dispatch(self, name: str, macro_namespace: str = "") -> Any:
        del macro_namespace
        return getattr(self.macros, f"{self.engine}__{name}", None) or getattr(self.macros, f"default__{name}")


def macro_sql(name: str, argument: str, engine: str = "duckdb") -> str:
    """The macro `name` of a SQL expression, as dbt compiles it for the engine."""
    source = "".join((TEXT / file).read_text(encoding="utf-8") for file in ("text.sql", "spelling.sql"))
    environment = jinja2.Environment(autoescape=False, extensions=["jinja2.ext.do"])
    adapter = Adapter(engine)
    environment.globals |= {"adapter": adapter, "return": lambda value: value}
    adapter.macros = environment.from_string(source).module
    return str(getattr(adapter.macros, name)(argument))
