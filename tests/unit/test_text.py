"""What people read: values that a terminal shows and does not obey, and numbers that agree with their noun.

Locks out: a segment's name that rich reads as markup and dies of, a customer id that moves the cursor, "1 months".
"""

import io
from datetime import date

import pytest
from rich.console import Console
from rich.text import Text

from segmentation_assets.cli import terminal
from segmentation_assets.publication.explanations import Explanation, render
from segmentation_assets.text import counted, listed, printable, without_addresses
from segmentation_assets.warehouse.session import first_line, first_line_of_a_row


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Stable Mid-Spenders", "Stable Mid-Spenders"),
        ("O'Brien [/red]", "O'Brien [/red]"),
        ("Zażółć 日本 🙂", "Zażółć 日本 🙂"),
        ("a\nb", "a\nb"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("over\rwritten\x08\x07", "over\\rwritten\\x08\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        (7, "7"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(value: object, shown: str) -> None:
    assert printable(value) == shown


def test_an_engines_words_are_told_without_the_value_that_it_could_not_read() -> None:
    """Conversion errors quote it, and it may be a person's."""
    error = ValueError("Conversion Error: Could not convert string 'ada@example.com' to INT64.\nLINE 1: ...")
    assert first_line(error) == "Conversion Error: Could not convert string '…' to INT64"
    name = ValueError('Could not convert string "Ada O\'Hara" to DATE')
    assert first_line_of_a_row(name) == "Could not convert string '…' to DATE"
    assert without_addresses("key=ada@example.com; @everyone, a @ b") == "…; @everyone, a @ b"


def test_numbers_agree_with_their_noun() -> None:
    assert [counted(number, "table") for number in (0, 1, 2, 1200)] == [
        "0 tables",
        "1 table",
        "2 tables",
        "1,200 tables",
    ]
    assert listed(["a", "b", "c"], most=2) == "a, b and 1 more"
    assert listed(["a", "b"], most=2) == "a, b"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Both consoles as they are where there is no terminal."""
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", terminal._console(file))
    monkeypatch.setattr(terminal, "errors", terminal._console(file))
    return file


NAMES = ("O'Brien [/red]", "[bold]Growing :smile:", "\x1b[2J\x1b]0;title\x07")


@pytest.mark.parametrize("name", NAMES)
def test_whatever_a_segment_is_called_is_printed_and_not_read(written: io.StringIO, name: str) -> None:
    terminal.say(f"share_is_within_the_expected_band: {name}: 3 %")
    terminal.complain(name, "red")
    terminal.error(name)
    row = {
        "customer_segment": name,
        "share_pct": 50.0,
        "customers": 1,
        "avg_lifetime_value": 1,
        "total_lifetime_value": 1,
    }
    terminal.say(terminal.segments_table(date(2025, 11, 1), [row], {name: (1, 2)}))
    assert written.getvalue().count(printable(name)) == 4
    assert "\x1b" not in written.getvalue()


def test_a_customer_cannot_drive_the_terminal_of_who_explains_them(written: io.StringIO) -> None:
    row = {"segment_priority": 1, "segment": "O'Brien [/red]", "metric": "tenure_months", "operator": "at_most",
           "bound": 6, "value": 7,
           "margin": -1, "passed": False, "is_winner": False, "is_outranked": False}  # fmt: skip
    customer = "\x1b]0;owned\x07CUST [bold]1"
    explanation = Explanation(customer, date(2025, 11, 1), "[/red]", [row], {}, None)
    terminal.say(render(explanation))
    shown = written.getvalue()
    assert "\x1b" not in shown
    assert f"{printable(customer)} in November 2025: [/red]" in shown
    assert "1. O'Brien [/red]" in shown


def test_in_a_file_nothing_is_wrapped_or_drawn_over(written: io.StringIO) -> None:
    line = "The full log is " + "/a/folder" * 60
    terminal.say(line)
    terminal.complain(line)
    with terminal.working("Waiting ..."), terminal.progress_bar(3) as show:
        show("audiences", 1)
    assert written.getvalue() == f"{line}\n{line}\n"


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=file, force_terminal=True, width=100, markup=False))
    with terminal.progress_bar(9) as show:
        show("audiences: 3 of 9 tables", 3)
        terminal.say(Text("a line above it"))
    assert "audiences: 3 of 9 tables" in file.getvalue()
    assert "3/9" in file.getvalue()
