"""A first star_schema mapping for a schema that nobody has described yet, guessed from names, types and a sample.

Every guess is a line of YAML with its reason beside it. A person corrects it; nothing else is made of it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segmentation_assets.rules.source_contract import COLUMNS
from segmentation_assets.settings import PLAIN_NAME
from segmentation_assets.sources import SourceError
from segmentation_assets.sources.contract import DAY
from segmentation_assets.sources.star_schema import is_double, is_number, is_text, is_zoned
from segmentation_assets.spelling import code
from segmentation_assets.warehouse.catalog import quoted
from segmentation_assets.warehouse.session import Session

SAMPLE_ROWS = 10_000
MANY = 30  # statuses: a column with more values than this says something else
# Words of a table's or a column's name that speak for it; the earlier, the louder.
TABLES = {
    "fct_transactions": (
        "transaction", "transactions", "posting", "postings", "purchase", "purchases", "sales", "sale", "receipt",
        "orders",
        "order", "booking", "payment", "fct", "fact", "f",
    ),
    "dim_customer": (
        "customer", "customers", "client", "clients", "member", "members", "cardholder", "cardholders", "account",
        "accounts", "card", "cards", "household", "person", "user", "users", "dim", "d",
    ),
    "dim_merchant_category": (
        "category", "categories", "mcc", "department", "departments", "merchant", "product", "products", "segment",
        "dim",
    ),
    "dim_date": ("date", "dates", "calendar", "day", "days", "time", "dim"),
    "marketing_suppressions": (
        "suppression", "suppressions", "optout", "opt", "out", "unsubscribe", "unsubscribes", "unsubscribed",
        "robinson",
        "objection", "objections", "blocklist", "blacklist", "dnc", "consent",
    ),
}  # fmt: skip
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "fct_transactions": {
        "transaction_key": (
            "transactionkey",
            "transactionid",
            "transaction",
            "posting",
            "purchase",
            "payment",
            "receipt",
            "order",
            "txn",
            "ref",
            "reference",
            "number",
            "no",
            "nr",
            "id",
            "key",
            "line",
        ),
        "customer_key": (
            "customerkey",
            "customerid",
            "customer",
            "client",
            "member",
            "card",
            "account",
            "household",
            "user",
        ),
        "merchant_category_key": (
            "merchantcategorykey",
            "mcc",
            "category",
            "department",
            "merchantcategory",
            "cat",
            "group",
            "type",
        ),
        "transaction_date": (
            "transactiondate",
            "postedat",
            "posted",
            "bookingdate",
            "bought",
            "paid",
            "date",
            "day",
            "time",
            "at",
            "on",
            "ts",
        ),
        "transaction_amount": (
            "transactionamount",
            "amount",
            "amt",
            "value",
            "total",
            "spend",
            "price",
            "cents",
            "sum",
        ),
        "transaction_status": ("transactionstatus", "status", "state"),
    },
    "dim_customer": {
        "customer_key": (
            "customerkey",
            "customersk",
            "key",
            "sk",
            "card",
            "customer",
            "client",
            "member",
            "account",
            "id",
        ),
        "customer_id": (
            "customerid",
            "clientid",
            "memberid",
            "customernumber",
            "customer",
            "client",
            "member",
            "number",
            "id",
        ),
        "first_name": ("firstname", "forename", "givenname", "first", "given"),
        "last_name": ("lastname", "surname", "familyname", "last", "family"),
        "email": ("email", "mail", "emailaddress"),
        "valid_from": (
            "validfrom",
            "effectivefrom",
            "startdate",
            "activated",
            "since",
            "opened",
            "opendate",
            "signup",
            "joined",
            "starts",
            "createdat",
            "created",
            "from",
        ),
        "valid_to": (
            "validto",
            "effectiveto",
            "enddate",
            "replaced",
            "closed",
            "closedate",
            "cancelled",
            "ends",
            "ended",
            "until",
            "to",
        ),
        "is_current": ("iscurrent", "currentflag", "current", "isnewest", "isactive"),
    },
    "dim_merchant_category": {
        "category_key": ("categorykey", "categoryid", "mcc", "code", "key", "id"),
        "category_name": ("categoryname", "name", "description", "descr", "desc", "label", "department", "category"),
    },
    "dim_date": {
        "date_key": ("datekey", "dateid", "key"),
        "full_date": ("fulldate", "date", "day", "calendardate"),
    },
    "marketing_suppressions": {
        "customer_id": ("customerid", "clientid", "memberid", "customer", "client", "member", "account", "id"),
        "reason": ("reason", "source", "channel"),
        "suppressed_at": ("suppressedat", "date", "at", "on", "out", "since", "created"),
    },
}
ACCEPTED = (
    "approved",
    "posted",
    "booked",
    "settled",
    "completed",
    "complete",
    "cleared",
    "captured",
    "success",
    "ok",
    "paid",
)


@dataclass
class Table:
    name: str
    columns: dict[str, str] = field(default_factory=dict)  # name as it is -> type, small


@dataclass
class Guess:
    table: str  # of the contract
    of: Table
    columns: dict[str, str] = field(default_factory=dict)  # of the contract -> SQL
    reasons: dict[str, str] = field(default_factory=dict)


def mapping(session: Session, schema: str, database: str = "") -> str:
    """The YAML of a first mapping for the tables of a schema, of Snowflake's database where one is named. Raises
    SourceError where there are none to map."""
    inside = f"{quoted(session, database)}." if database and session.folds_names else ""
    tables = _tables(session, inside, schema)
    if not tables:
        raise SourceError(
            f"There is no table or view in schema {schema!r} that this account may read; correct FROM, or the database"
            " (SEGMENTATION_DUCKDB_PATH, SNOWFLAKE_DATABASE, SEGMENTATION_SOURCE_DATABASE)."
        )
    facts = _pick("fct_transactions", tables)
    if facts is None:
        raise SourceError(
            f"No table in schema {schema!r} looks like transactions: a date, an amount and a customer's key, each in a"
            " column that is called so."
            f" There are: {', '.join(sorted(table.name for table in tables))}. Write star_schema by hand"
            " (docs/your_data.md)."
        )
    rest = [table for table in tables if table is not facts.of]
    guesses = {"fct_transactions": facts}
    for name in ("dim_customer", "dim_merchant_category", "dim_date", "marketing_suppressions"):
        guess = _pick(name, rest)
        if guess is not None:
            guesses[name] = guess
            rest = [table for table in rest if table is not guess.of]
    statuses = _look_at(session, f"{inside}{quoted(session, schema)}", facts)
    return _yaml(schema, guesses, statuses, tables)


def _tables(session: Session, inside: str, schema: str) -> list[Table]:
    found: dict[str, Table] = {}
    for row in session.rows(
        f"select table_name, column_name, data_type from {inside}information_schema.columns"
        " where lower(table_schema) = lower(?) order by table_name, ordinal_position",
        (schema,),
    ):
        table = found.setdefault(row["table_name"], Table(row["table_name"]))
        table.columns[row["column_name"]] = str(row["data_type"]).lower()
    return list(found.values())


def _words(name: str) -> list[str]:
    """F_POSTINGS and fPostings are f and postings."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]


def _loudness(name: str, speaking: Sequence[str]) -> float:
    """How clearly a name says it: 1 for the first of the words, little for the last, 0 for none."""
    words = _words(name)
    whole = "".join(words)
    best = 0.0
    for place, word in enumerate(speaking):
        if word == whole:
            return 2 - place / len(speaking)
        if word in words or (len(word) > 4 and word in whole):
            best = max(best, 1 - place / len(speaking))
    return best


def _is_a_day(data_type: str) -> bool:
    return data_type.split("(")[0].upper() in DAY or is_zoned(data_type)


def _fits(column: str, data_type: str) -> bool:
    kind = next(said.kind for columns in COLUMNS.values() for name, said in columns.items() if name == column)
    if kind == "day":
        return _is_a_day(data_type) or is_number(data_type)
    if kind == "money":
        return is_number(data_type) or is_double(data_type)
    if kind in ("key", "customer_key"):
        return is_number(data_type) or is_text(data_type)
    if kind == "flag":
        return data_type == "boolean" or is_text(data_type) or is_number(data_type)
    return is_text(data_type) or (column == "customer_id" and is_number(data_type))


def _columns(name: str, table: Table) -> dict[str, tuple[str, float]]:
    """Column of the contract -> the table's that says it loudest, each once; a customer's id may be its key, too."""
    scored = sorted(
        (
            # A number may be a day, as 20251130; what is a day by its type is one sooner.
            (-_loudness(own, words) - 0.3 * _is_a_day(data_type), place, column, own)
            for place, (column, words) in enumerate(NAMES[name].items())
            for own, data_type in table.columns.items()
            if _fits(column, data_type) and _loudness(own, words)
        ),
    )
    found: dict[str, tuple[str, float]] = {}
    for loudness, _, column, own in scored:
        is_taken = any(own == other for other, _ in found.values())
        if column not in found and not is_taken:
            found[column] = (own, -loudness)
    if name == "dim_customer":
        for one, other in (("customer_id", "customer_key"), ("customer_key", "customer_id")):
            if one not in found and other in found:
                found[one] = found[other]
    return found


def _pick(name: str, tables: Iterable[Table]) -> Guess | None:
    required = [column for column, said in COLUMNS[name].items() if said.left_out is None]
    best: tuple[float, Guess] | None = None
    for table in tables:
        found = _columns(name, table)
        lacking = [column for column in required if column not in found]
        # Facts without a key of their own: several columns together, which a person corrects.
        if lacking and lacking != ["transaction_key"]:
            continue
        if name == "dim_date" and not any(data_type == "date" for data_type in table.columns.values()):
            continue
        loud = _loudness(table.name, TABLES[name])
        if not loud and name != "fct_transactions":
            continue
        score = 3 * loud + sum(loudness for _, loudness in found.values()) / len(COLUMNS[name])
        if best is None or score > best[0]:
            columns = {column: _sql(found[column][0]) for column in COLUMNS[name] if column in found}
            reasons = {
                column: f"by its name; {table.columns[found[column][0]]}" for column in COLUMNS[name] if column in found
            }
            if lacking:
                together = (found[column][0] for column in ("customer_key", "transaction_date", "transaction_amount"))
                joined = " || '-' || ".join(f"cast({_sql(own)} as varchar)" for own in together)
                columns = {"transaction_key": joined, **columns}
                reasons["transaction_key"] = "no column looks like a key of a row: name one, or columns that are one"
            best = score, Guess(name, table, columns, reasons)
    if best is None:
        return None
    guess = best[1]
    if "is_current" in guess.columns:
        own = _found_type(guess, "is_current")
        if is_text(own):
            guess.columns["is_current"] += " = 'Y'"
        elif is_number(own):
            guess.columns["is_current"] += " = 1"
    return guess


def _found_type(guess: Guess, column: str) -> str:
    return next(
        (kind for name, kind in guess.of.columns.items() if _sql(name) == guess.columns[column].split(" = ")[0]), ""
    )


def _sql(name: str) -> str:
    return name if PLAIN_NAME.fullmatch(name) else f'"{name}"'


def _look_at(session: Session, schema_sql: str, facts: Guess) -> list[tuple[str, int]]:
    """What a sample of the facts says of amounts and statuses; the statuses with their rows."""
    place = f"{schema_sql}.{quoted(session, facts.of.name)}"
    sample = f"(select * from {place} limit {SAMPLE_ROWS}) as sample"
    amount = facts.columns["transaction_amount"]
    (row,) = session.rows(
        f"select count(*) as n, count(case when {amount} < 0 then 1 end) as negative,"
        f" count(case when {amount} > 0 then 1 end) as positive, count(case when {amount} <> round({amount}, 0) then 1"
        f" end) as fractions, avg(abs({amount})) as mean from {sample}"
    )
    own = next(kind for name, kind in facts.of.columns.items() if _sql(name) == amount)
    if row["negative"] > row["positive"]:
        facts.columns["transaction_amount"] = amount = f"-{amount}"
        facts.reasons["transaction_amount"] += (
            f"; {_of(row['negative'], row['n'])} of a sample are negative: turned round"
        )
    if "int" in own and not row["fractions"] and "cent" in amount.lower():
        facts.columns["transaction_amount"] = f"{amount} / 100.0"
        facts.reasons["transaction_amount"] += "; its name says cents"
    elif is_number(own) and not row["fractions"] and row["mean"] and float(row["mean"]) > 1_000:
        facts.reasons["transaction_amount"] += (
            f"; whole numbers of {float(row['mean']):,.0f} on average: if they are cents, write {amount} / 100.0"
        )
    if "transaction_status" not in facts.columns:
        return []
    status = facts.columns["transaction_status"]
    rows = session.rows(
        f"select cast({status} as varchar) as status, count(*) as n from {sample} group by 1 order by 2 desc"
    )
    if len(rows) > MANY:
        del facts.columns["transaction_status"]
        return []
    return [(str(found["status"]), int(found["n"])) for found in rows if found["status"] is not None]


def _of(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "all"


def _yaml(
    schema: str, guesses: Mapping[str, Guess], statuses: Sequence[tuple[str, int]], tables: Sequence[Table]
) -> str:
    lines = [
        f"# A first mapping of schema {schema}, guessed from names, types and a sample. Correct what is wrong, and run",
        "# make check-source again, with SEGMENTATION_RULES naming this file.",
    ]
    if statuses:
        approved = [name for name, _ in statuses if code(name) in ACCEPTED] or [statuses[0][0]]
        others = [name for name, _ in statuses if name not in approved]
        shown = ", ".join(f"{name} {_of(n, sum(n for _, n in statuses))}" for name, n in statuses[:6])
        lines.append(
            f"approved_statuses: [{', '.join(map(_quoted, approved))}]  # counts as spend; a sample has: {shown}"
        )
        lines.append(f"other_statuses: [{', '.join(map(_quoted, others))}]  # does not")
    if "marketing_suppressions" not in guesses:
        lines.append(
            "# suppressions: none  # no table looks like objections: map yours, or take this line where nobody objects"
        )
    lines += ["star_schema:", f"  schema: {_quoted(_sql(schema))}"]
    facts = guesses["fct_transactions"]
    if is_zoned(_found_type(facts, "transaction_date")):
        lines.append("  time_zone: UTC  # transactions have a time with zone: on whose clock does a day begin?")
    lines.append("  tables:")
    for name, columns in COLUMNS.items():
        guess = guesses.get(name)
        if guess is None:
            lines += _without(name, facts)
            continue
        lines += [f"    {name}:", f"      from: {_quoted(_sql(guess.of.name))}", "      columns:"]
        for column in columns:
            if column in guess.columns:
                lines.append(f"        {column}: {_quoted(guess.columns[column])}  # {guess.reasons[column]}")
            else:
                lines.append(
                    f"        # {column}:  # nothing looks like it: {columns[column].without or 'it is needed'}"
                )
    used = {guess.of.name for guess in guesses.values()}
    left = sorted(table.name for table in tables if table.name not in used)
    if left:
        lines.append(f"# Not used: {', '.join(left)}")
    return "\n".join(lines) + "\n"


def _without(name: str, facts: Guess) -> list[str]:
    if name == "dim_date":
        return ["    dim_date: generated  # no table looks like a calendar"]
    if name == "dim_merchant_category" and "merchant_category_key" in facts.columns:
        return ["    dim_merchant_category: in_facts  # no table looks like categories: the facts hold their names"]
    if name == "dim_merchant_category":
        return [
            "    dim_merchant_category: none  # neither a table nor a column looks like categories: no share is known"
        ]
    if name == "marketing_suppressions":
        return []
    return [f"    # {name}:  # no table looks like it; it is needed"]


def _quoted(text: str) -> str:
    """As YAML takes it for text."""
    import yaml

    return (
        yaml.safe_dump(text, allow_unicode=True, width=1_000, default_flow_style=True)
        .strip()
        .removesuffix("...")
        .strip()
    )
