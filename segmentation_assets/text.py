"""Text for people: the one door for names, ids and reasons that somebody else wrote, by where they are shown.

    printable   a terminal, a log, the HTML report (whose templates escape markup besides)
    markdown    Markdown in Dagster
    message     an alert to a chat or a mailbox
    drawable    a picture

The other door is sources/formulas.py, which knows what a spreadsheet runs: the CSV files of the exports mark it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

# Beyond it a label is no label; what comes behind it is left out of the picture.
LONGEST_LABEL = 1_000

# C0 and C1 controls (escape sequences begin with one) but the newline, what reverses the reading direction or has no
# place of its own, and halves of a pair, which no UTF-8 holds.
_OBEYED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufff9-\ufffb\ud800-\udfff]"
)
# Columns, emphasis, code, links, images, tags, addresses that become links; an entity; what begins a line as a
# list or a heading.
_MARKED = re.compile(r"[\\`*_\[\]<>|~@]|&(?=#?\w+;)|:(?=//)|(?<=www)\.|^[#+-](?=[#\s])|(?<=^\d)[.)]", re.IGNORECASE)
# @everyone and <!channel> call a whole company, [text](address) shows another address than it leads to.
_CALLING = re.compile(r"@(?=[\w&!])|<(?=[!#@/])|\](?=\()")
# Wider than what can be written to: who mistypes an address has one, too.
_ADDRESS = re.compile(r"[^\s'\"<>(),;]+@[^\s'\"<>(),;]+")
_NOTHING = "\u200b"  # a blank without width


def printable(value: object) -> str:
    """`value` with what a terminal would obey written out: an escape sequence becomes `\\x1b[31m`, as in Python.

    Square brackets stay: they are markup to rich alone, whose consoles here read none (cli/terminal.py).
    """
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))


def without_addresses(text: str) -> str:
    """`text` with what may be an e-mail address as `…`. An engine quotes the value that it cannot read."""
    return _ADDRESS.sub("…", text) if "@" in text else text


def markdown(value: object) -> str:
    """`value` on one line as Markdown that shows it: in a cell of a table, a list or a sentence."""
    return _MARKED.sub(lambda found: f"\\{found[0]}", printable(value).replace("\n", " "))


def message(text: str) -> str:
    """`text` as a chat shows it without calling anybody; there is no escape that every one of them knows."""
    return _CALLING.sub(lambda found: found[0] + _NOTHING, printable(text))


def drawable(chart: Any) -> Any:
    """A chart's specification with every text in it as a picture may hold it: the library that draws ends the whole
    process at a control character."""
    if isinstance(chart, Mapping):
        return {key: drawable(value) for key, value in cast("Mapping[str, Any]", chart).items()}
    if isinstance(chart, list | tuple):
        return [drawable(value) for value in cast("Sequence[Any]", chart)]
    return printable(chart)[:LONGEST_LABEL] if isinstance(chart, str) else chart


def counted(number: int, noun: str) -> str:
    """`1 table`, `9 tables`."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def listed(names: list[str], most: int = 6) -> str:
    """`a, b and 4 more`: at most `most` names."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
