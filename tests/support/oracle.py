"""What every customer's segment should be, worked out a second time without SQL, periods or a rollup.

Sections 3 to 5 of the design, read literally: each window is summed straight from the facts. Nothing here
may be shared with the models, or a common mistake would pass on both sides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from tests.support.portfolio import Portfolio, dollars, units

HISTORY_COLUMNS = [
    "snapshot_month",
    "customer_id",
    "customer_key",
    "customer_segment",
    "segment_assigned_date",
    "total_transactions",
    "lifetime_value",
    "avg_transaction_value",
    "first_transaction_date",
    "last_transaction_date",
    "tenure_months",
    "spend_last_90_days",
    "spend_prior_90_days",
    "spend_change_pct",
    "avg_monthly_spend",
    "travel_spend_pct",
    "necessities_spend_pct",
    "lifetime_travel_spend_pct",
    "lifetime_necessities_spend_pct",
    "is_active",
]

_OPERATORS: dict[str, Callable[[pd.Series, Any], pd.Series]] = {
    "at_least": lambda value, bound: value >= bound,
    "at_most": lambda value, bound: value <= bound,
    "above": lambda value, bound: value > bound,
    "below": lambda value, bound: value < bound,
    "is": lambda value, bound: value == bound,
}


def assign_segments(
    portfolio: Portfolio,
    snapshot_month: date,
    segments: Sequence[Mapping[str, Any]],
    category_groups: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """One row per customer of the month's population, sorted by customer_id; columns HISTORY_COLUMNS.

    lifetime_value and the two spends are Decimals, 0.00 without transactions; dates are `date` or None;
    tenure_months is Int64 with NA; averages, changes and shares are float64 with NaN for NULL.
    Raises ValueError for a snapshot_month that is not a first of month, an unknown operator, or segments that
    leave a customer without one.
    """
    as_of = as_of_date(snapshot_month)
    portfolio = dataclasses.replace(portfolio, dim_customer=_customers(portfolio.dim_customer))
    customers = _population(portfolio.dim_customer, as_of)
    facts = _counted_facts(portfolio, as_of, category_groups)
    measured = _measure(customers.index, facts, as_of)

    history = measured.assign(
        snapshot_month=snapshot_month,
        customer_id=customers.index,
        customer_key=customers,
        customer_segment=_first_segment_that_holds(measured, segments),
        segment_assigned_date=as_of,
        lifetime_value=dollars(measured["lifetime_cents"]).to_numpy(),
        spend_last_90_days=dollars(measured["last_cents"]).to_numpy(),
        spend_prior_90_days=dollars(measured["prior_cents"]).to_numpy(),
        first_transaction_date=_as_dates(measured["first_transaction_date"]),
        last_transaction_date=_as_dates(measured["last_transaction_date"]),
        tenure_months=measured["tenure_months"].astype("Int64"),
    )
    return history[HISTORY_COLUMNS].reset_index(drop=True)


def as_of_date(snapshot_month: date) -> date:
    """The first day of the month after `snapshot_month`, which must itself be a first of month."""
    if snapshot_month.day != 1:
        raise ValueError(f"a snapshot month is a first of month, not {snapshot_month}")
    return (snapshot_month + timedelta(days=31)).replace(day=1)


def _customers(dim_customer: pd.DataFrame) -> pd.DataFrame:
    """Without who is nobody: keys -1 and 0, ids -1, 0, UNKNOWN and none, and ids of which no version was ever valid."""
    ids = dim_customer["customer_id"].str.strip()
    ever_valid = dim_customer["valid_to"].isna() | (dim_customer["valid_to"] > dim_customer["valid_from"])
    is_somebody = (
        ~dim_customer["customer_key"].isin([-1, 0])
        & ~ids.str.upper().isin(["", "-1", "0", "UNKNOWN"])
        & ever_valid.groupby(ids).transform("any")
    )
    return dim_customer.assign(customer_id=ids)[is_somebody]


def _population(dim_customer: pd.DataFrame, as_of: date) -> pd.Series:
    """customer_key at the as-of date, indexed and sorted by customer_id."""
    day = pd.Timestamp(as_of)
    known = set(dim_customer[dim_customer["valid_from"] < day]["customer_id"])
    begun = dim_customer[dim_customer["customer_id"].isin(known) & (dim_customer["valid_from"] <= day)]
    is_open = begun["valid_to"].isna()
    ranked = begun.assign(
        is_valid=is_open | (begun["valid_to"] > day),
        is_open=is_open,
    ).sort_values(["customer_id", "is_valid", "valid_from", "is_open", "valid_to", "customer_key"])
    return ranked.groupby("customer_id")["customer_key"].last().sort_index()


def _counted_facts(portfolio: Portfolio, as_of: date, category_groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Approved facts before the as-of date: customer_id, day, and ten-thousandths: all, travel, necessities."""
    facts = portfolio.fct_transactions
    is_approved = facts["transaction_status"].str.strip().str.lower() == "approved"
    is_of_a_customer = facts["customer_key"].isin(portfolio.dim_customer["customer_key"])
    counted = facts[is_approved & is_of_a_customer & (facts["transaction_date"] < pd.Timestamp(as_of))]
    amount = units(counted["transaction_amount"])
    customer_of_key = portfolio.dim_customer.set_index("customer_key")["customer_id"].astype("category")
    category_of_key = portfolio.dim_merchant_category.set_index("category_key")["category_name"]

    def amount_in(group: str) -> np.ndarray:
        keys = category_of_key[category_of_key.isin(list(category_groups[group]))].index
        return np.where(counted["merchant_category_key"].isin(keys), amount, 0)

    return pd.DataFrame(
        {
            "customer_id": counted["customer_key"].map(customer_of_key),
            "day": counted["transaction_date"],
            "cents": amount,
            "travel_cents": amount_in("travel"),
            "necessities_cents": amount_in("necessities"),
        }
    )


def _measure(customers: pd.Index, facts: pd.DataFrame, as_of: date) -> pd.DataFrame:
    """Every metric, indexed like `customers`; sums in whole cents, the metrics of money also in dollars."""
    edges = [pd.Timestamp(as_of - timedelta(days=days)) for days in (180, 90)]
    last = _sums(facts[facts["day"] >= edges[1]], customers)
    prior = _sums(facts[(facts["day"] >= edges[0]) & (facts["day"] < edges[1])], customers)
    lifetime = _sums(facts, customers)
    days = facts.groupby("customer_id", observed=True)["day"]
    first = days.min().reindex(customers)
    latest = days.max().reindex(customers)
    count = days.size().reindex(customers, fill_value=0)
    # A month is complete on the same day of the month; the as-of date is a 1st, so only a first
    # transaction on a 1st completes the month it began in.
    months = (as_of.year - first.dt.year) * 12 + (as_of.month - first.dt.month) - (first.dt.day > as_of.day)
    return pd.DataFrame(
        {
            "total_transactions": count.astype("int64"),
            "lifetime_cents": lifetime["cents"],
            "last_cents": last["cents"],
            "prior_cents": prior["cents"],
            "lifetime_value": lifetime["cents"] / 100,
            "spend_last_90_days": last["cents"] / 100,
            "spend_prior_90_days": prior["cents"] / 100,
            "avg_transaction_value": (lifetime["cents"] / 100) / count.where(count > 0),
            "first_transaction_date": first,
            "last_transaction_date": latest,
            "tenure_months": months.where(first.notna()),
            "spend_change_pct": _percent(last["cents"] - prior["cents"], prior["cents"]),
            "avg_monthly_spend": (last["cents"] / 100) / 3,
            "travel_spend_pct": _percent(last["travel_cents"], last["cents"]),
            "necessities_spend_pct": _percent(last["necessities_cents"], last["cents"]),
            "lifetime_travel_spend_pct": _percent(lifetime["travel_cents"], lifetime["cents"]),
            "lifetime_necessities_spend_pct": _percent(lifetime["necessities_cents"], lifetime["cents"]),
            "is_active": last["cents"] > 0,
        },
        index=customers,
    )


def _sums(facts: pd.DataFrame, customers: pd.Index) -> pd.DataFrame:
    """In cents: amounts of finer scale are added up first, and the sum is rounded once, half away from zero."""
    columns = ["cents", "travel_cents", "necessities_cents"]
    sums = facts.groupby("customer_id", observed=True)[columns].sum().reindex(customers, fill_value=0).astype("int64")
    return sums.abs().add(50).floordiv(100) * np.sign(sums)


def _percent(part: pd.Series, whole: pd.Series) -> pd.Series:
    """part / whole * 100, NaN where whole <= 0.

    Both are whole cents and the multiplication comes first, so both operands are exact and a share that is
    exactly 60 is the double 60.0. Dividing dollars first gives 59.999999999999986 for 64.32 of 107.20.
    """
    return (part * 100) / whole.where(whole > 0)


def _first_segment_that_holds(measured: pd.DataFrame, segments: Sequence[Mapping[str, Any]]) -> pd.Series:
    assigned = pd.Series([None] * len(measured), index=measured.index, dtype="object")
    for segment in segments:
        holds = pd.Series(True, index=measured.index)
        for criterion in segment.get("criteria") or []:
            value = measured[criterion["metric"]]
            for operator, bound in criterion.items():
                if operator == "metric":
                    continue
                if operator not in _OPERATORS:
                    raise ValueError(f"unknown operator {operator} in segment {segment['name']}")
                holds &= value.notna() & _OPERATORS[operator](value, bound)
        assigned = assigned.mask(assigned.isna() & holds, segment["name"])
    if assigned.isna().any():
        raise ValueError(f"no segment takes {assigned[assigned.isna()].index[0]}: the last must have no criteria")
    return assigned


def _as_dates(days: pd.Series) -> pd.Series:
    return pd.Series([None if pd.isna(day) else day.date() for day in days], index=days.index, dtype="object")
