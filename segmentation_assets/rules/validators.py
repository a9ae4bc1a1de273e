"""What one value of a rule may be: the metrics, operators and orders there are, and a validator per kind.

Each validator returns the value as it was given or raises ValueError. Its words follow the refused value, so
they read `'spend' is no known metric; did you mean ...`, and they end with what to write instead.
"""

import difflib
import hashlib
import math
import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from segmentation_assets.spelling import code

Number = int | float


class Metric(NamedTuple):
    kind: Literal["amount", "count", "flag", "date"]
    nullable: bool = False
    highest: int | None = None  # of a count that has an end, as a bucket


# Published columns of customer_segment_history that a rule may name, whatever the rules say; metrics of their own come
# beside them. Counts are whole and never negative; refunds make every amount, shares included, possible below zero.
# NULL is what a customer without (enough) spend has.
METRICS = {
    "total_transactions": Metric("count"),
    "lifetime_value": Metric("amount"),
    "avg_transaction_value": Metric("amount", nullable=True),
    "tenure_months": Metric("count", nullable=True),
    "spend_last_90_days": Metric("amount"),
    "spend_prior_90_days": Metric("amount"),
    "spend_change_pct": Metric("amount", nullable=True),
    "avg_monthly_spend": Metric("amount"),
    "travel_spend_pct": Metric("amount", nullable=True),
    "necessities_spend_pct": Metric("amount", nullable=True),
    "lifetime_travel_spend_pct": Metric("amount", nullable=True),
    "lifetime_necessities_spend_pct": Metric("amount", nullable=True),
    "is_active": Metric("flag"),
}
NUMERIC_METRICS = tuple(name for name, metric in METRICS.items() if metric.kind != "flag")
# Made of avg_monthly_spend where a list is made, and no column of the history.
SHOWN_ONLY = "projected_annual_value"
OPERATORS = ("at_least", "at_most", "above", "below", "is")
ORDERS = ("highest_first", "lowest_first")
# How long a campaign's holdout stands before it is drawn anew. The macro `epoch_of` says the same.
EPOCHS = ("year", "quarter", "never")
# How a campaign reaches people, and whether that takes an e-mail address. The macro `channels` says the same.
CHANNELS = {"email": True, "ads": True, "mail": False, "phone": False, "app": False}
# Three of them and some words make the name of a working column, which may have 255.
LONGEST_COLUMN_NAME = 60
# What DuckDB or Snowflake does not take for the name of a column unless it stands in quotes.
RESERVED_WORDS = frozenset(
    [
        "account",
        "all",
        "alter",
        "analyse",
        "analyze",
        "and",
        "anti",
        "any",
        "array",
        "as",
        "asc",
        "asof",
        "asymmetric",
        "at",
        "authorization",
        "between",
        "bigint",
        "binary",
        "bit",
        "boolean",
        "both",
        "by",
        "case",
        "cast",
        "char",
        "character",
        "check",
        "coalesce",
        "collate",
        "collation",
        "column",
        "columns",
        "concurrently",
        "connect",
        "connection",
        "constraint",
        "create",
        "cross",
        "current",
        "current_date",
        "current_time",
        "current_timestamp",
        "current_user",
        "database",
        "date",
        "dec",
        "decimal",
        "default",
        "deferrable",
        "delete",
        "desc",
        "describe",
        "distinct",
        "do",
        "double",
        "drop",
        "else",
        "end",
        "except",
        "exists",
        "extract",
        "false",
        "fetch",
        "float",
        "following",
        "for",
        "foreign",
        "freeze",
        "from",
        "full",
        "generated",
        "glob",
        "grant",
        "group",
        "grouping",
        "grouping_id",
        "gscluster",
        "having",
        "ilike",
        "in",
        "increment",
        "initially",
        "inner",
        "inout",
        "insert",
        "int",
        "integer",
        "intersect",
        "interval",
        "into",
        "is",
        "isnull",
        "issue",
        "join",
        "lambda",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "map",
        "minus",
        "national",
        "natural",
        "nchar",
        "none",
        "not",
        "notnull",
        "null",
        "nullif",
        "number",
        "numeric",
        "of",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "organization",
        "out",
        "outer",
        "overlaps",
        "overlay",
        "pivot",
        "pivot_longer",
        "pivot_wider",
        "placing",
        "position",
        "positional",
        "precision",
        "primary",
        "qualify",
        "real",
        "references",
        "regexp",
        "returning",
        "revoke",
        "right",
        "rlike",
        "row",
        "rows",
        "sample",
        "schema",
        "select",
        "semi",
        "set",
        "setof",
        "show",
        "similar",
        "smallint",
        "some",
        "start",
        "struct",
        "substring",
        "summarize",
        "symmetric",
        "table",
        "tablesample",
        "text",
        "then",
        "time",
        "timestamp",
        "to",
        "trailing",
        "treat",
        "trigger",
        "trim",
        "true",
        "try_cast",
        "tuple",
        "union",
        "unique",
        "unpack",
        "unpivot",
        "update",
        "using",
        "value",
        "values",
        "varchar",
        "variadic",
        "verbose",
        "view",
        "when",
        "whenever",
        "where",
        "window",
        "with",
    ]
)
# Snowflake and DuckDB take 255 and more; 50 keeps audience_<name> readable as a file name and an asset key.
LONGEST_CAMPAIGN_NAME = 50


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """The nearest known word, if one is near, and all of them."""
    by_spelling = {name.casefold(): name for name in known}
    nearest = difflib.get_close_matches(str(word).casefold(), by_spelling, n=1)
    guess = f"did you mean {by_spelling[nearest[0]]!r}? " if nearest else ""
    return f"{guess}known: {', '.join(by_spelling.values())}"


def spelling(name: str) -> str:
    """The same for two names that differ only in case or blanks."""
    return "".join(name.split()).casefold()


def number(value: object) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is not a number; write it plainly, such as 5000 or 0.5 (no quotes, no separators, no 1e4)")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("is not a finite number; write a plain number, or leave the rule out")
    if abs(value) > LARGEST_BOUND:
        raise ValueError(f"is beyond {LARGEST_BOUND:,} either way, which no metric reaches; write a smaller number")
    return value


def between(low: Number, high: Number) -> Callable[[object], Number]:
    def check(value: object) -> Number:
        if not low <= number(value) <= high:
            raise ValueError(f"is out of range; write a number from {low} to {high}")
        return number(value)

    return check


def whole(low: int, high: int | None = None) -> Callable[[object], int]:
    wanted = f"a whole number from {low} {'up' if high is None else f'to {high}'}"

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"is not a whole number; write {wanted}")
        if value < low or (high is not None and value > high):
            raise ValueError(f"is out of range; write {wanted}")
        return value

    return check


def positive_psi(value: object) -> Number:
    if not 0 < number(value) <= 10:
        raise ValueError("is out of range; write a number above 0 and up to 10 (0.25 is the usual line)")
    return number(value)


def share_band(value: object) -> tuple[Number, Number]:
    fix = "write two ascending numbers from 0 to 100, such as [10, 15]"
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"is not a pair; {fix}")
    try:
        low, high = (number(end) for end in value)
    except ValueError as error:
        raise ValueError(f"holds something that is not a finite number; {fix}") from error
    if not 0 <= low < high <= 100:
        raise ValueError(f"is not an ascending band within 0 to 100; {fix}")
    return low, high


# A sentence or two, shown in one cell of a table; a name heads a column.
LONGEST_TEXT, LONGEST_NAME = 2_000, 200
# A card scheme has some 300 merchant categories; a list of actions is read out in a meeting.
MOST_ITEMS = 1_000
# Beyond every amount of the source contract (a hundred billion), summed over a lifetime.
LARGEST_BOUND = 10**15


def text(value: object) -> str:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"has {len(value):,} characters; shorten it to {LONGEST_TEXT:,} at most")
    if not isinstance(value, str):
        raise ValueError("is not text; put it in quotes if YAML reads it as something else")
    if not value.strip():
        raise ValueError("is empty; write some text")
    return value


def plain_name(value: object) -> str:
    """A name that means the same as a SQL literal on both engines: Snowflake reads backslashes as escapes."""
    name = text(value)
    if "\\" in name or not name.isprintable():
        raise ValueError("holds a backslash, a line break or another invisible character; remove it")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"has {len(name):,} characters; shorten it to {LONGEST_NAME} at most")
    return name


def one_of(known: tuple[str, ...], noun: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"is no known {noun}; {did_you_mean(value, known)}")
        return value

    return check


def column_name(value: object) -> str:
    """Of a metric, a window or a group: it becomes a column, or a part of its name, on both engines."""
    name = text(value)
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).lstrip("_0123456789").rstrip("_") or "my_metric"
        raise ValueError(f"cannot name a column; use lower snake case, such as {plain[:LONGEST_COLUMN_NAME]!r}")
    if len(name) > LONGEST_COLUMN_NAME:
        raise ValueError(f"has {len(name)} characters; shorten it to {LONGEST_COLUMN_NAME} at most")
    if name in RESERVED_WORDS:
        raise ValueError(f"is a word of SQL; call it something else, such as {f'my_{name}'!r}")
    return name


def campaign_name(value: object) -> str:
    name = text(value)
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).lstrip("_0123456789") or "spring_offer"
        raise ValueError(
            "cannot name the table audience_<name>; use lower snake case, such as "
            f"{plain[:LONGEST_CAMPAIGN_NAME].strip('_')!r}"
        )
    if len(name) > LONGEST_CAMPAIGN_NAME:
        raise ValueError(f"has {len(name)} characters; shorten it to {LONGEST_CAMPAIGN_NAME} at most")
    return name


def platform_code(value: object) -> str:
    code = text(value)
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) or len(code) > LONGEST_CAMPAIGN_NAME:
        raise ValueError(
            f"is no code; use up to {LONGEST_CAMPAIGN_NAME} small letters and digits with single dashes between, such"
            f" as {neutral_code('')!r}, or leave it out"
        )
    return code


def neutral_code(campaign: str) -> str:
    """The same for the same campaign everywhere, and nothing that a person could read out of it."""
    return f"audience-{hashlib.sha256(campaign.encode()).hexdigest()[:6]}"


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false; write one of them, without quotes")
    return value


def a_list(value: object) -> object:
    if not isinstance(value, list):
        raise ValueError("is not a list; write [a, b] or one '- item' per line, or leave the key out")
    if len(value) > MOST_ITEMS:
        raise ValueError(f"holds {len(value):,} items; shorten it to {MOST_ITEMS:,} at most")
    return value


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(f"names {twice[0]!r} twice; remove one")
    return names


def distinct_codes(names: tuple[str, ...]) -> tuple[str, ...]:
    """By what the warehouse compares: case and blanks around a name do not count."""
    codes = [code(name) for name in names]
    twice = [i for i, one in enumerate(codes) if one in codes[:i]]
    if twice:
        name, first = names[twice[0]], names[codes.index(codes[twice[0]])]
        other = "" if name == first else f", once as {first!r} (case and blanks do not count)"
        raise ValueError(f"names {name!r} twice{other}; remove one")
    return names


def not_empty_statuses(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("is empty; name at least one status")
    return names


def not_empty(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("is empty; name at least one category")
    return names
