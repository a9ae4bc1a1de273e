"""The objections as they are now: who may not be written to, and whether the list of them can be believed.

A list of customers is made and sent on different days. macros/audiences/suppressions.sql asks when it is made, this
when it is sent, by the same measures, bounds and acceptances.
"""

from collections.abc import Mapping
from datetime import date

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


def require(session: Session, month: date, now: Mapping[str, tuple[float, int]]) -> None:
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
        Finding.of_row({**row, "measured": now[row["audit"]][0], "failed_rows": now[row["audit"]][1]})
        for row in rows
        if row["audit"] in now
        and now[row["audit"]][0] > row["upper_bound"]
        and not _is_accepted(session, month, row["audit"], now[row["audit"]][0])
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


def _is_accepted(session: Session, month: date, audit: str, value: float) -> bool:
    found = session.rows(
        f"select count(*) as n from {session.silver}.segment_audit_overrides where snapshot_month = ? and audit = ?"
        " and accepted_by is not null and abs(measured - ?) < 0.000000001",
        (month, audit, value),
    )
    return bool(found[0]["n"])


def measured(star: StarSchema) -> Mapping[str, tuple[float, int]]:
    """Audit -> what it measures now, and of how many rows."""
    session, is_there = star.session, star.exists(TABLE)
    last_count = _last_count(session)
    if not is_there:
        (counts,) = session.rows(f"select 0 as suppressions, 0 as unmatched, 0 as misspelt, {last_count} as last_count")
    else:
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
            ),
            counts as (
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
            )
            select suppressions, unmatched, misspelt, {last_count} as last_count from counts
            """
        )
    all_now, unmatched = int(counts["suppressions"]), int(counts["unmatched"])
    before = int(counts["last_count"] or 0)
    lost = max(before - all_now, 0)
    return {
        "suppressions_are_there": (0.0 if is_there else 1.0, 1),
        "suppressions_did_not_shrink": (100 * lost / before if before else 0.0, lost),
        "suppressions_match_customers": (100 * unmatched / all_now if all_now else 0.0, unmatched),
        "suppressions_are_spelt_as_customers": (float(counts["misspelt"]), int(counts["misspelt"])),
    }


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
