"""Whatever is done to a warehouse, in whatever order: a machine that does it, and a model that says what must come of it.

The machine draws operations of people and of runs (facts change, rules are edited, single stages run, somebody accepts
a failure, lists are made and exported, a run is cut off) and does them to a real DuckDB file with real dbt. The model
(`State`) is told what was done, never what came of it: which facts each stage saw, what the pandas oracle makes of
them, which audits must fail, what may therefore be published. After every step both are compared, cell by cell.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from segmentation_assets.assets.exports import export_month
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import UserError
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import acceptances, audits, restatements
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support import oracle
from tests.support.known_mix import BUDGET, DECLINING, GROWING, SEGMENTS, STABLE, TRAVELERS
from tests.support.portfolio import Portfolio, dollars
from tests.support.portfolios import CATEGORY_NAMES, DINING, GAS, GROCERY, TRAVEL
from tests.support.published_months import FILE, NO_TESTS
from tests.support.warehouse_fixture import CANDIDATE, Pipeline

MONTHS = tuple(date(2025, month, 1) for month in (9, 10, 11, 12))
RANGES = (*((month, month) for month in MONTHS), (MONTHS[0], MONTHS[1]), (MONTHS[1], MONTHS[3]))
CUSTOMERS = tuple(f"{segment} {number}" for segment in SEGMENTS for number in range(4))
OBJECTORS = (f"{STABLE} 0", f"{BUDGET} 1")
# Who answers for a step's dbt: results are read from the warehouse, and files of them cost half of a step.
QUIET = (*NO_TESTS, "--no-write-json")

MEASURED = "path:models/staging customer_period_spend transaction_window_metrics category_shares"
ASSIGNED = "segment_rules segment_decisions segment_assignments"
JUDGED = "path:models/staging segment_audits segment_audit_verdicts segment_gate"
HISTORY = "customer_segment_history"
DERIVED = "customer_segments segment_summary segment_transitions"
EVERYTHING = f"{CANDIDATE} {HISTORY} {DERIVED}"
STAGES = ("rollup", "windows", "assignments", "audits", "history")

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
Part = tuple[date, int, str]  # calendar month, content of its facts, category groups


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
        for month in (date(2025, month, 1) for month in range(6, 13)):
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGMENTATION_DUCKDB_PATH", str(folder / FILE))
        pipeline = Pipeline(folder / FILE)
        pipeline.load(portfolio())
        whole = "path:models/staging path:models/metrics path:models/segments path:models/audiences"
        succeeded, said = pipeline.dbt(MONTHS[0], MONTHS[1], select=whole, arguments=QUIET)
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
                ordered[
                    ["transaction_date", "customer_key", "merchant_category_key", "transaction_amount"]
                ].itertuples(index=False, name=None)
            )
            content = self._contents.setdefault(seen, len(self._contents))
            self.now[month.date()] = content
            self._frames[month.date(), content] = rows

    def rows(self, part: Part) -> pd.DataFrame:
        """Its facts, each in one category that stands for the group which it had."""
        month, content, groups = part
        rows = self._frames[month, content]
        named = json.loads(groups)
        stands_for = {
            key: TRAVEL if name in named["travel"] else GROCERY if name in named["necessities"] else DINING
            for key, name in CATEGORY_NAMES.items()
        }
        return rows.assign(merchant_category_key=rows["merchant_category_key"].map(stands_for).astype("Int32"))

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
        month, content, _ = part
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

    rollup: Mapping[date, tuple[int, str]] = field(default_factory=dict)  # calendar month -> content, groups
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

    def rollup(self, state: State, asked: Asked) -> State:
        groups, end = groups_of(asked.rules), month_after(asked.last)
        kept = {
            month: rolled
            for month, rolled in state.rollup.items()
            if month >= end or (rolled[1] == groups and month < min(asked.rollup_from or asked.first, end))
        }
        fresh = {month: (content, groups) for month, content in self.facts.now.items() if month < end}
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
                state.assignments[month] if state.assignments[month].parts == state.parts(month) else None,
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
            return Failure(
                month, audit, segment, measured, rows, spend, facts, candidate.rows, candidate.decision
            )

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
        yield from self._unlike_the_facts(month, rules, candidate, failure)

    def _unlike_the_facts(
        self, month: date, rules: str, candidate: Candidate, failure: Callable[..., Failure]
    ) -> Iterator[Failure]:
        """Months of the window in which the facts are others than those that the candidate was made of."""
        end = month_after(month)
        since = (end - timedelta(days=180)).replace(day=1)
        made_of = {part[0]: part for part in candidate.parts if since <= part[0] < end}
        there = {
            part: (part, content, groups_of(rules))
            for part, content in self.facts.now.items()
            if since <= part < end
        }
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


# What is in the warehouse


@dataclass(frozen=True)
class Found:
    """The tables as they are."""

    rollup: Mapping[tuple[date, int], tuple[Any, ...]]
    windows: Mapping[date, Cells]
    assignments: Mapping[date, tuple[Cells, str]]
    audits: Mapping[date, tuple[str, frozenset[tuple[Any, ...]]]]
    history: Mapping[date, Cells]
    log: Mapping[date, Mapping[str, Any]]  # the newest version
    decisions: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, pipeline: Pipeline) -> Found:
        columns = ", ".join(oracle.HISTORY_COLUMNS)
        with pipeline.connection() as connection:

            def rows(sql: str) -> list[tuple[Any, ...]]:
                return connection.execute(sql).fetchall()

            assignments = rows(f"select {columns}, decision_hash from silver.segment_assignments")
            judged = rows(
                "select snapshot_month, decision_hash, audit, customer_segment, measured, failed_rows, affected_spend"
                " from silver.segment_audits where severity = 'error'"
            )
            log = connection.execute(
                "select * from gold.segment_publications"
                " qualify row_number() over (partition by snapshot_month order by version desc) = 1"
            )
            names = [column[0] for column in log.description]
            newest = [dict(zip(names, row, strict=True)) for row in log.fetchall()]
            return cls(
                rollup={
                    (month, key): tuple(map(cell, sums))
                    for month, key, *sums in rows(
                        "select cast(date_trunc('month', period_start) as date), customer_key, sum(transaction_count),"
                        " sum(spend), sum(travel_spend), sum(necessities_spend)"
                        " from silver.customer_period_spend group by 1, 2"
                    )
                },
                windows=by_month(
                    rows(
                        "select snapshot_month, customer_id, total_transactions, lifetime_value, spend_last_90_days,"
                        " spend_prior_90_days from silver.transaction_window_metrics"
                    )
                ),
                assignments={
                    month: (found, "/".join(sorted({row[-1] for row in assignments if row[0] == month})))
                    for month, found in by_month(row[:-1] for row in assignments).items()
                },
                audits={
                    month: (
                        "/".join(sorted({str(row[1]) for row in judged if row[0] == month})),
                        frozenset(
                            (row[2], row[3], round(row[4], 6), row[5], cell(row[6]))
                            for row in judged
                            if row[0] == month and row[5]
                        ),
                    )
                    for month in {row[0] for row in judged}
                },
                history=by_month(rows(f"select {columns} from gold.customer_segment_history")),
                log={row["snapshot_month"]: row for row in newest},
                decisions=_nested(rows("select decision_hash, entry, entry_value from gold.segment_decisions")),
            )


def _nested(rows: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for outer, inner, value in rows:
        found.setdefault(outer, {})[inner] = value
    return found


def by_month(rows: Iterable[tuple[Any, ...]]) -> dict[date, Cells]:
    found: dict[date, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return {month: cells(rows) for month, rows in found.items()}


def unlike(state: State, found: Found, model: Model) -> list[str]:
    """What is in the tables and not in the state, or the other way round, in words; nothing where they are one."""
    wrong: list[str] = []
    expected = {
        (month, key): tuple(map(cell, sums))
        for month, (content, groups) in state.rollup.items()
        for key, sums in model.facts.sums((month, content, groups)).items()
    }
    wrong += _differences("the rollup", expected, found.rollup)
    shown = [
        oracle.HISTORY_COLUMNS.index(name)
        for name in (
            "snapshot_month", "customer_id", "total_transactions", "lifetime_value", "spend_last_90_days",
            "spend_prior_90_days",
        )
    ]  # fmt: skip
    windows = {
        month: tuple(tuple(row[at] for at in shown) for row in model.facts.result(parts, month, "shipped"))
        for month, parts in state.windows.items()
    }
    wrong += _differences("the windows", windows, found.windows)
    candidates = {month: (candidate.rows, candidate.decision) for month, candidate in state.assignments.items()}
    wrong += _differences("the candidate", candidates, found.assignments)
    for month, audited in state.audits.items():
        decision, failed = found.audits.get(month, ("no audits", frozenset()))
        if decision != audited.decision:
            wrong.append(f"the audits of {month} are of the decision {decision}, not {audited.decision}")
        elif audited.candidate is not None and audited.candidate.decision == audited.decision:
            expected_failures = {failure.shown for failure in audited.failures}
            wrong += [f"an audit of {month} fails that holds: {one}" for one in failed - expected_failures]
            wrong += [f"an audit of {month} holds that has to fail: {one}" for one in expected_failures - failed]
    for month in found.audits.keys() - state.audits.keys():
        if month in state.assignments:
            wrong.append(f"{month} has audits, though its candidate was made after them")
    history = {month: published.rows for month, published in state.history.items()}
    wrong += _differences("the published month", history, found.history)
    return wrong


def _differences(what: str, expected: Mapping[Any, Any], found: Mapping[Any, Any]) -> list[str]:
    wrong: list[str] = []
    for key in sorted(expected.keys() | found.keys(), key=str):
        name = " ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        if key not in found:
            wrong.append(f"{what} {name} is not there")
        elif key not in expected:
            wrong.append(f"{what} {name} should not be there")
        elif expected[key] != found[key]:
            wrong.append(f"{what} {name} is another: {_told(expected[key], found[key])}")
    return wrong


def _told(expected: Any, found: Any) -> str:
    """The first few rows that differ."""
    if not isinstance(expected[0], tuple):
        return f"{found}, expected {expected}"
    if isinstance(expected[0][0], tuple):  # with a decision beside the rows
        expected, found = (*expected[0], expected[1:]), (*found[0], found[1:])
    missing, extra = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    return f"lost {list(missing)[:2]}, found {list(extra)[:2]} ({missing.total()} and {extra.total()} rows)"


# The machine


def broken_at(nth: int) -> Any:
    """While it is entered, the connection of dbt breaks at the nth statement that changes something, for good."""

    @contextmanager
    def entered() -> Iterator[None]:
        import duckdb
        from dbt.adapters.duckdb.environments.local import DuckDBCursorWrapper

        execute, writes = DuckDBCursorWrapper.execute, re.compile(r"\s*(create|insert|delete|drop|alter|commit)", re.I)
        left = [nth]

        def watched(self: Any, sql: str, bindings: Any = None) -> Any:
            parts = [sql] if bindings is not None else [part.query for part in duckdb.extract_statements(sql)] or [sql]
            result = None
            for part in parts:
                left[0] -= bool(writes.match(part))
                if left[0] <= 0:
                    raise duckdb.ConnectionException("Connection Error: broken by the test")
                result = execute(self, part, bindings)
            return result

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DuckDBCursorWrapper, "execute", watched)
            yield

    return entered()


rule_names = st.sampled_from(("shipped", *RULE_SETS))  # every other run reads the rules as they are shipped
ranges = st.sampled_from(RANGES)
one_month = st.sampled_from(MONTHS)
customers = st.sampled_from(CUSTOMERS)
fact_months = st.sampled_from([date(2025, month, 1) for month in range(6, 13)])
CHANGES = ("add", "delete", "refund", "double", "move")


class AnyOrder(RuleBasedStateMachine):
    """One warehouse, from three published months on. Each rule is a step; `taken` counts what the steps did."""

    start: ClassVar[Path]
    taken: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="any-order-"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("SEGMENTATION_DUCKDB_PATH", str(self.folder / FILE))
        self.patch.setenv("SEGMENTATION_EXPORT_URI", str(self.folder / "exports"))
        shutil.copy(self.start / FILE, self.folder / FILE)
        self.pipeline = Pipeline(self.folder / FILE)
        self.store = ExportStore(str(self.folder / "exports"))
        self.facts = Facts()
        self.facts.read(self.pipeline)
        self.model = Model(self.facts)
        # What make_start did.
        first = Asked(MONTHS[0], MONTHS[1], "shipped")
        begun = State(last_decision=decision_of("shipped"))
        self.state = self.model.after(begun, STAGES, first)[-1]
        self.objectors = set(OBJECTORS)
        self.log: dict[date, Mapping[str, Any]] = {}
        # Every version that was ever published: month, content hash -> its rows.
        self.versions: dict[tuple[date, str], Cells] = {}
        self.files: dict[str, tuple[str, frozenset[str]]] = {}
        self.compare("start")

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    # Facts change

    @rule(change=st.sampled_from(CHANGES), customer=customers, month=fact_months, number=st.integers(1, 28))
    def facts_change(self, change: str, customer: str, month: date, number: int) -> None:
        key = 1001 + CUSTOMERS.index(customer)
        day = month.replace(day=number)
        of_the_month = (
            f"customer_key = {key} and transaction_date between '{month}' and '{month_after(month)}'::date - 1"
        )
        next_key = "(select max(transaction_key) + 1 from gold.fct_transactions)"
        statement = {
            "add": f"insert into gold.fct_transactions by name select {next_key} as transaction_key, {key} as"
            f" customer_key, {number % 10 + 1} as merchant_category_key, date '{day}' as transaction_date,"
            f" {number * 777}.25 as transaction_amount, 'approved' as transaction_status",
            "delete": f"delete from gold.fct_transactions where {of_the_month}",
            "refund": f"insert into gold.fct_transactions by name (select * replace ({next_key} as transaction_key,"
            f" -transaction_amount as transaction_amount, date '{day}' as transaction_date)"
            f" from gold.fct_transactions where {of_the_month} order by transaction_key limit 1)",
            "double": f"insert into gold.fct_transactions by name (select * replace ({next_key} as transaction_key)"
            f" from gold.fct_transactions where {of_the_month} order by transaction_key limit 1)",
            "move": f"update gold.fct_transactions set transaction_date = transaction_date + {number}"
            f" where {of_the_month}",
        }[change]
        self.pipeline.execute(statement)
        self.facts.read(self.pipeline)
        self.taken["facts changed"] += 1

    # Single stages, by whoever

    def build(
        self,
        asked: Asked,
        select: str,
        stages: Sequence[str],
        arguments: Sequence[str] = (),
        more: Vars | None = None,
    ) -> bool:
        """Plain dbt; afterwards the warehouse has to be as the model says."""
        self.taken["dbt"] += 1
        run_vars = {**RULE_SETS[asked.rules], **(more or {})}
        if asked.rollup_from:
            run_vars["rollup_from"] = str(asked.rollup_from)
        succeeded, said = self.pipeline.dbt(
            asked.first, asked.last, select=select, arguments=(*QUIET, *arguments), run_vars=run_vars
        )
        note(f"  dbt {select.split(' ')[0]} ... under {asked.rules}: {'ended well' if succeeded else said[:2]}")
        self.state = self.model.after(self.state, stages, asked)[-1]
        self.compare(select)
        return succeeded

    def measure(self, asked: Asked) -> None:
        assert self.build(asked, MEASURED, STAGES[:2])

    def assign(self, asked: Asked) -> None:
        assert self.build(asked, ASSIGNED, STAGES[2:3])

    def judge(self, asked: Asked) -> None:
        assert self.build(asked, JUDGED, STAGES[3:4])

    def publish(self, asked: Asked) -> None:
        before = self.state.history
        assert self.build(asked, f"{HISTORY} {DERIVED}", STAGES[4:])
        published = [month for month in asked.months if self.state.history.get(month) is not before.get(month)]
        self.taken["months published"] += len(published)
        self.taken["months held back"] += len(asked.months) - len(published)

    STEPS: ClassVar[Mapping[str, Callable[[AnyOrder, Asked], None]]] = {
        "measure": measure,
        "assign": assign,
        "judge": judge,
        "publish": publish,
    }

    @rule(step=st.sampled_from(tuple(STEPS)), months=ranges, rules=rule_names)
    def a_single_stage(self, step: str, months: tuple[date, date], rules: str) -> None:
        self.STEPS[step](self, Asked(*months, rules))

    @rule(months=ranges, rules=rule_names)
    def a_candidate(self, months: tuple[date, date], rules: str) -> None:
        assert self.build(Asked(*months, rules), CANDIDATE, STAGES[:4])

    @rule(months=ranges, rules=rule_names)
    def a_whole_run(self, months: tuple[date, date], rules: str) -> None:
        before = self.state.history
        assert self.build(Asked(*months, rules), EVERYTHING, STAGES)
        self.taken["months published"] += sum(
            self.state.history.get(month) is not before.get(month) for month in months_of(*months)
        )

    @rule(month=one_month, rules=rule_names)
    def publication_alone(self, month: date, rules: str) -> None:
        self.publish(Asked(month, month, rules))

    # Two actors, step by step

    @rule(
        month=one_month,
        rules=rule_names,
        after=st.integers(1, 3),
        other_month=one_month,
        other_rules=rule_names,
        other_steps=st.lists(st.sampled_from((*STEPS, "facts", "accept")), min_size=1, max_size=3),
        change=st.sampled_from(CHANGES),
        customer=customers,
    )
    def two_actors(
        self,
        month: date,
        rules: str,
        after: int,
        other_month: date,
        other_rules: str,
        other_steps: list[str],
        change: str,
        customer: str,
    ) -> None:
        """The first measures, assigns, judges and publishes a month; the second comes between two of these."""
        steps = list(self.STEPS.values())
        for step in steps[:after]:
            step(self, Asked(month, month, rules))
        for name in other_steps:
            if name == "facts":
                self.facts_change(change=change, customer=customer, month=other_month, number=20)
            elif name == "accept":
                self.somebody_accepts(month=month, everything=True)
            else:
                self.STEPS[name](self, Asked(other_month, other_month, other_rules))
        for step in steps[after:]:
            step(self, Asked(month, month, rules))

    # People

    @rule(month=one_month, everything=st.booleans())
    def somebody_accepts(self, month: date, everything: bool) -> None:
        """What fails now: all of it, or the first audit only."""
        audited = self.state.audits.get(month)
        failures = [one for one in (audited.failures if audited else ()) if one not in self.state.acceptances]
        with DuckDBWarehouse(path=str(self.pipeline.path)).session() as session:
            rows = audits.month_audits(session, MonthRange.single(month))
            names = sorted({row["audit"] for row in rows if audits.is_blocking_failure(row)})
            if audited is None or audited.candidate is None or audited.candidate.decision != audited.decision:
                return
            assert names == sorted({failure.audit for failure in failures}), "what blocks is not what fails"
            for name in names if everything else names[:1]:
                acceptances.accept(session, month, name, None, "Ann", "Seen")
                seen = frozenset(failure for failure in failures if failure.audit == name)
                self.state = replace(self.state, acceptances=self.state.acceptances | seen)
                self.taken["accepted"] += 1

    @rule(customer=customers)
    def somebody_objects(self, customer: str) -> None:
        self.pipeline.execute(
            f"insert into gold.marketing_suppressions select '{customer}', 'asked', date '2025-12-31'"
            f" where '{customer}' not in (select customer_id from gold.marketing_suppressions)"
        )
        self.objectors.add(customer)

    # Lists and files

    @rule(months=ranges, rules=rule_names)
    def lists_are_made(self, months: tuple[date, date], rules: str) -> None:
        self.build(Asked(*months, rules), "path:models/audiences", ())
        newest = {month: row["content_hash"] for month, row in self.log.items()}
        for campaign in RULES.campaigns:
            rows = self.pipeline.rows(
                f"select snapshot_month, customer_id, content_hash from gold.audience_{campaign.name}"
            )
            asked = [row for row in rows if row[0] in months_of(*months)]
            assert not {row[1] for row in asked} & self.objectors, "somebody who objected is on a new list"
            assert {row[2] for row in asked} <= set(newest.values()), "a new list is not of the newest version"
        self.taken["lists made"] += 1

    @rule(month=one_month)
    def files_are_written(self, month: date) -> None:
        written = 0
        with DuckDBWarehouse(path=str(self.pipeline.path)).session(read_only=True) as session:
            for campaign in RULES.campaigns:
                with suppress(UserError):
                    export_month(session, self.store, campaign, month)
                    written += 1
                    self.look_at_files(campaign.name, month)
        self.taken["files written" if written else "files refused"] += 1

    @rule(month=one_month)
    def files_are_written_by_a_run(self, month: date) -> None:
        campaign = RULES.campaigns[-1].name
        result = self.pipeline.run(month, select=[f"activation/export_{campaign}"])
        if result.success:
            self.look_at_files(campaign, month)
        self.taken["files written" if result.success else "files refused"] += 1

    def look_at_files(self, campaign: str, month: date) -> None:
        """Just written: of the version that is published now, and nobody in them who must not be."""
        folder = self.folder / "exports" / campaign / str(month)
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["publication"]["content_hash"] == self.log[month]["content_hash"]
        named = set[str]()
        for name in ("full.csv", "added.csv"):
            with (folder / manifest["files"][name]["path"]).open(encoding="utf-8", newline="") as file:
                named |= {row["customer_id"] for row in csv.DictReader(file)}
        listed = segments_in(self.versions[month, manifest["publication"]["content_hash"]])
        strangers = sorted(one for one in named if listed.get(one) != manifest["segment"])
        assert not strangers, f"{folder} names {strangers}, whom the published version has not in {manifest['segment']}"
        assert not named & self.objectors, f"{folder} names {sorted(named & self.objectors)}, who objected"
        self.files[f"{campaign}/{month}"] = (self._digest(folder, manifest), frozenset(named))

    def _digest(self, folder: Path, manifest: Mapping[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
        for file in manifest["files"].values():
            digest.update((folder / file["path"]).read_bytes())
        return digest.hexdigest()

    @rule(month=one_month)
    def objections_are_not_loaded(self, month: date) -> None:
        """For a while the table is not there: no list and no file may be made without it."""
        before = self._lists()
        self.pipeline.execute("alter table gold.marketing_suppressions rename to not_loaded")
        self.build(Asked(month, month, "shipped"), "path:models/audiences", ())
        assert self._lists() == before, "a list was made without the objections"
        with DuckDBWarehouse(path=str(self.pipeline.path)).session(read_only=True) as session:
            for campaign in RULES.campaigns:
                with pytest.raises(UserError):
                    export_month(session, self.store, campaign, month)
        self.pipeline.execute("alter table gold.not_loaded rename to marketing_suppressions")

    def _lists(self) -> dict[str, list[tuple[Any, ...]]]:
        return {
            campaign.name: self.pipeline.rows(f"from gold.audience_{campaign.name} order by all")
            for campaign in RULES.campaigns
        }

    # Restatements

    @rule(rules=rule_names)
    def restated(self, rules: str) -> None:
        with DuckDBWarehouse(path=str(self.pipeline.path)).session() as session:
            found = restatements.find(session)
        if found is None:
            return self._nothing_differs()
        first, last = found.months.first, found.months.last
        self.build(Asked(first, last, rules, found.rollup_from), EVERYTHING, STAGES)
        self.taken["restated"] += 1
        return None

    def _nothing_differs(self) -> None:
        """Said by the product; so every published month has the counts and sums of today's facts."""
        numbers = [
            oracle.HISTORY_COLUMNS.index(name)
            for name in ("customer_id", "total_transactions", "lifetime_value", "spend_last_90_days",
                         "spend_prior_90_days", "first_transaction_date", "last_transaction_date")
        ]  # fmt: skip
        for month, published in self.state.history.items():
            parts = tuple((part, self.facts.now[part], groups_of("shipped")) for part in sorted(self.facts.now))
            today = self.facts.result(parts, month, "shipped")
            assert [[row[at] for at in numbers] for row in published.rows] == [
                [row[at] for at in numbers] for row in today
            ], f"{month} is not what its facts are, and nothing is to be restated"

    # dbt with what people give it

    @rule(
        months=ranges,
        flags=st.sampled_from((("--full-refresh",), ("--empty",), ("--full-refresh", "--empty"))),
        select=st.sampled_from((EVERYTHING, HISTORY, DERIVED, "segment_assignments", "customer_segments")),
    )
    def refused_flags(self, months: tuple[date, date], flags: tuple[str, ...], select: str) -> None:
        assert not self.build(Asked(*months, "shipped"), select, (), flags), "a flag that empties tables was taken"

    @rule(months=ranges, key=st.sampled_from(("segments", "approved_statuses")))
    def blanked_rules(self, months: tuple[date, date], key: str) -> None:
        assert not self.build(Asked(*months, "shipped"), EVERYTHING, (), more={key: []}), "no rules were taken"

    @rule(months=ranges, rules=rule_names)
    def without_publication(self, months: tuple[date, date], rules: str) -> None:
        self.build(Asked(*months, rules), EVERYTHING, STAGES[:4], ("--exclude", HISTORY, *DERIVED.split()))

    @rule(months=ranges, model=st.sampled_from(DERIVED.split()), rules=rule_names)
    def one_published_table(self, months: tuple[date, date], model: str, rules: str) -> None:
        assert self.build(Asked(*months, rules), model, ())

    # A run that is cut off

    @rule(months=ranges, rules=rule_names, nth=st.integers(1, 60))
    def a_run_breaks_off(self, months: tuple[date, date], rules: str, nth: int) -> None:
        with broken_at(nth):
            self.pipeline.dbt(
                *months, select=EVERYTHING, arguments=QUIET, run_vars=RULE_SETS[rules]
            )
        self.broke_off(Asked(*months, rules))

    def broke_off(self, asked: Asked) -> None:
        """Each table is as before or as after; in the order in which they are made."""
        self.taken["broken off"] += 1
        found = Found.read(self.pipeline)
        states = self.model.after(self.state, STAGES, asked)
        fitting = [state for state in states if not unlike(state, found, self.model)]
        if not fitting:
            self.state = states[-1]
            raise AssertionError(
                "half of a stage is there:\n  "
                + "\n  ".join(f"{stage}: {unlike(state, found, self.model)[:3]}" for stage, state in
                              zip(("nothing", *STAGES), states, strict=True))
            )  # fmt: skip
        self.state = fitting[-1]
        self.compare("broken off")

    # What has to hold

    def compare(self, done: str) -> None:
        """The tables against the model, and the log against what it says was published."""
        self.taken["steps"] += 1
        found = Found.read(self.pipeline)
        wrong = unlike(self.state, found, self.model)
        assert not wrong, "\n".join([f"after {done}:", *wrong])
        assert set(found.log) == set(self.state.history), "the log has other months than were published"
        for month, published in self.state.history.items():
            now, before = found.log[month], self.log.get(month)
            decision = decision_of(published.rules)
            assert now["customers"] == len(published.rows)
            assert now["decision_hash"] == decision, f"the log of {month} names another decision than its candidate's"
            assert (now["audits_verdict"] == "accepted") == bool(published.accepted), (
                f"{month} is logged as {now['audits_verdict']}, and failed {published.accepted}"
            )
            stored = found.decisions[decision]
            for entry in ("segments", "category_groups"):
                assert json.loads(stored[entry]) == variables(published.rules)[entry], f"{month}: other {entry} stored"
            for bound, value in variables(published.rules)["audits"].items():
                assert float(stored[f"audits.{bound}"]) == value, f"{month}: another {bound} stored"
            if before is None or now["version"] != before["version"]:
                assert before is None or now["version"] == before["version"] + 1
                self.state = replace(self.state, last_decision=decision)
            else:
                assert now == before, f"the log row of {month} was rewritten"
            known = self.versions.setdefault((month, now["content_hash"]), published.rows)
            assert known == published.rows, f"one content hash stands for two contents of {month}"
        self.log = dict(found.log)

    @invariant()
    def what_is_derived_is_of_a_published_version(self) -> None:
        with self.pipeline.connection() as connection:

            def rows(sql: str) -> list[tuple[Any, ...]]:
                return connection.execute(sql).fetchall()

            newest = max(self.state.history)
            columns = ", ".join(oracle.HISTORY_COLUMNS[1:])
            segments = cells((newest, *row) for row in rows(f"select {columns} from gold.customer_segments"))
            months = {month for month, _ in self.versions}
            stood = [found for (month, _), found in self.versions.items() if month in months]
            assert cells(segments) in [self._as_of(found, newest) for found in stood], "customer_segments is no version"
            summary: dict[tuple[date, str], dict[str, int]] = {}
            for month, stamp, segment, count in rows(
                "select snapshot_month, content_hash, customer_segment, customers from gold.segment_summary"
            ):
                summary.setdefault((month, stamp), {})[segment] = count
            for version, counts in summary.items():
                assert counts == Counter(segments_in(self.versions[version]).values()), f"the summary of {version}"
            self._lists_are_of_versions(rows)
        for name, (digest, _) in self.files.items():
            folder = self.folder / "exports" / name
            manifest = json.loads((folder / "manifest.json").read_text())
            assert self._digest(folder, manifest) == digest, f"the files of {name} changed, and nobody exported them"

    def _as_of(self, found: Cells, month: date) -> Cells:
        return tuple((month, *row[1:]) for row in found)

    def _lists_are_of_versions(self, rows: Callable[[str], list[tuple[Any, ...]]]) -> None:
        for campaign in RULES.campaigns:
            found = rows(f"select snapshot_month, content_hash, customer_id from gold.audience_{campaign.name}")
            assert len(found) == len({(row[0], row[2]) for row in found}), f"{campaign.name} has somebody twice"
            for month, stamp, customer in found:
                assert segments_in(self.versions[month, stamp]).get(customer) == campaign.segment, (
                    f"{campaign.name} of {month} lists {customer}, whom its version has not in {campaign.segment}"
                )
