"""The rules' star_schema: where a company's tables and columns are, and which SQL may stand for a column."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast
from zoneinfo import available_timezones

from pydantic import Field, PlainValidator

from segmentation_assets.rules.schema import Rule
from segmentation_assets.rules.source_contract import COLUMNS, IN_FACTS, ONE_OF, WORDS_FOR_TABLES
from segmentation_assets.rules.validators import did_you_mean, text

# A name as it is, or in double quotes; up to three of them with dots between.
_NAME = r'(?:[A-Za-z_][\w$]*|"[^".\\]+")'
_PLACE = re.compile(rf"{_NAME}(?:\.{_NAME}){{0,2}}")
_DIALECTS = ("duckdb", "snowflake")
# What makes of the columns of one row one value, the same whenever it is asked.
_FUNCTIONS = frozenset((
    "abs", "attimezone", "case", "cast", "ceil", "coalesce", "concat", "concatws", "contains", "converttimezone",
    "date", "dateadd", "datefromparts", "datesub", "datetrunc", "decode", "decodecase", "endswith", "floor",
    "fromtimezone", "greatest", "hex", "if", "initcap", "least", "left", "length", "lower", "ltrim", "md5", "mod",
    "nullif", "nvl2", "pad", "regexpextract", "regexplike", "regexpreplace", "replace", "reverse", "right", "round",
    "rtrim", "safedivide", "sign", "splitpart", "startswith", "strposition", "strtodate", "strtotime", "strtounix",
    "substring", "timestampadd", "timestampfromparts", "timestamptrunc", "tochar", "todate", "tonumber", "translate",
    "trim", "trunc", "trycast", "tsordstodate", "tsordstotimestamp", "unicode", "unixtotime", "upper", "zeroifnull",
    "try", "datetotimestamp", "timestamp", "extract", "year", "month", "day", "cbrt", "sqrt", "nvl", "and", "or", "xor",
    "jsonextractscalar", "anonymous",
))  # fmt: skip
# Of functions that sqlglot has no name for, and those that it takes for one with another name on the other engine.
_ANONYMOUS = frozenset((
    "make_date", "make_timestamp", "epoch_ms", "to_timestamp_ntz", "to_timestamp_tz", "to_timestamp_ltz",
    "to_timestamp", "try_strptime", "strptime", "try_to_date", "try_to_number", "try_to_decimal", "try_to_timestamp",
    "to_decimal", "to_numeric", "to_varchar", "to_number", "to_date", "hash", "timezone", "lpad", "rpad", "div0",
    "iff", "concat_ws", "strip_accents", "nfc_normalize",
))  # fmt: skip


def a_place(value: object) -> str:
    name = text(value)
    if not _PLACE.fullmatch(name):
        raise ValueError(
            "is no name of a table; write table, schema.table or database.schema.table, a name with other signs than"
            " letters, digits and _ in double quotes"
        )
    return name


def one_name(value: object) -> str:
    name = text(value)
    if not re.fullmatch(_NAME, name):
        raise ValueError("is no name; write letters, digits and _, or put it in double quotes within the quotes")
    return name


def a_time_zone(value: object) -> str:
    name = text(value)
    if name not in available_timezones():
        raise ValueError(f"is no time zone of the IANA database, as Europe/Berlin; {_near(name)}")
    return name


def _near(name: str) -> str:
    return did_you_mean(name, sorted(zone for zone in available_timezones() if "/" in zone)).partition("known:")[0] or (
        "write the continent and a city"
    )


def expression(value: object) -> str:
    """SQL that makes one value of one row's columns, on one engine or the other."""
    sql = text(value)
    found = [_wrong(sql, dialect) for dialect in _DIALECTS]
    if all(found):
        raise ValueError(str(found[0]))
    return sql


def columns_of(sql: str) -> list[str]:
    """The names of the columns that an expression reads, as they are written."""
    from sqlglot import exp

    for dialect in _DIALECTS:
        if _wrong(sql, dialect) is None:
            return [column.name for column in _parsed(sql, dialect).find_all(exp.Column)]
    return []


def _parsed(sql: str, dialect: str) -> Any:
    import sqlglot

    return sqlglot.parse_one(f"select ({sql}) as value from a_table", dialect=dialect)


def _wrong(sql: str, dialect: str) -> str | None:
    """Why it may not stand for a column, or None."""
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    bounded = "; write a column, or an expression over the table's columns, such as AMOUNT_CENTS / 100.0"
    if any(sign in sql for sign in ("{{", "{%", "{#", "--", "/*", "$$", ";", "\\")):
        return f"holds a comment, a backslash, a semicolon, or what dbt would take for Jinja{bounded}"
    try:
        statement = _parsed(sql, dialect)
    except (SqlglotError, RecursionError) as error:
        return f"is no SQL expression ({_first_line(str(error))}){bounded}"
    if not isinstance(statement, exp.Select) or len(statement.expressions) != 1:
        return f"is more than one expression{bounded}"
    value = statement.expressions[0]
    if any(statement.args.get(part) for part in ("joins", "where", "group", "having", "qualify", "order", "limit")):
        return f"is more than one expression{bounded}"
    for node in value.walk():
        if isinstance(node, exp.Query | exp.Subquery | exp.Exists | exp.DDL | exp.Command | exp.Placeholder):
            return f"holds a query{bounded}"
        if isinstance(node, exp.Star | exp.Parameter | exp.SessionParameter | exp.Lambda | exp.Window | exp.AggFunc):
            return f"holds {node.sql(dialect)[:40]!r}, which is no value of one row{bounded}"
        if isinstance(node, exp.Column) and node.table:
            return f"names {node.sql(dialect)!r} with a table before the column; write the column alone"
        if isinstance(node, exp.Func) and not _is_allowed(node):
            return (
                f"calls {node.sql_name().lower() if not isinstance(node, exp.Anonymous) else node.name}, which is none"
                " of the functions that make one value of one row; make a view with it, and map the view"
            )
    return None


def _is_allowed(node: Any) -> bool:
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        return node.name.lower() in _ANONYMOUS
    return type(node).__name__.lower() in _FUNCTIONS


def _first_line(message: str) -> str:
    return re.sub(r"\x1b\[\d*m", "", message.splitlines()[0] if message else "it does not parse")[:120]


Expression = Annotated[str, PlainValidator(expression)]
Place = Annotated[str, PlainValidator(a_place)]
PlainPlace = Annotated[str, PlainValidator(one_name)]


class MappedTable(Rule):
    """A table or view of the company's. Without `columns` its columns have the names of the contract; with them, each
    column of the contract is named, or is what it is without (rules/source_contract.py)."""

    from_: Place | None = Field(default=None, alias="from")
    columns: dict[str, Expression] | None = None


class StarSchema(Rule):
    """Where the company's star schema is, and what its columns are called. Tables that are not named are as the source
    contract has them; one may be a word: a calendar is `generated`, categories are `in_facts`."""

    database: PlainPlace | None = None
    schema_: PlainPlace | None = Field(default=None, alias="schema")
    time_zone: Annotated[str, PlainValidator(a_time_zone)] = "UTC"
    # Each a MappedTable or a word: rules/load.py reads them one by one, so that each problem is told by its place.
    tables: dict[str, Any] = Field(default_factory=dict)


def table_problems(tables: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with which tables and columns are named, below star_schema.tables."""
    if not isinstance(tables, dict) or not tables:
        yield (), f"is no set of tables; write one of {', '.join(COLUMNS)} and where it is, a line each"
        return
    for table, said in cast("dict[Any, Any]", tables).items():
        if table not in COLUMNS:
            yield (table,), f"is no table of the source contract; {did_you_mean(table, COLUMNS)}"
        elif isinstance(said, dict):
            yield from (((table, *where), words) for where, words in _column_problems(table, cast("Any", said)))
        elif said not in (words := WORDS_FOR_TABLES.get(table, ())):
            yield (
                (table,),
                f"{said!r} says no place; write from: and columns:{''.join(f', or {word}' for word in words)}",
            )
    facts = cast("dict[Any, Any]", tables).get("fct_transactions")
    category = (facts.get("columns") or {}).get("merchant_category_key") if isinstance(facts, dict) else None
    if cast("dict[Any, Any]", tables).get("dim_merchant_category") == IN_FACTS and not category:
        yield (
            ("dim_merchant_category",),
            "in_facts takes the categories' names from the facts, and no column of the facts is named; add"
            " merchant_category_key to the columns of fct_transactions, or write none where there are no categories",
        )


def _column_problems(table: str, said: Mapping[Any, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    columns = said.get("columns")
    if columns is None:
        return
    if not isinstance(columns, dict) or not columns:
        yield ("columns",), "is no set of columns; write a column of the contract and yours, a line each"
        return
    known = COLUMNS[table]
    for column in cast("dict[Any, Any]", columns):
        if column not in known:
            yield ("columns", column), f"is no column of {table}; {did_you_mean(column, known)}"
    for column, said_of_it in known.items():
        if said_of_it.left_out is None and column not in columns:
            yield ("columns", column), "is missing; name the column of yours, or SQL over them, that gives it"
    if table in ONE_OF and not any(column in columns for column in ONE_OF[table]):
        yield ("columns",), f"says not who was contacted; add {' or '.join(ONE_OF[table])}"
