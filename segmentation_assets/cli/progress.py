"""Progress of a run in phases: the steps of one kind, the tables they make and the checks they evaluate."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import dagster as dg

from segmentation_assets.text import counted

# What a phase makes, where that is not tables.
NOUNS = {"staging": "view", "exports": "campaign", "segment report": "report"}
ENDED = {"STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"}


def plain_name(step: str) -> str:
    """Without the group of its asset, or whose it is."""
    return step.rpartition("__")[2].removeprefix("segmentation_")


def phase_name(step: str) -> str:
    """`exports` for each campaign's export; else the step's own name."""
    name = plain_name(step)
    return "exports" if name.startswith("export_") else name.replace("_", " ")


@dataclass
class Phase:
    name: str
    planned: frozenset[dg.AssetKey]
    open_steps: set[str]
    made: set[dg.AssetKey] = field(default_factory=set)
    checks: dict[dg.AssetCheckKey, str] = field(default_factory=dict)  # passed, warned or failed

    def line(self) -> str:
        """`audiences: 9 of 9 tables, 59 checks passed, 1 warned`."""
        parts = []
        if len(self.planned) > 1 or self.planned - self.made:
            noun = NOUNS.get(self.name, "table")
            parts.append(f"{len(self.made & self.planned)} of {counted(len(self.planned), noun)}")
        verdicts = list(self.checks.values())
        passed, warned, failed = (verdicts.count(verdict) for verdict in ("passed", "warned", "failed"))
        if verdicts:
            parts.append(f"{counted(passed, 'check')} passed")
        parts += [f"{number} {verdict}" for number, verdict in ((warned, "warned"), (failed, "failed")) if number]
        return f"{self.name}: {', '.join(parts) or 'done'}"


class Phases:
    """Follows a run's events; a phase's line is told when its last step has ended."""

    def __init__(self, steps: Mapping[str, Iterable[dg.AssetKey]]) -> None:
        self.steps = {step: frozenset(keys) for step, keys in steps.items()}
        names = dict.fromkeys(phase_name(step) for step in steps)
        self._by_name = {
            name: Phase(
                name,
                frozenset(key for step, keys in self.steps.items() if phase_name(step) == name for key in keys),
                {step for step in steps if phase_name(step) == name},
            )
            for name in names
        }

    @property
    def planned(self) -> int:
        return sum(len(phase.planned) for phase in self._by_name.values())

    @property
    def made(self) -> int:
        return sum(len(phase.made & phase.planned) for phase in self._by_name.values())

    def not_made(self) -> list[dg.AssetKey]:
        """In the order of the phases."""
        return [key for phase in self._by_name.values() for key in sorted(phase.planned - phase.made)]

    def follow(self, event: dg.DagsterEvent) -> tuple[Phase | None, bool]:
        """The phase that the event is of, and whether that has ended with it."""
        step = event.step_key
        if step not in self.steps:
            return None, False
        phase, kind = self._by_name[phase_name(step)], event.event_type_value
        if kind == "ASSET_MATERIALIZATION" and event.asset_key is not None:
            phase.made.add(event.asset_key)
        elif kind == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            failed = "failed" if check.severity == dg.AssetCheckSeverity.ERROR else "warned"
            phase.checks[check.asset_check_key] = "passed" if check.passed else failed
        elif kind in ENDED and step in phase.open_steps:
            phase.open_steps.remove(step)
            return phase, not phase.open_steps
        return phase, False


class PhaseReporter(logging.Handler):
    """Hands the lines of the phases on as Dagster logs a run's events, and what a bar shows of the phase under way."""

    def __init__(self, phases: Phases, say: Callable[[str], None], show: Callable[[str, int], None]) -> None:
        super().__init__()
        self._phases, self._say, self._show = phases, say, show
        self._started = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        phase, ended = self._phases.follow(event) if event is not None else (None, False)
        if phase is None:
            return
        self._show(phase.line() if phase.made or phase.checks else phase.name, self._phases.made)
        if ended:
            self._say(f"{time.monotonic() - self._started:6.1f} s  {phase.line()}")
