"""Metrics of one's own, worked out customer by customer in Python from the facts: no periods, no rollup, no SQL.

Section 10 of the design and docs/rules.md, read literally. Nothing here may be shared with the models.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis
import pandas as pd
from hypothesis import strategies as st

from tests.support import oracle, portfolios
from tests.support.portfolio import Portfolio, units

Value = int | float | Fraction | date | bool | None
Facts = list[tuple[date, int, str | None]]  # day, ten-thousandths, category group
MONEY, WHOLE = ("sum", "min", "max"), ("count", "active_months", "recency", "tenure", "ntile")
PUBLISHED: dict[str, dict[str, Any]] = {
    "total_transactions": {"kind": "count"},
    "lifetime_value": {"kind": "sum"},
    "spend_last_90_days": {"kind": "sum", "window": "last_90_days"},
    "spend_prior_90_days": {"kind": "sum", "window": "prior_90_days"},
    "avg_monthly_spend": {"kind": "ratio", "of": "spend_last_90_days", "to": 3},
    "is_active": {"kind": "flag", "criteria": [{"metric": "spend_last_90_days", "above": 0}]},
}
WINDOWS = {"last_90_days": {"days": 90}, "prior_90_days": {"days": 90, "ends": 90}}


def measure(portfolio: Portfolio, month: date, rules: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
    """Metric -> customer -> value: money as Fraction, ratios as float, NULL as None."""
    as_of = oracle.as_of_date(month)
    portfolio = dataclasses.replace(portfolio, dim_customer=oracle._customers(portfolio.dim_customer))
    customers = list(oracle._population(portfolio.dim_customer, as_of).index)
    facts = _facts(portfolio, as_of, rules["category_groups"])
    windows = WINDOWS | rules["windows"]
    definitions = {**PUBLISHED, **rules["metrics"]}
    for group in rules["category_groups"]:
        definitions[f"{group}_spend_pct"] = {"kind": "share", "group": group, "window": "last_90_days"}
        definitions[f"lifetime_{group}_spend_pct"] = {"kind": "share", "group": group}
    found: dict[str, dict[str, Value]] = {}

    def of(name: str) -> dict[str, Value]:
        if name not in found:
            found[name] = _values(definitions[name], definitions, customers, facts, windows, as_of, of)
        return found[name]

    return {name: of(name) for name in definitions}


def _facts(portfolio: Portfolio, as_of: date, groups: Mapping[str, Iterable[str]]) -> dict[str, Facts]:
    group_of = {name.lower(): group for group, names in groups.items() for name in names}
    categories = portfolio.dim_merchant_category
    category_of = dict(zip(categories["category_key"], categories["category_name"], strict=True))
    customer_of = dict(zip(portfolio.dim_customer["customer_key"], portfolio.dim_customer["customer_id"], strict=True))
    facts: dict[str, Facts] = {}
    table = portfolio.fct_transactions
    rows = zip(
        table["customer_key"], table["transaction_date"], units(table["transaction_amount"]),
        table["merchant_category_key"], table["transaction_status"], strict=True,
    )  # fmt: skip
    for key, day, amount, category, status in rows:
        if status.strip().lower() == "approved" and day.date() < as_of and key in customer_of:
            name = None if pd.isna(category) else category_of.get(int(category))
            facts.setdefault(customer_of[key], []).append((day.date(), int(amount), group_of.get((name or "").lower())))
    return facts


def _cents(amount: int) -> int:
    """Ten-thousandths, rounded once, half away from zero."""
    return (abs(amount) + 50) // 100 * (1 if amount >= 0 else -1)


def _values(
    definition: Mapping[str, Any],
    definitions: Mapping[str, Mapping[str, Any]],
    customers: list[str],
    facts: Mapping[str, Facts],
    windows: Mapping[str, Mapping[str, int]],
    as_of: date,
    of: Callable[[str], dict[str, Value]],
) -> dict[str, Value]:
    kind = definition["kind"]

    def inside(customer: str, window: str | None, group: str | None) -> Facts:
        end = as_of - timedelta(days=windows[window].get("ends", 0)) if window else as_of
        start = end - timedelta(days=windows[window]["days"]) if window else date.min
        return [
            fact for fact in facts.get(customer, []) if start <= fact[0] < end and (group is None or fact[2] == group)
        ]

    def spend(customer: str, window: str | None, group: str | None = None) -> Fraction:
        return Fraction(_cents(sum(amount for _, amount, _ in inside(customer, window, group))), 100)

    def each(value: Callable[[str], Value]) -> dict[str, Value]:
        return {customer: value(customer) for customer in customers}

    def is_exact(name: object) -> bool:
        return isinstance(name, int | float) or definitions[str(name)]["kind"] in (*MONEY, *WHOLE)

    def divided(part: Any, whole: Any, factor: int, exact: bool) -> Value:
        if part is None or whole is None or whole <= 0:
            return None
        return float(Fraction(part) * factor / Fraction(whole)) if exact else float(part) * factor / float(whole)

    window, group = definition.get("window"), definition.get("group")
    match kind:
        case "sum":
            return each(lambda one: spend(one, window, group))
        case "count":
            return each(lambda one: len(inside(one, window, group)))
        case "avg":
            return each(lambda one: divided(spend(one, window, group), len(inside(one, window, group)), 1, True))
        case "min" | "max":
            pick = min if kind == "min" else max

            def extreme(customer: str) -> Value:
                amounts = [amount for _, amount, _ in inside(customer, window, group)]
                return Fraction(_cents(pick(amounts)), 100) if amounts else None

            return each(extreme)
        case "active_months":
            return each(lambda one: len({(day.year, day.month) for day, _, _ in inside(one, window, group)}))
        case "first_date":
            return each(lambda one: min((day for day, _, _ in inside(one, window, group)), default=None))
        case "last_date":
            return each(lambda one: max((day for day, _, _ in inside(one, window, group)), default=None))
        case "recency":
            days = {one: [day for day, _, _ in inside(one, window, group)] for one in customers}
            return each(lambda one: (as_of - max(days[one])).days if days[one] else None)
        case "tenure":

            def tenure(customer: str) -> Value:
                first = min((day for day, _, _ in inside(customer, None, group)), default=None)
                if first is None:
                    return None
                if definition.get("unit") == "days":
                    return (as_of - first).days
                months = (as_of.year - first.year) * 12 + as_of.month - first.month
                return months - (first.day > as_of.day)

            return each(tenure)
        case "share" if group:
            return each(lambda one: divided(spend(one, window, group), spend(one, window), 100, True))
        case "change" if window:
            before = {one: spend(one, definition["from"], group) for one in customers}
            return each(lambda one: divided(spend(one, window, group) - before[one], before[one], 100, True))
        case "share" | "ratio":
            other = definition["in" if kind == "share" else "to"]
            parts, wholes = of(definition["of"]), of(other) if isinstance(other, str) else None
            exact = is_exact(definition["of"]) and is_exact(other)
            number = Fraction(str(other)) if wholes is None else None
            return each(
                lambda one: divided(parts[one], wholes[one] if wholes else number, 100 if kind == "share" else 1, exact)
            )
        case "change":
            parts, wholes = of(definition["of"]), of(definition["from"])
            exact = is_exact(definition["of"]) and is_exact(definition["from"])

            def change(customer: str) -> Value:
                part, whole = parts[customer], wholes[customer]
                if part is None or whole is None:
                    return None
                difference = Fraction(part) - Fraction(whole) if exact else float(part) - float(whole)  # type: ignore[arg-type]
                return divided(difference, whole, 100, exact)

            return each(change)
        case "relative_change":
            ones, others = of(definition["of"]), of(definition["from"])
            all_ones = sum((Fraction(ones[one] or 0) for one in customers), Fraction(0))  # type: ignore[arg-type]
            all_others = sum((Fraction(others[one] or 0) for one in customers), Fraction(0))  # type: ignore[arg-type]

            def relative(customer: str) -> Value:
                one, other = ones[customer], others[customer]
                if one is None or other is None or other <= 0 or all_ones <= 0 or all_others <= 0:  # type: ignore[operator]
                    return None
                return float((Fraction(one) / Fraction(other) / (all_ones / all_others) - 1) * 100)  # type: ignore[arg-type]

            return each(relative)
        case "ntile":
            values = of(definition["of"])
            known = sorted(
                (values[one] for one in customers if values[one] is not None),
                reverse=definition.get("order") == "highest_first",
            )  # type: ignore[type-var]
            size, more = divmod(len(known), definition["buckets"])
            ends = [size + (bucket < more) for bucket in range(definition["buckets"])]
            bucket_of_place = [bucket + 1 for bucket, number in enumerate(ends) for _ in range(number)]
            return each(lambda one: None if values[one] is None else bucket_of_place[known.index(values[one])])
        case "flag":
            compare: dict[str, Callable[[Any, Any], bool]] = {
                "at_least": lambda a, b: a >= b, "at_most": lambda a, b: a <= b, "above": lambda a, b: a > b,
                "below": lambda a, b: a < b, "is": lambda a, b: a is b,
            }  # fmt: skip
            holds = [
                (of(one["metric"]), compare[operator], bound)
                for one in definition["criteria"]
                for operator, bound in one.items()
                if operator != "metric"
            ]
            return each(lambda one: all(v[one] is not None and test(v[one], bound) for v, test, bound in holds))
    raise ValueError(f"unknown kind {kind}")


def is_same(found: Any, expected: Value) -> bool:
    """Ratios to the last digits of a double, everything else exactly."""
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=1e-12, abs_tol=1e-12)
    if found is None or expected is None:
        return found is expected
    return (Fraction(found) if isinstance(found, Decimal) else found) == expected


# Rules to try


@st.composite
def rules(draw: st.DrawFn, metrics: int) -> dict[str, Any]:
    """Windows of 1 to 400 days that end anywhere, two more groups, and so many metrics of every kind, nested."""
    edges = st.tuples(st.integers(1, 400), st.one_of(st.just(0), st.integers(0, 400)))
    windows = {
        f"w{i}": {"days": days, "ends": ends}
        for i, (days, ends) in enumerate(draw(st.lists(edges, min_size=8, max_size=8)))
    }
    # Hypothesis begins with the plainest of all: eight windows of one day prove little.
    hypothesis.assume(len({tuple(window.values()) for window in windows.values()}) > 5)
    groups: dict[str, list[str]] = {
        "travel": ["Travel", "Airlines", "Hotels"], "necessities": ["Grocery", "Gas", "Utilities"],
        "dining": ["DINING"], "odd": ["Travel Gear", "Gastropub"],
    }  # fmt: skip
    definitions: dict[str, dict[str, Any]] = {}
    numbers, flags = [name for name in PUBLISHED if name != "is_active"], ["is_active"]
    exact = [name for name in numbers if name != "avg_monthly_spend"]
    kinds = [
        "sum", "count", "avg", "min", "max", "active_months", "first_date", "last_date", "recency", "tenure", "share",
        "share of", "change", "change of", "relative_change", "ratio", "ratio to", "ntile", "flag",
    ]  # fmt: skip

    def scope(*, windowed: bool = True) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        if windowed and draw(st.booleans()):
            chosen["window"] = draw(st.sampled_from([*windows, *WINDOWS]))
        if draw(st.integers(0, 2)) == 0:
            chosen["group"] = draw(st.sampled_from(list(groups)))
        return chosen

    for i in range(metrics):
        name, kind = f"m{i}", kinds[i % len(kinds)] if i < len(kinds) else draw(st.sampled_from(kinds))
        one, other = draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers))
        match kind:
            case "tenure":
                definition: dict[str, Any] = {
                    **scope(windowed=False),
                    "unit": draw(st.sampled_from(["months", "days"])),
                }
            case "share":
                definition = {**scope(), "group": draw(st.sampled_from(list(groups)))}
            case "share of":
                definition = {"of": one, "in": other}
            case "change":
                two = [draw(st.sampled_from([*windows, *WINDOWS])) for _ in range(2)]
                definition = {**scope(windowed=False), "window": two[0], "from": two[1]}
            case "change of":
                definition = {"of": one, "from": other}
            case "relative_change":
                definition = {"of": draw(st.sampled_from(exact)), "from": draw(st.sampled_from(exact))}
            case "ratio":
                definition = {"of": one, "to": other}
            case "ratio to":
                definition = {"of": one, "to": draw(st.sampled_from([3, 12, 0.5, 2.25, 7.3333]))}
            case "ntile":
                order = draw(st.sampled_from(["highest_first", "lowest_first"]))
                definition = {"of": one, "buckets": draw(st.integers(2, 12)), "order": order}
            case "flag":
                bounds = st.sampled_from([-30, 0, 0.5, 1, 3, 50, 90, 1500])
                definition = {
                    "criteria": [
                        {"metric": one, draw(st.sampled_from(["at_least", "below"])): draw(bounds)},
                        {"metric": draw(st.sampled_from(flags)), "is": draw(st.booleans())},
                    ]
                }
            case _:
                definition = scope()
        definition = {"kind": kind.split()[0], **definition}
        definitions[name] = definition
        if definition["kind"] == "flag":
            flags.append(name)
        elif not definition["kind"].endswith("_date"):
            numbers.append(name)
            if definition["kind"] in (*MONEY, *WHOLE):
                exact.append(name)
    return {"windows": windows, "category_groups": groups, "metrics": definitions}


def portfolio(months: Iterable[date], windows: Mapping[str, Mapping[str, int]]) -> Portfolio:
    """Every sixth archetype of each month, and for each window a customer with facts on both sides of its edges."""
    customers: dict[str, portfolios.Customer] = {}
    last = date.min
    for month in months:
        as_of = oracle.as_of_date(month)
        last = max(last, as_of)
        for customer in portfolios.archetypes(as_of)[::6]:
            customers[f"{month}-{customer.name}"] = dataclasses.replace(customer, name=f"{month}-{customer.name}")
        for name, window in windows.items():
            end, start = window.get("ends", 0), window.get("ends", 0) + window["days"]
            facts = tuple(
                portfolios.Fact(as_of - timedelta(days=days), (7 * number + 3) * 100 + number, 1 + number % 9)
                for number, days in enumerate((start + 1, start, start - 1, end + 1, end, end - 1))
            )
            versions = (portfolios.Version(as_of - timedelta(days=900)),)
            customers[f"{month}-{name}"] = portfolios.Customer(f"{month}-{name}", facts, versions)
    return portfolios.build(customers.values(), last)
