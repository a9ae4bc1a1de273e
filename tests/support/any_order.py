"""Whatever is done to a warehouse, in whatever order, step by step: a machine that does it and compares.

It draws operations of people and of runs (facts change, rules are edited, single stages run, a failure is accepted,
lists are made and exported, a run is cut off) and does them to a real DuckDB file with real dbt. After every step the
tables are compared with the model, cell by cell, and lists and files with the versions that they say they are of.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import replace
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import hypothesis
import pytest
from hypothesis import currently_in_test_context, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from segmentation_assets.assets.exports import export_month
from segmentation_assets.errors import UserError
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import acceptances, audits, restatements
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support import oracle
from tests.support.any_order_model import (
    ASSIGNED,
    CUSTOMERS,
    DERIVED,
    EVERYTHING,
    HISTORY,
    JUDGED,
    MEASURED,
    MONTHS,
    OBJECTORS,
    RANGES,
    RULE_SETS,
    RULES,
    STAGED,
    STAGES,
    Asked,
    Cells,
    Facts,
    Model,
    State,
    Vars,
    cells,
    decision_of,
    groups_of,
    month_after,
    months_of,
    segments_in,
    variables,
)  # fmt: skip
from tests.support.any_order_tables import Found, unlike
from tests.support.crashes import KILLED, Runs
from tests.support.published_months import FILE, NO_TESTS
from tests.support.warehouse_fixture import CANDIDATE, Pipeline, star_of


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


def tell(words: str) -> None:
    """Beside the steps of an example that fails; a scripted walk prints it."""
    (note if currently_in_test_context() else print)(words)


rule_names = st.sampled_from(("shipped", *RULE_SETS))  # every other run reads the rules as they are shipped
ranges = st.sampled_from(RANGES)
one_month = st.sampled_from(MONTHS)
customers = st.sampled_from(CUSTOMERS)
fact_months = st.sampled_from([date(2025, month, 1) for month in range(6, 13)])
# Rules that decide differently over the same views.
OTHER_DECISIONS = [
    (one, other)
    for one, other in permutations(RULE_SETS, 2)
    if decision_of(one) != decision_of(other) and groups_of(one) == groups_of(other)
]
CHANGES = ("add", "delete", "refund", "double", "move")
EXPORTED = (RULES.campaigns[0], RULES.campaigns[-1])  # two are enough, and cost less than five


class AnyOrder(RuleBasedStateMachine):
    """One warehouse, from three published months on. Each rule is a step; `taken` counts what the steps did."""

    start: ClassVar[Path]
    taken: ClassVar[Counter[str]]

    @classmethod
    def beginning_at(cls, start: Path, runs: Runs | None = None) -> type[AnyOrder]:
        """The machine for the folder that `make_start` filled, with a count of its own."""
        return type(cls.__name__, (cls,), {"start": start, "taken": Counter[str](), "runs": runs})

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="any-order-"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setenv("SEGMENTATION_DUCKDB_PATH", str(self.folder / FILE))
        self.patch.setenv("SEGMENTATION_EXPORT_URI", str(self.folder / "exports"))
        shutil.copy(self.start / FILE, self.folder / FILE)
        self.instance = dg.DagsterInstance.ephemeral()
        self.pipeline = Pipeline(self.folder / FILE, self.instance)
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
        self.hashes: dict[tuple[date, Cells], str] = {}
        self.files: dict[str, tuple[str, frozenset[str]]] = {}
        self.compare("start")

    def teardown(self) -> None:
        self.patch.undo()
        self.instance.dispose()
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
            asked.first, asked.last, select=select, arguments=(*NO_TESTS, *arguments), run_vars=run_vars
        )
        ended = "ended well" if succeeded else " ".join(said[0].split())[:120]
        tell(f"  dbt of {asked.first:%B} to {asked.last:%B} under {asked.rules}, {select}: {ended}")
        self.state = self.model.after(self.state, stages, asked)[-1]
        self.compare(select)
        return succeeded

    def stage(self, asked: Asked) -> None:
        assert self.build(asked, STAGED, STAGES[:1])

    def measure(self, asked: Asked) -> None:
        assert self.build(asked, MEASURED, STAGES[1:3])

    def assign(self, asked: Asked) -> None:
        assert self.build(asked, ASSIGNED, STAGES[3:4])

    def judge(self, asked: Asked) -> None:
        assert self.build(asked, JUDGED, STAGES[4:5])

    def publish(self, asked: Asked) -> None:
        before = self.state.history
        assert self.build(asked, f"{HISTORY} {DERIVED}", STAGES[5:])
        published = [month for month in asked.months if self.state.history.get(month) is not before.get(month)]
        self.taken["months published"] += len(published)
        self.taken["months held back"] += len(asked.months) - len(published)

    STEPS: ClassVar[Mapping[str, Callable[[AnyOrder, Asked], None]]] = {
        "stage": stage,
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
        assert self.build(Asked(*months, rules), CANDIDATE, STAGES[:5])

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
        after=st.integers(1, 4),
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
        """The first stages, measures, assigns, judges and publishes a month; the second comes between two of these."""
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

    # What the gate is there for, in few steps: by single ones it is hours until they come together

    @rule(month=one_month, pair=st.sampled_from(OTHER_DECISIONS), customer=customers)
    def judged_by_other_rules(self, month: date, pair: tuple[str, str], customer: str) -> None:
        """A candidate of some rules, the audits of others; then a run of the first publishes."""
        rules, others = pair
        self.facts_change(change="add", customer=customer, month=month, number=2)  # a version that is not there yet
        self.a_candidate(months=(month, month), rules=rules)
        self.judge(Asked(month, month, others))
        self.publish(Asked(month, month, rules))

    @rule(month=one_month, rules=rule_names, change=st.sampled_from(CHANGES), customer=customers)
    def changed_after_it_was_accepted(self, month: date, rules: str, change: str, customer: str) -> None:
        """Facts change under a candidate, which somebody accepts; then they change again, and are judged again."""
        self.a_candidate(months=(month, month), rules=rules)
        self.facts_change(change="double", customer=customer, month=month.replace(month=month.month - 1), number=3)
        self.judge(Asked(month, month, rules))
        self.somebody_accepts(month=month, everything=True)
        self.facts_change(change=change, customer=customer, month=month, number=4)
        self.judge(Asked(month, month, rules))
        self.publish(Asked(month, month, rules))

    @rule(month=one_month, customer=customers)
    def exported_after_it_was_published_again(self, month: date, customer: str) -> None:
        """Its lists are made, then it is another version: facts of the month have come, and no run makes the lists."""
        self.a_whole_run(months=(month, month), rules="shipped")
        self.lists_are_made(months=(month, month), rules="shipped")
        self.facts_change(change="add", customer=customer, month=month, number=5)
        self.a_whole_run(months=(month, month), rules="shipped")
        self.files_are_written(month=month)

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
        written: list[str] = []
        with DuckDBWarehouse(path=str(self.pipeline.path)).session(read_only=True) as session:
            for campaign in EXPORTED:
                with suppress(UserError):
                    export_month(session, self.store, campaign, month, star_of(session))
                    written.append(campaign.name)
        for name in written:
            self.look_at_files(name, month)
        self.taken["files written" if written else "files refused"] += 1
        self.compare("export")

    @rule(month=one_month)
    def files_are_written_by_a_run(self, month: date) -> None:
        campaign = RULES.campaigns[-1].name
        with redirect_stderr(io.StringIO()):  # Dagster's log, hundreds of lines a walk
            result = self.pipeline.run(month, select=[f"activation/export_{campaign}"])
        if result.success:
            self.look_at_files(campaign, month)
        self.taken["files written" if result.success else "files refused"] += 1
        self.compare("export by a run")

    def look_at_files(self, campaign: str, month: date) -> None:
        """Just written: of the version that is published now, and nobody in them who must not be."""
        folder = self.folder / "exports" / campaign / str(month)
        for table in (f"audience_{campaign}", "audience_waterfall"):
            stamps = self.pipeline.rows(
                f"select distinct content_hash from gold.{table} where snapshot_month = '{month}'"
            )
            assert {stamp for (stamp,) in stamps} <= {self.log[month]["content_hash"]}, (
                f"{folder} was written from a {table} of another version than the published one"
            )
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
                    export_month(session, self.store, campaign, month, star_of(session))
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
            parts = tuple(
                (part, self.facts.now[part], groups_of("shipped"), groups_of("shipped"))
                for part in sorted(self.facts.now)
            )
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
        self.build(Asked(*months, rules), EVERYTHING, STAGES[:5], ("--exclude", HISTORY, *DERIVED.split()))

    @rule(months=ranges, model=st.sampled_from(DERIVED.split()), rules=rule_names)
    def one_published_table(self, months: tuple[date, date], model: str, rules: str) -> None:
        assert self.build(Asked(*months, rules), model, ())

    # A run that is cut off

    @rule(months=ranges, rules=rule_names, nth=st.integers(1, 60))
    def a_run_breaks_off(self, months: tuple[date, date], rules: str, nth: int) -> None:
        with broken_at(nth):
            self.pipeline.dbt(*months, select=EVERYTHING, arguments=NO_TESTS, run_vars=RULE_SETS[rules])
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
        """The tables against the model; then what a state does not hold: rules as stored, versions, content hashes."""
        self.taken["steps"] += 1
        found = Found.read(self.pipeline)
        wrong = unlike(self.state, found, self.model)
        assert not wrong, "\n".join([f"after {done}:", *wrong])
        for month, published in self.state.history.items():
            now, before = found.log[month], self.log.get(month)
            decision = decision_of(published.rules)
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
            hashed = self.hashes.setdefault((month, published.rows), now["content_hash"])
            assert hashed == now["content_hash"], f"{month} is logged with the content hash of other rows than it has"
        self.log = dict(found.log)
        self.compare_what_is_derived()

    def compare_what_is_derived(self) -> None:
        """Tables, lists and files name the version that they were made from; they have to be of it."""
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


class AnyOrderWithKills(AnyOrder):
    """The same with runs of their own process, killed with SIGKILL at a statement."""

    runs: ClassVar[Runs]

    @initialize(months=ranges, rules=rule_names, nth=st.integers(5, 60))
    def the_first_process_is_killed(self, months: tuple[date, date], rules: str, nth: int) -> None:
        self.kill(months, rules, nth)

    @rule(months=ranges, rules=rule_names, nth=st.integers(1, 150))
    def a_process_is_killed(self, months: tuple[date, date], rules: str, nth: int) -> None:
        self.kill(months, rules, nth)

    def kill(self, months: tuple[date, date], rules: str, nth: int) -> None:
        asked = {"select": EVERYTHING, "arguments": NO_TESTS, "run_vars": RULE_SETS[rules]}
        fault = {"at": "statement", "nth": nth}
        code = self.runs.run(self.folder, months[0], last=str(months[1]), dbt=asked, fault=fault)
        assert code in (0, KILLED), (self.folder / "run.log").read_text()
        tell(f"  killed before statement {nth}" if code else "  ended before it was killed")
        self.taken["killed" if code else "not killed"] += 1
        self.broke_off(Asked(*months, rules))


def do(machine: type[AnyOrder], examples: int, steps: int, seed: int | None = None) -> None:
    """So many warehouses, so many rules drawn for each. Raises what the first that fails found, with its steps."""
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    seeded = machine if seed is None else hypothesis.seed(seed)(machine)
    run_state_machine_as_test(seeded, settings=settings)
