"""The source contract: the tables and columns that the star schema has to have, of what kind, and what is true of them.

Checked before a run computes, with one statement per table. A run reads the facts that it rolls up, once, and no
others: those before were read when they were rolled up. `make check-source` reads all.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

from segmentation_assets.months import month_after
from segmentation_assets.rules.source_contract import (
    COLUMNS,
    CONTRACT,
    DAY,
    ONE_OF,
    OPTIONAL,
    SAID_IN_A_WORD,
    WORDS,
    WORDS_FOR_TABLES,
)
from segmentation_assets.rules.star_schema import columns_of
from segmentation_assets.sources import SourceError
from segmentation_assets.sources.formulas import ids_that_run
from segmentation_assets.sources.star_schema import FoundColumn, StarSchema, is_double, is_number, is_text, is_zoned
from segmentation_assets.spelling import trimmed_sql
from segmentation_assets.warehouse.session import first_line, first_line_of_a_row

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


Found = Mapping[str, Mapping[str, FoundColumn] | None]
Range = tuple[date | None, date]  # first day, and the day after the last; None is the very first fact


def check(
    star: StarSchema,
    before: date,
    ranges: Sequence[Range] = (),
    allow_formula_ids: bool = False,
    *,
    reads_facts: bool = True,
) -> None:
    """Raises SourceError with one line per finding: table, column, expected and found.

    Facts on or after the date `before` are in no closed month, and need no day in the calendar yet. Single facts are
    looked at in the `ranges` of dates, as by check_facts; without `reads_facts` there alone.
    """
    found = star.found_columns()
    problems = [problem for table in CONTRACT for problem in table_problems(star, table, found)]
    if not problems:
        problems = [*fraction_problems(star, found)]
    if not problems:
        problems = list(value_problems(star, found, before, allow_formula_ids, reads_facts=reads_facts))
    _refuse(star, problems)
    check_facts(star, ranges)


def value_problems(
    star: StarSchema, found: Found, before: date, allow_formula_ids: bool, *, reads_facts: bool = True
) -> Iterator[str]:
    """What is wrong in a star schema whose tables, columns and types are right."""
    profiles = Profiles(star, before=before, reads_facts=reads_facts)
    yield from _computed(star, _nulls(profiles), _repeated_keys(profiles), _spellings_of_ids(profiles))
    yield from range_problems(star, found, before, allow_formula_ids, profiles)


def range_problems(
    star: StarSchema, found: Found, before: date, allow_formula_ids: bool, profiles: "Profiles | None" = None
) -> Iterator[str]:
    """Of these, values that are there and that a month cannot be made of."""
    profiles = profiles or Profiles(star, before=before)
    decimals = _scale(star, "fct_transactions", "transaction_amount", found)
    asked = [_missing_days(profiles), _numbers_too_large(profiles, decimals)]
    yield from _computed(star, *asked, *([] if allow_formula_ids else [_formula_ids(star)]))


@dataclass(frozen=True)
class Profiles:
    """Counts, smallest and largest values of a table, asked for in one statement when the first of them is needed."""

    star: StarSchema
    before: date | None = None  # the first day that is in no closed month
    dates: str = ""  # a condition on the facts
    reads_facts: bool = True

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Nothing where the facts are not read."""
        if not self.reads_facts:
            return {}
        sql = self.star.sql("fct_transactions")
        closed = "transaction_date"
        if self.before:
            closed = f"case when transaction_date < date '{self.before}' then transaction_date end"
        keys, undated = "", ""
        if self.dates:
            keys = ", count(transaction_key) as filled, count(distinct transaction_key) as transaction_keys"
            undated = f" + (select count(*) from {sql} where transaction_date is null)"
        (row,) = self.star.session.rows(
            f"select count(*){undated} as all_rows, count(*) as n, count(transaction_date) as transaction_date,"
            " count(customer_key) as customer_key, count(transaction_amount) as transaction_amount,"
            " min(customer_key) as smallest_customer_key, max(customer_key) as largest_customer_key,"
            " min(transaction_amount) as smallest_amount, max(transaction_amount) as largest_amount,"
            f" cast(min({closed}) as date) as first_day, cast(max({closed}) as date) as last_day{keys}"
            f" from {sql}{f' where {self.dates}' if self.dates else ''}"
        )
        return row

    @cached_property
    def customers(self) -> Mapping[str, Any]:
        """And of the categories, which are few."""
        categories = self.star.sql("dim_merchant_category")
        (row,) = self.star.session.rows(
            "select count(*) as all_rows, count(customer_key) as customer_key, count(customer_id) as customer_id,"
            " count(valid_from) as valid_from, count(distinct customer_key) as customer_keys,"
            " min(customer_key) as smallest_customer_key, max(customer_key) as largest_customer_key,"
            f" count(distinct customer_id) as spellings, count(distinct {trimmed_sql('customer_id')}) as ids,"
            f" (select count(category_key) from {categories}) as category_key,"
            f" (select count(distinct category_key) from {categories}) as category_keys"
            f" from {self.star.sql('dim_customer')}"
        )
        return row

    def of(self, table: str) -> Mapping[str, Any]:
        return self.facts if table == "fct_transactions" else self.customers


def _computed(star: StarSchema, *asked: Iterator[str]) -> Iterator[str]:
    """A company's SQL may fail in some row and not in others: said once, in the engine's words."""
    try:
        for problems in asked:
            yield from problems
    except star.session.engine_error as error:
        if star.rules.star_schema is None:
            raise
        yield f"- the SQL of star_schema cannot be computed for every row: {first_line_of_a_row(error)}."


def check_facts(star: StarSchema, ranges: Sequence[Range]) -> None:
    """Raises SourceError for facts in the ranges of dates that no month can be made of, or are there twice.

    They are counted over all ranges together: what is rolled up at once has to be there once. Those without a date are
    in none, and are looked for everywhere, which takes what an engine keeps per block.
    """
    if not ranges:
        return
    profiles = Profiles(star, dates=_dates(star, ranges))

    def problems() -> Iterator[str]:
        yield from _nulls(profiles, ["fct_transactions"])
        yield from _missing_days(profiles)
        yield from _numbers_too_large(profiles, _decimals(star), [CUSTOMER_KEYS[0]])
        yield from _repeated_facts(profiles, ranges)

    _refuse(star, list(_computed(star, problems())))


def _decimals(star: StarSchema) -> int:
    """Of the facts' amounts."""
    if star.mapping("fct_transactions") is not None:
        return _scale(star, "fct_transactions", "transaction_amount", {})
    return _scale_in((star.present("fct_transactions") or {}).get("transaction_amount", ""))


def _dates(star: StarSchema, ranges: Sequence[Range]) -> str:
    dates = " or ".join(
        (f"transaction_date >= date '{first}' and " if first else "")
        + f"transaction_date < date '{end}'{star.and_occurred(first, end)}"
        for first, end in ranges
    )
    return f"({dates})"


def _refuse(star: StarSchema, problems: Sequence[str]) -> None:
    if problems:
        raise SourceError(
            "\n".join(
                [
                    f"The star schema in schema {star.schema!r} breaks the source contract; nothing was computed.",
                    *problems,
                ]
            )
        )


def table_problems(star: StarSchema, table: str, found: Found) -> Iterator[str]:
    if star.mapping(table) in SAID_IN_A_WORD:
        return
    columns = found[table]
    if columns is None:
        if table not in OPTIONAL:
            yield _missing_table(star, table)
    elif star.mapping(table) is None:
        for column, kinds in CONTRACT[table].items():
            if column not in columns and COLUMNS[table][column].may_be_absent:
                continue
            if column not in columns:
                yield (
                    f"- {table}.{column}: expected {WORDS[kinds]}, found no such column"
                    f" (there are: {', '.join(sorted(columns))})."
                )
            elif not _is_one_of(columns[column].data_type, kinds):
                yield f"- {table}.{column}: expected {WORDS[kinds]}, found {columns[column].data_type}."
        if table in ONE_OF and not any(column in columns for column in ONE_OF[table]):
            there = ", ".join(sorted(columns))
            yield f"- {table}: expected {' or '.join(ONE_OF[table])}, found neither (there are: {there})."
    else:
        yield from _mapping_problems(star, table, columns)


def _missing_table(star: StarSchema, table: str) -> str:
    if star.mapping(table) is not None:
        named = f"{star.place(table)}{_or_unread(star)}"
        return f"- {table}: there is no table or view {named}; correct star_schema.tables.{table}.from."
    words = "".join(f", or write {table}: {word}" for word in WORDS_FOR_TABLES.get(table, ()))
    fix = f"say in star_schema.tables where it is{words}"
    if star.rules.star_schema is None:
        fix = "SEGMENTATION_SOURCE_SCHEMA says where to look, SEGMENTATION_RULES may map it: docs/your_data.md"
    return f"- {table}: the table is missing{_or_unread(star)} ({fix})."


def _or_unread(star: StarSchema) -> str:
    """Snowflake's catalog shows a role what it may read, and nothing else."""
    if not star.session.folds_names:
        return ""
    role = star.settings.snowflake.role or "the user's default role"
    return f", or role {role} may not read it (usage on its database and schema, select on it: docs/snowflake.md)"


def _mapping_problems(star: StarSchema, table: str, columns: Mapping[str, FoundColumn]) -> Iterator[str]:
    """What the company's SQL for the contract's columns reads that is not there, and gives that cannot be used."""
    expressions = star.expressions(table)
    broken = False
    for column, given in expressions.items():
        unknown = [name for name in columns_of(given) if name.lower() not in columns]
        for name in dict.fromkeys(unknown):
            broken = True
            near = difflib.get_close_matches(name.lower(), columns, n=1)
            yield (
                f"- {table}.{column}: {star.place(table)} has no column {name}"
                f"{f'; did you mean {near[0]}?' if near else ''} (there are: {', '.join(sorted(columns))})."
            )
    if broken:
        return
    try:
        types = star.types(table)
    except star.session.engine_error as error:
        yield f"- {table}: the SQL of its columns cannot be computed: {first_line(error)}."
        return
    for column in expressions:
        if words := _unfit(COLUMNS[table][column].kind, types.get(column, ""), expressions[column]):
            yield f"- {table}.{column}: expected {words}"


def _unfit(kind: str, data_type: str, given: str) -> str | None:
    """Why the contract's column cannot be made of an expression of that type, with the fix; None where it can."""
    found = f"found {data_type.upper()} ({given})"
    if kind == "day" and not (is_zoned(data_type) or is_number(data_type) or _is_one_of(data_type, DAY)):
        return f"a date, a timestamp or a number as 20251130, {found}; write cast({given} as date)."
    if kind == "money" and not (is_double(data_type) or is_number(data_type)):
        return f"a number, {found}; write cast({given} as decimal(18, 4))."
    if kind in ("key", "customer_key") and not (is_text(data_type) or is_number(data_type) or is_double(data_type)):
        return f"a whole number or text, {found}; write cast({given} as varchar)."
    if kind == "customer_key" and is_double(data_type):
        return f"a whole number or text, {found}; write cast({given} as bigint)."
    if kind == "flag" and data_type != "boolean":
        return f"true or false, {found}; write a comparison, such as {given} = {_yes(data_type)}."
    return None


def _yes(data_type: str) -> str:
    return "1" if is_number(data_type) else "'Y'"


def _is_one_of(data_type: str, kinds: tuple[str, ...]) -> bool:
    return data_type.upper().split("(")[0].strip() in kinds


def fraction_problems(star: StarSchema, found: Found) -> Iterator[str]:
    for column in CUSTOMER_KEYS:
        table, name = column.split(".")
        scale = _scale(star, table, name, found)
        if scale:
            yield f"- {column}: expected a whole number, found one with {scale} decimals."


def _scale(star: StarSchema, table: str, column: str, found: Found) -> int:
    """Decimals that the type of a number has; of a double, one more than there may be."""
    if star.mapping(table) is None:
        columns = found[table]
        return columns[column].scale if columns else 0
    return _scale_in(star.types(table).get(column, ""))


def _scale_in(kind: str) -> int:
    if is_double(kind):
        return FINEST_AMOUNT + 1
    return int(kind.rstrip(")").split(",")[1]) if "," in kind else 0


def _numbers_too_large(profiles: Profiles, decimals: int, keys: Sequence[str] = CUSTOMER_KEYS) -> Iterator[str]:
    """What the types let in and no sum or published column has room for."""
    star = profiles.star
    for column in keys:
        row = profiles.of(column.split(".")[0])
        ends = [row.get(f"{side}_customer_key") for side in ("smallest", "largest")]
        beyond = [end for end in ends if end and abs(int(end)) > LARGEST_KEY]
        if beyond:
            yield (
                f"- {column}: expected whole numbers that a BIGINT holds, found {beyond[-1]}; as a hash gives"
                " them, they fit when halved on both sides (hash(...) >> 1)."
            )
    table, name = "fct_transactions", "transaction_amount"
    ends = [profiles.facts.get(f"{side}_amount") for side in ("smallest", "largest")]
    # So written, a double that is no number is beyond, too.
    beyond = [end for end in ends if end and not abs(end) < LARGEST_AMOUNT]
    if beyond:
        yield f"- {table}.{name}: expected amounts below {LARGEST_AMOUNT:,} either way, found {beyond[-1]:,}."
    elif profiles.facts and decimals > FINEST_AMOUNT:
        is_a_double = star.mapping(table) is not None and is_double(star.types(table)[name])
        # What a double cannot say exactly differs by far less than what somebody would have meant.
        differs = f"abs({name} - round({name}, {FINEST_AMOUNT})) > 0.000001" if is_a_double else (
            f"{name} <> round({name}, {FINEST_AMOUNT})"
        )  # fmt: skip
        within = f" and {profiles.dates}" if profiles.dates else ""
        (row,) = star.session.rows(
            f"select count(*) as n, min({name}) as example from {star.sql(table)} where {differs}{within}"
        )
        if row["n"]:
            yield (
                f"- {table}.{name}: expected at most {FINEST_AMOUNT} decimals, found more in {row['n']:,} rows, such as"
                f" {row['example']}; round them at the source"
                f"{', or in the mapping: round(..., 2)' if star.mapping(table) is not None else ''}."
            )


def _nulls(profiles: Profiles, tables: Sequence[str] = tuple(NEVER_NULL)) -> Iterator[str]:
    for table in tables:
        row = profiles.of(table)
        for column in NEVER_NULL[table] if row else ():
            # Rows without a date are in no range of dates.
            rows = row["n"] if table == "fct_transactions" and column != "transaction_date" else row["all_rows"]
            if missing := rows - row[column]:
                found = f"NULL in {missing:,} of {rows:,} rows"
                yield f"- {table}.{column}: expected a value in every row, found {found}."


def _repeated_keys(profiles: Profiles) -> Iterator[str]:
    for table, column in UNIQUE.items():
        row = profiles.of(table)
        if row[column] > row[f"{column}s"]:
            found = f"{row[f'{column}s']:,} keys in {row[column]:,} rows"
            yield f"- {table}.{column}: expected a key of its own in every row, found {found}."


def _spellings_of_ids(profiles: Profiles) -> Iterator[str]:
    """Nobody can say whether C1 and C1 with a blank after it are one customer; they would be published as one."""
    row = profiles.customers
    if row["spellings"] > row["ids"]:
        yield (
            "- dim_customer.customer_id: expected ids that differ in more than blanks and unseen characters, found"
            f" {row['spellings'] - row['ids']:,} that do not; write every version's id alike."
        )


def _formula_ids(star: StarSchema) -> Iterator[str]:
    """A key goes into the export files as it is, and a spreadsheet would run this one."""
    if ids := ids_that_run(star.session, star.sql("dim_customer"), "customer_id"):
        yield (
            f"- dim_customer.customer_id: expected ids that no spreadsheet runs, found {ids:,} that begin with = or @,"
            " or call something after + or -; give these customers other ids, or set allow_formula_ids: true under"
            " exports in the rules."
        )


def _repeated_facts(profiles: Profiles, ranges: Sequence[Range]) -> Iterator[str]:
    """A file that was loaded twice doubles spend, and the rollup would agree with it."""
    session, row = profiles.star.session, profiles.facts
    facts = f"{profiles.star.sql('fct_transactions')} where {profiles.dates}"
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
    if row["filled"] > row["transaction_keys"]:
        months = session.rows(
            f"select {month} as found_in, count(*) as n from (select transaction_date, count(*) over"
            f" (partition by transaction_key) as times from {facts} and transaction_key is not null) as facts"
            " where times > 1 group by 1 order by 1"
        )
        yield (
            "- fct_transactions.transaction_key: expected a key of its own in every row, found"
            f" {row['transaction_keys']:,} keys in {row['filled']:,} rows {of}{_by_month(months, ranges)}; remove the"
            " rows that were loaded twice."
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


def _missing_days(profiles: Profiles) -> Iterator[str]:
    """A fact on a day that the calendar lacks, or has twice, would be lost or counted twice."""
    session, star = profiles.star.session, profiles.star
    first, last = profiles.facts.get("first_day"), profiles.facts.get("last_day")
    if first is None or last is None:
        return
    calendar = {
        row["full_day"]: row["n"]
        for row in session.rows(
            f"select cast(full_date as date) as full_day, count(*) as n from {star.sql('dim_date')}"
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
