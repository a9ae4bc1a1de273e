"""Takes the gate apart and lets the state machine find it: `python -m tools.mutants` ends with 1 where it does not.

Each mutant is a copy of this checkout in which one comparison is missing that keeps wrong months or lists back. The
machine of tests/support/any_order.py walks over it until a table, a list or a file is not what the model says; told are
the compared steps until then. Without a mutation the same walk finds nothing: `make soak`, or the mutant `none` here.

    python -m tools.mutants [--only NAME] [--steps 400] [--seed 7]
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import hypothesis.stateful

ROOT = Path(__file__).parents[1]
# In what the walk of a copy says.
FOUND, ENDED = "found at step", "nothing found in"
GATE = "dbt_models/macros/publication/publication.sql"
OF_THE_SEEN = (
    "            and abs(audits.measured - acceptances.measured) < 0.000000001\n",
    "            and audits.content_hash = acceptances.content_hash\n",
    "            and audits.decision_hash = acceptances.decision_hash\n",
    "            and audits.failed_rows = acceptances.failed_rows\n",
    "            and coalesce(audits.affected_spend, 0) = coalesce(acceptances.affected_spend, 0)\n",
    "            and coalesce(audits.facts_hash, '') = coalesce(acceptances.facts_hash, '')\n",
)


@dataclass(frozen=True)
class Mutant:
    what: str
    file: str
    replaced: Mapping[str, str]  # each stands in the file once


MUTANTS = {
    "none": Mutant("the checkout as it is", GATE, {}),
    "decision": Mutant(
        "the gate no longer asks whether candidate and audits are of one decision",
        GATE,
        {"            and candidates.decision_hash = audits.decision_hash\n": ""},
    ),
    "acceptance": Mutant(
        "an acceptance counts for every failure of its audit in its month, whatever was seen",
        GATE,
        {
            **dict.fromkeys(OF_THE_SEEN, ""),
            "partition by snapshot_month, audit, customer_segment, measured, {{ seen | join(\", \") }}":
                "partition by snapshot_month, audit, customer_segment",
        },
    ),
    "export": Mutant(
        "an export no longer asks which version its list was made from",
        "segmentation_assets/exports/audience.py",
        {"    refuse_another_version(session, campaign, month)\n": ""},
    ),
}  # fmt: skip


def mutated(mutant: Mutant, folder: Path) -> None:
    """A copy of what git knows of, as it stands here, with the mutation."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    file = folder / mutant.file
    text = file.read_text(encoding="utf-8")
    for old, new in mutant.replaced.items():
        if text.count(old) != 1:
            raise SystemExit(f"{mutant.file} has changed: {old.strip()!r} is there {text.count(old)} times. Mend this.")
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def hunted(name: str, steps: int, seed: int) -> bool:
    """Whether the machine, walking over the mutant, found what it had to."""
    began, mutant = time.monotonic(), MUTANTS[name]
    print(f"{name}: {mutant.what} ...", flush=True)
    with tempfile.TemporaryDirectory(prefix=f"mutant-{name}-") as copy:
        mutated(mutant, Path(copy))
        environment = {**os.environ, "PYTHONPATH": copy, "PYTHONSAFEPATH": "1"}
        command = [sys.executable, "-m", "tools.mutants", "--walk", "--steps", str(steps), "--seed", str(seed)]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    seconds = time.monotonic() - began
    told = re.search(rf"({FOUND}|{ENDED}) (\d+)[^\n]*", done.stdout)
    if told is None:
        raise SystemExit(f"The walk over {name} broke:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    print(f"  {told[0]} ({seconds:.0f} s)", flush=True)
    return (told[1] == FOUND) == bool(mutant.replaced)


def walk(steps: int, seed: int) -> str:
    """Over this tree, until something is wrong or so many steps are done."""
    from tests.support.any_order import AnyOrder
    from tests.support.any_order_model import make_start
    from tools.soak import surroundings_of

    class Watched(AnyOrder):
        first: tuple[int, str] | None = None  # the step that found something, and what

        def teardown(self) -> None:
            error = sys.exc_info()[1]
            if isinstance(error, AssertionError) and type(self).first is None:
                type(self).first = (self.taken["steps"], str(error))
            super().teardown()

    with tempfile.TemporaryDirectory() as scratch, surroundings_of(Path(scratch)):
        make_start(Path(scratch))
        machine = Watched.beginning_at(Path(scratch))
        while machine.taken["steps"] < steps:
            try:
                walks(machine, seed)
            except AssertionError:
                if machine.first is None:
                    raise
                step, words = machine.first
                return f"{FOUND} {step}: {' '.join(words.split())[:200]}"
            seed += 1
    return f"{ENDED} {machine.taken['steps']} steps"


def walks(machine: type, seed: int) -> None:
    """Walks of twenty rules, each over a warehouse of its own; hypothesis begins with the plainest, which is the same
    under every seed. What is found is not made shorter: that is for `make soak`."""
    settings = hypothesis.settings(
        max_examples=6,
        stateful_step_count=20,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.stateful.run_state_machine_as_test(hypothesis.seed(seed)(machine), settings=settings)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=MUTANTS)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--walk", action="store_true", help=argparse.SUPPRESS)  # what a copy is started with
    given = parser.parse_args()
    if given.walk:
        print(walk(given.steps, given.seed))
        return 0
    names = [given.only] if given.only else [name for name, mutant in MUTANTS.items() if mutant.replaced]
    missed = [name for name in names if not hunted(name, given.steps, given.seed)]
    for name in missed:
        print(f"MISSED: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
