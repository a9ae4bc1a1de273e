"""What a mistyped setting or argument looks like.

Locks out: a mistake that ends in a traceback, in a green exit code, or in a run. That the process ends so too is in
tests/system/test_cli.py.
"""

from pathlib import Path

import duckdb
import pytest

from tests.support.command_line import in_process


@pytest.mark.parametrize(
    ("arguments", "given", "told"),
    [
        (["run"], {"SEGMENTATION_TARGET": "oracle"}, "SEGMENTATION_TARGET is 'oracle'; it has to be one of: duckdb"),
        (["run"], {"SEGMENTATION_SOURCE": "excel"}, "SEGMENTATION_SOURCE is 'excel'; it has to be one of: synthetic, "),
        (
            ["month", "2025-11-31"], {},
            "MONTH is '2025-11-31'; it has to be a month, as 2025-11, or a day of it, as 2025-11-01.",
        ),
        (["month", "2199-01-01"], {}, "Month 2199-01-01 cannot be computed: the months on offer are 2024-01-01 to "),
        (["backfill", "2025-11-01", "2025-10-01"], {}, "The last month 2025-10-01 lies before the first, 2025-11-01."),
        (["run"], {"SEGMENTATION_CUSTOMERS": "abc"}, "SEGMENTATION_CUSTOMERS is 'abc'; it has to be a whole number"),
        (["run"], {"SEGMENTATION_DUCKDB_PATH": "garbage.duckdb"}, "garbage.duckdb, which DuckDB cannot open: "),
        (["run"], {"SEGMENTATION_RULES": "malformed.yml"}, "malformed.yml: line 2: is not valid YAML"),
        (["why", "CUST1", "2025-11-01"], {}, "run `make run` first"),
        (["why", "CUST1"], {}, "run `make run` first"),
        (["accept", "--who", "A", "--why", "B", "--", "2025-11", "x"], {}, "run `make run` first"),
        (["ui", "--port", "80000"], {}, "PORT is '80000'; it has to be a whole number from 1 to 65535, as 3001."),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, (list, dict)) else None,
)  # fmt: skip
def test_a_mistake_is_one_line_and_not_a_run(
    tmp_path: Path, arguments: list[str], given: dict[str, str], told: str
) -> None:
    (tmp_path / "garbage.duckdb").write_bytes(b"no database" * 1000)
    (tmp_path / "malformed.yml").write_text("segments: [\n")
    code, out, err = in_process(tmp_path, *arguments, **given)
    assert code == 2, out + err
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert not (tmp_path / ".dagster" / "history").exists(), "a run was started"


def test_where_nothing_was_audited_nothing_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "new.duckdb"
    duckdb.connect(str(path)).close()
    code, out, err = in_process(
        tmp_path, "accept", "--who", "A", "--why", "B", "--", "2025-11", "x", SEGMENTATION_DUCKDB_PATH=str(path)
    )
    assert (code, out) == (2, "")
    assert err == "error: Nothing has been audited yet: make month MONTH=2025-11-01 does.\n"
