"""Two writers of one DuckDB file: each waits for the other.

Locks out: a run that fails, or loses its month, because another run or a person's notebook has the file open. DuckDB
itself refuses a second process at once.
"""

import subprocess
import sys
import time
from pathlib import Path

import duckdb

from tests.support.command_line import finish, start

DEMO = {"SEGMENTATION_SOURCE": "synthetic", "SEGMENTATION_CUSTOMERS": "600"}
HELD_SECONDS = 12
NOTEBOOK = f"""
import duckdb, sys, time
connection = duckdb.connect(sys.argv[1])
connection.execute("create table notes (n integer)")
print("open", flush=True)
time.sleep({HELD_SECONDS})
connection.close()
print(time.time(), flush=True)
"""


def test_two_runs_and_a_notebook_at_once(tmp_path: Path) -> None:
    path = tmp_path / "data" / "segmentation.duckdb"
    path.parent.mkdir()
    notebook = subprocess.Popen([sys.executable, "-c", NOTEBOOK, str(path)], stdout=subprocess.PIPE, text=True)
    assert notebook.stdout is not None
    assert notebook.stdout.readline() == "open\n"

    # They start while the notebook holds the file, and meet again whenever one of them opens it.
    started = time.time()
    months = {"2026-08-01", "2026-09-01"}
    processes = [start(tmp_path, "month", month, **DEMO) for month in sorted(months)]
    ended = [finish(process) for process in processes]

    closed = float(notebook.communicate()[0])
    assert closed - started > HELD_SECONDS / 2, "the notebook was gone before the runs could meet it"
    for code, out, err in ended:
        assert code == 0, out + err
    with duckdb.connect(str(path), read_only=True) as connection:
        published = connection.execute("select distinct snapshot_month from gold.customer_segment_history").fetchall()
        log = connection.execute(
            "select snapshot_month, max(version) from gold.segment_publications group by 1"
        ).fetchall()
        assert connection.execute("select count(*) from notes").fetchone() == (0,)
    assert {str(month) for (month,) in published} == months
    assert {(str(month), version) for month, version in log} == {(month, 1) for month in months}
