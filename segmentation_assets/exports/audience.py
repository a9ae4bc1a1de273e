"""Reads one campaign's audience for one month from the warehouse, for its export. It writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from segmentation_assets.exports.addresses import GOOGLES_OWN
from segmentation_assets.exports.files import ADDRESS, Audience, Row
from segmentation_assets.exports.store import ExportError
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import audits, objections, published
from segmentation_assets.rules.load import Campaign
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.catalog import GOLD, table_exists
from segmentation_assets.warehouse.columns import Column
from segmentation_assets.warehouse.session import Session

if TYPE_CHECKING:
    import pyarrow as pa  # imported where it is used: with NumPy it takes 0.2 s, and loading the definitions needs none

# Of today, whatever the list has.
CONTACT = ("email", "first_name", "last_name")
COLUMNS = ("snapshot_month", "campaign", "audience_rank", "customer_id", "email", "first_name", "last_name")
# Arrow's alias of either engine's name of a type.
ARROW_TYPES = {
    "date": "date32",
    "bigint": "int64",
    "boolean": "bool",
    "double": "float64",
    "float": "float64",
    "varchar": "string",
    "text": "string",
}


def exported_columns(campaign: Campaign) -> tuple[str, ...]:
    """No address goes into the files of a campaign whose channel needs none."""
    return (*(name for name in COLUMNS if campaign.needs_address or name != ADDRESS), *campaign.shows)


def refuse_unpublished(session: Session, months: Iterable[date]) -> None:
    """Before anything is written: a range goes out whole or not at all."""
    missing = list(map(str, published.missing(session, months)))
    if missing:
        raise ExportError(
            f"Not published, and so not exported: {', '.join(missing)}. Publish first (`make month MONTH={missing[0]}`)"
            "; what was exported before is as it was."
        )


@dataclass(frozen=True)
class Today:
    """Who may be written to on the day of an export, found out once for all of its months.

    `customers`, `suppressed`, `closed_mailboxes`, `contacts` and `universal_holdout` are what SQL selects from:
    customer_id, customer_id, mailbox; customer_id with the name, the address and the mailbox of today; and
    snapshot_month with customer_id.
    """

    objections: Mapping[str, objections.Measured]  # what the audits of the list of objections measure
    customers: str
    suppressed: str
    closed_mailboxes: str
    contacts: str
    universal_holdout: str
    closed_at_google: tuple[str, ...]  # addresses of who has objected, of those that have more than one spelling


def ask_today(session: Session, campaign: Campaign, star: StarSchema) -> Today:
    """Raises ExportError where there are no lists yet."""
    audience_schema(session, campaign)
    day = date.today()
    ids = objections.suppressed_ids(star, campaign, day)
    nobody = (
        "select customer_id from (select cast(null as varchar) as customer_id) as nobody where customer_id is not null"
    )
    suppressed = session.kept("suppressed_today", f"select distinct customer_id from ({ids or nobody}) as ids")
    # A list is made and sent on different days; who closed their account in between is no customer any more.
    customers = session.kept(
        "customers_today",
        f"select distinct customer_id from {session.silver}.stg_customers"
        f" where valid_from <= date '{day}' and (valid_to is null or valid_to > date '{day}')",
    )
    among = f"customer_id in (select customer_id from {suppressed} as suppressed)"
    # Whoever is at a mailbox that one of them has or had.
    closed = session.kept(
        "closed_mailboxes_today",
        f"select mailbox from {session.silver}.customer_mailboxes where {among} and mailbox is not null"
        f" union select lower(email) from {session.gold}.audience_{campaign.name} where email is not null and {among}",
    )
    at_google = session.rows(
        f"select distinct email from {session.silver}.stg_customers where {among} and ({_is_googles('email')})"
    )
    return Today(
        objections.measured(star),
        customers,
        suppressed,
        closed,
        session.kept(
            "contacts_today",
            f"select customer_id, first_name, last_name, email, mailbox from {session.silver}.customer_contacts",
        ),
        _universal_holdout(session),
        tuple(row["email"] for row in at_google),
    )


def _universal_holdout(session: Session) -> str:
    """Nobody in a database of an earlier version, which has no such table until its lists are made again."""
    if table_exists(session, session.gold, "universal_holdout"):
        return f"{session.gold}.universal_holdout"
    return "(select cast(null as date) as snapshot_month, cast(null as varchar) as customer_id)"


def read_audience(
    session: Session, campaign: Campaign, month: date, star: StarSchema, today: Today | None = None
) -> Audience:
    """The target group as it may be contacted today: who is a customer and who has objected is asked again, the rest is
    as the month was made. Raises ExportError and ObjectionsError.
    """
    schema = audience_schema(session, campaign)
    waterfall = {
        row["step"]: int(row["customers"])
        for row in session.rows(
            f"select step, customers from {session.gold}.audience_waterfall"
            " where campaign = ? and snapshot_month = ? order by step_number",
            (campaign.name, month),
        )
    }
    refuse_another_version(session, campaign, month)
    today = today or ask_today(session, campaign, star)
    listed = f"from {session.gold}.audience_{campaign.name} as audience where snapshot_month = date '{month}'"
    targets = (
        f"{listed} and treatment_group = 'target'"
        f" and customer_id in (select customer_id from {today.customers} as customers)"
    )
    may_be_reached = f"customer_id not in (select customer_id from {today.suppressed} as suppressed)"
    if campaign.needs_address:
        closed = f"select mailbox from {today.closed_mailboxes} as closed"
        # A list of long ago has no addresses of its own any more (privacy.retention_months).
        may_be_reached += f" and (email is null or lower(email) not in ({closed}))"
    allowed = f"{targets} and {may_be_reached}"
    held_out = f"{listed} and treatment_group <> 'target'"
    kept_out = f"from {session.silver}.stg_customers where customer_id in ({_kept_out(month, today)})"
    found = session.rows(
        f"select 'listed' as who, count(*) as customers, count(email) as addresses, null as email {listed}"
        f" union all select 'customers', count(*), 0, null {targets}"
        f" union all select 'allowed', count(*), 0, null {allowed}"
        f" union all {held_out_at_google(held_out)}"
        f" union all {held_out_at_google(kept_out)}"
    )
    closed = [row["email"] for row in found if row["email"] is not None]
    counts = [row for row in found if row["email"] is None]
    customers = {row["who"]: int(row["customers"]) for row in counts}
    addresses = sum(int(row["addresses"]) for row in counts)
    refuse_another_channel(campaign, month, customers["listed"], addresses, is_older=_is_blanked(session, month, star))
    objections.require(session, month, today.objections)
    rows = session.rows(_with_todays_contact(session, campaign, month, schema, allowed, today))
    publication = published.newest_version(session, month)
    assert publication is not None  # of which the audience was found to be
    joined, left = segment_moves(session, campaign, month, today) if campaign.trigger else ((), ())
    return Audience(
        campaign=campaign.name,
        audience_code=campaign.audience_code,
        channel=campaign.channel,
        segment=campaign.segment,
        month=month,
        schema=schema,
        rows=rows,
        waterfall=waterfall,
        left_since=waterfall["sent"] - customers["customers"],
        suppressed_since=customers["customers"] - customers["allowed"],
        unreachable_since=customers["allowed"] - len(rows),
        publication=publication,
        audits_passed=audits_passed(
            audits.month_audits(session, MonthRange.single(month)), publication["audits_verdict"]
        ),
        closed=[*closed, *today.closed_at_google],
        joined=joined,
        left=left,
        has_moves=bool(campaign.trigger),
    )


def _with_todays_contact(
    session: Session, campaign: Campaign, month: date, schema: "pa.Schema", allowed: str, today: Today
) -> str:
    """SQL for the exported columns of whom the list may reach, with the name and the address of today. Who is kept out
    of every campaign is left out. Where an address is needed: also who has none by now, who moved to one that is closed
    or held out, and of two at one mailbox the worse ranked."""
    columns = ", ".join(f"contacts.{name}" if name in CONTACT else f"listed.{name}" for name in schema.names)
    names = ", ".join(name for name in schema.names if name not in CONTACT)
    joined = (
        f"select {columns} from (select {names} {allowed}) as listed"
        f" left join {today.contacts} as contacts on listed.customer_id = contacts.customer_id"
        f" where listed.customer_id not in ({_kept_out(month, today)})"
    )
    if not campaign.needs_address:
        return f"{joined} order by listed.audience_rank"
    return (
        f"with {_held_out(session, campaign, month, today)} {joined} and contacts.mailbox is not null"
        f" and {_is_open('contacts.mailbox', today)}"
        " qualify row_number() over (partition by contacts.mailbox order by listed.audience_rank) = 1"
        " order by listed.audience_rank"
    )


def _kept_out(month: date, today: Today) -> str:
    """SQL for the customer_id of whom the month's universal holdout keeps out of every campaign."""
    return (
        f"select customer_id from {today.universal_holdout} as kept_out"
        f" where snapshot_month = date '{month}' and customer_id is not null"
    )


def _held_out(session: Session, campaign: Campaign, month: date, today: Today) -> str:
    """A CTE of the mailboxes that the campaign must not write to in the month, to be measured by.

    Of its own holdout those of the list and of today; of the universal one, which has no addresses, any that they have
    or had: to leave out one too many is harmless.
    """
    own = (
        f"from {session.gold}.audience_{campaign.name} as audience"
        f" left join {today.contacts} as contacts on audience.customer_id = contacts.customer_id"
        f" where audience.snapshot_month = date '{month}' and audience.treatment_group <> 'target'"
    )
    return (
        f"held_out as (select lower(audience.email) as mailbox {own} and audience.email is not null"
        f" union select contacts.mailbox {own} and contacts.mailbox is not null"
        f" union select mailbox from {session.silver}.customer_mailboxes"
        f" where mailbox is not null and customer_id in ({_kept_out(month, today)}))"
    )


def _is_open(mailbox: str, today: Today) -> str:
    """SQL beside the CTE of _held_out; not true of a mailbox that is NULL."""
    return (
        f"{mailbox} not in (select mailbox from {today.closed_mailboxes} as closed)"
        f" and {mailbox} not in (select mailbox from held_out)"
    )


def segment_moves(
    session: Session, campaign: Campaign, month: date, today: Today
) -> tuple[Sequence[Row], Sequence[Row]]:
    """Who came into the campaign's segment in the month, and who left it, by id. Of those who came, nobody who must not
    be contacted: who has objected, is no customer today or is held out, by the campaign or of every one; nor, where the
    campaign writes to addresses, who is at a mailbox of theirs."""
    may_be_named = (
        f"moves.customer_id in (select customer_id from {today.customers} as customers)"
        f" and moves.customer_id not in (select customer_id from {today.suppressed} as suppressed)"
        f" and moves.customer_id not in ({_kept_out(month, today)})"
        f" and moves.customer_id not in (select customer_id from {session.gold}.audience_{campaign.name}"
        f" where snapshot_month = date '{month}' and treatment_group <> 'target')"
    )
    held_out = ""
    if campaign.needs_address:
        held_out = f"with {_held_out(session, campaign, month, today)} "
        may_be_named += (
            f" and moves.customer_id not in (select customer_id from {today.contacts} as contacts"
            f" where mailbox is not null and not ({_is_open('mailbox', today)}))"
        )
    moves = f"from {session.gold}.segment_moves as moves where snapshot_month = ?"
    joined = session.rows(
        f"{held_out}select customer_id, from_segment {moves} and to_segment = ? and {may_be_named}"
        " order by customer_id",
        (month, campaign.segment),
    )
    left = session.rows(
        f"select customer_id, to_segment {moves} and from_segment = ? order by customer_id", (month, campaign.segment)
    )
    return joined, left


def audience_schema(session: Session, campaign: Campaign) -> "pa.Schema":
    """The exported columns as the audience has them; a metric the campaign showed once, but not now, is left out."""
    import pyarrow as pa

    table = f"audience_{campaign.name}"
    types = {column.name: arrow_type(column) for column in session.columns(session.gold) if column.table == table}
    missing = [column for column in (*COLUMNS, *campaign.shows) if column not in types]
    exported = exported_columns(campaign)
    if missing:
        raise ExportError(
            f"{GOLD}.audience_{campaign.name} has no {', '.join(missing)}: materialise the audiences before their"
            " exports."
        )
    return pa.schema([(column, types[column]) for column in exported])


def arrow_type(column: Column) -> "pa.DataType":
    import pyarrow as pa

    if column.data_type in ("decimal", "number"):
        return pa.decimal128(int(column.precision or 0), column.scale) if column.scale else pa.int64()
    return pa.type_for_alias(ARROW_TYPES.get(column.data_type, "string"))


def refuse_another_version(session: Session, campaign: Campaign, month: date) -> None:
    """A month may be published again without its audiences, as when a run stops between the two."""
    audience = f"audience_{campaign.name}"
    if published.outdated(session, ["audience_waterfall", audience], month, may_be_empty=[audience]):
        raise ExportError(
            f"The audience of {campaign.name}, {month}, was not made from the month as it is published now:"
            f" materialise {GOLD}/{audience} and {GOLD}/audience_waterfall of {month} first."
        )


def _is_blanked(session: Session, month: date, star: StarSchema) -> bool:
    """Whether the list may have lost its addresses by its age."""
    first = published.first_month_with_contact_details(session, star.rules.retention_months)
    return first is not None and month < first


def refuse_another_channel(campaign: Campaign, month: date, customers: int, addresses: int, *, is_older: bool) -> None:
    """The channel decides who is on the list: one made for another channel is not this campaign's."""
    # None at all in one that is older than privacy.retention_months.
    is_blanked = campaign.needs_address and not addresses and is_older
    if addresses != (customers if campaign.needs_address else 0) and not is_blanked:
        raise ExportError(
            f"The audience of {campaign.name}, {month}, was not made for the channel {campaign.channel}, which needs"
            f" {'an' if campaign.needs_address else 'no'} address: materialise {GOLD}/audience_{campaign.name} and"
            f" {GOLD}/audience_waterfall of {month} first."
        )


def held_out_at_google(held_out: str) -> str:
    """SQL for the addresses of who is held out, of those that Google knows by more than one spelling.

    Any address that they ever had: to leave out one too many is harmless. `held_out` begins with from, and has a where.
    """
    return f"select distinct 'held out', 1, 1, email {held_out} and ({_is_googles('email')})"


def _is_googles(email: str) -> str:
    return " or ".join(f"contains(lower({email}), '@{domain}')" for domain in GOOGLES_OWN)


def audits_passed(rows: Sequence[Mapping[str, Any]], verdict: str) -> list[str]:
    """Names of the audits the published version passed.

    Where the newest candidate was blocked, the rows are about that one; of the published version the verdict is what is
    left to know.
    """
    if any(audits.is_blocking_failure(row) for row in rows):
        sure = {"passed": audits.AUDITS, "warned": [audit for audit in audits.AUDITS if audit.is_blocking]}
        return sorted(audit.name for audit in sure.get(verdict, []))
    failed = {row["audit"] for row in rows if not row["passed"]}
    return sorted({row["audit"] for row in rows} - failed)
