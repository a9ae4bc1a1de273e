"""The words of the command line: the commands of the Makefile are understood, and a wrong word is one line and code 2.

Locks out: a usage text instead of an error, a traceback, and a Makefile that passes what no command
takes, runs what is typed behind it, or removes what is not ours.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segmentation_assets.cli.commands import main, segmentation
from tests.support.command_line import CHECKOUT, settings


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
    # Those that hand another tool's words on, which make would take for its own, or that print what a file is made of.
    without_make = {"dbt", "dbt-project", "mf", "rules-schema", "semantic-view"}
    assert {shlex.split(line)[0] for line in typed} | without_make == set(segmentation.commands)
    for line in typed:
        # A flag that a variable switches on is there, too.
        line = re.sub(r"\$\$\{\w+:\+(--[a-z-]+)\}", r"\1", line)
        name, *arguments = shlex.split(re.sub(r"\$\$\w+", "x", line))
        context = segmentation.commands[name].make_context(name, arguments)
        assert set(context.params.values()) <= {"x", True}


def test_mistyped_words_do_not_wait_for_dagster() -> None:
    code = "import sys; from segmentation_assets.cli.commands import main; main(['rn']); main(['--help']);"
    asked = "print(sorted({'dagster', 'dbt', 'pydantic', 'duckdb'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + asked], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# The Makefile. A copy of it with commands that say what they are given: what make and the shell do in between is tried,
# not the commands.
ECHOES = """#!{python}
import json, os, sys
given = {{name: os.environ.get(name) for name in ("SEGMENTATION_TARGET", "SEGMENTATION_SOURCE", "SEGMENTATION_RULES")}}
print(json.dumps([*sys.argv[1:], given]))
"""
HOSTILE = (
    'x" ; touch f1 ; "',
    "$(shell touch f2)",
    "`touch f3`",
    "$(touch f4)",
    "; touch f5 #",
    'a\'b\\c "d" é ü',
    "Loss of $5m, $(HOME) and ${PATH}",
    "--help",
    "blanks   inside  ",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """In a folder whose name has blanks and Unicode."""
    folder = tmp_path / "a b ü" / "x"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "setup.py", *(lock.name for lock in CHECKOUT.glob("*.lock"))):
        shutil.copy(CHECKOUT / name, folder / name)
    for name in ("segmentation", "python"):
        command = folder / ".venv" / "bin" / name
        command.write_text(ECHOES.format(python=sys.executable))
        command.chmod(0o755)
    for stamp in (".installed", ".developed"):
        (folder / ".venv" / stamp).touch()
    (folder / "segmentation_assets").mkdir()
    (folder / "segmentation_assets" / "definitions.py").touch()
    return folder


def make(folder: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    environment = {**settings(), "PYTHONPATH": "", **given}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, text=True, capture_output=True, timeout=60, check=False
    )


def arrived(folder: Path, *arguments: str, **given: str) -> list[Any]:
    done = make(folder, *arguments, **given)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("line", "typed", "is_added"),
    [
        ("", (), False),
        ("SEGMENTATION_SOURCE=synthetic", (), False),
        ("# SEGMENTATION_SOURCE=completejourney", (), False),
        ("", ("SOURCE=completejourney",), True),
        ("", ("SEGMENTATION_SOURCE=completejourney",), True),
        ("SEGMENTATION_SOURCE=completejourney", (), True),
        ("export SEGMENTATION_SOURCE = 'completejourney'  # real data", (), True),
    ],
)
def test_the_data_of_a_demo_are_installed_where_it_is_asked_for(
    checkout: Path, line: str, typed: tuple[str, ...], is_added: bool
) -> None:
    (checkout / ".env").write_text(f"{line}\n")
    done = make(checkout, "--dry-run", "run", *typed)
    assert done.returncode == 0, done.stderr
    assert ("requirements-completejourney.lock" in done.stdout) == is_added


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("through", ["the command line", "the environment"])
def test_what_is_typed_behind_make_is_data(checkout: Path, value: str, through: str) -> None:
    """`make why CUSTOMER='x" ; touch f ; "'` ran it, and `WHY='Loss of $5m'` arrived as `Loss of m`."""
    names = ["CUSTOMER", "MONTH", "FROM", "TO", "SET", "RULES", "AUDIT", "SEGMENT", "WHO", "WHY", "KILLS", "BACKFILLS",
             "STEPS", "ONLY", "PORT", "TARGET", "SOURCE", "SEGMENTATION_RULES", "CALIBRATE", "IDENTITIES",
             "JSON"]  # fmt: skip
    pairs = dict.fromkeys(names, value)
    typed = [f"{name}={text}" for name, text in pairs.items()] if through == "the command line" else []
    given = pairs if through == "the environment" else {}
    before = sorted(checkout.rglob("*"))
    for command, expected in {
        "month": ["month", "--", value],
        "backfill": ["backfill", "--", value, value],
        "why": ["why", "--", value, value],
        "ui": ["ui", "--port", value],
        "snapshot": ["snapshot", "--", value],
        "what-if": [
            "what-if",
            "--set",
            value,
            "--rules",
            value,
            "--month",
            value,
            "--first",
            value,
            "--last",
            value,
            "--calibrate",
        ],
        "check-source": ["check-source", "--from", value, "--json"],
        "accept": ["accept", "--segment", value, "--who", value, "--why", value, "--", value, value],
        "soak": [
            "-W",
            "ignore",
            "-m",
            "tools.soak",
            "--kills",
            value,
            "--backfills",
            value,
            "--steps",
            value,
            "--identities",
            value,
        ],
        "bench": ["benchmarks/bench.py", "--only", value],
    }.items():
        *arguments, environment = arrived(checkout, command, *typed, **given)
        assert arguments == expected, command
        assert set(environment.values()) == {value}, command
    assert sorted(checkout.rglob("*")) == before


def test_two_dollars_are_one_as_make_users_write_them(checkout: Path) -> None:
    assert arrived(checkout, "why", "CUSTOMER=$$5m and $5m")[2] == "$5m and $5m"


def test_no_variable_makes_make_run_another_program(checkout: Path) -> None:
    arrived(checkout, "month", "MONTH=2025-11", "VENV=x; touch f", "BIN=touch f;", "SETUP=", "PYTHON=touch f")
    assert not (checkout / "f").exists()


def test_clean_removes_what_is_ours_and_below_the_checkout(checkout: Path) -> None:
    """It removed what DAGSTER_HOME names, without quotes: of a folder with a blank, the neighbour before the blank."""
    neighbour, home = checkout.parents[1] / "a", checkout.parent / "home of mine"
    version = "exports/premium rewards/2025-11-01/0123456789ab"
    kept = [
        neighbour / "file", home / "storage.db", checkout / "data" / "mine.duckdb", checkout / "exports" / "mine.csv",
        checkout / "exports" / "mine" / "2025-11-01" / "0123456789ab" / "full.csv", checkout / version / "mine.txt",
        checkout / "exports" / "premium rewards" / "2025-11-01" / "notes" / "full.csv", checkout / ".env",
    ]  # fmt: skip
    gone = [
        checkout / place
        for place in (
            "data/segmentation.duckdb", "data/segmentation.duckdb.wal", f"{version}/full.csv", f"{version}/ads.parquet",
            "exports/premium rewards/2025-11-01/manifest.json", "exports/reports/2025-11-01/segment_report.html",
            ".dagster/storage/x.db", "dbt_models/target/manifest.json",
        )
    ]  # fmt: skip
    for file in (*kept, *gone):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    done = make(checkout, "clean", f"DAGSTER_HOME={home}", SEGMENTATION_EXPORT_URI=str(neighbour))
    assert done.returncode == 0, done.stderr
    assert [file for file in kept if not file.exists()] == []
    assert [file for file in gone if file.exists()] == []
    assert not (checkout / "exports" / "reports").exists()


def test_clean_removes_nothing_where_it_is_not_the_checkout(checkout: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "data").mkdir(parents=True)
    (elsewhere / "data" / "segmentation.duckdb").touch()
    done = make(elsewhere, "-f", str(checkout / "Makefile"), "clean")
    assert done.returncode == 2
    assert "make clean works in the checkout" in done.stderr
    assert (elsewhere / "data" / "segmentation.duckdb").exists()


def test_help_lists_the_commands_wherever_the_checkout_lies(checkout: Path) -> None:
    done = make(checkout, "help")
    assert done.returncode == 0
    assert "make month " in done.stdout
