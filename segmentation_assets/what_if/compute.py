"""Dry run of months under other rules, and its comparison with what is published of them.

The SQL is the pipeline's own: the same dbt models with other vars, in schemas of their own that stand only meanwhile
(the var schema_prefix). No table, view or file that anybody reads is touched. What a person may write as a change is in
rules/edits.py, how the result looks in tables.py.
"""

import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from segmentation_assets.dbt.project import Project, project_dir
from segmentation_assets.dbt.runner import DbtRunError, run_models
from segmentation_assets.months import MonthRange
from segmentation_assets.outcomes import words
from segmentation_assets.publication import audits, migration, published
from segmentation_assets.publication.rollup import category_groups_hash, months_kept
from segmentation_assets.rules.edits import WhatIfError, changed_rules, is_changed, nothing_changed
from segmentation_assets.rules.load import Rules
from segmentation_assets.warehouse.catalog import columns_of, table_exists
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Session, Warehouse
from segmentation_assets.what_if.asked import Facts, asked_months, facts_of, typed

NOT_PUBLISHED, NOT_COMPUTED = "Not in the published month", "Not in the what-if"
# silver and gold of one what-if are named by when it began, so that what a killed one left is known by its name.
SCHEMA = re.compile(r"what_if_(\d{14})_[0-9a-f]{6}_(.+)")
# Nothing keeps two what-ifs apart on Snowflake, and none takes this long.
LEFTOVER_AFTER = timedelta(days=1)
NO_SPREAD = (None, None)
# Beside the category groups: what decides which facts the rollup holds.
STAGED = ("approved_statuses", "other_statuses", "unknown_customers", "star_schema")


@dataclass(frozen=True)
class Segment:
    name: str
    before: int | None  # customers in the published month; None where the month is not published
    after: int
    share_before: float | None  # 0-100
    share_after: float
    floor: float  # the smallest share that is published
    band: tuple[float, float] | None  # the share that is expected, where the changed rules say so
    failures: tuple[str, ...]  # audits about it that fail after the change


@dataclass(frozen=True)
class Audience:
    """Customers of a campaign's list; None where no list was published, or the changed rules lack the campaign."""

    campaign: str
    sent_before: int | None
    sent_after: int | None
    held_out_before: int | None
    held_out_after: int | None
    # The smallest effect that the list can show by itself, in percent of its spend; None where it can show none.
    smallest_before_pct: float | None = None
    smallest_after_pct: float | None = None
    can_find: str = ""  # the same of the list after the change, in words


@dataclass(frozen=True)
class Month:
    month: date
    segments: tuple[Segment, ...]
    moves: Mapping[tuple[str, str], int]  # (published segment, segment after the change) -> customers that moved
    audiences: tuple[Audience, ...]
    failures: tuple[dict[str, Any], ...]  # rows of segment_audits that fail after the change
    list_failures: tuple[dict[str, Any], ...]  # rows of audience_audits that would leave the month without new lists
    other_rules: bool  # published under segments that are not today's: the comparison holds that change too
    is_published: bool = True  # else there is nothing to compare with

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

    A month need not be published: a closed one whose facts are all there is computed from them, and compared with
    nothing. Which months are meant where some are left out says `asked_months`. `changes` and `file` are those of
    `changed_rules`, and may be empty where a month is not published; `names` is what the person calls the two months.
    Raises WhatIfError, NotPublishedError, MonthError, RulesError and WarehouseError, each before anything is computed,
    and WhatIfError with dbt's own words where a model fails.
    """
    asked, changed = typed(first, last, *names.split()), rules_of(project, changes, file)
    with warehouse.exclusive():
        published_months = months_published(project, warehouse)
        if published_months and not asked.first and not is_changed(changes, file):
            raise nothing_changed()
        with scratch(warehouse) as prefix, dbt_in_words():
            facts = Lazily(lambda: facts_of(project, warehouse, prefix, changed))
            months = asked_months(asked, published_months, facts)
            if not is_changed(changes, file) and set(months) <= set(published_months):
                raise nothing_changed()
            compute_candidate(project, warehouse, prefix, changed, months, published_months)
            with warehouse.session(read_only=True) as session:
                return [_compare(session, project.rules, prefix, changed, month) for month in months]


def rules_of(project: Project, changes: str, file: str) -> Rules:
    """Raises WhatIfError and RulesError."""
    return changed_rules(project_dir(), project.rules, changes, file) if is_changed(changes, file) else project.rules


def months_published(project: Project, warehouse: Warehouse) -> list[date]:
    """Raises WarehouseError for a database that another version made and this one cannot read."""
    with warehouse.session(read_only=True) as session:
        migration.check(session, project)
        return published.months(session)


@dataclass
class Lazily:
    """The facts, read once, and only where somebody asks."""

    read: Callable[[], Facts]
    found: Facts | None = None

    def __call__(self) -> Facts:
        self.found = self.found or self.read()
        return self.found


@contextmanager
def dbt_in_words() -> Iterator[None]:
    try:
        yield
    except DbtRunError as error:
        raise WhatIfError(f"dbt could not compute it: {' '.join(str(error).split())}") from error


@contextmanager
def scratch(warehouse: Warehouse) -> Iterator[str]:
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


def compute_candidate(
    project: Project,
    warehouse: Warehouse,
    prefix: str,
    changed: Rules,
    months: MonthRange,
    published_months: Sequence[date],
    *,
    shares_only: bool = False,
) -> None:
    """Fills the schemas of the what-if: segment_assignments, and unless only its shares are wanted, audits and
    audiences."""
    silver, gold = f"{prefix}{project.settings.silver_schema}", f"{prefix}{project.settings.gold_schema}"
    variables = {
        **changed.dbt_vars(),
        **months.dbt_vars(),
        "run_date": str(date.today()),
        "run_id": prefix.rstrip("_"),
    }
    candidate = ["path:models/staging", "transaction_window_metrics", "category_shares", "segment_assignments"]
    with warehouse.session() as session:
        if _rollup_serves(session, project.rules, changed, months, published_months):
            _view(session, f"{silver}.customer_period_spend", f"select * from {session.silver}.customer_period_spend")
        else:
            candidate.append("customer_period_spend")
        if not shares_only:
            candidate += ["segment_audits", "segment_audit_verdicts"]
            candidate += _published_so_far(session, silver, gold, changed)
    with tempfile.TemporaryDirectory(prefix="what_if_") as folder:
        run_models(project, warehouse, candidate, variables, prefix, Path(folder))
        if shares_only:
            return
        # From here on every asked month counts as published, whether the gate would let it pass or not: the audiences
        # of a month that it holds back are wanted too. The audits above were measured before.
        with warehouse.session() as session:
            _count_as_published(session, silver, gold)
        audiences = [
            "universal_holdout",
            "audience_audits",
            "audience_audit_verdicts",
            "audience_candidates",
            "audience_waterfall",
        ]
        run_models(project, warehouse, audiences, variables, prefix, Path(folder))


def _published_so_far(session: Session, silver: str, gold: str, changed: Rules) -> Iterator[str]:
    """What a real run would find of earlier ones is there in the schemas of the what-if. Models that have to be made
    instead are yielded."""
    # What a person accepted is accepted here too, as long as the audit measures the same.
    if table_exists(session, session.silver, "segment_audit_overrides"):
        accepted = "segment_audit_overrides"
        _view(session, f"{silver}.{accepted}", f"select * from {session.silver}.{accepted}")
    else:
        yield "segment_audit_overrides"
    for table in (
        "customer_segment_history",  # Drift is measured against what was published before, as in a real run.
        "segment_publications",  # Whose versions the candidates are stamped with, which nobody looks at here.
        # What the bounds of blocking audits were at the last publication: loosened ones stop a real run.
        "segment_decisions",
        # The earlier lists, whole: whom a cooldown lets rest goes by customer and by mailbox, and the side of a holdout
        # stays that of the mailbox's first list. As a view, so that no address is written anywhere.
        *(f"audience_{campaign.name}" for campaign in changed.campaigns),
    ):
        if table_exists(session, session.gold, table):
            _view(session, f"{gold}.{table}", f"select * from {session.gold}.{table}")
    # Which lists there were, and of how many objections and whose, for the audits of the lists; and whom every campaign
    # left out, who stay so for their year. Copies: a run adds to them.
    kept = (
        (session.gold, gold, "audience_log"),
        (session.gold, gold, "universal_holdout"),
        (session.silver, silver, "objections_at_last_lists"),
    )
    for published_in, schema, table in kept:
        if table_exists(session, published_in, table):
            session.execute(f"create table {schema}.{table} as select * from {published_in}.{table}")


def _count_as_published(session: Session, silver: str, gold: str) -> None:
    """The asked months in what the audiences read of published ones."""
    candidates = f"{silver}.segment_assignments"
    session.execute(f"drop view if exists {gold}.customer_segment_history")
    _view(session, f"{gold}.customer_segment_history", f"select * from {candidates}")
    columns = "snapshot_month, version, rules_hash, content_hash"
    versions = (
        "select snapshot_month, 1 as version, cast(null as varchar) as rules_hash, max(content_hash) as content_hash"
        f" from {candidates}"
    )
    if table_exists(session, session.gold, published.LOG):
        session.execute(f"drop view if exists {gold}.{published.LOG}")
        log = f"{session.gold}.{published.LOG}"
        versions = (
            f"select {columns} from {log} union all {versions}"
            f" where snapshot_month not in (select snapshot_month from {log})"
        )
    _view(session, f"{gold}.{published.LOG}", f"{versions} group by snapshot_month")


def _view(session: Session, name: str, sql: str) -> None:
    session.execute(f"create view {name} as {sql}")


def _rollup_serves(
    session: Session, todays: Rules, changed: Rules, months: MonthRange, published_months: Sequence[date]
) -> bool:
    """Whether the rollup was made under what the changed rules say of facts and categories, and has all months that are
    asked for; else all facts are read anew."""
    if any(changed.raw.get(key) != todays.raw.get(key) for key in STAGED):
        return False
    if "category_groups_hash" not in columns_of(session, session.silver, "customer_period_spend"):
        return False  # not there, or made by a version that did not note them
    found = session.rows(
        f"select distinct category_groups_hash as made_under from {session.silver}.customer_period_spend"
        " where period_start < ?",
        (months.as_of,),
    )
    if [row["made_under"] for row in found] != [category_groups_hash(changed)]:
        return False
    kept = months_kept(session, changed, months.as_of)
    return set(months) <= set(published_months) or kept == list(MonthRange(kept[0], months.last))


def _compare(session: Session, todays: Rules, prefix: str, changed: Rules, month: date) -> Month:
    version = published.newest_version(session, month)
    moves = _moves(session, prefix, month) if version else {}
    after = _counted(session, f"{prefix}{session.silver}.segment_assignments", month)
    before = _counted(session, f"{session.gold}.customer_segment_history", month) if version else None
    only, silver = MonthRange.single(month), f"{prefix}{session.silver}"
    judged = audits.month_audits(session, only, silver)
    failures = tuple(row for row in judged if not row["passed"])
    return Month(
        month=month,
        segments=tuple(_segments(before, after, changed, failures)),
        moves=moves,
        audiences=tuple(_audiences(session, prefix, changed, month)),
        failures=failures,
        list_failures=tuple(filter(audits.is_blocking_failure, audits.audience_audits(session, only, silver))),
        other_rules=version is not None and version["rules_hash"] != todays.segments_hash,
        is_published=version is not None,
    )


def _counted(session: Session, table: str, month: date) -> dict[str, int]:
    rows = session.rows(
        f"select customer_segment, count(*) as customers from {table} where snapshot_month = ? group by 1", (month,)
    )
    return {row["customer_segment"]: int(row["customers"]) for row in rows}


def _moves(session: Session, prefix: str, month: date) -> dict[tuple[str, str], int]:
    return {
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
            where coalesce(published.customer_segment, '') <> coalesce(computed.customer_segment, '')
            group by 1, 2
            order by 3 desc, 1, 2
            """,
            (month, month),
        )
    }


def _segments(
    before: Mapping[str, int] | None,
    after: Mapping[str, int],
    changed: Rules,
    failures: Sequence[Mapping[str, Any]],
) -> Iterator[Segment]:
    """In the order of the changed rules; a segment that only the published month has comes last."""
    bands = {segment.name: segment.expected_share_pct for segment in changed.segments}
    of_all = changed.audits.minimum_segment_share_pct
    floors = {segment.name: segment.minimum_share(of_all) for segment in changed.segments}
    for name in [*bands, *sorted(set(before or ()) - set(bands))]:
        yield Segment(
            name=name,
            before=None if before is None else before.get(name, 0),
            after=after.get(name, 0),
            share_before=None if before is None else 100 * before.get(name, 0) / max(1, sum(before.values())),
            share_after=100 * after.get(name, 0) / max(1, sum(after.values())),
            floor=float(floors.get(name, of_all)),
            band=bands.get(name),
            failures=tuple(row["audit"] for row in failures if row["customer_segment"] == name),
        )


def _audiences(session: Session, prefix: str, changed: Rules, month: date) -> Iterator[Audience]:
    before, after = _steps(session, session.gold, month), _steps(session, f"{prefix}{session.gold}", month)
    spreads = [_spreads(session, schema, month) for schema in (session.gold, f"{prefix}{session.gold}")]
    named = [campaign.name for campaign in changed.campaigns]
    for campaign in [*named, *sorted({campaign for campaign, _ in before} - set(named))]:
        yield Audience(
            campaign=campaign,
            sent_before=before.get((campaign, "sent")),
            sent_after=after.get((campaign, "sent")),
            held_out_before=before.get((campaign, "holdout")),
            held_out_after=after.get((campaign, "holdout")),
            smallest_before_pct=_smallest(before, spreads[0], campaign),
            smallest_after_pct=_smallest(after, spreads[1], campaign),
            can_find=words.can_find(*sizes, *spreads[1].get(campaign, NO_SPREAD))
            if (sizes := _sizes(after, campaign))
            else "",
        )


def _sizes(steps: Mapping[tuple[str, str], int], campaign: str) -> tuple[int, int] | None:
    """Sent to and held out; None without a list."""
    if (campaign, "sent") not in steps:
        return None
    return steps[campaign, "sent"], steps[campaign, "holdout"]


def _smallest(
    steps: Mapping[tuple[str, str], int], spreads: Mapping[str, tuple[float | None, float | None]], campaign: str
) -> float | None:
    sizes = _sizes(steps, campaign)
    return words.smallest_pct(*sizes, *spreads.get(campaign, NO_SPREAD)) if sizes else None


def _spreads(session: Session, schema: str, month: date) -> dict[str, tuple[float | None, float | None]]:
    """Mean and deviation of the spend of each campaign's list."""
    if "stddev_spend" not in columns_of(session, schema, "audience_waterfall"):
        return {}
    rows = session.rows(
        f"select campaign, mean_spend, stddev_spend from {schema}.audience_waterfall"
        " where snapshot_month = ? and step = 'within_cap' and stddev_spend is not null",
        (month,),
    )
    return {row["campaign"]: (float(row["mean_spend"]), float(row["stddev_spend"])) for row in rows}


def _steps(session: Session, schema: str, month: date) -> dict[tuple[str, str], int]:
    if not table_exists(session, schema, "audience_waterfall"):
        return {}
    rows = session.rows(
        f"select campaign, step, customers from {schema}.audience_waterfall where snapshot_month = ?", (month,)
    )
    return {(row["campaign"], row["step"]): int(row["customers"]) for row in rows}
