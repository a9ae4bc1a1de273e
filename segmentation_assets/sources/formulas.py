"""Text that a spreadsheet runs instead of showing: what it begins with, and what may hide before that.

The source contract refuses such ids with it, the export files mark such text with it.
"""

import re
from collections.abc import Sequence

from segmentation_assets.warehouse.session import Session

# First signs of a formula (OWASP, CSV injection), with the full-width and small forms that a spreadsheet of an East
# Asian locale takes for them, and the semicolon: where it separates the cells, what follows begins a cell of its own.
SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫"
SEPARATORS = ";；﹔"
LINE_BREAKS = "\t\r\n"
# Blanks, control and format characters, fillers and variation selectors: a spreadsheet drops some of them, and nobody
# sees any. From the first to the last of each range.
UNSEEN_RANGES = (
    (0x0000, 0x0020), (0x007F, 0x00A0), (0x00AD, 0x00AD), (0x034F, 0x034F), (0x0600, 0x0605), (0x061C, 0x061C),
    (0x06DD, 0x06DD), (0x070F, 0x070F), (0x0890, 0x0891), (0x08E2, 0x08E2), (0x115F, 0x1160), (0x1680, 0x1680),
    (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800),
    (0x3000, 0x3000), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB),
    (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)  # fmt: skip
_UNSEEN = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in UNSEEN_RANGES)
_FORMULA = re.compile(f"[{_UNSEEN}]*[{re.escape(SIGNS + SEPARATORS + LINE_BREAKS)}]")
# Of the signs, those that no id needs. An id of a number may begin with + or -, as -42: it stays what it is.
_RUN = "=@＝＠﹦﹫"
_CALLS = ("(", "|", "!")  # a function, a program (DDE), another sheet


def begins_as_formula(text: str) -> bool:
    """Whether a spreadsheet may run `text`, or cut it and run the rest."""
    # Nearly all text begins with a letter or a digit, and this is asked of every cell.
    return not text[:1].isalnum() and _FORMULA.match(text) is not None


def ids_that_run(session: Session, relation: str, column: str) -> int:
    """How many ids of a column a spreadsheet would run: they begin with = or @, or call something after + or -."""
    # Without the signs that may hide before it: a trim of these is not the same on every engine.
    first = f"left(translate({column}, ?, ''), 1)"
    calls = " or ".join(f"contains({column}, '{sign}')" for sign in _CALLS)
    # To translate costs microseconds, and nearly no id begins with one of these signs.
    (row,) = session.rows(
        f"""
        select
            count(distinct case
                when not contains(?, left({column}, 1)) then null
                when {first} in ({_quoted(_RUN)}) then {column}
                when {first} in ({_quoted(tuple(set(SIGNS) - set(_RUN)))}) and ({calls}) then {column}
            end) as ids
        from {relation}
        """,
        (SIGNS + _HIDING, _HIDING, _HIDING),
    )
    return int(row["ids"])


def _quoted(signs: Sequence[str]) -> str:
    return ", ".join(f"'{sign}'" for sign in sorted(signs))


# No NUL, which Snowflake's text does not hold, and nothing beyond the basic plane, which no id hides behind.
_HIDING = SEPARATORS + "".join(
    chr(code) for first, last in UNSEEN_RANGES if last < 0x10000 for code in range(max(first, 1), last + 1)
)
