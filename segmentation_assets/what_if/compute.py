"""Dry run of published months under other rules, and its comparison with what is published.

The SQL is the pipeline's own: the same dbt models with other vars, in schemas of their own that stand only meanwhile
(the var schema_prefix). No table, view or file that anybody reads is touched. What a person may write as a change is in
rules/edits.py, how the result looks in tables.py.
"""

import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.dbt.runner import DbtRunError, run_models
from segmentation_assets.months import MonthRange, parse_month
from segmentation_assets.publication import audits, migration, published
from segmentation_assets.publication.rollup import category_groups_hash
from segmentation_assets.rules.edits import WhatIfError, changed_rules
from segmentation_assets.rules.load import Rules
from segmentation_assets.warehouse.catalog import table_exists
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Session, Warehouse

NOT_PUBLISHED, NOT_COMPUTED = "Not in the published month", "Not in the what-if"
# silver and gold of one what-if are named by when it began, so that what a killed one left is known by its name.
SCHEMA = re.compile(r"what_if_(\d{14})_[0-9a-f]{6}_(.+)")
# Nothing keeps two what-ifs apart on Snowflake, and none takes this long.
LEFTOVER_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Segment:
    name: str
    before: int  # customers in the published month
    after: int
    share_before: float  # 0-100
    share_after: float
    floor: float  # the smallest share that is published
    band: tuple[float, float] | None  # the share that is expected; none for a segment that the changed rules lack
    failures: tuple[str, ...]  # audits about it that fail after the change


@dataclass(frozen=True)
class Audience:
    """Customers of a campaign's list; None where no list was published, or the changed rules lack the campaign."""

    campaign: str
    sent_before: int | None
    sent_after: int | None
    held_out_before: int | None
    held_out_after: int | None


@dataclass(frozen=True)
class Month:
    month: date
    segments: tuple[Segment, ...]
    moves: Mapping[tuple[str, str], int]  # (published segment, segment after the change) -> customers that moved
    audiences: tuple[Audience, ...]
    failures: tuple[dict[str, Any], ...]  # rows of segment_audits that fail after the change
    list_failures: tuple[dict[str, Any], ...]  # rows of audience_audits that would leave the month without new lists
    other_rules: bool  # published under segments that are not today's: the comparison holds that change too

    @property
    def customers(self) -> int:
        return sum(segment.after for segment in self.segments)

    @property
    def moved(self) -> int:
        return sum(self.moves.values())

    @property
    def is_publishable(self) -> bool:
        return not any(audits.is_blocking_failure(row) for row in self.failures)


def compute(
    project: Project,
    warehouse: Warehouse,
    changes: str,
    file: str = "",
    first: str = "",
    last: str = "",
    *,
    names: str = "FROM TO",
) -> list[Month]:
    """The months from `first` to `last` (as typed, both included) under changed rules, against what is published.

    Without months it is the newest published one; without `last` all from `first` on. `changes` and `file` are those
    of `changed_rules`, `names` what the person calls the two months. Raises WhatIfError, NotPublishedError,
    MonthError, RulesError and WarehouseError, each before anything is computed, and WhatIfError with dbt's own words
    where a model fails.
    """
    changed = changed_rules(project_dir(), project.rules, changes, file)
    with warehouse.exclusive():
        with warehouse.session(read_only=True) as session:
            migration.check(session, project)
            months = asked_months(session, first, last, *names.split())
        with _scratch(warehouse) as prefix:
            try:
                _compute(project, warehouse, prefix, changed, months)
            except DbtRunError as error:
                raise WhatIfError(f"dbt could not compute it: {' '.join(str(error).split())}") from error
            with warehouse.session(read_only=True) as session:
                return [_compare(session, project.rules, prefix, changed, month) for month in months]


def asked_months(session: Session, first: str, last: str, first_name: str, last_name: str) -> MonthRange:
    """All months from `first` to `last`, as `compute` takes them.

    Raises WhatIfError, MonthError and NotPublishedError.
    """
    months = published.required_months(session)
    if last and not first:
        raise WhatIfError(f"{last_name} is {last!r}, but {first_name} is not given; give both.")
    start = parse_month(first, first_name) if first else months[-1]
    end = parse_month(last, last_name) if last else max(months[-1], start)
    if end < start:
        raise WhatIfError(f"{last_name} {end} lies before {first_name} {start}; give them the other way round.")
    asked = MonthRange(start, end)
    published.require(session, asked)
    return asked


@contextmanager
def _scratch(warehouse: Warehouse) -> Iterator[str]:
    """The prefix of the two schemas, which are dropped in the end, however it ends."""
    now = datetime.now(tz=UTC)
    prefix = f"what_if_{now:%Y%m%d%H%M%S}_{secrets.token_hex(3)}_"
    with warehouse.session() as session:
        # Whoever holds the DuckDB file's lock is alone; elsewhere another what-if may be under way.
        drop_leftovers(session, now if isinstance(warehouse, DuckDBWarehouse) else now - LEFTOVER_AFTER)
    try:
        with warehouse.session() as session:
            for schema in (session.silver, session.gold):
                session.execute(f"create schema {prefix}{schema}")
        yield prefix
    finally:
        with warehouse.session() as session:
            for schema in (session.silver, session.gold):
                session.execute(f"drop schema if exists {prefix}{schema} cascade")


def drop_leftovers(session: Session, begun_before: datetime) -> list[str]:
    """Drop the schemas of what-ifs that were killed; their names."""
    rows = session.rows("select lower(schema_name) as name from information_schema.schemata order by 1")
    found = [(row["name"], SCHEMA.fullmatch(row["name"])) for row in rows]
    ours = (session.silver.lower(), session.gold.lower())
    left = [name for name, match in found if match and match[2] in ours and match[1] <= f"{begun_before:%Y%m%d%H%M%S}"]
    for name in left:
        session.execute(f"drop schema if exists {name} cascade")
    return left


def _compute(project: Project, warehouse: Warehouse, prefix: str, changed: Rules, months: MonthRange) -> None:
    silver, gold = f"{prefix}{project.settings.silver_schema}", f"{prefix}{project.settings.gold_schema}"
    variables = {
        **changed.dbt_vars(),
        **months.dbt_vars(),
        "run_date": str(date.today()),
        "run_id": prefix.rstrip("_"),
    }
    candidate = ["path:models/staging", "transaction_window_metrics", "category_shares", "segment_assignments"]
    with warehouse.session() as session:
        if _rollup_serves(session, changed, months):
            _view(session, f"{silver}.customer_period_spend", f"select * from {session.silver}.customer_period_spend")
        else:
            candidate.append("customer_period_spend")
        # What a person accepted is accepted here too, as long as the audit measures the same.
        if table_exists(session, session.silver, "segment_audit_overrides"):
            accepted = "segment_audit_overrides"
            _view(session, f"{silver}.{accepted}", f"select * from {session.silver}.{accepted}")
        else:
            candidate.append("segment_audit_overrides")
        # Drift is measured against what was published before, as in a real run.
        _view(session, f"{gold}.customer_segment_history", f"select * from {session.gold}.customer_segment_history")
        # Whose versions the candidates are stamped with, which nobody looks at here.
        _view(session, f"{gold}.segment_publications", f"select * from {session.gold}.segment_publications")
        # What the bounds of blocking audits were at the last publication: loosened ones stop a real run.
        if table_exists(session, session.gold, "segment_decisions"):
            _view(session, f"{gold}.segment_decisions", f"select * from {session.gold}.segment_decisions")
        # The earlier lists, whole: whom a cooldown lets rest goes by customer and by mailbox, and the side of a holdout
        # stays that of the mailbox's first list. As a view, so that no address is written anywhere.
        for campaign in changed.campaigns:
            name = f"audience_{campaign.name}"
            if table_exists(session, session.gold, name):
                _view(session, f"{gold}.{name}", f"select * from {session.gold}.{name}")
        # Which lists there were, and of how many objections, for the audits of the lists. A copy: a run adds to it.
        if table_exists(session, session.gold, "audience_log"):
            session.execute(f"create table {gold}.audience_log as select * from {session.gold}.audience_log")
    with tempfile.TemporaryDirectory(prefix="what_if_") as folder:
        candidate += ["segment_audits", "segment_audit_verdicts"]
        run_models(project, warehouse, candidate, variables, prefix, Path(folder))
        # From here on every asked month counts as published, whether the gate would let it pass or not: the audiences
        # of a month that it holds back are wanted too. The audits above were measured before.
        with warehouse.session() as session:
            session.execute(f"drop view {gold}.customer_segment_history")
            _view(session, f"{gold}.customer_segment_history", f"select * from {silver}.segment_assignments")
        audiences = ["audience_audits", "audience_audit_verdicts", "audience_candidates", "audience_waterfall"]
        run_models(project, warehouse, audiences, variables, prefix, Path(folder))


def _view(session: Session, name: str, sql: str) -> None:
    session.execute(f"create view {name} as {sql}")


def _rollup_serves(session: Session, changed: Rules, months: MonthRange) -> bool:
    """Whether the rollup was made under the category groups of the changed rules; else all facts are read anew."""
    columns = session.rows(
        "select count(*) as n from information_schema.columns where lower(table_schema) = lower(?)"
        " and lower(table_name) = 'customer_period_spend' and lower(column_name) = 'category_groups_hash'",
        (session.silver,),
    )
    if not columns[0]["n"]:  # made by a version that did not note them
        return False
    found = session.rows(
        f"select distinct category_groups_hash as made_under from {session.silver}.customer_period_spend"
        " where period_start < ?",
        (months.as_of,),
    )
    return [row["made_under"] for row in found] == [category_groups_hash(changed)]


def _compare(session: Session, todays: Rules, prefix: str, changed: Rules, month: date) -> Month:
    moves = {
        (row["before"], row["after"]): int(row["customers"])
        for row in session.rows(
            f"""
            select
                coalesce(published.customer_segment, '{NOT_PUBLISHED}') as before,
                coalesce(computed.customer_segment, '{NOT_COMPUTED}') as after,
                count(*) as customers
            from (
                select customer_id, customer_segment
                from {session.gold}.customer_segment_history where snapshot_month = ?
            ) as published
            full outer join (
                select customer_id, customer_segment
                from {prefix}{session.silver}.segment_assignments where snapshot_month = ?
            ) as computed on published.customer_id = computed.customer_id
            group by 1, 2
            order by 3 desc, 1, 2
            """,
            (month, month),
        )
    }
    only, silver = MonthRange.single(month), f"{prefix}{session.silver}"
    judged = audits.month_audits(session, only, silver)
    failures = tuple(row for row in judged if not row["passed"])
    return Month(
        month=month,
        segments=tuple(_segments(moves, changed, failures)),
        moves={pair: customers for pair, customers in moves.items() if pair[0] != pair[1]},
        audiences=tuple(_audiences(session, prefix, changed, month)),
        failures=failures,
        list_failures=tuple(filter(audits.is_blocking_failure, audits.audience_audits(session, only, silver))),
        other_rules=(published.newest_version(session, month) or {}).get("rules_hash") != todays.segments_hash,
    )


def _segments(
    moves: Mapping[tuple[str, str], int], changed: Rules, failures: Sequence[Mapping[str, Any]]
) -> Iterator[Segment]:
    """In the order of the changed rules; a segment that only the published month has comes last."""
    before = _totals((old, customers) for (old, _), customers in moves.items() if old != NOT_PUBLISHED)
    after = _totals((new, customers) for (_, new), customers in moves.items() if new != NOT_COMPUTED)
    bands = {segment.name: segment.expected_share_pct for segment in changed.segments}
    for name in [*bands, *sorted(set(before) - set(bands))]:
        yield Segment(
            name=name,
            before=before.get(name, 0),
            after=after.get(name, 0),
            share_before=100 * before.get(name, 0) / max(1, sum(before.values())),
            share_after=100 * after.get(name, 0) / max(1, sum(after.values())),
            floor=float(changed.audits.minimum_segment_share_pct),
            band=bands.get(name),
            failures=tuple(row["audit"] for row in failures if row["customer_segment"] == name),
        )


def _totals(counted: Iterator[tuple[str, int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for name, customers in counted:
        totals[name] = totals.get(name, 0) + customers
    return totals


def _audiences(session: Session, prefix: str, changed: Rules, month: date) -> Iterator[Audience]:
    before, after = _steps(session, session.gold, month), _steps(session, f"{prefix}{session.gold}", month)
    named = [campaign.name for campaign in changed.campaigns]
    for campaign in [*named, *sorted({campaign for campaign, _ in before} - set(named))]:
        yield Audience(
            campaign=campaign,
            sent_before=before.get((campaign, "sent")),
            sent_after=after.get((campaign, "sent")),
            held_out_before=before.get((campaign, "holdout")),
            held_out_after=after.get((campaign, "holdout")),
        )


def _steps(session: Session, schema: str, month: date) -> dict[tuple[str, str], int]:
    if not table_exists(session, schema, "audience_waterfall"):
        return {}
    rows = session.rows(
        f"select campaign, step, customers from {schema}.audience_waterfall where snapshot_month = ?", (month,)
    )
    return {(row["campaign"], row["step"]): int(row["customers"]) for row in rows}
