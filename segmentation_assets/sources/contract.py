"""The source contract: the tables and columns that the star schema has to have, of what kind, and what is true of them.

Checked before a run computes, in well under a second: counts, smallest and largest values, which both engines keep per
block. Facts that are there twice take a look at every key, and are looked for in the months that the run rolls up.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from segmentation_assets.months import month_after
from segmentation_assets.sources import SourceError
from segmentation_assets.sources.formulas import ids_that_run
from segmentation_assets.spelling import trimmed_sql
from segmentation_assets.warehouse.catalog import quoted
from segmentation_assets.warehouse.session import Session

INTEGER = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT", "NUMBER", "FIXED")
TEXT = ("VARCHAR", "TEXT", "STRING", "CHAR")
# A time zone would make the day of a transaction depend on the session.
DAY = ("DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "DATETIME", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
MONEY = ("DECIMAL", "NUMBER", "NUMERIC", *INTEGER)
BOOLEAN = ("BOOLEAN",)
KEY = (*INTEGER, *TEXT)

CONTRACT: dict[str, dict[str, tuple[str, ...]]] = {
    "fct_transactions": {
        "transaction_key": KEY,
        "customer_key": INTEGER,
        "merchant_category_key": KEY,
        "transaction_date": DAY,
        "transaction_amount": MONEY,
        "transaction_status": TEXT,
    },
    "dim_customer": {
        "customer_key": INTEGER,  # published as a whole number
        "customer_id": TEXT,
        "first_name": TEXT,
        "last_name": TEXT,
        "email": TEXT,
        "valid_from": DAY,
        "valid_to": DAY,
        "is_current": BOOLEAN,
    },
    "dim_merchant_category": {"category_key": KEY, "category_name": TEXT},
    "dim_date": {"date_key": KEY, "full_date": DAY},
    "marketing_suppressions": {"customer_id": TEXT, "reason": TEXT, "suppressed_at": DAY},
}
OPTIONAL = {"marketing_suppressions"}
WORDS = {
    KEY: "a whole number or text",
    INTEGER: "a whole number",
    TEXT: "text",
    DAY: "DATE or a TIMESTAMP without time zone",
    MONEY: "DECIMAL",
    BOOLEAN: "BOOLEAN",
}


# What a period's sum of amounts has room for, a thousand times over (macros/numbers/money.sql).
LARGEST_AMOUNT, FINEST_AMOUNT = 100_000_000_000, 4
# Published as BIGINT.
LARGEST_KEY = 2**63 - 1
CUSTOMER_KEYS = ("fct_transactions.customer_key", "dim_customer.customer_key")

# A NULL here would leave the row out of every sum, or the customer out of every month, without a word.
NEVER_NULL = {
    "fct_transactions": ("transaction_date", "customer_key", "transaction_amount"),
    "dim_customer": ("customer_key", "customer_id", "valid_from"),
}
# A repeated key would count each of its facts more than once.
UNIQUE = {"dim_customer": "customer_key", "dim_merchant_category": "category_key"}


Range = tuple[date | None, date]  # first day, and the day after the last; None is the very first fact


def check(
    session: Session,
    schema: str,
    before: date,
    ranges: Sequence[Range] = (),
    allow_formula_ids: bool = False,
) -> None:
    """Raises SourceError with one line per finding: table, column, expected and found.

    Facts on or after the date `before` are in no closed month, and need no day in the calendar yet. Single facts are
    looked at in the `ranges` of dates, as by check_facts.
    """
    found: dict[str, dict[str, str]] = {}
    scales: dict[str, int] = {}
    for row in session.rows(
        "select lower(table_name) as table_name, lower(column_name) as column_name, data_type, numeric_scale"
        " from information_schema.columns where lower(table_schema) = lower(?)",
        (schema,),
    ):
        found.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
        scales[f"{row['table_name']}.{row['column_name']}"] = int(row["numeric_scale"] or 0)
    problems = [
        problem for table, columns in CONTRACT.items() for problem in _problems(table, columns, found.get(table))
    ]
    if not problems:
        problems = [*_fractions(scales)]
    if not problems:
        place = quoted(session, schema)
        problems = [*_nulls(session, place), *_repeated_keys(session, place), *_missing_days(session, place, before)]
        problems += [*_spellings_of_ids(session, place)]
        problems += _numbers_too_large(session, place, scales["fct_transactions.transaction_amount"])
        problems += [] if allow_formula_ids else _formula_ids(session, place)
    _refuse(schema, problems)
    check_facts(session, schema, ranges)


def check_facts(session: Session, schema: str, ranges: Sequence[Range]) -> None:
    """Raises SourceError for facts in the ranges of dates that are there twice, or have no key.

    They are counted over all ranges together: what is rolled up at once has to be there once.
    """
    _refuse(schema, list(_repeated_facts(session, quoted(session, schema), ranges)) if ranges else [])


def _refuse(schema: str, problems: Sequence[str]) -> None:
    if problems:
        raise SourceError(
            "\n".join(
                [f"The star schema in schema {schema!r} breaks the source contract; nothing was computed.", *problems]
            )
        )


def _problems(table: str, columns: dict[str, tuple[str, ...]], found: dict[str, str] | None) -> list[str]:
    if found is None:
        return (
            []
            if table in OPTIONAL
            else [f"- {table}: the table is missing (SEGMENTATION_SOURCE_SCHEMA says where to look)."]
        )
    problems = []
    for column, kinds in columns.items():
        if column not in found:
            problems.append(
                f"- {table}.{column}: expected {WORDS[kinds]}, found no such column"
                f" (there are: {', '.join(sorted(found))})."
            )
        elif not _is_one_of(found[column], kinds):
            problems.append(f"- {table}.{column}: expected {WORDS[kinds]}, found {found[column]}.")
    return problems


def _is_one_of(data_type: str, kinds: tuple[str, ...]) -> bool:
    return data_type.upper().split("(")[0].strip() in kinds


def _fractions(scales: Mapping[str, int]) -> Iterator[str]:
    for column in CUSTOMER_KEYS:
        if scales[column]:
            yield f"- {column}: expected a whole number, found one with {scales[column]} decimals."


def _numbers_too_large(session: Session, schema: str, scale: int) -> Iterator[str]:
    """What the types let in and no sum or published column has room for."""
    for column in CUSTOMER_KEYS:
        table, name = column.split(".")
        (row,) = session.rows(f"select max({name}) as largest, min({name}) as smallest from {schema}.{table}")
        beyond = [row[side] for side in ("smallest", "largest") if row[side] and abs(int(row[side])) > LARGEST_KEY]
        if beyond:
            yield (
                f"- {column}: expected whole numbers that a BIGINT holds, found {beyond[-1]}; as a hash gives"
                " them, they fit when halved on both sides (hash(...) >> 1)."
            )
    table, name = "fct_transactions", "transaction_amount"
    (row,) = session.rows(f"select max({name}) as largest, min({name}) as smallest from {schema}.{table}")
    beyond = [row[side] for side in ("smallest", "largest") if row[side] and abs(row[side]) >= LARGEST_AMOUNT]
    if beyond:
        yield f"- {table}.{name}: expected amounts below {LARGEST_AMOUNT:,} either way, found {beyond[-1]:,}."
    if scale > FINEST_AMOUNT:
        (row,) = session.rows(
            f"select count(*) as n, min({name}) as example from {schema}.{table}"
            f" where {name} <> round({name}, {FINEST_AMOUNT})"
        )
        if row["n"]:
            yield (
                f"- {table}.{name}: expected at most {FINEST_AMOUNT} decimals, found more in {row['n']:,} rows, such as"
                f" {row['example']}; round them at the source."
            )


def _nulls(session: Session, schema: str) -> Iterator[str]:
    for table, columns in NEVER_NULL.items():
        counts = ", ".join(f"count({column}) as {column}" for column in columns)
        (row,) = session.rows(f"select count(*) as all_rows, {counts} from {schema}.{table}")
        for column in columns:
            if missing := row["all_rows"] - row[column]:
                found = f"NULL in {missing:,} of {row['all_rows']:,} rows"
                yield f"- {table}.{column}: expected a value in every row, found {found}."


def _repeated_keys(session: Session, schema: str) -> Iterator[str]:
    for table, column in UNIQUE.items():
        (row,) = session.rows(f"select count({column}) as n, count(distinct {column}) as keys from {schema}.{table}")
        if row["n"] > row["keys"]:
            found = f"{row['keys']:,} keys in {row['n']:,} rows"
            yield f"- {table}.{column}: expected a key of its own in every row, found {found}."


def _spellings_of_ids(session: Session, schema: str) -> Iterator[str]:
    """Nobody can say whether C1 and C1 with a blank after it are one customer; they would be published as one."""
    (row,) = session.rows(
        f"select count(distinct customer_id) as spellings, count(distinct {trimmed_sql('customer_id')}) as ids"
        f" from {schema}.dim_customer"
    )
    if row["spellings"] > row["ids"]:
        yield (
            "- dim_customer.customer_id: expected ids that differ in more than blanks and unseen characters, found"
            f" {row['spellings'] - row['ids']:,} that do not; write every version's id alike."
        )


def _formula_ids(session: Session, schema: str) -> Iterator[str]:
    """A key goes into the export files as it is, and a spreadsheet would run this one."""
    if ids := ids_that_run(session, schema, "dim_customer", "customer_id"):
        yield (
            f"- dim_customer.customer_id: expected ids that no spreadsheet runs, found {ids:,} that begin with = or @,"
            " or call something after + or -; give these customers other ids, or set allow_formula_ids: true under"
            " exports in the rules."
        )


def _repeated_facts(session: Session, schema: str, ranges: Sequence[Range]) -> Iterator[str]:
    """A file that was loaded twice doubles spend, and the rollup would agree with it."""
    dates = " or ".join(
        (f"transaction_date >= date '{first}' and " if first else "") + f"transaction_date < date '{end}'"
        for first, end in ranges
    )
    facts = f"{schema}.fct_transactions where ({dates})"
    (row,) = session.rows(
        "select count(*) as n, count(transaction_key) as filled, count(distinct transaction_key) as keys from " + facts
    )
    of = " and ".join(_label(*found) for found in ranges)
    month = "cast(date_trunc('month', transaction_date) as date)"
    if missing := row["n"] - row["filled"]:
        months = session.rows(
            f"select {month} as found_in, count(*) as n from {facts} and transaction_key is null group by 1 order by 1"
        )
        yield (
            f"- fct_transactions.transaction_key: expected a value in every row, found NULL in {missing:,} of"
            f" {row['n']:,} rows {of}{_by_month(months, ranges)}; fill them at the source."
        )
    if row["filled"] > row["keys"]:
        months = session.rows(
            f"select {month} as found_in, count(*) as n from (select transaction_date, count(*) over"
            f" (partition by transaction_key) as times from {facts} and transaction_key is not null) as facts"
            " where times > 1 group by 1 order by 1"
        )
        yield (
            "- fct_transactions.transaction_key: expected a key of its own in every row, found"
            f" {row['keys']:,} keys in {row['filled']:,} rows {of}{_by_month(months, ranges)}; remove the rows that"
            " were loaded twice."
        )


def _label(first: date | None, end: date) -> str:
    """Of whole months: `of 2025-11-01`, `of 2025-10-01 to 2025-11-01`, `before 2025-12-01`."""
    last = month_after(end, -1)
    if first is None:
        return f"before {end}"
    return f"of {first}" if first == last else f"of {first} to {last}"


def _by_month(rows: Sequence[Mapping[str, Any]], ranges: Sequence[Range]) -> str:
    """Where they are: the first three months, with the number of rows in each. Nothing where one month was asked."""
    if [first for first, _ in ranges] == [month_after(ranges[0][1], -1)]:
        return ""
    named = ", ".join(f"{row['found_in']}: {row['n']:,}" for row in rows[:3])
    return f" ({named}{f' and {len(rows) - 3} more months' if len(rows) > 3 else ''})"


def _missing_days(session: Session, schema: str, before: date) -> Iterator[str]:
    """A fact on a day that the calendar lacks, or has twice, would be lost or counted twice."""
    (facts,) = session.rows(
        "select cast(min(transaction_date) as date) as first_day, cast(max(transaction_date) as date) as last_day"
        f" from {schema}.fct_transactions where transaction_date < date '{before}'"
    )
    first, last = facts["first_day"], facts["last_day"]
    if first is None:
        return
    calendar = {
        row["full_day"]: row["n"]
        for row in session.rows(
            f"select cast(full_date as date) as full_day, count(*) as n from {schema}.dim_date"
            f" where full_date >= date '{first}' and full_date < date '{last + timedelta(days=1)}' group by 1"
        )
    }
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    for words, wrong in (
        ("missing", [day for day in days if day not in calendar]),
        ("more than once", [day for day in days if calendar.get(day, 0) > 1]),
    ):
        if wrong:
            yield (
                f"- dim_date.full_date: expected each day of the facts once, {first} to {last},"
                f" found {len(wrong):,} {words}, the first {wrong[0]}."
            )
