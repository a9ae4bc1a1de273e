"""Checkup: everything about a company's star schema that decides whether its months can be published, found in one go.

It reads and writes nothing, and tells counts, keys of statuses and categories, never a customer's id or address.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal

from segmentation_assets.months import as_of_date, month_after
from segmentation_assets.rules.source_contract import CONTRACT, GENERATED, IN_FACTS, NONE, SAID_IN_A_WORD
from segmentation_assets.rules.validators import CHANNELS
from segmentation_assets.sources import contract
from segmentation_assets.sources.star_schema import CUSTOMERS, FACTS, StarSchema
from segmentation_assets.spelling import code, trimmed_sql
from segmentation_assets.warehouse.session import first_line_of_a_row

CATEGORIES = "dim_merchant_category"
# Before it no card was issued, and no calendar of this pipeline's begins.
ANCIENT = date(1970, 1, 1)
SHOWN_CATEGORIES = 15


@dataclass(frozen=True)
class Finding:
    """A fault: `error` keeps every month from being computed, `warning` changes what a month says or who is reached."""

    level: Literal["error", "warning"]
    table: str
    column: str
    words: str
    count: int | None = None  # rows, keys or ids that it is about

    def __str__(self) -> str:
        return f"{self.table}{f'.{self.column}' if self.column else ''}: {self.words}"


@dataclass(frozen=True)
class MappedColumn:
    table: str
    column: str
    mapped_to: str
    data_type: str
    without: str = ""  # what holds, as it is not mapped


@dataclass(frozen=True)
class Share:
    """A status or a category, by rows and by amount without sign."""

    name: str
    rows: int
    rows_pct: float
    amount: float
    amount_pct: float
    counts_as: str  # approved, left out, travel, necessities, no group, NOT KNOWN


@dataclass
class Checkup:
    columns: list[MappedColumn] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    customers: dict[str, int] = field(default_factory=dict)
    statuses: list[Share] = field(default_factory=list)
    categories: list[Share] = field(default_factory=list)

    @property
    def is_readable(self) -> bool:
        return not any(finding.level == "error" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check(star: StarSchema, before: date, allow_formula_ids: bool = False) -> Checkup:
    """Everything that can be found; what could not be asked, as a table is missing, is left empty. `before` is the day
    on which the newest closed month ends: facts from then on are of no month yet."""
    result = Checkup()
    found = star.found_columns()
    broken: set[str] = set()
    for table in CONTRACT:
        for line in contract.table_problems(star, table, found):
            result.findings.append(_of_line(line))
            broken.add(table)
        if table not in broken:
            result.columns += _columns(star, table, found)
    if FACTS in broken and star.mapping(CATEGORIES) == IN_FACTS:
        broken.add(CATEGORIES)
    for line in contract.fraction_problems(star, found) if not broken & {FACTS, CUSTOMERS} else ():
        result.findings.append(_of_line(line))
        broken.add(line.partition(".")[0].removeprefix("- "))

    def ask(*tables: str) -> bool:
        return not broken & set(tables)

    asked: list[tuple[bool, Iterable[Finding]]] = [
        (ask(FACTS), _facts(star, before, result)),
        (ask(FACTS, CATEGORIES), _statuses_and_categories(star, result)),
        (ask(FACTS), _repeated_facts(star)),
        (ask(CUSTOMERS), _customers(star, result)),
        (ask(FACTS, CUSTOMERS), _partners(star)),
        (ask(CUSTOMERS, "marketing_suppressions"), _objections(star, found)),
        (ask("marketing_suppressions", "campaign_eligibility"), _limits(star, found)),
        (ask(CUSTOMERS, "contact_history"), _contacts(star, found)),
        (ask(CUSTOMERS, "campaign_eligibility"), _strangers(star, found, "campaign_eligibility")),
        (
            not broken,
            map(_of_line, contract.range_problems(star, found, before, allow_formula_ids)),
        ),
    ]
    for may_be_asked, findings in asked:
        if not may_be_asked:
            continue
        try:
            result.findings += findings
        except star.session.engine_error as error:
            words = f"cannot be computed for every row: {first_line_of_a_row(error)}".rstrip("!. ")
            finding = Finding("error", "star_schema", "", words)
            result.findings += [] if finding in result.findings else [finding]
    result.findings.sort(key=lambda finding: finding.level == "warning")
    return result


def newest_whole_month(found: Checkup, may_end_days_early: int) -> date | None:
    """The newest closed month that the facts reach the end of."""
    if not found.facts.get("last_day"):
        return None
    last = date.fromisoformat(found.facts["last_day"])
    month = last.replace(day=1)
    return month if (as_of_date(month) - last).days - 1 <= may_end_days_early else month_after(month, -1)


def _of_line(line: str) -> Finding:
    where, _, words = line.removeprefix("- ").partition(": ")
    table, _, column = where.partition(".")
    return Finding("error", table, column, words.rstrip("."))


def _columns(star: StarSchema, table: str, found: contract.Found) -> Iterator[MappedColumn]:
    from segmentation_assets.rules.source_contract import COLUMNS

    mapping = star.mapping(table)
    if mapping in SAID_IN_A_WORD:
        words = {
            GENERATED: "every day from 1970 to 2099", IN_FACTS: f"what {FACTS} has", NONE: "no fact has a category",
        }[str(mapping)]  # fmt: skip
        for column in CONTRACT[table]:
            yield MappedColumn(table, column, f"{mapping}: {words}", "")
        return
    actual = found[table]
    if actual is None:
        return
    expressions, types = star.expressions(table), star.types(table) if mapping is not None else {}
    for column, said in COLUMNS[table].items():
        if mapping is None and column in actual:
            yield MappedColumn(table, column, f"{star.place(table)}.{column}", actual[column].data_type.lower())
        elif mapping is not None and column in expressions:
            yield MappedColumn(table, column, expressions[column], types.get(column, ""))
        else:
            yield MappedColumn(table, column, "-", "", said.without)


def _facts(star: StarSchema, before: date, result: Checkup) -> Iterator[Finding]:
    (row,) = star.session.rows(
        "select count(*) as n, count(transaction_date) as dated, count(customer_key) as keyed,"
        " count(transaction_amount) as priced, cast(min(transaction_date) as date) as first_day,"
        f" cast(max(case when transaction_date < date '{before}' then transaction_date end) as date) as last_day,"
        f" count(case when transaction_date >= date '{before}' then 1 end) as later,"
        f" count(case when transaction_date < date '{ANCIENT}' then 1 end) as ancient,"
        f" cast(max(transaction_date) as date) as newest from {star.sql(FACTS)}"
    )
    result.facts = {
        "rows": row["n"], "first_day": _day(row["first_day"]), "last_day": _day(row["last_day"]),
        "rows_after_the_last_closed_month": row["later"],
    }  # fmt: skip
    if not row["n"]:
        yield Finding("error", FACTS, "", "has no rows; correct where it is read from, or load it", 0)
        return
    for column, filled in (("transaction_date", "dated"), ("customer_key", "keyed"), ("transaction_amount", "priced")):
        if missing := row["n"] - row[filled]:
            words = (
                f"NULL in {missing:,} of {row['n']:,} rows; fill them at the source, or leave the rows out in a view"
            )
            yield Finding("error", FACTS, column, words, missing)
    if row["ancient"]:
        words = (
            f"{row['ancient']:,} rows before {ANCIENT}, the first of {_day(row['first_day'])}: a placeholder counts in"
            " every lifetime; make it NULL at the source, or leave the rows out in a view"
        )
        yield Finding("warning", FACTS, "transaction_date", words, row["ancient"])
    if row["later"] and _day(row["newest"]) > str(_a_year_after(before)):
        words = f"the newest fact is of {_day(row['newest'])}; dates so far ahead are no transactions"
        yield Finding("warning", FACTS, "transaction_date", words, row["later"])
    if row["last_day"] is None:
        yield Finding("error", FACTS, "transaction_date", f"no fact before {before}: no closed month has any", 0)
        return
    late = (before - date.fromisoformat(_day(row["last_day"]))).days - 1
    if late > star.rules.audits.facts_may_end_days_early:
        words = (
            f"the facts end on {_day(row['last_day'])}, {late:,} days before the newest closed month does: that month"
            " waits for its load, and so does every month after them"
        )
        yield Finding("warning", FACTS, "transaction_date", words, late)


def _a_year_after(day: date) -> date:
    return as_of_date(date(day.year + 1, day.month, 1))


def _day(value: object) -> str:
    return str(value)[:10] if value is not None else ""


def _statuses_and_categories(star: StarSchema, result: Checkup) -> Iterator[Finding]:
    rows = star.session.rows(
        "select transaction_status as status, merchant_category_key as category, count(*) as n,"
        f" sum(abs(transaction_amount)) as amount from {star.sql(FACTS)} group by 1, 2"
    )
    statuses: dict[str, list[float]] = {}
    for row in rows:
        entry = statuses.setdefault(_shown(row["status"]), [0, 0.0])
        entry[0] += row["n"]
        entry[1] += float(row["amount"] or 0)
    said = star.rules.source
    approved = {code(name) for name in said.approved_statuses}
    known = approved | {code(name) for name in said.other_statuses}
    result.statuses = _shares(
        statuses,
        lambda name: "approved" if code(name) in approved else "left out" if code(name) in known else "NO RULE",
    )
    unknown = [share for share in result.statuses if share.counts_as == "NO RULE"]
    if unknown:
        names = ", ".join(share.name for share in unknown[:10])
        listed = ", ".join(f"{share.name} {_pct(share.amount_pct)}" for share in unknown[:10])
        counted = any(share.counts_as == "approved" for share in result.statuses)
        words = f"{listed}{' of the amount' if counted else ''}: no rule names {'it' if len(unknown) == 1 else 'them'};"
        words += f" add approved_statuses: [{names}]" if not counted else (
            f" add what counts as spend to approved_statuses and the rest to other_statuses ({names})"
        )  # fmt: skip
        yield Finding("warning" if counted else "error", FACTS, "transaction_status", words, len(unknown))
    yield from _categories(star, result, [row for row in rows if code(_shown(row["status"])) in approved] or rows)


def _categories(star: StarSchema, result: Checkup, rows: list[dict[str, Any]]) -> Iterator[Finding]:
    as_text = "cast(category_key as varchar)"
    dimension = star.session.rows(
        f"select {as_text} as category, category_name as name, count(*) as n from {star.sql(CATEGORIES)} group by 1, 2"
    )
    empty = sum(row["n"] for row in dimension if row["category"] is None)
    twice = sum(row["n"] for row in dimension) - empty - len({row["category"] for row in dimension} - {None})
    if twice:
        words = f"{twice:,} rows more than there are keys: each fact of theirs would count more than once"
        yield Finding("error", CATEGORIES, "category_key", words, twice)
    if empty:
        words = f"NULL in {empty:,} rows; remove them at the source"
        yield Finding("error", CATEGORIES, "category_key", words, empty)
    names = {row["category"]: _shown(row["name"]) for row in dimension}
    groups = {code(name): group for group, members in star.rules.raw["category_groups"].items() for name in members}
    by_name: dict[str, list[float]] = {}
    unknown_rows, unknown_amount, total = 0, 0.0, 0.0
    for row in rows:
        amount, key = float(row["amount"] or 0), None if row["category"] is None else str(row["category"])
        total += amount
        name = names.get(key) if key is not None else None
        if name is None:
            unknown_rows, unknown_amount = unknown_rows + row["n"], unknown_amount + amount
        entry = by_name.setdefault(name or "(unknown)", [0, 0.0])
        entry[0] += row["n"]
        entry[1] += amount
    result.categories = _shares(
        by_name, lambda name: "NOT KNOWN" if name == "(unknown)" else groups.get(code(name), "no group")
    )
    share = 100 * unknown_amount / total if total else 0.0
    if star.mapping(CATEGORIES) != NONE and unknown_rows and share > star.rules.audits.unknown_category_max_share_pct:
        words = (
            f"{unknown_rows:,} rows, {_pct(share)} of the spend, are of no category that {CATEGORIES} has; they count"
            " in the total only. Load the categories, or map both keys alike"
        )
        yield Finding("warning", FACTS, "merchant_category_key", words, unknown_rows)
    if star.mapping(CATEGORIES) == NONE:
        return
    there = {code(name) for name in names.values()}
    lost = [
        name for members in star.rules.raw["category_groups"].values() for name in members if code(name) not in there
    ]
    if lost:
        # By spend, as these are what the groups were meant to hold.
        candidates = ", ".join(share.name for share in result.categories if share.counts_as == "no group")
        words = (
            f"category_groups names {', '.join(lost)}, which no category is called; by spend there are"
            f" {candidates[:300] or 'none'}: name those that are meant"
        )
        yield Finding("warning", CATEGORIES, "category_name", words, len(lost))


def _shares(found: Mapping[str, list[float]], rule: Any) -> list[Share]:
    rows, amount = sum(int(entry[0]) for entry in found.values()), sum(entry[1] for entry in found.values())
    return [
        Share(
            name, int(entry[0]), 100 * entry[0] / rows if rows else 0.0, round(entry[1], 2),
            100 * entry[1] / amount if amount else 0.0, rule(name),
        )
        for name, entry in sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    ]  # fmt: skip


def _shown(value: object) -> str:
    return "(nothing)" if value is None or not str(value).strip() else str(value)


def _pct(share: float) -> str:
    return f"{share:.0f} %" if share >= 1 or not share else f"{share:.2g} %"


def _repeated_facts(star: StarSchema) -> Iterator[Finding]:
    (row,) = star.session.rows(
        "select count(*) as n, count(transaction_key) as filled, count(distinct transaction_key) as keys"
        f" from {star.sql(FACTS)}"
    )
    if missing := row["n"] - row["filled"]:
        yield Finding("error", FACTS, "transaction_key", f"NULL in {missing:,} rows; fill them at the source", missing)
    if twice := row["filled"] - row["keys"]:
        (copies,) = star.session.rows(
            "select coalesce(sum(n - 1), 0) as n from (select count(*) as n from (select distinct"
            f" transaction_key from (select transaction_key from {star.sql(FACTS)} group by transaction_key having"
            f" count(*) > 1) as repeated) as keys inner join {star.sql(FACTS)} using (transaction_key) group by"
            " transaction_key, customer_key, merchant_category_key, transaction_date, transaction_amount,"
            " transaction_status having count(*) > 1) as copies"
        )
        words = f"{twice:,} rows more than there are keys, {int(copies['n']):,} of them copies of another row"
        if copies["n"]:
            words += ": a file that was loaded twice doubles spend; remove them"
        else:
            words += ": it is no key of a row; map columns that are one together, as cast(a as varchar) || '-' || b"
        yield Finding("error", FACTS, "transaction_key", words, twice)


def _customers(star: StarSchema, result: Checkup) -> Iterator[Finding]:
    # Once for all that is asked of them: some of it costs more than reading them.
    versions = star.session.kept(
        "versions_looked_at",
        f"select customer_key, customer_id, {trimmed_sql('customer_id')} as trimmed_id,"
        f" lower({trimmed_sql('email')}) as mailbox, valid_from, valid_to from {star.sql(CUSTOMERS)}",
    )
    trimmed, mailbox = "trimmed_id", "mailbox"
    (row,) = star.session.rows(
        "select count(*) as versions, count(customer_key) as keyed, count(distinct customer_key) as keys,"
        " count(customer_id) as named, count(valid_from) as begun,"
        f" count(distinct customer_id) as spellings, count(distinct {trimmed}) as ids,"
        f" count(distinct lower({trimmed})) as folded,"
        " count(case when valid_to < valid_from then 1 end) as backwards"
        f" from {versions}"
    )
    unknown = star.rules.source.unknown_customers
    ids = ", ".join("'" + name.replace("'", "''").lower() + "'" for name in ("", *unknown.ids))
    keys = f"customer_key in ({', '.join(map(str, unknown.keys))}) or " if unknown.keys else ""
    (nobody,) = star.session.rows(f"select count(*) as n from {versions} where {keys}lower({trimmed}) in ({ids})")
    (reached,) = star.session.rows(
        "select count(*) as customers, count(case when addresses = 0 then 1 end) as unreached from (select"
        f" customer_id, count(case when {mailbox} like '%_@_%._%' then 1 end) as addresses from {versions}"
        " group by customer_id) as customers"
    )
    (shared,) = star.session.rows(
        f"select count(*) as addresses, coalesce(sum(customers), 0) as customers from (select {mailbox} as mailbox,"
        f" count(distinct customer_id) as customers from {versions} where {mailbox} like '%_@_%._%' group by 1"
        " having count(distinct customer_id) > 1) as shared"
    )
    (overlaps,) = star.session.rows(
        "select count(*) as n, count(distinct customer_id) as customers from (select customer_id, valid_from,"
        " lag(coalesce(valid_to, date '9999-12-31')) over (partition by customer_id order by valid_from, valid_to)"
        f" as before_it from {versions}) as versions where valid_from < before_it"
    )
    result.customers = {
        "customers": row["ids"], "versions": row["versions"], "without_address": reached["unreached"],
        "shared_addresses": shared["addresses"], "at_shared_addresses": int(shared["customers"]),
        "unknown_members": nobody["n"],
    }  # fmt: skip
    if not row["versions"]:
        yield Finding("error", CUSTOMERS, "", "has no rows; correct where it is read from, or load it", 0)
        return
    for column, filled in (("customer_key", "keyed"), ("customer_id", "named"), ("valid_from", "begun")):
        if missing := row["versions"] - row[filled]:
            words = f"NULL in {missing:,} of {row['versions']:,} rows; fill them at the source"
            yield Finding("error", CUSTOMERS, column, words, missing)
    if twice := row["keyed"] - row["keys"]:
        words = f"{twice:,} rows more than there are keys: each fact of theirs would count more than once"
        yield Finding("error", CUSTOMERS, "customer_key", words, twice)
    if blanks := row["spellings"] - row["ids"]:
        words = f"{blanks:,} ids differ from another one in nothing but blanks; write every version's id alike"
        yield Finding("error", CUSTOMERS, "customer_id", words, blanks)
    if capitals := row["ids"] - row["folded"]:
        words = f"{capitals:,} ids differ from another one in nothing but capitals: they are taken for two customers"
        yield Finding("warning", CUSTOMERS, "customer_id", words, capitals)
    if reached["unreached"]:
        words = (
            f"{reached['unreached']:,} of {reached['customers']:,} customers have no address that mail can be sent to:"
            " no campaign by e-mail reaches them (channel: mail, phone and app need none)"
        )
        yield Finding("warning", CUSTOMERS, "email", words, reached["unreached"])
    if shared["addresses"]:
        words = (
            f"{int(shared['customers']):,} customers share {shared['addresses']:,} addresses: one of each is written to"
        )
        yield Finding("warning", CUSTOMERS, "email", words, shared["addresses"])
    if nobody["n"] > star.rules.audits.unknown_members_max:
        words = (
            f"{nobody['n']:,} rows are nobody's (unknown_customers), more than the"
            f" {star.rules.audits.unknown_members_max} that an audit lets through; correct unknown_customers, or"
            " unknown_members_max under audits"
        )
        yield Finding("warning", CUSTOMERS, "customer_id", words, nobody["n"])
    if overlaps["n"]:
        words = (
            f"{overlaps['n']:,} versions of {overlaps['customers']:,} customers begin before the one before them ended:"
            " the later one counts; where a customer has several cards this is as it should be"
        )
        yield Finding("warning", CUSTOMERS, "valid_from", words, overlaps["n"])
    if row["backwards"]:
        words = f"{row['backwards']:,} versions end before they begin; they count for nothing"
        yield Finding("warning", CUSTOMERS, "valid_to", words, row["backwards"])


def _partners(star: StarSchema) -> Iterator[Finding]:
    """Keys that stand on one side only."""
    facts, versions = star.sql(FACTS), star.sql(CUSTOMERS)
    (row,) = star.session.rows(
        "select count(case when versions.customer_key is null then 1 end) as unowned, sum(case when"
        " versions.customer_key is null then facts.n end) as unowned_rows, count(case when facts.customer_key is null"
        f" then 1 end) as idle from (select customer_key, count(*) as n from {facts} where customer_key is not null"
        f" group by 1) as facts full outer join (select distinct customer_key from {versions}) as versions"
        " on facts.customer_key = versions.customer_key"
    )
    if row["unowned"]:
        words = (
            f"{row['unowned']:,} keys in {int(row['unowned_rows']):,} rows are no key of {CUSTOMERS}: their spend"
            " counts for nobody, and blocks the months it is in. Load the customers, or map both keys alike"
        )
        yield Finding("error", FACTS, "customer_key", words, row["unowned"])
    (of_customers,) = star.session.rows(
        f"select count(*) as n from (select customer_id from {versions} group by customer_id having max(case when"
        f" customer_key in (select customer_key from {facts}) then 1 else 0 end) = 0) as idle"
    )
    if of_customers["n"]:
        words = f"{of_customers['n']:,} customers have no fact at all; they are counted, with no spend"
        yield Finding("warning", CUSTOMERS, "customer_key", words, of_customers["n"])


def _objections(star: StarSchema, found: contract.Found) -> Iterator[Finding]:
    table = "marketing_suppressions"
    if found.get(table) is None:
        if star.rules.source.suppressions == "required":
            words = (
                "is not there: no list of customers is made or exported without it. Map it, or say suppressions: none"
                " in the rules where this company has no such table"
            )
            yield Finding("warning", table, "", words)
        return
    trimmed = trimmed_sql("customer_id")
    (row,) = star.session.rows(
        f"select count(distinct {trimmed}) as n, count(distinct case when {trimmed} not in (select"
        f" {trimmed} from {star.sql(CUSTOMERS)} where customer_id is not null) then {trimmed} end) as unmatched"
        f" from {star.sql(table)} where {trimmed} <> ''"
    )
    if row["unmatched"]:
        share = 100 * row["unmatched"] / row["n"]
        words = f"{row['unmatched']:,} of {row['n']:,} ids ({_pct(share)}) are no customer's and protect nobody"
        if share > star.rules.audits.suppressions_max_unmatched_pct:
            words += "; so many stop every list (suppressions_max_unmatched_pct): write the ids as dim_customer does"
        yield Finding("warning", table, "customer_id", words, row["unmatched"])


def _limits(star: StarSchema, found: contract.Found) -> Iterator[Finding]:
    """Campaigns and channels that are named and that there are none of: such a row counts for every one."""
    known = {"campaign": [campaign.name for campaign in star.rules.campaigns], "channel": list(CHANNELS)}
    for table in ("marketing_suppressions", "campaign_eligibility"):
        for column in (one for one in known if one in CONTRACT[table] and found[table]):
            rows = star.session.rows(
                f"select {star.column(table, column)} as value, count(*) as n from {star.sql(table)} group by 1"
            )
            unknown = {
                _shown(row["value"]): row["n"] for row in rows if code(row["value"] or "") not in ("", *known[column])
            }
            if unknown:
                names = ", ".join(sorted(unknown)[:5])
                words = (
                    f"{sum(unknown.values()):,} rows name a {column} that there is none of ({names}): each counts for"
                    f" every campaign and channel; the rules have {', '.join(known[column])}"
                )
                yield Finding("warning", table, column, words, sum(unknown.values()))


def _contacts(star: StarSchema, found: contract.Found) -> Iterator[Finding]:
    table = "contact_history"
    if not found[table]:
        return
    customer_id = f"coalesce({trimmed_sql(star.column(table, 'customer_id'))}, '')"
    email = f"coalesce({trimmed_sql(star.column(table, 'email'))}, '')"
    (row,) = star.session.rows(
        f"select count(*) as n, count(contacted_at) as dated,"
        f" count(case when {customer_id} = '' and {email} = '' then 1 end) as of_nobody from {star.sql(table)}"
    )
    if missing := row["n"] - row["dated"]:
        words = f"NULL in {missing:,} of {row['n']:,} rows, which no contact policy counts; fill them at the source"
        yield Finding("warning", table, "contacted_at", words, missing)
    if row["of_nobody"]:
        words = f"{row['of_nobody']:,} rows name neither customer nor address, and no contact policy counts them"
        yield Finding("warning", table, "customer_id", words, row["of_nobody"])
    yield from _strangers(star, found, table)


def _strangers(star: StarSchema, found: contract.Found, table: str) -> Iterator[Finding]:
    """Ids that are no customer's, and so say something of nobody."""
    if not found[table]:
        return
    customer_id = trimmed_sql(star.column(table, "customer_id"))
    (row,) = star.session.rows(
        f"select count(*) as n from (select distinct {customer_id} as customer_id from {star.sql(table)}) as named"
        f" where customer_id <> '' and customer_id not in (select {trimmed_sql('customer_id')} from"
        f" {star.sql(CUSTOMERS)} where customer_id is not null)"
    )
    if row["n"]:
        words = (
            f"{row['n']:,} ids are no customer's: another system's, a prefix, lost leading zeros; they hold for nobody"
        )
        yield Finding("warning", table, "customer_id", words, row["n"])
