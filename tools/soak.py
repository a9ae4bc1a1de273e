"""`make soak`: runs killed at chosen and random moments, twenty backfills at once, and whatever else in any order.

Every kill starts from a copy of the same published months, whose facts have changed since. What a reader finds after
it, what a power-off would have left, and what the next run makes of it are compared with an undisturbed run, row by row
and byte by byte. The seed is fixed, so that the same moments come again; those in seconds depend on the machine.

The steps are those of tests/support/any_order.py: after each one every table is compared with what a model of the
pipeline says. The first that is wrong ends them, with the shortest way to it.

Those of tests/support/identity.py merge and split customers and move facts between two months: what the next month
makes of it is compared with what is computed from nothing.

    python -m tools.soak [--kills 32] [--backfills 20] [--steps 0] [--identities 0] [--seed 7]
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.support import surroundings
from tests.support.any_order import AnyOrderWithKills, do
from tests.support.any_order_model import make_start
from tests.support.crashes import (
    FILE,
    KILLED,
    Portfolio,
    Runs,
    copied,
    damage,
    logs_of,
    neither_old_nor_new,
    portfolio,
    power_off,
    started_runs,
    state,
    tables,
    torn_exports,
)
from tests.support.identity import many
from tests.support.load import Load, at_once

STATEMENTS, TOUCHES, METADATA, BUILDS = 480, 262, 28, 5  # counted in a run of one month
RUN_SECONDS = 20.0
KEPT = (1.0, 0.97, 0.6, 0.05)  # of the log, after a power-off


@dataclass(frozen=True)
class Kill:
    name: str
    asked: dict[str, Any]
    without_home: bool = False


def statement(name: str, matches: str, **more: Any) -> Kill:
    return Kill(name, {"fault": {"at": "statement", "matches": matches, **more}})


CHOSEN = (
    statement("during the rollup", r"create\s+temporary table.*customer_period_spend", milliseconds=2),
    statement("rollup, between delete and insert", r'insert into .*"customer_period_spend"'),
    statement("assignments, between delete and insert", r'insert into .*"segment_assignments"'),
    statement("publication, before its log", r'insert into .*"segment_publications"', nth=2),
    statement("publication, between log and delete", r'delete from .*"customer_segment_history"'),
    statement("publication, between delete and insert", r'insert into .*"customer_segment_history"'),
    statement("between history and customer_segments", r'drop table .*"customer_segments"'),
    statement("customer_segments, dropped and not yet made", r'create\s+table.*"customer_segments"'),
    statement("customer_segments, made and empty", r'insert into .*"customer_segments"'),
    statement("between summary and transitions", r'insert into .*"segment_transitions"'),
    statement("an audience, between delete and insert", r'insert into .*"audience_premium_rewards"'),
    Kill("metadata of a model of publication", {"fault": {"at": "metadata", "nth": 9}}),
    Kill("metadata of an audience", {"fault": {"at": "metadata", "nth": 16}}),
    Kill("while the log is written into the file", {"fault": {"at": "close", "nth": 3, "milliseconds": 4}}),
    Kill("an export's first file", {"fault": {"at": "touch", "under": "exports", "nth": 9}}),
    Kill("an export, before its manifest", {"fault": {"at": "touch", "under": "exports", "nth": 48}}),
    Kill("a later export", {"fault": {"at": "touch", "under": "exports", "nth": 130}}),
    Kill("the report", {"fault": {"at": "touch", "under": "exports/reports", "nth": 4}}),
)


def at_random(luck: random.Random) -> Iterator[Kill]:
    while True:
        seconds = luck.uniform(0.2, RUN_SECONDS)
        yield Kill(f"after {seconds:.1f} s", {"seconds": seconds})
        nth = luck.randint(1, STATEMENTS)
        yield Kill(f"before statement {nth}", {"fault": {"at": "statement", "nth": nth}})
        nth, milliseconds = luck.randint(1, BUILDS), luck.uniform(0, 30)
        yield Kill(
            f"{milliseconds:.0f} ms into closing {nth}",
            {"fault": {"at": "close", "nth": nth, "milliseconds": milliseconds}},
        )
        nth, milliseconds = luck.randint(1, STATEMENTS), luck.uniform(0, 20)
        yield Kill(
            f"{milliseconds:.0f} ms into statement {nth}",
            {"fault": {"at": "statement", "nth": nth, "milliseconds": milliseconds}},
        )
        seconds = luck.uniform(0.2, 6)
        yield Kill(f"the very first command, after {seconds:.1f} s", {"seconds": seconds, "command": True}, True)
        nth = luck.randint(1, TOUCHES)
        yield Kill(f"before write {nth} to the exports", {"fault": {"at": "touch", "under": "exports", "nth": nth}})
        nth = luck.randint(1, METADATA)
        yield Kill(f"metadata of model {nth}", {"fault": {"at": "metadata", "nth": nth}})


@dataclass
class Tally:
    injected: int = 0
    survived: int = 0
    ended_before: int = 0
    lost: int = 0
    doubled: int = 0
    half_read: int = 0
    powered_off: int = 0
    wrong: list[str] = field(default_factory=list)


def killed(runs: Runs, found: Portfolio, kill: Kill, folder: Path, tally: Tally) -> str:
    """One kill and the next run; what came of it, in words."""
    copied(found.start, folder)
    if kill.without_home:
        shutil.rmtree(folder / "home")
    asked = dict(kill.asked)
    if "under" in asked.get("fault", {}):
        asked["fault"] = {**asked["fault"], "under": str(folder / asked["fault"]["under"])}
    code = runs.run(folder, **asked)
    if code == 0:
        tally.ended_before += 1
        return "ended before its kill"
    if code != KILLED:
        raise SystemExit(f"The run was not killed but failed by itself ({code}); see {folder / 'run.log'}")
    tally.injected += 1
    wrong = torn_exports(folder / "exports", found.old, found.new)
    for kept in KEPT if logs_of(folder / FILE) else KEPT[:1]:
        tally.powered_off += 1
        try:
            left = tables(power_off(folder / FILE, folder.with_name("power-off"), kept))
            wrong += [
                f"{words} (log kept: {kept:.0%})"
                for words in neither_old_nor_new(left, found.old.tables, found.new.tables)
            ]
        except duckdb.Error as error:
            wrong.append(f"does not open with {kept:.0%} of its log: {str(error).splitlines()[0]}")
    tally.half_read += len(wrong)
    code = runs.run(folder)
    if code:
        wrong.append(f"the next run ended with {code}: {(folder / 'run.log').read_text()[-1500:]}")
    else:
        end = damage(state(folder), found.new)
        tally.lost, tally.doubled = tally.lost + end.lost, tally.doubled + end.doubled
        wrong += end.words
    tally.survived += not wrong
    tally.wrong += [f"{kill.name}: {words}" for words in wrong]
    return "; ".join(wrong) or "survived"


def crashes(kills: int, seed: int) -> Tally:
    tally, began = Tally(), time.monotonic()
    luck = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch, started_runs() as runs:
        print("Three published months, and an undisturbed run to compare with ...", flush=True)
        found = portfolio(runs, Path(scratch))
        random_kills = at_random(luck)
        waiting = list(CHOSEN[:kills])
        while tally.injected < kills:
            kill = waiting.pop(0) if waiting else next(random_kills)
            folder = Path(scratch) / "trial"
            said = killed(runs, found, kill, folder, tally)
            shutil.rmtree(folder)
            print(f"{time.monotonic() - began:6.0f} s  {tally.injected:3}/{kills}  {kill.name}: {said}", flush=True)
    return tally


def load(backfills: int) -> Load:
    print(f"\n{backfills} backfills and the month that is due, at once in a Dagster daemon ...", flush=True)
    with tempfile.TemporaryDirectory() as scratch, started_runs() as runs:
        return at_once(runs, Path(scratch), backfills)


def any_order(steps: int, seed: int) -> tuple[Counter[str], list[str]]:
    """At least so many steps on one warehouse after another; what was done, and what was found wrong."""
    print(f"\n{steps} steps in any order, each compared with the model ...", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, started_runs() as runs, surroundings_of(Path(scratch)):
        make_start(Path(scratch))
        machine = AnyOrderWithKills.beginning_at(Path(scratch), runs)
        while machine.taken["steps"] < steps:
            try:
                do(machine, examples=4, steps=20, seed=seed)
            except AssertionError as error:
                return machine.taken, ["\n".join([str(error), *getattr(error, "__notes__", [])])]
            seed += 1
            print(f"{time.monotonic() - began:6.0f} s  {dict(sorted(machine.taken.items()))}", flush=True)
    return machine.taken, []


def identities(examples: int, seed: int) -> list[str]:
    print(f"\n{examples} times customers that are merged and split, and facts that move ...", flush=True)
    with tempfile.TemporaryDirectory() as scratch, surroundings_of(Path(scratch)):
        try:
            many(Path(scratch), examples, seed)
        except AssertionError as error:
            return ["\n".join([str(error), *getattr(error, "__notes__", [])])]
    return []


@contextmanager
def surroundings_of(folder: Path) -> Iterator[None]:
    """No variable of the person's, and places of its own."""
    kept = dict(os.environ)
    try:
        surroundings.clear(os.environ)
        os.environ.update(surroundings.places(folder))
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=32)
    parser.add_argument("--backfills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--identities", type=int, default=0)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    wrong: list[str] = []
    table: list[tuple[str, object]] = []
    if given.kills:
        tally = crashes(given.kills, given.seed)
        wrong += tally.wrong
        table += [
            ("Faults injected (kill -9)", tally.injected),
            ("Survived by the next run", tally.survived),
            ("Rows lost", tally.lost),
            ("Rows doubled", tally.doubled),
            ("Half months or files read", tally.half_read),
            ("Power-offs opened", tally.powered_off),
        ]
    if given.backfills:
        done = load(given.backfills)
        runs = done.statuses["SUCCESS"]
        wrong += [
            *done.damage.words,
            *([f"runs ended as {dict(done.statuses)}"] if runs != given.backfills + 1 else []),
        ]
        wrong += [f"{done.overlapping} runs overlapped"] if done.overlapping else []
        wrong += [f"{month} has version {version}" for month, version in done.versions if version != 1]
        table += [
            ("Runs asked for at once", given.backfills + 1),
            ("Ended green", runs),
            ("Overlapped", done.overlapping),
            ("Rows lost under load", done.damage.lost),
            ("Rows doubled under load", done.damage.doubled),
        ]
    if given.steps:
        taken, found = any_order(given.steps, given.seed)
        wrong += found
        table += [
            ("Steps in any order", taken["steps"]),
            ("Runs of dbt among them", taken["dbt"]),
            ("Months published", taken["months published"]),
            ("Months held back", taken["months held back"]),
            ("Runs broken off or killed", taken["broken off"]),
            ("Steps after which a table was wrong", len(found)),
        ]
    if given.identities:
        found = identities(given.identities, given.seed)
        wrong += found
        table += [
            ("Sequences of merges, splits, moves", given.identities),
            ("Of them with another result", len(found)),
        ]
    print()
    for words in wrong:
        print(f"WRONG: {words}")
    for name, value in table:
        print(f"| {name:35} | {value:5} |")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
