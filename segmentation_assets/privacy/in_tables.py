"""Erasure in the tables of the warehouse, in one transaction: the declared graph is walked, by its models' metadata.

Rows of whoever is on the list of the erased go from every table that says which of its columns names a customer. What
is summed up stays as it was published: the sums are tables of their own. A month that loses rows gets a new version in
the log, whose restatement says how many were erased of which segment; whatever was made from the version before, and
says so by its hash, is of the new one now, for it is the same but for those rows. So no run sees a difference, and the
sums are not made anew by one (macros/privacy/erased.sql).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from segmentation_assets.dbt import personal_data
from segmentation_assets.dbt.campaign_models import HELD_BY_LISTS
from segmentation_assets.dbt.personal_data import Column
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import compiled, run_models
from segmentation_assets.privacy import erased
from segmentation_assets.privacy.search import Search
from segmentation_assets.publication import ownership, published
from segmentation_assets.publication.published import STAMPS
from segmentation_assets.sources import mark
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.spelling import trimmed_sql
from segmentation_assets.warehouse.catalog import columns_of, quoted, tables_of, types_of
from segmentation_assets.warehouse.session import Session, Warehouse

HISTORY, LOG, RESTATEMENTS, FEED = (
    "customer_segment_history", "segment_publications", "segment_restatements", "audience_feed",
)  # fmt: skip
CANDIDATE, ROLLUP_READER = "segment_assignments", "transaction_window_metrics"
ERASED = "Erased"  # to_segment of a restatement
RUN = "erasure"  # with the time after it, what the log calls the run; macros/privacy/erased.sql knows it by this
# Built with the list in them: whoever is on it is no customer for anything behind these.
VIEWS = ("unknown_members", "stg_customers")
# What a person wrote, who may have named another one.
REASONS = {("silver", "segment_audit_overrides"): ("reason",), ("gold", "segment_publications"): ("override_reason",)}
_QUERIES = {
    "history": (
        HISTORY,
        "select snapshot_month, cast({{ history_hash(further_columns_of_history() | map(attribute='name') | list) }}"
        " as varchar) as stamp from {{ ref('customer_segment_history') }} group by snapshot_month",
    ),
    "candidate": (
        CANDIDATE,
        "select snapshot_month, cast({{ history_hash(further_metrics()) }} as varchar) as stamp"
        " from {{ ref('segment_assignments') }} group by snapshot_month",
    ),
    "rollup": (
        ROLLUP_READER,
        "with months as (select distinct snapshot_month, as_of_date from {{ ref('transaction_window_metrics') }})"
        " select stamps.snapshot_month, stamps.rollup_hash as stamp from ({{ rollup_stamps('months') }}) as stamps",
    ),
}
_BETWEEN = "-- next query"


@dataclass
class Removed:
    """Rows by table, and versions that were published for it."""

    rows: dict[str, int] = field(default_factory=dict)
    versions: list[date] = field(default_factory=list)
    last_copy_dies: date | None = None  # on Snowflake, which keeps what was deleted for a while


@dataclass(frozen=True)
class Holder:
    """A table with columns about people."""

    schema: str
    name: str
    columns: Mapping[str, Column]

    @property
    def place(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def person(self) -> str | None:
        """The column with the id of the row's customer; further ones refer to another customer."""
        found = personal_data.held(self.columns, "customer_id")
        return found[0] if found else None

    @property
    def references(self) -> list[str]:
        return personal_data.held(self.columns, "customer_id")[1:]

    @property
    def keys(self) -> list[str]:
        return personal_data.held(self.columns, "customer_key")


def holders(session: Session, project: Project) -> list[Holder]:
    """Of the tables that are there: those of the models, of a what-if under way, and lists of former campaigns."""
    declared = {
        (entry["schema"].lower(), entry["alias"].lower()): entry["columns"]
        for entry in project.entries.values()
        if entry["resource_type"] == "model" and entry["config"]["materialized"] not in ("view", "ephemeral")
    }
    gold, silver = session.gold.lower(), session.silver.lower()
    former = ownership.with_former_lists(session, dict.fromkeys(ownership.declared(project), ()), gold)
    lists = {table: HELD_BY_LISTS for table in former if table not in ownership.declared(project)}
    found: list[Holder] = []
    schemas = [
        row["name"] for row in session.rows("select lower(schema_name) as name from information_schema.schemata")
    ]
    wanted = {gold, silver} | {one for one in schemas if one.startswith("what_if_")}
    views = _views(session, wanted)
    for (schema, name), present in sorted(tables_of(session, wanted).items()):
        of = silver if schema.endswith(f"_{silver}") else gold if schema.endswith(f"_{gold}") else schema
        columns = {**declared, **lists}.get((of, name))
        if columns and (schema, name) not in views:
            kept = {column: said for column, said in columns.items() if column.lower() in present}
            holder = Holder(schema, name, kept)
            if holder.person or holder.keys:
                found.append(holder)
    return found


def _views(session: Session, schemas: Collection[str]) -> set[tuple[str, str]]:
    rows = session.rows(
        "select lower(table_schema) as table_schema, lower(table_name) as name from information_schema.views"
        f" where lower(table_schema) in ({', '.join('?' * len(schemas))})",
        tuple(schemas),
    )
    return {(row["table_schema"], row["name"]) for row in rows}


def leave_out(project: Project, warehouse: Warehouse, customers: Collection[str]) -> None:
    """Puts the ids on the list, and makes the views anew that look at it."""
    with warehouse.session() as session:
        before = erased.salt_of(session)
        erased.add(session, customers)
        there = {name for schema, name in tables_of(session, {session.silver.lower()})}
    views = [view for view in VIEWS if view in there]
    if views and not (before and _are_built_with(project, warehouse)):
        with TemporaryDirectory(prefix="views_") as artifacts:
            run_models(project, warehouse, views, {}, "", Path(artifacts))


def _are_built_with(project: Project, warehouse: Warehouse) -> bool:
    """Whether the views look at the list already: what they select of it does not change with its rows."""
    del project
    with warehouse.session(read_only=True) as session:
        rows = session.rows(
            "select view_definition as text from information_schema.views where lower(table_schema) = lower(?)"
            f" and lower(table_name) in ({', '.join('?' * len(VIEWS))})",
            (session.silver, *VIEWS),
        )
    return len(rows) == len(VIEWS) and all(erased.TABLE in (row["text"] or "").lower() for row in rows)


def people(session: Session, project: Project, customers: Collection[str]) -> dict[str, tuple[set[str], set[str]]]:
    """Id -> addresses and full names, of the source and of the lists; of whoever is known there at all."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    queries = [
        f"select distinct {holder.person} as customer_id, {_column(holder, 'email')} as email,"
        f" {_column(holder, 'first_name')} as first_name, {_column(holder, 'last_name')} as last_name"
        f" from {holder.place}"
        for holder in holders(session, project)
        if holder.person
    ]
    star = StarSchema(session, project.settings, project.rules)
    try:
        session.rows(f"select customer_id from {star.sql('dim_customer')} where 1 = 0")
        queries.append(
            f"select distinct {trimmed_sql('customer_id')} as customer_id, {trimmed_sql('email')} as email,"
            f" first_name, last_name from {star.sql('dim_customer')}"
        )
    except session.engine_error:
        pass  # a source that is not there has nobody
    wanted = sorted(customers)
    for query in queries:
        for some in erased.batches(wanted, 5_000):
            rows = session.rows(
                f"select * from ({query}) as people where customer_id in ({', '.join('?' * len(some))})", some
            )
            for row in rows:
                addresses, names = found.setdefault(row["customer_id"], (set(), set()))
                if row["email"]:
                    addresses.add(row["email"])
                if row["first_name"] and row["last_name"]:
                    names.add(f"{row['first_name']} {row['last_name']}")
    return found


def still_in_source(session: Session, project: Project, customers: Collection[str]) -> int:
    """How many of them the source has a row of."""
    star = StarSchema(session, project.settings, project.rules)
    try:
        return sum(
            int(row["n"])
            for some in erased.batches(sorted(customers), 5_000)
            for row in session.rows(
                f"select count(distinct {trimmed_sql('customer_id')}) as n from {star.sql('dim_customer')}"
                f" where {trimmed_sql('customer_id')} in ({', '.join('?' * len(some))})",
                some,
            )
        )
    except session.engine_error:
        return 0


def _column(holder: Holder, name: str) -> str:
    return name if name in holder.columns else "cast(null as varchar)"


def remove(project: Project, warehouse: Warehouse, search: Search) -> Removed:
    """Everybody on the list, from every table, and whoever `search` finds from what a person wrote as a reason; all of
    it or nothing."""
    queries = _compiled(project, warehouse)
    removed = Removed()
    with warehouse.session() as session:
        salt = erased.salt_of(session)
        if salt is None:
            return removed
        found = holders(session, project)
        failures = list(_stored_failures(session, project))
        demo = list(_demo(session, project))
        keys = _keys(session, project, found, salt)
        session.execute("begin transaction")
        try:
            counts = {place: _rows(session, place) for place in _places(found, failures, demo)}
            told, lists = _before(session, queries, salt), _months_of_lists(session, found)
            _tell_readers_of_the_feed(session, salt)
            for place, condition in [
                *_in_failures(session, failures, keys, salt),
                *_in_demo(session, demo, keys, salt),
            ]:
                session.execute(f"delete from {place} where {condition}")
            # Those with keys alone first: whose a key is, other tables say.
            for holder in sorted(found, key=lambda one: one.person is not None):
                _remove_from(session, holder, keys, salt)
            _clean_reasons(session, search)
            _note_empty_lists(session, lists - _months_of_lists(session, found))
            removed.versions = _publish(session, queries, told)
            session.execute("commit")
        except BaseException:
            session.execute("rollback")
            raise
        removed.rows = {place: gone for place, before in counts.items() if (gone := before - _rows(session, place)) > 0}
        if session.folds_names:
            removed.last_copy_dies = _last_copy_dies(session, list(removed.rows))
    return removed


def _compiled(project: Project, warehouse: Warehouse) -> dict[str, str]:
    """The pipeline's own hashes, as SQL of the engine; of the tables that are there."""
    with warehouse.session(read_only=True) as session:
        there = {name for _, name in tables_of(session, {session.gold.lower(), session.silver.lower()})}
        months = published.months(session)
    wanted = {name: sql for name, (table, sql) in _QUERIES.items() if table in there}
    if not wanted:
        return {}
    variables = {"first_month": str(months[0]), "last_month": str(months[-1])} if months else {}
    text = compiled(project, warehouse, f"\n{_BETWEEN}\n".join(wanted.values()), variables)
    return dict(zip(wanted, (one.strip() for one in text.split(_BETWEEN)), strict=True))


def _keys(session: Session, project: Project, found: Collection[Holder], salt: str) -> list[int]:
    """The keys of the versions of whoever is on the list, from wherever id and key stand together."""
    selects = [
        f"select {key} as customer_key from {holder.place} where {erased.is_erased(session, holder.person, salt)}"
        for holder in found
        for key in holder.keys
        if holder.person
    ]
    star = StarSchema(session, project.settings, project.rules)
    keys: set[int] = set()
    for select in [
        *selects,
        f"select customer_key from {star.sql('dim_customer')}"
        f" where {erased.is_erased(session, trimmed_sql('customer_id'), salt)}",
    ]:
        try:
            keys.update(int(row["customer_key"]) for row in session.rows(select) if row["customer_key"] is not None)
        except session.engine_error:
            continue  # a source that is not there has no keys
    return sorted(keys)


def _remove_from(session: Session, holder: Holder, keys: Collection[int], salt: str) -> None:
    if holder.person:
        session.execute(f"delete from {holder.place} where {erased.is_erased(session, holder.person, salt)}")
        for column in holder.references:
            session.execute(
                f"update {holder.place} set {column} = {holder.person} where {erased.is_erased(session, column, salt)}"
            )
    elif keys:
        (key,) = holder.keys
        session.execute(f"delete from {holder.place} where {_among(key, keys)}")


def _clean_reasons(session: Session, search: Search) -> None:
    for place, columns in REASONS.items():
        table = f"{getattr(session, place[0])}.{place[1]}"
        there = columns_of(session, getattr(session, place[0]), place[1])
        for column in (column for column in columns if column in there):
            for row in session.rows(f"select distinct {column} as said from {table} where {column} is not null"):
                cleaned, places = search.without(row["said"].encode())
                if places:
                    session.execute(
                        f"update {table} set {column} = ? where {column} = ?", (cleaned.decode(), row["said"])
                    )


def _among(column: str, keys: Collection[int]) -> str:
    return f"{column} in ({', '.join(map(str, keys))})" if keys else "1 = 0"


def _rows(session: Session, place: str) -> int:
    return int(session.rows(f"select count(*) as n from {place}")[0]["n"])


def _places(found: Collection[Holder], failures: Collection[str], demo: Collection[str]) -> list[str]:
    return [*(holder.place for holder in found), *failures, *demo]


def _stored_failures(session: Session, project: Project) -> Iterator[str]:
    """Whatever a test left: its columns are those of the table that it tested, and no model declares them."""
    schemas = {schema.lower() for schema in project.stored_failures}
    if schemas:
        yield from (f'{schema}."{name}"' if not session.folds_names else f"{schema}.{name}"
                    for schema, name in sorted(tables_of(session, schemas)))  # fmt: skip


def _in_failures(
    session: Session, failures: Collection[str], keys: Collection[int], salt: str
) -> Iterator[tuple[str, str]]:
    for place in failures:
        schema, _, name = place.partition(".")
        types = types_of(session, schema, name.strip('"'))
        conditions = [
            erased.is_erased(session, quoted(session, column), salt)
            for column, kind in types.items()
            if kind in ("varchar", "text")
        ]
        conditions += [
            _among(column, keys)
            for column, kind in types.items()
            if column in ("customer_key", "unique_field", "value_field", "from_field") and kind == "number"
        ]
        if conditions:
            yield place, " or ".join(conditions)


def _demo(session: Session, project: Project) -> Iterator[str]:
    if project.settings.source == "warehouse":
        return  # its owner's, whoever made it once
    schema = project.settings.source_schema
    for table in mark.tables_of_demo(session, project.settings):
        if {"customer_id", "customer_key", "household_id"} & set(columns_of(session, schema, table)):
            yield f"{quoted(session, schema)}.{table}"


def _in_demo(session: Session, demo: Collection[str], keys: Collection[int], salt: str) -> Iterator[tuple[str, str]]:
    """A demo's source was written here too."""
    for place in demo:
        schema, _, table = place.rpartition(".")
        columns = columns_of(session, schema.strip('"'), table)
        for column in ("customer_id", "household_id"):
            if column in columns:
                yield place, erased.is_erased(session, trimmed_sql(f"cast({column} as varchar)"), salt)
        if "customer_id" not in columns and "customer_key" in columns:
            yield place, _among("customer_key", keys)


def remove_from_demo(session: Session, project: Project) -> None:
    """After a demo was made anew: it would have everybody again."""
    salt = erased.salt_of(session)
    if salt is None:
        return
    demo = list(_demo(session, project))
    keys = _keys(session, project, (), salt)
    for place, condition in _in_demo(session, demo, keys, salt):
        session.execute(f"delete from {place} where {condition}")


def _tell_readers_of_the_feed(session: Session, salt: str) -> None:
    """One row per campaign that named somebody: how many it was, not who. A tool that keeps a copy reads anew."""
    if not columns_of(session, session.gold, FEED):
        return
    feed = f"{session.gold}.{FEED}"
    now = datetime.now(tz=UTC).replace(tzinfo=None, microsecond=0)
    newest = session.rows(f"select max(updated_at) as updated_at from {feed}")[0]["updated_at"]
    rows = session.rows(
        f"select campaign, audience_code, max(snapshot_month) as snapshot_month, count(distinct external_id) as n"
        f" from {feed} where {erased.is_erased(session, 'external_id', salt)} group by campaign, audience_code"
    )
    stamp = max(now, newest.replace(tzinfo=None) + timedelta(seconds=1)) if newest else now
    for row in rows:
        payload = (
            f'{{"campaign": "{row["campaign"]}", "audience_code": "{row["audience_code"]}", "status": "erased",'
            f' "customers": {row["n"]}}}'
        )
        session.execute(
            f"insert into {feed} (updated_at, campaign, external_id, payload, is_listed, audience_code,"
            " snapshot_month, run_id) values (?, ?, ?, ?, ?, ?, ?, ?)",
            (stamp, row["campaign"], "erased", payload, False, row["audience_code"], row["snapshot_month"],
             f"{RUN} {now}"),
        )  # fmt: skip


def _months_of_lists(session: Session, found: Collection[Holder]) -> set[tuple[str, date]]:
    """Campaign and month of every list that somebody is on."""
    lists = [
        one for one in found if one.schema == session.gold.lower() and {"audience_rank", "campaign"} <= {*one.columns}
    ]
    return {
        (row["campaign"], row["snapshot_month"])
        for holder in lists
        for row in session.rows(f"select distinct campaign, snapshot_month from {holder.place}")
    }


def _note_empty_lists(session: Session, emptied: Collection[tuple[str, date]]) -> None:
    """A list that has nobody left is none that went missing: audience_log says so."""
    if emptied and "listed" in columns_of(session, session.gold, "audience_log"):
        for campaign, month in sorted(emptied):
            session.execute(
                f"update {session.gold}.audience_log set listed = 0, held_out = 0"
                " where campaign = ? and snapshot_month = ?",
                (campaign, month),
            )


@dataclass(frozen=True)
class Before:
    """What was published, and by what stamps, before anybody was removed."""

    erased: Mapping[date, Mapping[str, int]]  # month -> segment -> customers of the list
    stayed: Mapping[date, Mapping[str, int]]
    stamps: Mapping[str, Mapping[date, str]]


def _before(session: Session, queries: Mapping[str, str], salt: str) -> Before:
    stamps = {name: _stamps(session, query) for name, query in queries.items()}
    if "history" not in queries:
        return Before({}, {}, stamps)
    counted = session.rows(
        "select snapshot_month, customer_segment, count(*) as customers,"
        f" sum(case when {erased.is_erased(session, 'customer_id', salt)} then 1 else 0 end) as erased"
        f" from {session.gold}.{HISTORY} group by snapshot_month, customer_segment"
    )
    gone: dict[date, dict[str, int]] = {}
    stayed: dict[date, dict[str, int]] = {}
    for row in counted:
        if int(row["erased"]):
            gone.setdefault(row["snapshot_month"], {})[row["customer_segment"]] = int(row["erased"])
        left = int(row["customers"]) - int(row["erased"])
        stayed.setdefault(row["snapshot_month"], {})[row["customer_segment"]] = left
    return Before(gone, stayed, stamps)


def _stamps(session: Session, query: str) -> dict[date, str]:
    return {row["snapshot_month"]: row["stamp"] for row in session.rows(query) if row["stamp"] is not None}


def _publish(session: Session, queries: Mapping[str, str], told: Before) -> list[date]:
    """The new versions of the months that lost rows, and the stamps of all that was made from the ones before."""
    after = {name: _stamps(session, query) for name, query in queries.items()}
    hashes = {
        stamp: after[name][month]
        for name in ("candidate", "history")
        for month, stamp in told.stamps.get(name, {}).items()
        if month in after[name] and after[name][month] != stamp
    }
    rollups = {
        stamp: after["rollup"][month]
        for month, stamp in told.stamps.get("rollup", {}).items()
        if month in after["rollup"] and after["rollup"][month] != stamp
    }
    now = datetime.now(tz=UTC).replace(tzinfo=None, microsecond=0)
    months = sorted(month for month in told.erased if month in after.get("history", {}))
    for month in months:
        newest = published.newest_version(session, month)
        if newest is None:
            continue
        version = int(newest["version"]) + 1
        row = {
            **newest,
            "version": version,
            # No earlier than what it replaces: a clock that was set back would hide it.
            "published_at": max(now, newest["published_at"].replace(tzinfo=None)),
            "run_id": f"{RUN} {now}",
            "customers": sum(told.stayed[month].values()),
            "content_hash": after["history"][month],
        }
        session.execute(
            f"insert into {session.gold}.{LOG} ({', '.join(row)}) values ({', '.join('?' * len(row))})",
            tuple(row.values()),
        )
        moves = [(segment, segment, n) for segment, n in sorted(told.stayed[month].items()) if n]
        moves += [(segment, ERASED, n) for segment, n in sorted(told.erased[month].items())]
        for from_segment, to_segment, customers in moves:
            session.execute(
                f"insert into {session.gold}.{RESTATEMENTS} (snapshot_month, version, from_segment, to_segment,"
                " customers) values (?, ?, ?, ?, ?)",
                (month, version, from_segment, to_segment, customers),
            )
    _stamp_anew(session, {**dict.fromkeys(STAMPS, hashes), "rollup_hash": rollups})
    return months


def _stamp_anew(session: Session, anew: Mapping[str, Mapping[str, str]]) -> None:
    schemas = {session.gold.lower(), session.silver.lower()}
    views = _views(session, schemas)
    for (schema, name), columns in sorted(tables_of(session, schemas).items()):
        if (schema, name) in views or name == LOG or "snapshot_month" not in columns:
            continue
        for column in sorted(anew.keys() & columns):
            if mapping := anew[column]:
                whens = " ".join(f"when '{old}' then '{new}'" for old, new in mapping.items())
                olds = ", ".join(f"'{old}'" for old in mapping)
                session.execute(
                    f"update {schema}.{name} set {column} = case {column} {whens} end where {column} in ({olds})"
                )


def _last_copy_dies(session: Session, places: Collection[str]) -> date:
    """Time Travel keeps a deleted row for the table's days, fail-safe seven more, unless the table is transient."""
    today = datetime.now(tz=UTC).date()
    try:
        rows: list[dict[str, Any]] = session.rows(
            "select lower(table_schema) || '.' || lower(table_name) as place, retention_time, is_transient"
            " from information_schema.tables"
        )
        days = [
            int(row["retention_time"] or 0) + (0 if row["is_transient"] == "YES" else 7)
            for row in rows
            if row["place"] in places
        ]
    except session.engine_error:
        days = [8]  # what an account has that nobody set otherwise: one day, and seven of fail-safe
    return date.fromordinal(today.toordinal() + max(days, default=0))
