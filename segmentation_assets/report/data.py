"""What the monthly report says, read from the warehouse. How it looks is in page.py and charts.py.

Counts and sums per segment, campaign and audit only: no row here is about one customer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from segmentation_assets.errors import UserError
from segmentation_assets.months import MonthRange, as_of_date, month_after
from segmentation_assets.outcomes import words
from segmentation_assets.outcomes.statistics import SPLIT_P_VALUE
from segmentation_assets.outcomes.words import name_of
from segmentation_assets.publication import audits, published
from segmentation_assets.publication.findings import Finding
from segmentation_assets.rules.load import Campaign, Rules, Segment
from segmentation_assets.warehouse.catalog import GOLD, table_exists, tables_of
from segmentation_assets.warehouse.session import Session

TOTAL = "All customers"
MONTHS_SHOWN = 12
# Where no contact policy says how long: a quarter, as the windows of spend are.
CONTACT_MONTHS = 3
# A campaign's window of 90 days closes three or four months after its audience month.
OUTCOME_MONTHS_BACK = 4
DERIVED = ("hero_metrics", "segment_summary", "segment_transitions", "audience_waterfall")
STEPS = {
    "in_segment": "in the segment",
    "entered_segment": "came into it this month",
    "meets_criteria": "meet the criteria",
    "meets_eligibility": "may be made the offer by its rules",
    "is_eligible": "are not ruled out by the list of who may not get it",
    "is_customer": "are customers now",
    "deliverable_email": "have a deliverable address",
    "not_suppressed": "have not objected",
    "not_in_universal_holdout": "are not kept out of every campaign",
    "not_in_cooldown": "were not contacted too recently",
    "within_contact_policy": "have a turn left under the contact policy",
    "one_per_email": "are the only one at their address",
    "within_cap": "are within the cap",
    "holdout": "of these, held back to compare",
    "sent": "of these, to be sent",
}
# Of a campaign whose channel needs no address.
WITHOUT_ADDRESS = {"deliverable_email": "need no address", "one_per_email": "are on the list once"}
# Steps that only some rules have: shown where they leave somebody out.
AT_TIMES = (
    "entered_segment", "meets_eligibility", "is_eligible", "not_in_universal_holdout", "within_contact_policy",
)  # fmt: skip
OPERATORS = {"at_least": "at least", "at_most": "at most", "above": "above", "below": "below"}


class ReportError(UserError):
    """A month that cannot be reported; one line with the month and what to do."""


@dataclass(frozen=True)
class Share:
    """A segment in a month, percent of the month's customers."""

    month: date
    segment: str
    share_pct: float


@dataclass(frozen=True)
class Flow:
    from_segment: str
    to_segment: str
    customers: int


@dataclass(frozen=True)
class Overlap:
    """How many meet the criteria of one segment or campaign, and how many of them those of another too."""

    kind: str
    name: str
    other_kind: str
    other_name: str
    customers: int
    customers_of_both: int
    overlap_pct: float


@dataclass(frozen=True)
class Metrics:
    """A row of hero_metrics; what compares with a month never published is None. Money in whole units."""

    segment: str
    customers: int
    active_customers: int
    total_lifetime_value: float
    avg_lifetime_value: float | None
    avg_transaction_value: float | None
    spend_last_90_days: float
    avg_monthly_spend: float | None
    spend_month_over_month_pct: float | None
    retention_pct: float | None
    churned_customers: int | None
    reactivated_customers: int | None
    new_customers: int | None


@dataclass(frozen=True)
class Step:
    words: str
    customers: int
    share_pct: float  # of the segment, for the bar
    left_out_by: str = ""  # of the contact policy: which campaigns took how many turns


@dataclass(frozen=True)
class Audience:
    campaign: Campaign
    steps: tuple[Step, ...]
    can_find: str = ""  # how small an effect its holdout can show; empty where an earlier version made the month


@dataclass(frozen=True)
class Contacts:
    """How often people were on a list that went out, in the months up to the report's: a person is a mailbox, or the
    customer where a campaign needs no address."""

    months: int
    people: Mapping[int, int]  # times -> people
    at_most: int | None = None  # what the contact policy allows in these months; it counts who is held out too

    @property
    def sentence(self) -> str:
        if not self.people:
            return "Nobody was contacted."
        span = "this month" if self.months == 1 else f"the {self.months} months up to this one"
        said = f"In {span}, {sum(self.people.values()):,} people were contacted, {self.people.get(1, 0):,} of them once"
        often = sum(people for times, people in self.people.items() if times > 1)
        return said + (
            f" and {often:,} more often, {max(self.people)} times at most." if often else " and nobody twice."
        )


@dataclass(frozen=True)
class Outcome:
    month: date
    campaign: str
    target_customers: int
    holdout_customers: int
    target_mean: float | None
    holdout_mean: float | None
    difference: float | None
    lower: float | None
    upper: float | None
    split_is_off: bool

    @property
    def verdict(self) -> str:
        if self.split_is_off:
            return "do not read it: the holdout is not as planned"
        if self.lower is None or self.upper is None:
            return "too few customers to tell"
        if self.lower > 0:
            return "more spend than chance explains"
        return "less spend than chance explains" if self.upper < 0 else "no more than chance"


@dataclass(frozen=True)
class Effect:
    """What a campaign, or all of them together, did over all who came to it in an epoch so far."""

    row: Mapping[str, Any]  # of campaign_outcomes or program_outcomes
    sentences: tuple[str, ...]

    @property
    def name(self) -> str:
        return name_of(self.row)


@dataclass(frozen=True)
class AuditResult:
    """One audit of the month; `findings` say what it measured where it did not hold."""

    name: str
    meaning: str
    verdict: str  # passed, warned, accepted or failed
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Definition:
    segment: str
    criteria: tuple[str, ...]  # none: takes everybody else
    purpose: str
    band: tuple[float, float] | None


@dataclass(frozen=True)
class Report:
    month: date
    as_of: date
    version: int
    verdict: str
    segments: tuple[str, ...]  # in order of priority
    totals: Metrics
    totals_before: Metrics | None
    metrics: tuple[Metrics, ...]
    shares: tuple[Share, ...]
    months: tuple[date, ...]
    bands: Mapping[str, tuple[float, float]]
    flows: tuple[Flow, ...]
    audiences: tuple[Audience, ...]
    outcomes: tuple[Outcome, ...]
    effects: tuple[Effect, ...]
    audits: tuple[AuditResult, ...]
    notes: tuple[str, ...]
    definitions: tuple[Definition, ...]
    missing_months: tuple[date, ...] = field(default=())
    overlaps: tuple[Overlap, ...] = ()
    contacts: Contacts = field(default=Contacts(CONTACT_MONTHS, {}))

    @property
    def leavers(self) -> Mapping[str, tuple[Flow, ...]]:
        """Segment of last month -> where those who left it are now, most first."""
        found: dict[str, list[Flow]] = {}
        for flow in sorted(self.flows, key=lambda flow: -flow.customers):
            if flow.from_segment in self.segments and flow.from_segment != flow.to_segment:
                found.setdefault(flow.from_segment, []).append(flow)
        return {segment: tuple(found[segment]) for segment in self.segments if segment in found}

    @property
    def share_of(self) -> Mapping[str, float]:
        return {share.segment: share.share_pct for share in self.shares if share.month == self.month}

    @property
    def share_before(self) -> Mapping[str, float]:
        before = month_after(self.month, -1)
        return {share.segment: share.share_pct for share in self.shares if share.month == before}


def read_report(session: Session, rules: Rules, month: date) -> Report:
    """Raises ReportError where the month was not published, or a table is not of the month as it is published."""
    publication = newest_publication(session, month)
    refuse_another_version(session, month)
    heroes = hero_metrics(session, month)
    metrics = heroes.get(month, [])
    waterfalls, spreads, taken = waterfall_rows(session, month)
    shares = month_shares(session, month)
    definitions = segment_definitions(session, rules, publication["rules_hash"])
    months = tuple(month_after(month, back) for back in range(1 - MONTHS_SHOWN, 1))
    published = {share.month for share in shares}
    first = min(published)
    missing = tuple(shown for shown in months if shown >= first and shown not in published)
    rows = audits.month_audits(session, MonthRange.single(month))
    before = {row.segment: row for row in heroes.get(month_after(month, -1), [])}
    by_segment = {row.segment: row for row in metrics}
    names = [definition.segment for definition in definitions]
    segments = (*names, *sorted(set(by_segment) - set(names) - {TOTAL}))
    return Report(
        month=month,
        as_of=as_of_date(month),
        version=int(publication["version"]),
        verdict=publication["audits_verdict"],
        segments=segments,
        totals=by_segment[TOTAL],
        totals_before=before.get(TOTAL),
        metrics=tuple(by_segment[segment] for segment in segments if segment in by_segment),
        shares=shares,
        months=months,
        bands={row.segment: row.band for row in definitions if row.band},
        flows=transitions(session, month),
        audiences=tuple(
            audience(campaign, waterfalls[campaign.name], taken.get(campaign.name, ""), spreads.get(campaign.name))
            for campaign in rules.campaigns
        ),
        contacts=contacts(session, rules, month),
        outcomes=outcomes(session, month),
        effects=(*campaign_effects(session, month), *program_effects(session, month)),
        audits=audit_results(rows),
        notes=(*notes(session, month, rows, missing, publication, rules),),
        definitions=definitions,
        missing_months=missing,
        overlaps=overlaps(session, month),
    )


def newest_publication(session: Session, month: date) -> dict[str, Any]:
    found = published.newest_version(session, month)
    if found is None:
        raise ReportError(
            f"{month} was never published, and so cannot be reported: publish it first (`make month MONTH={month}`)."
        )
    missing = [table for table in DERIVED if not table_exists(session, session.gold, table)]
    if missing:
        raise ReportError(
            f"{month} cannot be reported: {session.gold} has no {', '.join(missing)}."
            f" Run the month (`make month MONTH={month}`)."
        )
    return found


def refuse_another_version(session: Session, month: date) -> None:
    """A month may be published again without what is made from it, as when a run stops between the two."""
    for table in published.outdated(session, DERIVED, month, may_be_empty=["segment_transitions"]):
        raise ReportError(
            f"{month} cannot be reported: {GOLD}/{table} was not made from the month as it is published now."
            f" Materialise {GOLD}/{table} of {month} first."
        )


def hero_metrics(session: Session, month: date) -> dict[date, list[Metrics]]:
    """Of the month and the one before it."""
    rows = session.rows(
        f"select * from {session.gold}.hero_metrics where snapshot_month in (?, ?)", (month, month_after(month, -1))
    )
    whole = {"customers", "active_customers", "churned_customers", "reactivated_customers", "new_customers"}

    def number(name: str, value: Any) -> Any:
        return None if value is None else int(value) if name in whole else float(value)

    names = [name for name in Metrics.__annotations__ if name != "segment"]
    found: dict[date, list[Metrics]] = {}
    for row in rows:
        numbers = {name: number(name, row[name]) for name in names}
        found.setdefault(row["snapshot_month"], []).append(Metrics(segment=row["customer_segment"], **numbers))
    return found


def month_shares(session: Session, month: date) -> tuple[Share, ...]:
    rows = session.rows(
        f"select snapshot_month, customer_segment, share_pct from {session.gold}.segment_summary"
        " where snapshot_month > ? and snapshot_month <= ? order by snapshot_month, customer_segment",
        (month_after(month, -MONTHS_SHOWN), month),
    )
    return tuple(Share(row["snapshot_month"], row["customer_segment"], float(row["share_pct"])) for row in rows)


def transitions(session: Session, month: date) -> tuple[Flow, ...]:
    rows = session.rows_once(
        f"select * from {session.gold}.segment_transitions where snapshot_month = date '{month}'"
        " order by from_segment, to_segment"
    )
    return tuple(Flow(row["from_segment"], row["to_segment"], int(row["customers"])) for row in rows)


def overlaps(session: Session, month: date) -> tuple[Overlap, ...]:
    if not table_exists(session, session.gold, "criteria_overlap"):
        return ()  # of a database whose insights were made by an earlier version
    rows = session.rows(
        f"select * from {session.gold}.criteria_overlap where snapshot_month = ?"
        " order by kind desc, name, other_kind desc, other_name",
        (month,),
    )
    return tuple(
        Overlap(
            kind=row["kind"],
            name=row["name"],
            other_kind=row["other_kind"],
            other_name=row["other_name"],
            customers=int(row["customers"]),
            customers_of_both=int(row["customers_of_both"]),
            overlap_pct=float(row["overlap_pct"]),
        )
        for row in rows
    )


class Waterfalls(NamedTuple):
    """By campaign."""

    customers: dict[str, dict[str, int]]  # left after each step, in order
    spreads: dict[str, tuple[float, float]]  # mean and deviation of the spend of a list of two members and more
    turns_taken: dict[str, str]  # by whom, of those that the contact policy keeps from the campaign


def waterfall_rows(session: Session, month: date) -> Waterfalls:
    found = Waterfalls({}, {}, {})
    for row in session.rows_once(
        f"select * from {session.gold}.audience_waterfall where snapshot_month = date '{month}'"
        " order by campaign, step_number"
    ):
        campaign = row["campaign"]
        found.customers.setdefault(campaign, {})[row["step"]] = int(row["customers"])
        if row["step"] == "within_cap" and row["stddev_spend"] is not None:
            found.spreads[campaign] = float(row["mean_spend"]), float(row["stddev_spend"])
        if row["left_out_by"] is not None:
            found.turns_taken[campaign] = row["left_out_by"]
    return found


def audience(
    campaign: Campaign,
    steps: Mapping[str, int],
    left_out_by: str = "",
    spread: tuple[float, float] | None = None,
) -> Audience:
    members, before = steps["in_segment"], steps["in_segment"]
    step_words = STEPS if campaign.needs_address else {**STEPS, **WITHOUT_ADDRESS}
    shown: list[Step] = []
    for step, customers in steps.items():
        if step not in AT_TIMES or customers < before:
            taken = left_out_by if step == "within_contact_policy" else ""
            share = 100 * customers / members if members else 0.0
            shown.append(Step(step_words.get(step, step.replace("_", " ")), customers, share, taken))
        before = customers
    can_find = words.can_find(steps["sent"], steps["holdout"], *spread) if spread else ""
    return Audience(campaign, tuple(shown), can_find)


def contacts(session: Session, rules: Rules, month: date) -> Contacts:
    policy = rules.contact_policy
    months = policy.per_months if policy else CONTACT_MONTHS
    there = {name for _, name in tables_of(session, [session.gold])}
    first = month_after(month, 1 - months)
    lists = " union all ".join(
        f"select coalesce(lower(email), customer_id) as person from {session.gold}.audience_{campaign.name}"
        f" where snapshot_month >= date '{first}' and snapshot_month <= date '{month}' and treatment_group = 'target'"
        for campaign in rules.campaigns
        if f"audience_{campaign.name}" in there
    )
    rows = session.rows(
        f"select times, count(*) as people from (select person, count(*) as times from ({lists}) as listed"
        " group by person) as counted group by times order by times"
    ) if lists else []  # fmt: skip
    people = {int(row["times"]): int(row["people"]) for row in rows}
    return Contacts(months, people, policy.at_most if policy else None)


def closed_outcomes(session: Session, month: date) -> list[dict[str, Any]]:
    """Of the audience months that are shown, as far as their windows had closed by the as-of date."""
    if not table_exists(session, session.gold, "campaign_outcomes"):
        return []
    first = month_after(month, 1 - MONTHS_SHOWN - OUTCOME_MONTHS_BACK)
    return session.rows_once(
        f"select * from {session.gold}.campaign_outcomes"
        f" where snapshot_month >= date '{first}' and window_end <= date '{as_of_date(month)}'"
        " order by snapshot_month, campaign"
    )


def campaign_effects(session: Session, month: date) -> Iterator[Effect]:
    """Per campaign the epochs of the months shown, each as far as its windows had closed by the as-of date."""
    rows = closed_outcomes(session, month)
    newest = {(row["campaign"], row["holdout_epoch"]): row for row in rows if row.get("holdout_epoch") is not None}
    for row in sorted(newest.values(), key=lambda row: (row["campaign"], row["snapshot_month"])):
        told = (words.campaign_sentence(row), words.money_sentence(row), words.active_sentence(row))
        yield Effect(row, tuple(filter(None, told)))


def program_effects(session: Session, month: date) -> Iterator[Effect]:
    """Of the newest month with a universal holdout that is old enough; none where there is no such holdout."""
    if not table_exists(session, session.gold, "program_outcomes"):
        return
    rows = session.rows(
        f"select * from {session.gold}.program_outcomes where snapshot_month > ? and snapshot_month <= ?"
        " order by snapshot_month",
        (month_after(month, -MONTHS_SHOWN), month),
    )
    for row in rows[-1:]:
        who = f"All campaigns together, the 90 days to the end of {row['snapshot_month']:%Y-%m}"
        told = (words.effect_sentence(who, row), words.money_sentence(row), words.active_sentence(row))
        yield Effect(row, tuple(filter(None, told)))


def outcomes(session: Session, month: date) -> tuple[Outcome, ...]:
    """Of the newest audience month whose window has closed by the as-of date; none where none has."""
    first = month_after(month, -OUTCOME_MONTHS_BACK)
    rows = [row for row in closed_outcomes(session, month) if row["snapshot_month"] >= first]
    newest = max((row["snapshot_month"] for row in rows), default=None)
    return tuple(
        Outcome(
            month=row["snapshot_month"],
            campaign=row["campaign"],
            target_customers=int(row["target_customers"]),
            holdout_customers=int(row["holdout_customers"]),
            target_mean=row["target_mean_spend"],
            holdout_mean=row["holdout_mean_spend"],
            difference=row["spend_difference"],
            lower=row["difference_lower_95"],
            upper=row["difference_upper_95"],
            split_is_off=row["sample_ratio_p_value"] is not None and row["sample_ratio_p_value"] < SPLIT_P_VALUE,
        )
        for row in rows
        if row["snapshot_month"] == newest
    )


def audit_results(rows: Sequence[Mapping[str, Any]]) -> tuple[AuditResult, ...]:
    """In the order of audits.AUDITS; who accepted a failure is not said."""
    found = []
    for audit in audits.AUDITS:
        failed = [row for row in rows if row["audit"] == audit.name and not row["passed"]]
        if any(audits.is_blocking_failure(row) for row in failed):
            verdict = "failed"
        elif any(row["severity"] == "error" for row in failed):
            verdict = "accepted"
        else:
            verdict = "warned" if failed else "passed"
        found.append(AuditResult(audit.name, audit.meaning, verdict, tuple(map(Finding.of_row, failed))))
    return tuple(found)


def notes(
    session: Session,
    month: date,
    rows: Sequence[Mapping[str, Any]],
    missing: Sequence[date],
    publication: Mapping[str, Any],
    rules: Rules,
) -> list[str]:
    """What a reader should know about the data before trusting a number."""
    (counts,) = session.rows(
        f"""
        select
            sum(case when first_transaction_date is null then 1 else 0 end) as without_transactions,
            sum(case when spend_last_90_days < 0 then 1 else 0 end) as refunded,
            sum(case when first_transaction_date is not null and spend_change_pct is null then 1 else 0 end)
                as incomparable
        from {session.gold}.customer_segment_history
        where snapshot_month = ?
        """,
        (month,),
    )
    told = [
        f"Customers who never had a transaction: {int(counts['without_transactions']):,}. They count, with 0 spend.",
        "Customers with transactions whose change of spend cannot be computed, as their spend in the 90 days before the"
        f" last 90 was not above 0: {int(counts['incomparable']):,}.",
        f"Customers refunded more than they spent in the last 90 days: {int(counts['refunded']):,}.",
    ]
    for name, meaning in (
        ("unknown_categories_are_few", "of the last 90 days' spend is in categories that the dimension does not know"),
        ("future_dated_facts_are_few", "of the facts of the last 90 days are dated in the future; they do not count"),
    ):
        measured = [row["measured"] for row in rows if row["audit"] == name and row["measured"] is not None]
        told += [f"{float(measured[0]):.2f} % {meaning}."] if measured else []
    if missing:
        told.append(f"Never published, and so not shown: {', '.join(str(gap)[:7] for gap in missing)}.")
    if publication["rules_hash"] != rules.segments_hash:
        told.append("The month was published under other rules than today's; those it was published under are shown.")
    if any(audits.is_blocking_failure(row) for row in rows):
        told.append(
            "The newest computation of this month was held back by an audit, shown as failed. Every other number here"
            f" is of version {publication['version']}, published before."
        )
    return told


def segment_definitions(session: Session, rules: Rules, rules_hash: str) -> tuple[Definition, ...]:
    """The rules the month was published under; purpose and band are today's."""
    rows = session.rows_once(
        f"select * from {session.gold}.segment_rules where rules_hash = '{rules_hash}'"
        " order by segment_priority, criterion_number"
    )
    criteria: dict[str, list[str]] = {}
    for row in rows:
        criteria.setdefault(row["customer_segment"], [])
        if row["metric"] is not None:
            criteria[row["customer_segment"]].append(criterion_text(row))
    known = {segment.name: segment for segment in rules.segments}
    return tuple(
        Definition(
            name,
            tuple(lines),
            known[name].purpose if name in known else "",
            _band(known.get(name)),
        )
        for name, lines in criteria.items()
    )


def _band(segment: Segment | None) -> tuple[float, float] | None:
    band = segment.expected_share_pct if segment else None
    return (float(band[0]), float(band[1])) if band else None


def criterion_text(row: Mapping[str, Any]) -> str:
    if row["operator"] == "is":
        return f"{row['metric']} is {'true' if row['bound'] else 'false'}"
    return f"{row['metric']} {OPERATORS[row['operator']]} {float(row['bound']):,g}"
