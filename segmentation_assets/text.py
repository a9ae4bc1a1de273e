"""Text for people: values that a terminal shows and does not obey, and numbers with their noun."""

import re

# C0 and C1 controls (escape sequences begin with one) but the newline, and what reverses the reading direction.
_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(value: object) -> str:
    """`value` with what a terminal would obey written out: an escape sequence becomes `\\x1b[31m`, as in Python.

    Square brackets stay: they are markup to rich alone, whose consoles here read none (cli/terminal.py).
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))


def counted(number: int, noun: str) -> str:
    """`1 table`, `9 tables`."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def listed(names: list[str], most: int = 6) -> str:
    """`a, b and 4 more`: at most `most` names."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
