"""The objections as they are now: who may not be written to, and whether the list of them can be believed.

A list of customers is made and sent on different days. macros/audiences/suppressions.sql asks when it is made, this
when it is sent, by the same measures, bounds and acceptances.
"""

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from segmentation_assets.errors import UserError
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import audits
from segmentation_assets.publication.findings import Finding, audience_refusal
from segmentation_assets.rules.load import Campaign
from segmentation_assets.rules.validators import CHANNELS
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.spelling import trimmed_sql
from segmentation_assets.text import counted
from segmentation_assets.warehouse.catalog import table_exists
from segmentation_assets.warehouse.session import Session

TABLE = "marketing_suppressions"
KEPT = "objections_at_last_lists"


class ObjectionsError(UserError):
    """The objections cannot be believed, and so nobody may be written to; which audit says so and what to do."""


def suppressed_ids(star: StarSchema, campaign: Campaign, day: date) -> str | None:
    """A query of the ids, one column customer_id, of those whom the campaign must not contact on a day; None where
    there is no such table. Which objections reach how far is said in macros/audiences/limits.sql."""
    if not star.exists(TABLE):
        return None
    customer_id, expires_at = trimmed_sql("customer_id"), star.column(TABLE, "expires_at")
    return (
        f"select {customer_id} as customer_id from {star.sql(TABLE)} where {customer_id} <> ''"
        f" and ({expires_at} is null or {expires_at} > date '{day}') and not ({_is_anothers(star, campaign)})"
    )


def _is_anothers(star: StarSchema, campaign: Campaign) -> str:
    """True of an objection to another campaign or channel. One that names what is neither is to every one."""
    known = {"campaign": (campaign.name, [one.name for one in star.rules.campaigns]),
             "channel": (campaign.channel, list(CHANNELS))}  # fmt: skip
    is_known, is_about = [], []
    for column, (own, names) in known.items():
        value = f"coalesce(lower({trimmed_sql(star.column(TABLE, column))}), '')"
        is_known.append(f"{value} in ({', '.join(_quoted('', *names))})")
        is_about.append(f"{value} in ({', '.join(_quoted('', own))})")
    return f"{' and '.join(is_known)} and not ({' and '.join(is_about)})"


def _quoted(*names: str) -> list[str]:
    """Of campaigns and channels, which hold letters, digits and _ only."""
    return [f"'{name}'" for name in names]


def require(session: Session, month: date, now: Mapping[str, "Measured"]) -> None:
    """Raises ObjectionsError where the month's lists were refused, or would be if they were made `now` (measured)."""
    rows = audits.audience_audits(session, MonthRange.single(month))
    if not rows:
        raise ObjectionsError(
            f"The objections that the lists of {month} were made with are not known, as an earlier version made them:"
            f" make them again first (`make month MONTH={month}`)."
        )
    if any(audits.is_blocking_failure(row) for row in rows):
        raise ObjectionsError(audience_refusal(rows))
    failed = [
        Finding.of_row({**row, "measured": now[row["audit"]].value, "failed_rows": now[row["audit"]].rows})
        for row in rows
        if row["audit"] in now
        and now[row["audit"]].value > row["upper_bound"]
        and not _is_accepted(session, month, row["audit"], now[row["audit"]])
    ]
    if failed:
        raise ObjectionsError(
            "\n".join(
                [
                    f"The list of {month} may not be sent by the objections as they are today; what was exported before"
                    " is as it was.",
                    *(
                        f"- {finding.sentence} That is about {counted(finding.failed_rows, 'row')}."
                        f" {audits.BY_NAME[finding.audit].advice}"
                        for finding in failed
                    ),
                    f"Put it right, or make the lists again (`make month MONTH={month}`), after which it can be"
                    " accepted.",
                ]
            )
        )


def _is_accepted(session: Session, month: date, audit: str, now: "Measured") -> bool:
    found = session.rows(
        f"select count(*) as n from {session.silver}.segment_audit_overrides where snapshot_month = ? and audit = ?"
        " and accepted_by is not null and abs(measured - ?) < 0.000000001 and coalesce(facts_hash, '') = ?",
        (month, audit, now.value, now.facts_hash or ""),
    )
    return bool(found[0]["n"])


class Measured(NamedTuple):
    """What an audit measures now, of how many rows, and of which, where an acceptance is bound to that."""

    value: float
    rows: int
    facts_hash: str | None = None


def measured(star: StarSchema) -> Mapping[str, Measured]:
    """By audit."""
    session, is_there = star.session, star.exists(TABLE)
    suppressions = unmatched = misspelt = 0
    if is_there:
        customer_id = trimmed_sql("customer_id")
        erased = _is_erased(session, "ids.customer_id")
        (counts,) = session.rows(
            f"""
            with ids as (
                select distinct {customer_id} as customer_id, 0 as number
                from {star.sql(TABLE)} where {customer_id} <> ''
                union all
                select cast(null as varchar) as customer_id, row_number() over (order by 1) as number
                from {star.sql(TABLE)} where coalesce({customer_id}, '') = ''
            )
            select
                count(*) as suppressions,
                count(case when customers.customer_id is null and not ({erased}) then 1 end) as unmatched,
                count(case when customers.customer_id is null and folded.folded_id is not null then 1 end)
                    as misspelt
            from ids
            left join (select distinct customer_id from {session.silver}.stg_customers) as customers
                on ids.customer_id = customers.customer_id
            left join (select distinct lower(customer_id) as folded_id from {session.silver}.stg_customers)
                as folded on lower(ids.customer_id) = folded.folded_id
            """
        )
        suppressions, unmatched, misspelt = (int(counts[name]) for name in ("suppressions", "unmatched", "misspelt"))
    before, lost, lost_hash = _lost(star, suppressions)
    return {
        "suppressions_are_there": Measured(0.0 if is_there else 1.0, 1),
        "suppressions_did_not_shrink": Measured(100 * lost / before if before else 0.0, lost, lost_hash),
        "suppressions_match_customers": Measured(100 * unmatched / suppressions if suppressions else 0.0, unmatched),
        "suppressions_are_spelt_as_customers": Measured(float(misspelt), misspelt),
    }


def _lost(star: StarSchema, suppressions: int) -> tuple[int, int, str | None]:
    """How many objections were in force when lists were last made, how many of these are lost, and a hash of which: as
    macros/audiences/objections_kept.sql has it. By their number alone where an earlier version made the lists."""
    session, kept = star.session, f"{star.session.silver}.{KEPT}"
    if table_exists(session, session.silver, KEPT):
        now = "select cast(null as varchar) as customer_id, cast(null as date) as expires_at"
        if star.exists(TABLE):
            customer_id, expires_at = trimmed_sql("customer_id"), star.column(TABLE, "expires_at")
            now = (
                f"select {customer_id} as customer_id, max(coalesce({expires_at}, date '9999-12-31')) as expires_at"
                f" from {star.sql(TABLE)} where {customer_id} <> '' group by 1"
            )
        (row,) = session.rows(
            f"""
            select
                count(*) as n_before,
                count(case when objections.customer_id is null then 1 end) as lost,
                cast(sum(case when objections.customer_id is null then {_hash_number("last_lists.customer_id")} end)
                    as varchar) as lost_hash
            from (
                select customer_id, cast(made_at as date) as made_on from {kept}
                qualify rank() over (order by made_at desc) = 1
            ) as last_lists
            left join ({now}) as objections on last_lists.customer_id = objections.customer_id
                and objections.expires_at > last_lists.made_on
            """
        )
        if row["n_before"]:
            return int(row["n_before"]), int(row["lost"]), row["lost_hash"]
    (row,) = session.rows(f"select {_last_count(session)} as last_count")
    before = int(row["last_count"] or 0)
    return before, max(before - suppressions, 0), None


def _hash_number(text: str) -> str:
    """The same number as the macro hash_number, digit by digit in what either engine knows."""
    digits = [f"ascii(substr(md5({text}), {place}, 1))" for place in range(1, 16)]
    return " + ".join(
        f"({digit} - case when {digit} > 57 then 87 else 48 end) * cast({16 ** (15 - place)} as bigint)"
        for place, digit in enumerate(digits, start=1)
    )


def _is_erased(session: Session, column: str) -> str:
    """A condition: whether the id was erased (make erase), and so is no customer's by intent. As join_erased in
    macros/privacy/erased.sql, whose salt is the same in every row."""
    if not table_exists(session, session.silver, "erased_customers"):
        return "1 = 0"
    erased = f"{session.silver}.erased_customers"
    text = f"(select min(salt) from {erased}) || {column}"
    hashed = f"sha2({text}, 256)" if session.folds_names else f"sha256({text})"
    return f"coalesce({hashed} in (select erased_hash from {erased}), false)"


def _last_count(session: Session) -> str:
    """How many objections the newest lists were made with, as SQL: a value."""
    if not table_exists(session, session.gold, "audience_log"):
        return "0"
    return f"""(
        select suppressions from {session.gold}.audience_log
        qualify row_number() over (order by made_at desc, suppressions desc) = 1
    )"""
