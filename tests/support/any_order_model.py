"""What must be in a warehouse after whatever was done to it: a model that is told what was done, never what came of it.

It remembers which facts each stage saw, has the pandas oracle work out what they make, knows which audits must fail and
what may therefore be published.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from segmentation_assets.dbt.project import Project
from tests.support import oracle
from tests.support.known_mix import BUDGET, DECLINING, GROWING, SEGMENTS, STABLE, TRAVELERS
from tests.support.portfolio import Portfolio, dollars
from tests.support.portfolios import CATEGORY_NAMES, DINING, GAS, GROCERY, TRAVEL
from tests.support.published_months import FILE, NO_TESTS, pipeline_at
from tests.support.warehouse_fixture import CANDIDATE, Pipeline

MONTHS = tuple(date(2025, month, 1) for month in (9, 10, 11, 12))
RANGES = (*((month, month) for month in MONTHS), (MONTHS[0], MONTHS[1]), (MONTHS[1], MONTHS[3]))
CUSTOMERS = tuple(f"{segment} {number}" for segment in SEGMENTS for number in range(4))
OBJECTORS = (f"{STABLE} 0", f"{BUDGET} 1")

MEASURED = "customer_period_spend transaction_window_metrics category_shares"
ASSIGNED = "segment_rules segment_decisions segment_assignments"
JUDGED = "segment_audits segment_audit_verdicts segment_gate"
HISTORY = "customer_segment_history"
DERIVED = "customer_segments segment_summary segment_transitions"
EVERYTHING = f"{CANDIDATE} {HISTORY} {DERIVED}"
STAGED = "path:models/staging"
STAGES = ("views", "rollup", "windows", "assignments", "audits", "history")

# Rules that runs read, by name: the shipped ones, another bound of a segment, looser and stricter bounds of the audits,
# other groups of categories, other campaigns.
RULES = Project.load().rules
Vars = Mapping[str, Any]


def _rule_sets() -> dict[str, Vars]:
    shipped = RULES.raw
    segments = json.loads(json.dumps(shipped["segments"]))
    segments[1]["criteria"][0]["at_most"] = -50
    campaigns = [{**campaign, "cap": 2, "holdout_pct": 50} for campaign in shipped["campaigns"]]
    return {
        "shipped": {},
        "steeper": {"segments": segments},
        "looser": {"audits": {**shipped["audits"], "minimum_segment_share_pct": 0, "facts_may_end_days_early": 20}},
        "stricter": {"audits": {**shipped["audits"], "minimum_segment_share_pct": 12}},
        "regrouped": {"category_groups": {"travel": ["Travel", "Dining"], "necessities": ["Grocery", "Utilities"]}},
        "campaigns": {"campaigns": campaigns},
    }


RULE_SETS = _rule_sets()
DECIDING = ("audits", "category_groups", "segments", "approved_statuses", "other_statuses", "unknown_customers")
Cells = tuple[tuple[Any, ...], ...]
# Calendar month, content of its facts, category groups that they were seen in, and those of the run's own rules.
Part = tuple[date, int, str, str]


def variables(rules: str) -> Vars:
    return {**RULES.raw, **RULE_SETS[rules]}


@cache
def decision_of(rules: str) -> str:
    """Rules that decide the same have the same."""
    decided = {key: value for key, value in variables(rules).items() if key in DECIDING}
    return hashlib.md5(json.dumps(decided, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


@cache
def groups_of(rules: str) -> str:
    return json.dumps(variables(rules)["category_groups"], sort_keys=True)


def month_after(month: date) -> date:
    return oracle.as_of_date(month)


def months_of(first: date, last: date) -> list[date]:
    return [month for month in MONTHS if first <= month <= last]


# What the machine begins with


def portfolio() -> Portfolio:
    """Twenty customers, four in each segment in each of the four months, and facts on the last day of each."""
    spends: dict[str, Callable[[date], tuple[int, int]]] = {
        TRAVELERS: lambda _: (9_000_00, TRAVEL),
        DECLINING: lambda month: (2_000_00 if month < date(2025, 8, 1) else 100_00, DINING),
        GROWING: lambda month: (
            {6: 400_00, 7: 500_00, 8: 1_000_00, 9: 2_000_00, 10: 3_000_00, 11: 5_000_00, 12: 8_000_00}[month.month],
            DINING,
        ),
        BUDGET: lambda month: (300_00, GAS if month.month % 2 else GROCERY),
        STABLE: lambda _: (2_500_00, DINING),
    }
    facts: list[tuple[int, int, date, int]] = []
    dimension: list[tuple[int, str, str]] = []
    for number, customer in enumerate(CUSTOMERS):
        segment, key = customer.rsplit(" ", 1)[0], 1001 + number
        dimension.append((key, customer, f"customer{number}@example.com"))
        if segment != GROWING:
            facts.append((key, DINING, date(2024, 2, 10), 60_000_00))
        for month in (date(2025, month, 1) for month in range(6 if segment == GROWING else 4, 13)):
            cents, category = spends[segment](month)
            facts.append((key, category, month.replace(day=15), cents))
            if customer == CUSTOMERS[-1]:
                facts.append((key, category, month_after(month) - timedelta(days=1), 50_00))
    days = pd.date_range("2024-01-01", "2026-03-31")
    return Portfolio(
        fct_transactions=pd.DataFrame(
            {
                "transaction_key": range(1, len(facts) + 1),
                "customer_key": [fact[0] for fact in facts],
                "merchant_category_key": [fact[1] for fact in facts],
                "transaction_date": [fact[2] for fact in facts],
                "transaction_amount": dollars(fact[3] for fact in facts),
                "transaction_status": "approved",
            }
        ),
        dim_customer=pd.DataFrame(
            {
                "customer_key": [row[0] for row in dimension],
                "customer_id": [row[1] for row in dimension],
                "first_name": "Ada",
                "last_name": "Example",
                "email": [row[2] for row in dimension],
                "valid_from": date(2024, 1, 1),
                "valid_to": None,
                "is_current": True,
            }
        ),
        dim_merchant_category=pd.DataFrame(
            {"category_key": list(CATEGORY_NAMES), "category_name": list(CATEGORY_NAMES.values())}
        ),
        dim_date=pd.DataFrame({"date_key": [int(f"{day:%Y%m%d}") for day in days], "full_date": days}),
        marketing_suppressions=pd.DataFrame(
            {"customer_id": OBJECTORS, "reason": "asked", "suppressed_at": date(2025, 1, 1)}
        ),
    )


def make_start(folder: Path) -> None:
    """September and October published and listed; the facts of November and December are there."""
    with pipeline_at(folder / FILE) as pipeline:
        pipeline.load(portfolio())
        whole = "path:models/staging path:models/metrics path:models/segments path:models/audiences"
        succeeded, said = pipeline.dbt(MONTHS[0], MONTHS[1], select=whole, arguments=NO_TESTS)
        assert succeeded, said


# The model


class Facts:
    """The star schema in each state that it was in, read from the warehouse, which the pipeline never writes there."""

    def __init__(self) -> None:
        self._contents: dict[tuple[Any, ...], int] = {}
        self._frames: dict[tuple[date, int], pd.DataFrame] = {}
        self._results: dict[tuple[Any, ...], Cells] = {}
        self.now: dict[date, int] = {}  # calendar month -> content
        self.dimension = portfolio()

    def read(self, pipeline: Pipeline) -> None:
        with pipeline.connection() as connection:
            found = Portfolio.read(connection).fct_transactions
        self.now = {}
        months = found["transaction_date"].dt.to_period("M").dt.to_timestamp()
        for month, rows in found.groupby(months):
            ordered = rows.sort_values(["transaction_date", "customer_key", "transaction_key"])
            seen = tuple(
                ordered[["transaction_date", "customer_key", "merchant_category_key", "transaction_amount"]].itertuples(
                    index=False, name=None
                )
            )
            content = self._contents.setdefault(seen, len(self._contents))
            self.now[month.date()] = content
            self._frames[month.date(), content] = rows

    def rows(self, part: Part) -> pd.DataFrame:
        """Its facts, each in one category that stands for the group which it had."""
        month, content, groups, _ = part
        rows = self._frames[month, content]
        named = json.loads(groups)
        stands_for = {
            key: TRAVEL if name in named["travel"] else GROCERY if name in named["necessities"] else DINING
            for key, name in CATEGORY_NAMES.items()
        }
        return rows.assign(
            merchant_category_key=rows["merchant_category_key"].map(stands_for).fillna(DINING).astype("Int32")
        )

    def result(self, parts: tuple[Part, ...], month: date, rules: str) -> Cells:
        """The oracle's rows of a month, made of these facts under the segments of these rules."""
        parts = tuple(part for part in parts if part[0] <= month)
        key = (parts, month, json.dumps(variables(rules)["segments"]))
        if key not in self._results:
            facts = pd.concat([self.rows(part) for part in parts])
            found = oracle.assign_segments(
                replace(self.dimension, fct_transactions=facts),
                month,
                variables(rules)["segments"],
                {"travel": ["Travel"], "necessities": ["Grocery"]},
            )
            self._results[key] = cells(found[oracle.HISTORY_COLUMNS].itertuples(index=False, name=None))
        return self._results[key]

    def sums(self, part: Part) -> Mapping[int, tuple[int, Decimal, Decimal, Decimal]]:
        """customer_key -> facts, spend, of travel, of necessities."""
        found: dict[int, tuple[int, Decimal, Decimal, Decimal]] = {}
        rows = self.rows(part)
        for key, category, amount in zip(
            rows["customer_key"], rows["merchant_category_key"], rows["transaction_amount"], strict=True
        ):
            count, spend, travel, needed = found.get(key, (0, Decimal(0), Decimal(0), Decimal(0)))
            found[int(key)] = (
                count + 1,
                spend + amount,
                travel + (amount if category == TRAVEL else 0),
                needed + (amount if category == GROCERY else 0),
            )
        return found

    def each(self, part: Part) -> Counter[tuple[Any, ...]]:
        month, content, *_ = part
        columns = ["customer_key", "merchant_category_key", "transaction_date", "transaction_amount"]
        return Counter(self._frames[month, content][columns].itertuples(index=False, name=None))

    def last_day(self, before: date, since: date) -> date | None:
        days = [
            day.date()
            for month, content in self.now.items()
            for day in self._frames[month, content]["transaction_date"]
            if since <= day.date() < before
        ]
        return max(days, default=None)


def cell(value: Any) -> Any:
    """One spelling for what pandas and DuckDB spell differently."""
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date()
    if isinstance(value, Decimal):
        return value.quantize(Decimal("0.01"))
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, (bool, str, date)):
        return value
    return int(value)


def cells(rows: Iterable[Iterable[Any]]) -> Cells:
    return tuple(sorted((tuple(map(cell, row)) for row in rows), key=lambda row: (str(row[0]), str(row[1]))))


def segments_in(found: Cells) -> dict[str, str]:
    at = oracle.HISTORY_COLUMNS.index("customer_segment")
    return {row[1]: row[at] for row in found}


@dataclass(frozen=True)
class Failure:
    """A blocking audit that failed, and all that an acceptance of it names."""

    month: date
    audit: str
    segment: str | None
    measured: float
    failed_rows: int
    spend: Decimal | None
    facts: frozenset[Any]
    candidate: Cells
    decision: str

    @property
    def shown(self) -> tuple[Any, ...]:
        return self.audit, self.segment, round(self.measured, 6), self.failed_rows, self.spend


@dataclass(frozen=True)
class Candidate:
    rows: Cells
    parts: tuple[Part, ...]  # the facts that it was made of
    decision: str


@dataclass(frozen=True)
class Audited:
    candidate: Candidate | None  # None where the rollup was replaced since: they judge other facts than its own
    decision: str
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Published:
    rows: Cells
    rules: str
    accepted: tuple[Failure, ...]


@dataclass(frozen=True)
class State:
    """What has to be in the warehouse."""

    views: str = ""  # category groups of the rules that staging was built under
    rollup: Mapping[date, tuple[int, str, str]] = field(default_factory=dict)  # the rest of a part by its month
    windows: Mapping[date, tuple[Part, ...]] = field(default_factory=dict)
    assignments: Mapping[date, Candidate] = field(default_factory=dict)
    audits: Mapping[date, Audited] = field(default_factory=dict)
    history: Mapping[date, Published] = field(default_factory=dict)
    acceptances: frozenset[Failure] = frozenset()
    last_decision: str = ""  # of the newest publication, whichever month it was of

    def parts(self, month: date) -> tuple[Part, ...]:
        return tuple((part, *self.rollup[part]) for part in sorted(self.rollup) if part <= month)


@dataclass(frozen=True)
class Asked:
    first: date
    last: date
    rules: str
    rollup_from: date | None = None

    @property
    def months(self) -> list[date]:
        return months_of(self.first, self.last)


class Model:
    """What each stage makes of a state."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def after(self, state: State, stages: Iterable[str], asked: Asked) -> list[State]:
        """The state before, and the one after each stage."""
        states = [state]
        for stage in stages:
            states.append(getattr(self, stage)(states[-1], asked))
        return states

    def views(self, state: State, asked: Asked) -> State:
        return replace(state, views=groups_of(asked.rules))

    def rollup(self, state: State, asked: Asked) -> State:
        """Months of the run's own rules are kept, where the views were of them too."""
        groups, end = groups_of(asked.rules), month_after(asked.last)
        kept = {
            month: rolled
            for month, rolled in state.rollup.items()
            if month >= end or (rolled[1] == rolled[2] == groups and month < min(asked.rollup_from or asked.first, end))
        }
        fresh = {month: (content, state.views, groups) for month, content in self.facts.now.items() if month < end}
        return replace(state, rollup={**fresh, **kept})

    def windows(self, state: State, asked: Asked) -> State:
        return replace(state, windows={**state.windows, **{month: state.parts(month) for month in asked.months}})

    def assignments(self, state: State, asked: Asked) -> State:
        made = {
            month: Candidate(
                self.facts.result(state.windows[month], month, asked.rules),
                state.windows[month],
                decision_of(asked.rules),
            )
            for month in asked.months
            if month in state.windows
        }
        others = {month: found for month, found in state.audits.items() if month not in asked.months}
        kept = {month: found for month, found in state.assignments.items() if month not in asked.months}
        return replace(state, assignments={**kept, **made}, audits=others)

    def audits(self, state: State, asked: Asked) -> State:
        kept = {month: found for month, found in state.audits.items() if month not in asked.months}
        made = {
            month: Audited(
                self._judged(state, month, asked.rules),
                decision_of(asked.rules),
                tuple(self._failures(state, month, asked.rules)),
            )
            for month in asked.months
            if month in state.assignments
        }
        return replace(state, audits={**kept, **made})

    def history(self, state: State, asked: Asked) -> State:
        made = {}
        for month in asked.months:
            candidate, audited = state.assignments.get(month), state.audits.get(month)
            if (
                candidate is not None
                and audited is not None
                and audited.candidate is not None
                and audited.candidate.rows == candidate.rows
                and audited.decision == candidate.decision == decision_of(asked.rules)
                and state.acceptances.issuperset(audited.failures)
            ):
                made[month] = Published(candidate.rows, asked.rules, audited.failures)
        return replace(state, history={**state.history, **made})

    def _judged(self, state: State, month: date, rules: str) -> Candidate | None:
        """The candidate, where it was made of the rollup that is there now, and this of the run's own rules."""
        candidate, groups = state.assignments[month], groups_of(rules)
        is_of_these_rules = all(part[2] == part[3] == groups for part in state.parts(month))
        return candidate if is_of_these_rules and candidate.parts == state.parts(month) else None

    def _failures(self, state: State, month: date, rules: str) -> Iterator[Failure]:
        """Of the audits that block. Those of a candidate made by other rules are never looked at."""
        candidate = state.assignments[month]
        if candidate.decision != decision_of(rules):
            return
        bounds, end = variables(rules)["audits"], month_after(month)

        def failure(
            audit: str,
            measured: float,
            rows: int = 1,
            segment: str | None = None,
            spend: Decimal | None = None,
            facts: frozenset[Any] = frozenset(),
        ) -> Failure:
            return Failure(month, audit, segment, measured, rows, spend, facts, candidate.rows, candidate.decision)

        members = Counter(segments_in(candidate.rows).values())
        for segment in SEGMENTS:
            share = 100 * members[segment] / len(candidate.rows)
            if share < bounds["minimum_segment_share_pct"]:
                yield failure("every_segment_holds_the_minimum_share", share, segment=segment)
        last = self.facts.last_day(end, end - timedelta(days=180))
        early = 180 if last is None else (end - last).days - 1
        if early > bounds["facts_may_end_days_early"]:
            yield failure("facts_reach_the_end_of_the_month", early)
        if looser := loosened(state.last_decision, rules):
            yield failure("no_blocking_bound_was_loosened", looser, looser)
        yield from self._unlike_the_facts(month, state.views, candidate, failure)

    def _unlike_the_facts(
        self, month: date, views: str, candidate: Candidate, failure: Callable[..., Failure]
    ) -> Iterator[Failure]:
        """Months of the window in which the facts are others than those that the candidate was made of."""
        end = month_after(month)
        since = (end - timedelta(days=180)).replace(day=1)
        made_of = {part[0]: part for part in candidate.parts if since <= part[0] < end}
        there = {part: (part, content, views, views) for part, content in self.facts.now.items() if since <= part < end}
        differing, counted, spend = 0, 0, Decimal(0)
        unlike: Counter[tuple[Any, ...]] = Counter()
        for part in made_of.keys() | there.keys():
            sides = [self._totals(side.get(part)) for side in (there, made_of)]
            each = [self.facts.each(side[part]) if part in side else Counter() for side in (there, made_of)]
            if sides[0] == sides[1] and each[0] == each[1]:
                continue
            differing += 1
            differences = [abs(a - b) for a, b in zip(*sides, strict=True)]
            counted += int(differences[0])
            spend += max(differences[1:])
            unlike.update(each[0])
            unlike.subtract(each[1])
        if differing:
            facts = frozenset((fact, times) for fact, times in unlike.items() if times)
            yield failure("rollup_equals_the_facts", differing, max(counted, 1), spend=cell(spend), facts=facts)

    def _totals(self, part: Part | None) -> tuple[Decimal, ...]:
        sums = self.facts.sums(part).values() if part else ()
        return tuple(sum((Decimal(row[at]) for row in sums), Decimal(0)) for at in range(4))


def loosened(last_decision: str, rules: str) -> int:
    """How many bounds of blocking audits are looser than at the last publication."""
    (before,) = {json.dumps(variables(name)["audits"]) for name in RULE_SETS if decision_of(name) == last_decision}
    then, now = json.loads(before), variables(rules)["audits"]
    return (then["minimum_segment_share_pct"] > now["minimum_segment_share_pct"]) + (
        then["facts_may_end_days_early"] < now["facts_may_end_days_early"]
    )
