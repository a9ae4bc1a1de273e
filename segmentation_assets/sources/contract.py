"""The source contract: the tables and columns that the star schema has to have, of what kind, and what is true of them.

Checked before a run computes, in well under a second: counts, smallest and largest values, which both engines keep per
block. Facts that are there twice take a look at every key, and are looked for in the months of the run only.
"""

from collections.abc import Iterator
from datetime import date, timedelta

from segmentation_assets.months import as_of_date
from segmentation_assets.sources import SourceError
from segmentation_assets.sources.formulas import ids_that_run
from segmentation_assets.spelling import trimmed_sql
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


# A NULL here would leave the row out of every sum, or the customer out of every month, without a word.
NEVER_NULL = {
    "fct_transactions": ("transaction_date", "customer_key", "transaction_amount"),
    "dim_customer": ("customer_key", "customer_id", "valid_from"),
}
# A repeated key would count each of its facts more than once.
UNIQUE = {"dim_customer": "customer_key", "dim_merchant_category": "category_key"}


def check(
    session: Session,
    schema: str,
    before: date,
    months: tuple[date, date] | None = None,
    allow_formula_ids: bool = False,
) -> None:
    """Raises SourceError with one line per finding: table, column, expected and found.

    Facts on or after the date `before` are in no closed month, and need no day in the calendar yet. Facts that are
    there twice are looked for from the first of `months` to the end of the last, where they are given.
    """
    found: dict[str, dict[str, str]] = {}
    for row in session.rows(
        "select lower(table_name) as table_name, lower(column_name) as column_name, data_type"
        " from information_schema.columns where lower(table_schema) = lower(?)",
        (schema,),
    ):
        found.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
    problems = [
        problem for table, columns in CONTRACT.items() for problem in _problems(table, columns, found.get(table))
    ]
    if not problems:
        problems = [*_nulls(session, schema), *_repeated_keys(session, schema), *_missing_days(session, schema, before)]
        problems += [*_spellings_of_ids(session, schema)]
        problems += [] if allow_formula_ids else _formula_ids(session, schema)
    if not problems and months:
        problems = list(_repeated_facts(session, schema, *months))
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


def _repeated_facts(session: Session, schema: str, first: date, last: date) -> Iterator[str]:
    """A file that was loaded twice doubles spend, and the rollup would agree with it."""
    (row,) = session.rows(
        "select count(*) as n, count(transaction_key) as filled, count(distinct transaction_key) as keys"
        f" from {schema}.fct_transactions"
        f" where transaction_date >= date '{first}' and transaction_date < date '{as_of_date(last)}'"
    )
    of = f"of {first}" if first == last else f"of {first} to {last}"
    if missing := row["n"] - row["filled"]:
        yield (
            f"- fct_transactions.transaction_key: expected a value in every row, found NULL in {missing:,} of"
            f" {row['n']:,} rows {of}; fill them at the source."
        )
    if row["filled"] > row["keys"]:
        yield (
            "- fct_transactions.transaction_key: expected a key of its own in every row, found"
            f" {row['keys']:,} keys in {row['filled']:,} rows {of}; remove the rows that were loaded twice."
        )


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
