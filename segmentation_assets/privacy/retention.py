"""Retention: names and addresses of older lists and files are blanked, by every monthly run.

Who was on a list, and on which side, stays, and so do counts and outcomes. Where the rules say `pseudonymise`, the ids
of older lists and files are replaced too, by hashes with a salt that is thrown away: nobody can tell from these whose
they were, nor follow one through the months. Whoever may read silver or the history can: candidates, metrics and
ranks of the month stay there, under the ids.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from segmentation_assets.dbt.campaign_models import HELD_BY_LISTS
from segmentation_assets.dbt.personal_data import held
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.privacy import in_exports
from segmentation_assets.publication import published
from segmentation_assets.rules.load import Rules
from segmentation_assets.warehouse.catalog import columns_of, required_columns_of, table_exists
from segmentation_assets.warehouse.session import Session

PSEUDONYM = "pseudonym-"
CONTACT = held(HELD_BY_LISTS, "email", "name")
IDS = held(HELD_BY_LISTS, "customer_id")


@dataclass(frozen=True)
class Blanked:
    rows: int
    export_months: int


def is_due(session: Session, rules: Rules) -> bool:
    """Whether there is a month whose names and addresses are no longer kept. Lists are made of published months."""
    known = published.months(session)
    first_kept = published.first_month_with_contact_details(session, rules.retention_months)
    return first_kept is not None and known[0] < first_kept


def blank(session: Session, store: ExportStore, rules: Rules, campaign: str) -> Blanked:
    """One campaign's list and files, of every month before those that are kept."""
    first_kept = published.first_month_with_contact_details(session, rules.retention_months)
    if first_kept is None:
        return Blanked(0, 0)
    salt = secrets.token_hex(16)
    rows = blank_list(session, campaign, first_kept, salt if rules.privacy.pseudonymise else None)

    def pseudonym(customer_id: str) -> str:
        if customer_id.startswith(PSEUDONYM):
            return customer_id
        return PSEUDONYM + hashlib.sha256(f"{salt}{customer_id}".encode()).hexdigest()[:32]

    rewriting = in_exports.blanking(pseudonym if rules.privacy.pseudonymise else None)
    counts = in_exports.rewrite_campaign(
        store,
        campaign,
        rewriting,
        is_older(first_kept),
        mark="pseudonymised" if rules.privacy.pseudonymise else "blanked",
    )
    return Blanked(rows, counts.months)


def is_older(first_kept: date) -> Callable[[date], bool]:
    return lambda month: month < first_kept


def blank_list(session: Session, campaign: str, first_kept: date, salt: str | None) -> int:
    """How many rows were changed."""
    table = f"audience_{campaign}"
    if not table_exists(session, session.gold, table):
        return 0
    there = columns_of(session, session.gold, table)
    place = f"{session.gold}.{table}"
    contact = [column for column in CONTACT if column in there]
    known = " or ".join(f"{column} is not null" for column in contact)
    if salt:
        known += f" or {IDS[0]} not like '{PSEUDONYM}%'"
    older = f"snapshot_month < date '{first_kept}' and ({known})"
    rows = int(session.rows(f"select count(*) as n from {place} where {older}")[0]["n"])
    if not rows:
        return 0
    required = required_columns_of(session, {session.gold}).get((session.gold.lower(), table), set())
    for column in contact:
        if column in required:
            session.execute(f"alter table {place} alter column {column} drop not null")
    changes = [f"{column} = null" for column in contact]
    for column in IDS if salt else ():
        if column in there:
            digest = f"'{salt}' || {column}"
            hashed = f"sha2({digest}, 256)" if session.folds_names else f"sha256({digest})"
            changes.append(
                f"{column} = case when {column} like '{PSEUDONYM}%' then {column}"
                f" else '{PSEUDONYM}' || substr({hashed}, 1, 32) end"
            )
    session.execute(f"update {place} set {', '.join(changes)} where {older}")
    return rows
