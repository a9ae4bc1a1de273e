"""The audits: what each one says, its unit and what to do when it fails. SQL: dbt; failures: findings.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segmentation_assets.months import MonthRange
from segmentation_assets.rules.load import Rules
from segmentation_assets.warehouse.catalog import rows_if_there
from segmentation_assets.warehouse.session import Session


@dataclass(frozen=True)
class Audit:
    """One family of audits; its name is a proposition and also the name of its asset check."""

    name: str
    is_blocking: bool
    meaning: str
    unit: str  # of the measured value
    advice: str
    one: str = ""  # the unit of exactly 1, where it reads otherwise

    @property
    def unit_of_one(self) -> str:
        return self.one or self.unit


AUDITS: tuple[Audit, ...] = (
    Audit(
        "every_customer_is_assigned_once",
        is_blocking=True,
        meaning="Every customer of the month's population has exactly one segment, and nobody else has one.",
        unit="customers not assigned exactly once",
        one="customer not assigned exactly once",
        advice="Look for a customer_id that is missing or doubled in silver.segment_assignments, and for a customer_key"
        " that stands twice in dim_customer.",
    ),
    Audit(
        "members_meet_their_criteria",
        is_blocking=True,
        meaning="Each segment's members meet its criteria and those of no segment before it.",
        unit="members that do not belong",
        one="member that does not belong",
        advice="The assignment and the rules disagree: compute the month again, and compare"
        " silver.segment_assignments with the segments of dbt_project.yml.",
    ),
    Audit(
        "every_segment_holds_the_minimum_share",
        is_blocking=True,
        meaning="Each segment holds at least the minimum share of the customers; an absent one holds 0.",
        unit="% of the customers",
        advice="Compare the month with the one before: a segment that collapses nearly always means missing facts, a"
        " changed category name or a changed rule. If it is real, accept it with `make accept`.",
    ),
    Audit(
        "rollup_equals_the_facts",
        is_blocking=True,
        meaning="customer_period_spend and the facts agree, month by month, over the windows: in count and amount, and"
        " in whose each fact is, of which category, day and amount.",
        unit="months differ",
        one="month differs",
        advice="Facts arrived, changed, went or moved to another customer after the rollup, or their date is unknown."
        " Recompute the months that differ (`make restate`, or `make backfill FROM=... TO=...`); if they still differ,"
        " look for facts whose date is missing from dim_date.",
    ),
    Audit(
        "every_fact_belongs_to_a_customer",
        is_blocking=True,
        meaning="Every fact before the as-of date has a customer_key that dim_customer knows; lifetimes hold them all.",
        unit="facts that belong to no customer",
        one="fact that belongs to no customer",
        advice="Load the missing versions into dim_customer, or correct the facts, then run the month again: the facts"
        " need not be rolled up anew for it. If they are nobody's, accept it with `make accept`.",
    ),
    Audit(
        "facts_reach_the_end_of_the_month",
        is_blocking=True,
        meaning="The facts reach the last day of the month.",
        unit="days without facts before the as-of date",
        one="day without facts before the as-of date",
        advice="The load of the last days has not arrived. Wait for it, then run the month again.",
    ),
    Audit(
        "no_usual_day_is_without_facts",
        is_blocking=True,
        meaning="No day of the month is empty whose weekday usually has facts, by the eight weeks before.",
        unit="days without facts that usually have some",
        one="day without facts that usually has some",
        advice="silver.fact_days names the days. Load them, then run the month again. If nothing was bought or booked"
        " then, as on a holiday, accept it with `make accept`.",
    ),
    Audit(
        "no_blocking_bound_was_loosened",
        is_blocking=True,
        meaning="No bound of a blocking audit is looser than at the last publication.",
        unit="bounds are looser than at the last publication",
        one="bound is looser than at the last publication",
        advice="Compare the `audits` of the rules with gold.segment_decisions of the last publication's decision_hash."
        " Put the bound back and compute the month again; if it is meant, accept it with `make accept`, once: the next"
        " publication is measured by this one.",
    ),
    Audit(
        "share_is_within_the_expected_band",
        is_blocking=False,
        meaning="Each segment's share lies within its expected band.",
        unit="% of the customers",
        advice="Publication goes on. See whether the customers changed or the data did; move the band if it is the"
        " customers.",
    ),
    Audit(
        "segment_mix_is_stable",
        is_blocking=False,
        meaning="The shares are close to the mean of the published months before (population stability index).",
        unit="PSI",
        advice="Publication goes on. Above 0.25 the mix is another one: look at gold.segment_transitions for who moved"
        " where.",
    ),
    Audit(
        "no_segment_moved_far",
        is_blocking=False,
        meaning="No segment's share moved far from the mean of the published months before.",
        unit="points",
        one="point",
        advice="Publication goes on. Look at gold.segment_transitions for who moved where.",
    ),
    Audit(
        "days_are_as_full_as_before",
        is_blocking=False,
        meaning="Few days of the month hold far fewer facts than their weekday did in the eight weeks before.",
        unit="days with far fewer facts than usual",
        one="day with far fewer facts than usual",
        advice="Publication goes on. silver.fact_days names the days: a holiday, or a file that was loaded in part.",
    ),
    Audit(
        "unknown_categories_are_few",
        is_blocking=False,
        meaning="Little of the last 90 days' spend is in categories the dimension does not know.",
        unit="% of the spend",
        advice="Publication goes on; the travel and necessities shares are too low by up to this much. Complete"
        " dim_merchant_category.",
    ),
    Audit(
        "unknown_statuses_are_few",
        is_blocking=True,
        meaning="Little of the last 90 days' spend has a transaction_status that no rule names, and so is left out.",
        unit="% of the spend",
        advice="A status was renamed, or is new. Name it in approved_statuses if it counts as spend, in other_statuses"
        " if it does not (case and blanks around it make no difference), and compute the month again.",
    ),
    Audit(
        "category_groups_name_known_categories",
        is_blocking=False,
        meaning="Every name in category_groups is a category of dim_merchant_category, in whatever case.",
        unit="names that are no category",
        one="name that is no category",
        advice="Publication goes on; a group without one of its categories is too small. Correct the name in"
        " category_groups, or remove it.",
    ),
    Audit(
        "unknown_members_are_few",
        is_blocking=False,
        meaning="Few ids in dim_customer are nobody's: the rules' unknown_customers, or without a version ever valid.",
        unit="ids that are nobody's",
        one="id that is nobody's",
        advice="Publication goes on without them: silver.unknown_members names each and why it is left out. Correct"
        " ids and dates at the source, or unknown_customers in the rules.",
    ),
    Audit(
        "spend_of_unknown_members_is_small",
        is_blocking=False,
        meaning="Little of the last 90 days' spend is booked on unknown members, which belong to no customer.",
        unit="% of the spend",
        advice="Publication goes on without this spend. Book the facts on their customers at the source, then run"
        " `make restate`.",
    ),
    Audit(
        "future_dated_facts_are_few",
        is_blocking=False,
        meaning="Few facts are dated after the day the month was computed.",
        unit="% of the facts of the last 90 days",
        advice="Publication goes on; such facts never count before their day. Look for a wrong year or clock in the"
        " source.",
    ),
)


def _of_limits(table: str, what: str) -> tuple[Audit, ...]:
    """Of an optional table of the source that leaves somebody out (macros/audiences/limit_audits.sql)."""
    return (
        Audit(
            f"{table}_is_there",
            is_blocking=True,
            meaning=f"The table {table} is there, if it was when the last lists were made (gold.audience_log).",
            unit="tables missing",
            one=f"table missing ({table})",
            advice=f"Load it again. If there are {what} no more, accept it: then it is asked for no longer.",
        ),
        Audit(
            f"{table}_did_not_shrink",
            is_blocking=True,
            meaning=f"{table} has about as many rows as when the last lists were made (gold.audience_log).",
            unit=f"% of the {what} lost since the last lists",
            advice="The load stopped half-way, or the table was cleaned. Load it whole; if so many hold no more, accept"
            " it.",
        ),
        Audit(
            f"{table}_matches_customers",
            is_blocking=True,
            meaning=f"The rows of {table} name customers.",
            unit=f"% of the {what} name no customer",
            advice=f"Each of them leaves nobody out. Compare {table}.customer_id with dim_customer.customer_id: another"
            " system's ids, a prefix, lost leading zeros. If these are nobody's any more, accept it.",
        ),
        Audit(
            f"{table}_is_spelt_as_customers",
            is_blocking=True,
            meaning=f"No id in {table} differs from a customer's in nothing but capitals.",
            unit=f"{what} whose id is a customer's but for capitals",
            one=f"of the {what} has an id that is a customer's but for capitals",
            advice="Ids are compared with their capitals, as two customers may differ in nothing else. Write them as"
            " dim_customer does.",
        ),
    )


# Of what the lists of a month are made of besides the month itself. They keep it from having lists and files, never
# from being published.
AUDIENCE_AUDITS: tuple[Audit, ...] = (
    Audit(
        "suppressions_are_there",
        is_blocking=True,
        meaning="The table marketing_suppressions is there, or the rules say that there is none.",
        unit="tables missing",
        one="table missing (marketing_suppressions)",
        advice="Load it again. Who has no such table says so in the rules: suppressions: none.",
    ),
    Audit(
        "suppressions_did_not_shrink",
        is_blocking=True,
        meaning="The objections that were in force when the last lists were made (silver.objections_at_last_lists) are"
        " in force, or ended since.",
        unit="% of the objections lost since the last lists",
        advice="The load stopped half-way, or the list was cleaned. Load it whole; if so many were withdrawn, accept"
        " it.",
    ),
    Audit(
        "suppressions_match_customers",
        is_blocking=True,
        meaning="The ids in marketing_suppressions are ids of customers.",
        unit="% of the objections name no customer",
        advice="Each of them protects nobody. Compare marketing_suppressions.customer_id with dim_customer.customer_id:"
        " another system's ids, a prefix, lost leading zeros. If these are nobody's any more, accept it.",
    ),
    Audit(
        "suppressions_are_spelt_as_customers",
        is_blocking=True,
        meaning="No id in marketing_suppressions differs from a customer's in nothing but capitals.",
        unit="objections whose id is a customer's but for capitals",
        one="objection whose id is a customer's but for capitals",
        advice="Ids are compared with their capitals, as two customers may differ in nothing else. Write them as"
        " dim_customer does.",
    ),
    Audit(
        "earlier_lists_are_there",
        is_blocking=True,
        meaning="The earlier lists that a cooldown, the contact policy or a holdout has to know, by gold.audience_log,"
        " are there.",
        unit="earlier lists lost",
        one="earlier list lost",
        advice="Restore the tables gold.audience_<campaign>, or make their months again, oldest first: without them who"
        " was written to lately is written to again.",
    ),
    Audit(
        "limits_name_known_campaigns",
        is_blocking=False,
        meaning="Every campaign and channel that marketing_suppressions or campaign_eligibility names is one of the"
        " rules'.",
        unit="rows limited to a campaign or a channel that there is none of",
        one="row limited to a campaign or a channel that there is none of",
        advice="The lists are made; such a row counts for every campaign and channel, so that nobody is written to who"
        " must not be. Correct the name at the source; campaigns of other systems belong in neither table.",
    ),
    *_of_limits("campaign_eligibility", "exclusions from offers"),
    *_of_limits("contact_history", "contacts by other systems"),
)
BY_NAME: Mapping[str, Audit] = {audit.name: audit for audit in (*AUDITS, *AUDIENCE_AUDITS)}
BAND = "share_is_within_the_expected_band"
NO_BANDS = "No segment of the rules has an expected_share_pct, so no share is expected."


def is_asked(audit: Audit, rules: Rules) -> bool:
    """Whether the rules leave it anything to measure."""
    return audit.name != BAND or any(segment.expected_share_pct for segment in rules.segments)


def month_audits(session: Session, months: MonthRange, silver: str = "") -> list[dict[str, Any]]:
    """segment_audit_verdicts of the months, in another schema than the session's if one is given: with who accepted a
    failure, and what blocks."""
    return session.rows(
        f"select * from {silver or session.silver}.segment_audit_verdicts"
        " where snapshot_month >= ? and snapshot_month <= ?"
        " order by snapshot_month, audit, customer_segment",
        (months.first, months.last),
    )


def audience_audits(session: Session, months: MonthRange, silver: str = "") -> list[dict[str, Any]]:
    """audience_audit_verdicts of the months, in another schema if one is given, of the day that lists were last asked
    for; none before they ever were."""
    silver = silver or session.silver
    return rows_if_there(
        session,
        silver,
        "audience_audit_verdicts",
        f"select * from {silver}.audience_audit_verdicts"
        f" where snapshot_month >= date '{months.first}' and snapshot_month <= date '{months.last}'"
        " order by snapshot_month, audit",
    )


def is_blocking_failure(row: Mapping[str, Any]) -> bool:
    """As the view says, which the gate in the warehouse judges by too."""
    return bool(row["is_blocking"])
