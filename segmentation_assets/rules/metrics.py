"""The language of metrics: named windows, groups of categories, and what is measured over them.

dbt makes SQL of the same definitions (macros/metrics). Here is what a definition may say, and what the rest of the
product has to know of each metric: its type, whether it may be NULL, and what it is in words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, PlainValidator, model_validator

from segmentation_assets.rules.schema import Criteria, Rule, Text
from segmentation_assets.rules.validators import (
    METRICS,
    ORDERS,
    Metric,
    Number,
    column_name,
    did_you_mean,
    number,
    one_of,
    whole,
)

LONGEST_WINDOW = 3660  # ten years; a window that long is nearly a lifetime, which needs none
MOST = {"windows": 50, "metrics": 100, "category_groups": 50}
DEEPEST = 20  # metrics upon metrics
PUBLISHED_WINDOWS = ("last_90_days", "prior_90_days")
# How far before an as-of date they begin, in days.
PUBLISHED_EDGES = (90, 180)
PUBLISHED_GROUPS = ("travel", "necessities")
# Published columns that are no criterion: dates.
PUBLISHED_DATES = ("first_transaction_date", "last_transaction_date")
# What other columns of the tables with metrics are called.
TAKEN = frozenset((
    "snapshot_month", "as_of_date", "customer_id", "customer_key", "customer_segment", "segment_assigned_date",
    "content_hash", "decision_hash", "rollup_hash", "campaign", "audience_rank", "email", "first_name", "last_name",
    "treatment_group", "holdout_unit", "projected_annual_value", "valid_from", "valid_to", "is_current",
    "audience_code", "status", "rank",  # keys of audience_feed's payload
))  # fmt: skip

Identifier = Annotated[str, PlainValidator(column_name)]
Moment = Literal["highest_first", "lowest_first"]


class Window(Rule):
    """Whole days: `days` of them, ending `ends` days before the as-of date (0: with the month)."""

    days: Annotated[int, PlainValidator(whole(1, LONGEST_WINDOW))]
    ends: Annotated[int, PlainValidator(whole(0, LONGEST_WINDOW))] = 0

    def __str__(self) -> str:
        if not self.ends:
            return f"the last {self.days} days"
        return f"the {self.days} days that ended {self.ends} days before the as-of date"


class Definition(Rule):
    """What every metric may say of itself."""

    description: Text | None = None


class Measure(Definition):
    """Of the approved transactions of a window (all of them where none is named) in a group of categories (in all)."""

    kind: Literal["sum", "count", "avg", "min", "max", "active_months", "recency", "first_date", "last_date"]
    window: Identifier | None = None
    group: Identifier | None = None


class Tenure(Definition):
    """Completed months, or days, from the first transaction to the as-of date."""

    kind: Literal["tenure"]
    unit: Annotated[Literal["months", "days"], PlainValidator(one_of(("months", "days"), "unit"))] = "months"
    group: Identifier | None = None


class Share(Definition):
    """Percent: of a group in the spend of a window, or of one metric in another. NULL where the whole is not above
    0."""

    kind: Literal["share"]
    group: Identifier | None = None
    window: Identifier | None = None
    of: Identifier | None = None
    in_: Identifier | None = Field(default=None, alias="in")

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.of is None) != (self.in_ is None):
            raise ValueError("names one of 'of' and 'in'; a share of metrics needs both: {of: a metric, in: another}")
        if (self.group is None) == (self.of is None) or (self.of and self.window):
            raise ValueError(
                "has to name either a group, with or without a window, or two metrics: {kind: share, group: travel,"
                " window: last_90_days} or {kind: share, of: a metric, in: another}"
            )
        return self


class Change(Definition):
    """Percent by which spend went from one window to another, or one metric lies beyond another. NULL where the one it
    starts from is not above 0."""

    kind: Literal["change"]
    window: Identifier | None = None
    of: Identifier | None = None
    from_: Identifier = Field(alias="from")
    group: Identifier | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.window is None) == (self.of is None) or (self.of and self.group):
            raise ValueError(
                "has to name either two windows, with or without a group, or two metrics: {kind: change, window:"
                " last_90_days, from: prior_90_days} or {kind: change, of: a metric, from: another}"
            )
        return self


class RelativeChange(Definition):
    """Percent by which a customer's change lies beyond that of all customers of the month together. NULL where the
    customer, or all of them, start from nothing above 0, or all end there."""

    kind: Literal["relative_change"]
    of: Identifier
    from_: Identifier = Field(alias="from")


def metric_or_number(value: object) -> str | Number:
    if isinstance(value, str):
        return column_name(value)
    if number(value) <= 0:
        raise ValueError("is not above 0; divide by a positive number, or by a metric")
    return number(value)


class Ratio(Definition):
    """A metric divided by another one, or by a number. NULL where the divisor is not above 0."""

    kind: Literal["ratio"]
    of: Identifier
    to: Annotated[str | int | float, PlainValidator(metric_or_number)]


class Ntile(Definition):
    """Which of so many buckets of equal size a customer's value lies in, 1 the first in the order. Equal values share
    the bucket of the first of them; NULL where the value is."""

    kind: Literal["ntile"]
    of: Identifier
    buckets: Annotated[int, PlainValidator(whole(2, 100))]
    order: Annotated[Moment, PlainValidator(one_of(ORDERS, "order"))] = "lowest_first"


class Flag(Definition):
    """Whether criteria all hold; a NULL satisfies none."""

    kind: Literal["flag"]
    criteria: Annotated[Criteria, Field(min_length=1)]


AnyDefinition = Measure | Tenure | Share | Change | RelativeChange | Ratio | Ntile | Flag
KINDS: dict[str, type[Definition]] = {
    kind: one for one in get_args(AnyDefinition) for kind in get_args(one.model_fields["kind"].annotation)
}
_TYPES = {
    "sum": "decimal(18,2)", "min": "decimal(18,2)", "max": "decimal(18,2)", "count": "bigint",
    "active_months": "bigint", "recency": "bigint", "tenure": "bigint", "ntile": "bigint", "flag": "boolean",
    "first_date": "date", "last_date": "date",
}  # fmt: skip
_KIND_OF_VALUE: dict[str, Literal["amount", "count", "flag", "date"]] = {
    "active_months": "count", "count": "count", "recency": "count", "tenure": "count", "ntile": "count",
    "flag": "flag", "first_date": "date", "last_date": "date",
}  # fmt: skip


def value_of(kind: object) -> Metric:
    """What is known of a metric by its kind alone."""
    return Metric(_KIND_OF_VALUE.get(str(kind), "amount"), nullable=kind not in ("sum", "count", "active_months"))


def _is_exact(definition: Any) -> bool:
    """A whole number or money, and no double."""
    return _TYPES.get(definition.kind, "double") in ("bigint", "decimal(18,2)")


@dataclass(frozen=True)
class Problem:
    where: tuple[str, ...]  # below `metrics`
    words: str


@dataclass(frozen=True)
class Resolved:
    """The metrics by name, published ones first, each after those it is built on; in words and by type."""

    metrics: Mapping[str, Metric]
    types: Mapping[str, str]
    descriptions: Mapping[str, str]

    @property
    def further(self) -> tuple[str, ...]:
        """Those that are no published column of the contract, in the order of their columns."""
        return tuple(name for name in self.metrics if not published(name))

    def columns(self) -> list[dict[str, str]]:
        """As dbt describes columns."""
        return [
            {"name": name, "data_type": self.types[name], "description": self.descriptions[name]}
            for name in self.further
        ]


def group_shares(groups: Sequence[str]) -> dict[str, Share]:
    """What every group gives without being asked."""
    shares: dict[str, Share] = {}
    for group in groups:
        shares[f"{group}_spend_pct"] = Share(kind="share", group=group, window="last_90_days")
        shares[f"lifetime_{group}_spend_pct"] = Share(kind="share", group=group)
    return shares


def resolve(
    windows: Mapping[str, Window], groups: Sequence[str], definitions: Mapping[str, AnyDefinition]
) -> tuple[Resolved, list[Problem]]:
    """Every metric with its type, and what is wrong with the definitions between each other."""
    implied = group_shares(groups)
    every = {**definitions, **implied}
    resolver = _Resolver(windows, tuple(groups), every)
    problems = [
        Problem((name,), f"is what the group {implied[name].group!r} gives already; leave it out, or rename it")
        for name in definitions
        if name in implied
    ]
    problems += [Problem((name,), _taken(name)) for name in definitions if name in TAKEN]
    problems += _one_name_for_two(groups, definitions)
    for name, definition in definitions.items():
        problems += [Problem((name, *where), words) for where, words in resolver.problems(name, definition)]
    return resolver.resolved(), problems


# The groups of the published shares are there under any rules.
GROUPS_OF_THE_CONTRACT = ("travel", "necessities")
_SINGLE_MEASURES = {
    "sum": "spend", "count": "transactions", "min": "min_amount", "max": "max_amount",
    "active_months": "active_months", "recency": "last_transaction_date", "last_date": "last_transaction_date",
    "first_date": "first_transaction_date", "tenure": "first_transaction_date",
}  # fmt: skip
Scope = tuple[str, str | None, str | None]  # what is added up, of which group, in which window


def _scopes(definition: AnyDefinition) -> list[Scope]:
    """As measures_of in dbt_models/macros/metrics/measures.sql."""
    match definition:
        case Measure(kind="avg", group=group, window=window):
            return [("spend", group, window), ("transactions", group, window)]
        case Measure(group=group, window=window):
            return [(_SINGLE_MEASURES[definition.kind], group, window)]
        case Tenure(group=group):
            return [(_SINGLE_MEASURES["tenure"], group, None)]
        case Share(group=str(group), window=window):
            return [("spend", group, window), ("spend", None, window)]
        case Change(window=str(window), group=group):
            return [("spend", group, window), ("spend", group, definition.from_)]
        case _:
            return []


def _one_name_for_two(groups: Sequence[str], definitions: Mapping[str, AnyDefinition]) -> Iterator[Problem]:
    """Names of groups and windows that, put together, make one column of two things: it would hold the first."""
    every = dict.fromkeys((*GROUPS_OF_THE_CONTRACT, *groups))
    for group in every:
        other = group.removeprefix("lifetime_")
        if other != group and other in every:
            name = f"{group}_spend_pct"
            yield Problem((name,), f"is given by the groups {group!r} and {other!r} both; rename one of them")
    known: dict[str, tuple[Scope, str]] = {}
    for name, definition in {**group_shares(tuple(every)), **definitions}.items():
        for scope in _scopes(definition):
            measure, group, window = scope
            # As measure_column there.
            column = "_".join(filter(None, (None if window else "lifetime", group, measure, window)))
            before, of = known.setdefault(column, (scope, name))
            if before != scope:
                yield Problem(
                    (name,),
                    f"would read the column {column!r}, which {of!r} has for {_scope_words(before)}, and this is"
                    f" {_scope_words(scope)}; rename a group or a window",
                )


def _scope_words(scope: Scope) -> str:
    _, group, window = scope
    return f"{f'group {group!r}' if group else 'all groups'} {f'in window {window!r}' if window else 'of the lifetime'}"


def _taken(name: str) -> str:
    return f"is a column of the published tables already; call it something else, such as {f'my_{name}'!r}"


class _Resolver:
    def __init__(
        self, windows: Mapping[str, Window], groups: Sequence[str], definitions: Mapping[str, AnyDefinition]
    ) -> None:
        self.windows, self.groups, self.definitions = windows, groups, definitions

    def problems(self, name: str, definition: AnyDefinition) -> Iterator[tuple[tuple[str, ...], str]]:
        for key in ("window", "group", *(("from",) if isinstance(definition, Change) and definition.window else ())):
            value = getattr(definition, {"from": "from_"}.get(key, key), None)
            known = self.groups if key == "group" else tuple(self.windows)
            if value is not None and value not in known:
                noun = "category group" if key == "group" else "window"
                yield (key,), f"{value!r} is no {noun}; {did_you_mean(value, known)}"
        for key, other in operands(definition):
            if other not in self.definitions:
                yield (key,), f"{other!r} is no metric; {did_you_mean(other, self.definitions)}"
            elif value_of(self.definitions[other].kind).kind in ("date", "flag") and not isinstance(definition, Flag):
                kind = "a date" if value_of(self.definitions[other].kind).kind == "date" else "true or false"
                yield (key,), f"{other!r} is {kind}, and {definition.kind} needs a number; name another metric"
            elif isinstance(definition, RelativeChange) and not _is_exact(self.definitions[other]):
                yield (key,), f"{other!r} is a ratio, which has no sum over all customers; name a sum or a count"
        if circle := self._circle(name):
            yield (), f"is built on itself ({' -> '.join(circle)}); build one of them on something else"
        elif self._depth(name) > DEEPEST:
            yield (), f"is built on more than {DEEPEST} metrics, one upon the other; build it on fewer"

    def _circle(self, name: str) -> list[str]:
        """The shortest way from a metric to itself."""
        ways = [[name]]
        seen: set[str] = set()
        while ways:
            way = ways.pop(0)
            for _, other in operands(self.definitions[way[-1]]):
                if other == name:
                    return [*way, name]
                if other in self.definitions and other not in seen:
                    seen.add(other)
                    ways.append([*way, other])
        return []

    def _depth(self, name: str, above: tuple[str, ...] = ()) -> int:
        others = [other for _, other in operands(self.definitions[name]) if other in self.definitions]
        if len(above) > DEEPEST or name in above:
            return len(above)
        return 1 + max((self._depth(other, (*above, name)) for other in others), default=0)

    def resolved(self) -> Resolved:
        """Published metrics keep their place, however they are written here; what is refused is there, too, so that
        nothing else is refused for it."""
        found: dict[str, Metric] = {}
        for name in self.definitions:
            self._find(name, found, ())
        ordered = [*(name for name in METRICS if name in found), *(name for name in found if name not in METRICS)]
        return Resolved(
            {name: found[name] for name in ordered},
            {name: _TYPES.get(self.definitions[name].kind, "double") for name in ordered},
            {name: self._words(self.definitions[name]) for name in ordered},
        )

    def _find(self, name: str, found: dict[str, Metric], above: tuple[str, ...]) -> None:
        definition = self.definitions[name]
        for _, other in operands(definition):
            if other in self.definitions and other not in found and other not in above:
                self._find(other, found, (*above, name))
        nullable: bool = value_of(definition.kind).nullable
        if isinstance(definition, Flag):
            nullable = False
        elif isinstance(definition, Ntile) or (isinstance(definition, Ratio) and not isinstance(definition.to, str)):
            below = found.get(definition.of)
            nullable = below is None or below.nullable
        highest = definition.buckets if isinstance(definition, Ntile) else None
        found[name] = value_of(definition.kind)._replace(nullable=nullable, highest=highest)

    def _words(self, definition: AnyDefinition) -> str:
        """What the column says of itself where the rules do not."""
        if definition.description:
            return definition.description
        match definition:
            case Measure(kind=kind):
                return f"{_MEASURES[kind]}{self._scope(definition.window, definition.group)}{_MEASURE_ENDS[kind]}."
            case Tenure(unit=unit):
                scope = f" in {definition.group}" if definition.group else ""
                return f"Completed {unit} from the first transaction{scope} to the as-of date; NULL without one."
            case Share(group=str(group)):
                whole = "all spend" if definition.window is None else f"the spend{self._scope(definition.window, None)}"
                return f"Share of {group} in {whole}, percent 0-100; NULL when that spend is not positive."
            case Share():
                return f"{definition.of} in percent of {definition.in_}; NULL when that is not positive."
            case Change(window=str(window)):
                one, other = self.windows.get(window, window), self.windows.get(definition.from_, definition.from_)
                spend = f"spend in {definition.group}" if definition.group else "spend"
                return f"Change of {spend} from {other} to {one}, percent; NULL when it was not positive before."
            case Change():
                return f"({definition.of} - {definition.from_}) / {definition.from_} * 100, percent; NULL when" \
                    f" {definition.from_} is not positive."  # fmt: skip
            case RelativeChange():
                return (
                    f"Change from {definition.from_} to {definition.of}, relative to that of all customers of the month"
                    " together, percent: 0 is a customer who changed as all did; NULL when one of the sums is not"
                    " positive."
                )
            case Ratio():
                when = f"; NULL when {definition.to} is not positive" if isinstance(definition.to, str) else ""
                return f"{definition.of} / {definition.to}{when}."
            case Ntile():
                lowest = "lowest" if definition.order == "lowest_first" else "highest"
                return (
                    f"Bucket 1 to {definition.buckets} of {definition.of} among the customers of the month, 1 holds the"
                    f" {lowest}; equal values share a bucket."
                )
            case Flag():
                return f"Whether {' and '.join(map(str, definition.criteria))}."

    def _scope(self, window: str | None, group: str | None) -> str:
        inside = f" in {group}" if group else ""
        return f"{inside} of {self.windows.get(window, window)}" if window else f"{inside} before the as-of date"


_MEASURES = {
    "sum": "Approved spend", "count": "Number of approved transactions", "avg": "Average approved transaction",
    "min": "Smallest approved transaction", "max": "Largest approved transaction",
    "active_months": "Number of calendar months with an approved transaction",
    "recency": "Days from the last approved transaction", "first_date": "Date of the first approved transaction",
    "last_date": "Date of the last approved transaction",
}  # fmt: skip
_MEASURE_ENDS = {
    "sum": ", money, refunds deducted", "count": "; refunds count as transactions", "avg": ", money; NULL without one",
    "min": ", money, a refund below 0; NULL without one", "max": ", money; NULL without one", "active_months": "",
    "recency": " to that date; NULL without one", "first_date": "; NULL without one", "last_date": "; NULL without one",
}  # fmt: skip


def operands(definition: Any) -> list[tuple[str, str]]:
    """The metrics that one is built on, each with the key that names it."""
    match definition:
        case Share(of=str(of), in_=str(whole)):
            return [("of", of), ("in", whole)]
        case Change(of=str(of)) | RelativeChange(of=of):
            return [("of", of), ("from", definition.from_)]
        case Ratio():
            return [("of", definition.of), *([("to", definition.to)] if isinstance(definition.to, str) else [])]
        case Ntile():
            return [("of", definition.of)]
        case Flag():
            return [("criteria", one.metric) for one in definition.criteria]
        case _:
            return []


def published(name: str) -> bool:
    """Whether it is a column of the contract, which keeps its meaning whatever the rules say."""
    return name in METRICS or name in PUBLISHED_DATES


def scopes(definition: AnyDefinition) -> list[tuple[str, str | None, str | None]]:
    """What is added up of the transactions: (which measure, category group, window)."""
    match definition:
        case Measure(kind=kind, group=group, window=window):
            measures = {
                "sum": ["spend"], "count": ["transaction_count"], "avg": ["spend", "transaction_count"],
                "min": ["min_amount"], "max": ["max_amount"], "active_months": ["active_months"],
                "recency": ["last_transaction_date"], "first_date": ["first_transaction_date"],
                "last_date": ["last_transaction_date"],
            }[kind]  # fmt: skip
            return [(measure, group, window) for measure in measures]
        case Tenure(group=group):
            return [("first_transaction_date", group, None)]
        case Share(group=str(group), window=window):
            return [("spend", group, window), ("spend", None, window)]
        case Change(window=str(window), group=group):
            return [("spend", group, window), ("spend", group, definition.from_)]
        case _:
            return []


def window_edges(windows: Mapping[str, Window], definitions: Iterable[AnyDefinition]) -> list[int]:
    """How far before an as-of date the windows in use begin or end, in days: what the macro window_edge_days gives."""
    used = {window for one in definitions for _, _, window in scopes(one) if window}
    edges = {edge for name in used for edge in (windows[name].ends, windows[name].ends + windows[name].days)}
    return sorted({*PUBLISHED_EDGES, *edges} - {0})


def rollup_measures(definitions: Iterable[AnyDefinition]) -> list[str]:
    """Columns of the rollup beside the spend of each group: what the macro further_measures gives."""
    of_groups = {
        f"{group}_{'transaction_count' if measure == 'active_months' else measure}"
        for one in definitions
        for measure, group, _ in scopes(one)
        if group and measure != "spend"
    }
    return sorted(of_groups)
