"""The words of the command line: the commands of the Makefile are understood, and a wrong word is one line and code 2.

Locks out: a usage text instead of an error, a traceback, and a Makefile that passes what no command takes.
"""

import re
import shlex
import subprocess
import sys

import pytest

from segmentation_assets.cli.commands import main, segmentation
from tests.support.command_line import CHECKOUT


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rn"], "error: No such command 'rn'. Did you mean 'run'? (see segmentation --help)"),
        (["month"], "error: Missing argument 'MONTH'. (see segmentation month --help)"),
        (["run", "2025-11-01"], "error: Got unexpected extra argument (2025-11-01) (see segmentation run --help)"),
        (
            ["accept", "2025-11-01", "x", "--why", "y"],
            "error: Missing option '--who'. (see segmentation accept --help)",
        ),
        (
            ["what-if", "--st", "x"],
            "error: No such option '--st'. (Did you mean one of: '--first', '--last', '--set'?)"
            " (see segmentation what-if --help)",
        ),
        (["month", ""], "error: MONTH is ''; it has to be a month, as 2025-11, or a day of it, as 2025-11-01."),
        (
            ["backfill", "2025-11-01", "soon"],
            "error: TO is 'soon'; it has to be a month, as 2025-11, or a day of it, as 2025-11-01.",
        ),
        (
            ["what-if", "--month", "2025-11-01", "--last", "2025-12-01"],
            "error: MONTH is '2025-11-01', and FROM or TO is given too; give one month or a range.",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_one_line(arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"{told}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], *[[name, "--help"] for name in segmentation.commands]])
def test_help_is_no_mistake(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "Usage: segmentation" in out
    cut_off = [line for line in out.splitlines() if re.match(r"  [a-z-]+  +.*\.\.\.$", line)]
    assert cut_off == [], "a command's first sentence is too long for the list"


def test_no_word_at_all_shows_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in "".join(capfd.readouterr())


def test_every_command_of_the_makefile_is_understood() -> None:
    typed = re.findall(r"segmentation ([a-z][a-z-]*.*)", (CHECKOUT / "Makefile").read_text())
    assert {shlex.split(line)[0] for line in typed} == set(segmentation.commands)
    for line in typed:
        name, *arguments = shlex.split(re.sub(r"\$\((\w+)\)", "x", line))
        context = segmentation.commands[name].make_context(name, arguments)
        assert set(context.params.values()) <= {"x"}


def test_mistyped_words_do_not_wait_for_dagster() -> None:
    code = "import sys; from segmentation_assets.cli.commands import main; main(['rn']); main(['--help']);"
    asked = "print(sorted({'dagster', 'dbt', 'pydantic', 'duckdb'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + asked], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
