"""Times the pipeline at the product's size, beside hand-written baselines; prints tables and writes JSON.

Run with `make bench`, or `make bench ONLY="monthly models"` for one scenario. Nothing here is a test: figures depend
on the machine, so the machine, its load before the start and the date are printed with them. `COMPARE=FILE` puts an
earlier results.json beside them, each figure with its ratio to it.
"""

import argparse
import compileall
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.portfolios import FOLDER  # noqa: E402
from benchmarks.scenarios import SCENARIOS, WHERE_ASKED_FOR  # noqa: E402

RESULTS = FOLDER / "results.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="a scenario; may be given again")
    parser.add_argument("--scenario", choices=list(SCENARIOS), help=argparse.SUPPRESS)
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier results.json, and the ratios to it")
    given = parser.parse_args()
    if given.scenario:
        print(json.dumps(SCENARIOS[given.scenario]()))
        return 0
    earlier = read(given.compare) if given.compare else {}
    FOLDER.mkdir(parents=True, exist_ok=True)
    # As set-up leaves it: where PYTHONDONTWRITEBYTECODE is set, an edited file would be compiled by every process.
    compileall.compile_dir(ROOT / "segmentation_assets", quiet=1)
    results, failed = read(RESULTS) if RESULTS.exists() else {}, False
    names = given.only or [name for name in SCENARIOS if name not in WHERE_ASKED_FOR]
    with progress() as shown:
        task = shown.add_task("", total=len(names))
        for name in names:
            load = os.getloadavg()[0]
            shown.update(task, description=f"{name} (load {load:.1f}{usual(results.get(name))})")
            started = time.monotonic()
            done = subprocess.run(
                [sys.executable, __file__, "--scenario", name], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            shown.advance(task)
            if done.returncode:
                print(f"    {name} failed", file=sys.stderr, flush=True)
                failed = True
                continue
            results[name] = {
                "date": str(datetime.now(tz=UTC).date()), "machine": machine(), "load_before": round(load, 1),
                "scenario_took": round(time.monotonic() - started), **json.loads(done.stdout.splitlines()[-1]),
            }  # fmt: skip
            # After each, as the whole takes long.
            RESULTS.write_text(json.dumps(results, indent=2), encoding="utf-8")
            show(name, results[name], earlier.get(name, {}))
    print(f"\nWritten to {RESULTS.relative_to(ROOT)}")
    return 1 if failed else 0


def read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{file} is no results.json of make bench: {error}") from None


def progress() -> Progress:
    words = (TextColumn("{task.completed}/{task.total}"), TextColumn("{task.description}"))
    return Progress(BarColumn(bar_width=20), *words, TimeElapsedColumn(), console=Console(stderr=True), transient=True)


def usual(before: dict[str, Any] | None) -> str:
    return f", took {before['scenario_took']:,} s before" if before and "scenario_took" in before else ""


def machine() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {gib:.0f} GiB, {platform.machine()}, Python {platform.python_version()}"


def show(name: str, figures: dict[str, Any], earlier: dict[str, Any]) -> None:
    table = Table(title=f"{name}: {figures['machine']}, {figures['date']}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    if earlier:
        table.add_column(f"{earlier['date']}, {earlier['machine']}", justify="right")
        table.add_column("ratio", justify="right")
    for key, value in figures.items():
        if isinstance(value, int | float) and key not in ("load_before", "scenario_took"):
            before = earlier.get(key)
            compared = [written(key, before), f"{value / before:.2f} x"] if before else ["", ""]
            table.add_row(key, written(key, value), *(compared if earlier else []))
    Console().print(table)
    parts = figures.get("models") or figures.get("steps") or {}
    if parts:
        slowest = sorted(parts.items(), key=lambda item: -item[1])
        print("  " + ", ".join(f"{part} {taken:.2f} s" for part, taken in slowest))


def written(key: str, value: float) -> str:
    unit = " s" if key.endswith("_s") else " GiB" if "gib" in key else ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}{unit}"


if __name__ == "__main__":
    raise SystemExit(main())
