"""Portfolios built to break a segmentation: every threshold on, one cent under and one cent over.

An archetype is one customer with its facts and SCD versions, written relative to an as-of date. The
families below are swept in full by `threshold_portfolio` and sampled, recombined and perturbed by
`portfolios`. Only what the source contract allows is here; what is right for it is in `oracle`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from tests.support.oracle import as_of_date
from tests.support.portfolio import Portfolio, dollars

TRAVEL, AIRLINES, HOTELS, GROCERY, GAS, UTILITIES, DINING = 1, 2, 3, 4, 5, 6, 7
# Names that a LIKE or a prefix match would take for travel or necessities, and a second key of Grocery.
TRAVEL_GEAR, GASTROPUB, GROCERY_AGAIN = 8, 9, 14
CATEGORY_NAMES = {
    TRAVEL: "Travel",
    AIRLINES: "Airlines",
    HOTELS: "Hotels",
    GROCERY: "Grocery",
    GAS: "Gas",
    UTILITIES: "Utilities",
    DINING: "Dining",
    TRAVEL_GEAR: "Travel Gear",
    GASTROPUB: "Gastropub",
    GROCERY_AGAIN: "Grocery",
}
UNKNOWN = 99  # a key that dim_merchant_category does not hold
NO_CATEGORY = None

# Both sides of every window edge, the as-of day, days after it, and ages outside both windows.
EDGE_DAYS = (-40, -1, 0, 1, 2, 89, 90, 91, 92, 179, 180, 181, 182, 365, 1000)
SNAPSHOT_MONTHS = tuple(date(2024 + month // 12, month % 12 + 1, 1) for month in range(24))


@dataclass(frozen=True)
class Fact:
    on: date
    cents: int
    category: int | None = DINING
    status: str = "approved"
    version: int | None = None  # which of the customer's versions it is booked on; None: the one of its day


@dataclass(frozen=True)
class Version:
    start: date
    end: date | None = None


@dataclass(frozen=True)
class Customer:
    name: str
    facts: tuple[Fact, ...]
    versions: tuple[Version, ...]


def threshold_portfolio(snapshot_month: date) -> Portfolio:
    """Every archetype once, a few hundred customers; the same month always gives the same portfolio."""
    as_of = as_of_date(snapshot_month)
    customers = [*archetypes(as_of), _anchor(as_of)]
    suppressed = [customer.name for customer in customers[::7]]
    return build(customers, as_of, suppressed)


@st.composite
def portfolios(draw: st.DrawFn, snapshot_month: date | None = None) -> tuple[Portfolio, date]:
    """A portfolio of 1 to 12 customers and the month to segment it for (2024-01 to 2025-12 unless given)."""
    month = snapshot_month or draw(st.sampled_from(SNAPSHOT_MONTHS))
    as_of = as_of_date(month)
    customers = [_anchor(as_of)]
    for number, customer in enumerate(draw(st.lists(_customers(as_of), max_size=11))):
        # The prefix comes first so that archetypes, ties among them, land on either side in the order.
        prefix = draw(st.sampled_from("az"))
        customers.append(replace(customer, name=f"{prefix}{number:02d}-{customer.name}"))
    suppressed = draw(st.lists(st.sampled_from([customer.name for customer in customers]), unique=True))
    return build(draw(st.permutations(customers)), as_of, suppressed), month


@cache
def archetypes(as_of: date) -> tuple[Customer, ...]:
    """The full sweep of every family, names unique."""
    families = (
        _travellers(as_of),
        _decliners(as_of),
        _growers(as_of),
        _budgeters(as_of),
        _tenures(as_of),
        _edge_days(as_of),
        _refunds(as_of),
        _uncounted(as_of),
        _categories(as_of),
        _overlaps(as_of),
        _versioned(as_of),
    )
    return tuple(customer for family in families for customer in family)


# Families: one per rule. Amounts are in cents and part of the name, so that a failing row explains itself.


def _travellers(as_of: date) -> Iterator[Customer]:
    """Average month 5000 (window 15000.00) by travel share 25 %."""
    for total in (14_999_99, 15_000_00, 15_000_01, 15_000_04):
        for travel in _around(-(-total * 25 // 100)):
            facts = _last(as_of, total - travel) + _last(as_of, travel, (TRAVEL, AIRLINES, HOTELS))
            yield _loyal(f"traveller-{total}-travel-{travel}", as_of, facts)


def _decliners(as_of: date) -> Iterator[Customer]:
    """Change -30 % by prior spend 2000; 2049.30 is one of the amounts where dollars / dollars misses -30."""
    for prior in (1_999_99, 2_000_00, 2_000_01, 2_049_30):
        for last in _around(prior * 70 // 100):
            facts = _last(as_of, last) + _prior(as_of, prior)
            yield _loyal(f"decliner-{prior}-then-{last}", as_of, facts)


def _growers(as_of: date) -> Iterator[Customer]:
    """Change +50 % by the day of the first transaction, on both sides of 6 and 7 months."""
    for prior in (1_999_99, 2_000_00, 2_000_01):
        for last in _around(-(-prior * 150 // 100)):
            for label, first in _tenure_days(as_of).items():
                facts = (Fact(first, 5_00), *_prior(as_of, prior), *_last(as_of, last))
                yield _customer(f"grower-{prior}-then-{last}-{label}", as_of, facts)
            facts = _prior(as_of, prior) + _last(as_of, last)
            yield _customer(f"grower-{prior}-then-{last}-young", as_of, facts)


def _budgeters(as_of: date) -> Iterator[Customer]:
    """Average month 1500 (window 4500.00) by necessities 60 %; for 107.20 dollars / dollars misses 60."""
    for total in (4_499_99, 4_500_00, 4_500_01, 107_20):
        for needed in _around(-(-total * 60 // 100)):
            facts = _last(as_of, total - needed) + _last(as_of, needed, (GROCERY, GAS, UTILITIES))
            yield _loyal(f"budgeter-{total}-needed-{needed}", as_of, facts)


def _tenures(as_of: date) -> Iterator[Customer]:
    """First transactions alone, over month ends, leap days and years."""
    days = _tenure_days(as_of)
    days |= {f"day-{age}": as_of - timedelta(days=age) for age in (1, 27, 28, 29, 30, 31, 32, 59, 60, 61, 62, 366)}
    days |= {"leap-day": date(2020, 2, 29), "year-end": date(2022, 12, 31), "new-year": date(2023, 1, 1)}
    for label, first in days.items():
        yield _customer(f"tenure-{label}", as_of, (Fact(first, 42_00),))


def _edge_days(as_of: date) -> Iterator[Customer]:
    """One fact on each side of every window edge, alone and where it decides the segment."""
    for age in EDGE_DAYS:
        day = as_of - timedelta(days=age)
        yield _customer(f"edge-{age}-traveller", as_of, (Fact(day, 15_000_00, HOTELS),))
        yield _customer(f"edge-{age}-budgeter", as_of, (Fact(day, 1_00, GROCERY), Fact(day, 40)))
        decline = (*_prior(as_of, 2_500_00, days=(135,)), *_last(as_of, 1_750_01, days=(45,)))
        yield _loyal(f"edge-{age}-into-decline", as_of, (*decline, Fact(day, 1_000_00)))
        yield _loyal(f"edge-{age}-refund", as_of, (*decline, Fact(day, -1_000_00)))


def _refunds(as_of: date) -> Iterator[Customer]:
    """Sums that come out zero, negative or exactly on a bound, and shares outside 0 to 100."""
    d = timedelta
    travelled = _last(as_of, 500_00, (HOTELS,))
    cases: dict[str, tuple[Fact, ...]] = {
        "last-nets-to-zero": (*travelled, Fact(as_of - d(1), -500_00, HOTELS)),
        "last-nets-to-one-cent": (*travelled, Fact(as_of - d(1), -499_99, HOTELS)),
        "last-nets-negative": (*travelled, Fact(as_of - d(1), -500_01, HOTELS)),
        "last-only-refund": (Fact(as_of - d(90), -10_00, GROCERY),),
        "prior-nets-to-zero": (*_prior(as_of, 500_00), Fact(as_of - d(91), -500_00), *travelled),
        "prior-nets-to-one-cent": (*_prior(as_of, 500_00), Fact(as_of - d(91), -499_99), *travelled),
        "prior-nets-negative": (*_prior(as_of, 500_00), Fact(as_of - d(180), -500_01), *travelled),
        "last-negative-after-prior": (*_prior(as_of, 3_000_00), Fact(as_of - d(1), -100_00)),
        "last-zero-after-prior": (
            *_prior(as_of, 3_000_00),
            Fact(as_of - d(1), 7_00),
            Fact(as_of - d(90), -7_00),
        ),
        "lifetime-zero-last-positive": (Fact(as_of - d(400), -500_00), *travelled),
        "lifetime-negative-last-positive": (Fact(as_of - d(400), -500_01, TRAVEL), *travelled),
        "lifetime-one-cent": (Fact(as_of - d(400), 500_01, GAS), Fact(as_of - d(1), -500_00, GAS)),
        "lifetime-all-refunds": (
            Fact(as_of - d(700), -5_00),
            Fact(as_of - d(120), -5_00),
            Fact(as_of - d(3), -5_00),
        ),
        "share-above-100": (*travelled, Fact(as_of - d(2), -300_00, GROCERY)),
        "share-below-0": (*_last(as_of, 900_00), Fact(as_of - d(2), -300_00, AIRLINES)),
        "onto-traveller-bound": (*_last(as_of, 15_000_01, (TRAVEL,)), Fact(as_of - d(5), -1)),
        "under-traveller-bound": (*_last(as_of, 15_000_00, (TRAVEL,)), Fact(as_of - d(5), -1)),
        "from-earlier-window": (Fact(as_of - d(91), 800_00, GAS), Fact(as_of - d(90), -800_00, GAS)),
        "zero-amount-only": (Fact(as_of - d(10), 0, GROCERY),),
    }
    for name, facts in cases.items():
        yield _customer(f"refund-{name}", as_of, facts)


def _uncounted(as_of: date) -> Iterator[Customer]:
    """Declined, future-dated and absent facts, alone and where counting them would change the segment."""
    d = timedelta
    traveller = _last(as_of, 14_999_99, (TRAVEL,))
    declined = tuple(replace(fact, status="declined") for fact in _last(as_of, 20_000_00, (TRAVEL,)))
    cases: dict[str, tuple[Fact, ...]] = {
        "nothing-at-all": (),
        "declined-only": declined,
        "declined-would-lift": (*traveller, Fact(as_of - d(1), 1, TRAVEL, "declined")),
        "declined-first": (
            Fact(as_of - d(900), 9_00, status="declined"),
            *_prior(as_of, 100_00),
            *_last(as_of, 150_00),
        ),
        "declined-last": (Fact(as_of - d(30), 9_00), Fact(as_of - d(1), 9_00, status="declined")),
        "declined-refund": (*_last(as_of, 15_000_00, (TRAVEL,)), Fact(as_of - d(1), -1, TRAVEL, "declined")),
        "future-only": (Fact(as_of, 20_000_00, TRAVEL), Fact(as_of + d(35), 20_000_00, TRAVEL)),
        "future-would-lift": (*traveller, Fact(as_of, 1, TRAVEL), Fact(as_of + d(1), 1, TRAVEL)),
        "future-refund": (
            *_last(as_of, 15_000_00, (TRAVEL,)),
            Fact(as_of, -1, TRAVEL),
            Fact(as_of + d(400), -1),
        ),
        "dormant": (Fact(as_of - d(181), 20_000_00, TRAVEL), Fact(as_of - d(1000), 20_000_00, TRAVEL)),
        "prior-window-only": _prior(as_of, 20_000_00, (TRAVEL,)),
    }
    for name, facts in cases.items():
        yield _customer(f"uncounted-{name}", as_of, facts)


def _categories(as_of: date) -> Iterator[Customer]:
    """Each category alone, decoys, and unknown spend that must stay in the total."""
    for key in (*CATEGORY_NAMES, UNKNOWN, NO_CATEGORY):
        yield _customer(f"category-{key}-only", as_of, _last(as_of, 15_000_00, (key,)))
        yield _customer(f"category-{key}-only-small", as_of, _last(as_of, 30_00, (key,)))
    for other in (UNKNOWN, NO_CATEGORY):
        for travel in _around(3_750_00):
            facts = _last(as_of, travel, (AIRLINES,)) + _last(as_of, 15_000_00 - travel, (other,))
            yield _loyal(f"category-{other}-dilutes-travel-{travel}", as_of, facts)
        for needed in _around(60_00):
            facts = _last(as_of, needed, (GROCERY_AGAIN, GAS)) + _last(as_of, 100_00 - needed, (other,))
            yield _loyal(f"category-{other}-dilutes-needed-{needed}", as_of, facts)


def _overlaps(as_of: date) -> Iterator[Customer]:
    """Customers who meet the criteria of two segments: the earlier one wins."""
    big = _last(as_of, 15_000_00, (TRAVEL,))
    small = _last(as_of, 1_400_00, (GROCERY,))
    yield _loyal("overlap-traveller-and-declining", as_of, big + _prior(as_of, 30_000_00))
    yield _customer("overlap-traveller-and-growing", as_of, big + _prior(as_of, 10_000_00))
    yield _loyal("overlap-declining-and-budget", as_of, small + _prior(as_of, 2_000_00))
    yield _customer("overlap-growing-and-budget", as_of, small + _prior(as_of, 900_00))
    yield _loyal("overlap-prior-too-small-then-budget", as_of, small + _prior(as_of, 1_999_99))
    for twin in ("a", "b", "c"):
        yield _loyal(f"tie-{twin}", as_of, big + _prior(as_of, 15_000_00))


def _versioned(as_of: date) -> Iterator[Customer]:
    """SCD histories by what the customer spent, booked on the version of the day and on each in turn."""
    spends: dict[str, tuple[Fact, ...]] = {
        "traveller": _last(as_of, 15_000_00, (TRAVEL,)) + _prior(as_of, 15_000_00),
        "declining": _last(as_of, 1_400_00) + _prior(as_of, 2_000_00),
        "silent": (),
    }
    for label, versions in histories(as_of).items():
        for spend, facts in spends.items():
            yield Customer(f"versions-{label}-{spend}", facts, versions)
        turns = tuple(replace(fact, version=n % len(versions)) for n, fact in enumerate(spends["traveller"]))
        yield Customer(f"versions-{label}-in-turn", turns, versions)


def histories(as_of: date) -> dict[str, tuple[Version, ...]]:
    """SCD type 2 histories around the as-of date. customer_key counts up in the order listed."""

    def day(offset: int) -> date:
        return as_of + timedelta(days=offset)

    old, mid = day(-900), day(-60)
    return {
        "one-open": (Version(old),),
        "open-until-9999": (Version(old, date(9999, 12, 31)),),
        "begins-day-before": (Version(day(-1)),),
        "begins-on-as-of": (Version(day(0)),),
        "begins-day-after": (Version(day(1)),),
        "changes-day-before": (Version(old, day(-1)), Version(day(-1))),
        "changes-on-as-of": (Version(old, day(0)), Version(day(0))),
        "changes-day-after": (Version(old, day(1)), Version(day(1))),
        "changes-next-month": (Version(old, day(40)), Version(day(40))),
        "changes-inside-window": (Version(old, mid), Version(mid)),
        "later-version-has-lower-key": (Version(mid), Version(day(-400), mid), Version(old, day(-400))),
        "closed-long-ago": (Version(old, day(-300)),),
        "closed-day-before": (Version(old, day(-1)),),
        "closed-on-as-of": (Version(old, day(0)),),
        "closed-day-after": (Version(old, day(1)),),
        "closed-after-change": (Version(old, mid), Version(mid, day(-20))),
        "closed-after-change-keys-reversed": (Version(mid, day(-20)), Version(old, mid)),
        "reopened-on-as-of": (Version(old, mid), Version(day(0))),
        "reopened-after": (Version(old, mid), Version(day(1))),
        "empty-version-same-day": (Version(old, old), Version(old)),
        "empty-version-same-day-keys-reversed": (Version(old), Version(old, old)),
        "empty-version-on-as-of-after-closing": (Version(old, mid), Version(day(0), day(0))),
        "empty-version-on-day-before": (Version(day(-1), day(-1)), Version(day(-1))),
        "closed-same-day-twice": (Version(old, day(-10)), Version(old, day(-10))),
        "closed-same-day-longer-first": (Version(old, day(-10)), Version(old, day(-11))),
        "closed-same-day-longer-last": (Version(old, day(-11)), Version(old, day(-10))),
    }


# Generated customers


@cache
def _customers(as_of: date) -> st.SearchStrategy[Customer]:
    versions = st.sampled_from(list(histories(as_of).values()))
    archetype = st.sampled_from(archetypes(as_of))
    recombined = st.builds(lambda customer, history: _rebooked(customer, history), archetype, versions)
    noisy = st.builds(
        lambda customer, noise: replace(customer, name=f"{customer.name}-noisy", facts=(*customer.facts, *noise)),
        archetype,
        st.lists(_noise(as_of), min_size=1, max_size=4).map(tuple),
    )
    scattered = st.builds(
        lambda facts, history: Customer("scattered", tuple(facts), history),
        st.lists(_facts(as_of), max_size=12),
        versions,
    )
    return st.one_of(archetype, recombined, noisy, _at_a_ratio(as_of), scattered)


def _at_a_ratio(as_of: date) -> st.SearchStrategy[Customer]:
    """A share or a change exactly on its bound or a cent beside it, for amounts nobody would pick by hand."""

    def customer(kind: str, tens: int, beside: int) -> Customer:
        whole = tens * 10  # cents; a multiple of ten makes 30 % and 60 % whole, of twenty 25 % and 50 %
        if kind == "decline":
            facts = _prior(as_of, whole) + _last(as_of, whole * 7 // 10 + beside)
        elif kind == "growth":
            facts = _prior(as_of, whole) + _last(as_of, whole * 3 // 2 + beside)
        elif kind == "necessities":
            part = whole * 6 // 10 + beside
            facts = _last(as_of, part, (GROCERY, GAS, UTILITIES)) + _last(as_of, whole - part)
        else:
            part = whole * 2 // 4 + beside
            facts = _last(as_of, part, (TRAVEL, HOTELS)) + _last(as_of, whole * 2 - part)
        return _customer(f"ratio-{kind}-{whole}-{beside}", as_of, facts)

    kinds = st.sampled_from(("decline", "growth", "necessities", "travel"))
    return st.builds(customer, kinds, st.integers(1, 500_000), st.sampled_from((-1, 0, 0, 0, 1)))


def _facts(as_of: date) -> st.SearchStrategy[Fact]:
    amounts = st.one_of(
        st.sampled_from((-1_00, -1, 0, 1, 600_00, 1_400_00, 2_000_00, 3_000_00, 4_500_00, 15_000_00)),
        st.integers(-5_000_00, 20_000_00),
    )
    ages = st.one_of(st.sampled_from(EDGE_DAYS), st.integers(1, 200))
    return st.builds(
        Fact,
        on=ages.map(lambda age: as_of - timedelta(days=age)),
        cents=amounts,
        category=st.sampled_from((*CATEGORY_NAMES, UNKNOWN, NO_CATEGORY)),
        status=st.sampled_from(("approved", "approved", "approved", "declined")),
        version=st.sampled_from((None, None, 0, 1, 2)),
    )


def _noise(as_of: date) -> st.SearchStrategy[Fact]:
    """Facts that never count: declined, or on or after the as-of date."""
    declined = _facts(as_of).map(lambda fact: replace(fact, status="declined"))
    future = st.builds(
        lambda fact, days: replace(fact, on=as_of + timedelta(days=days)), _facts(as_of), st.integers(0, 60)
    )
    return st.one_of(declined, future)


def _rebooked(customer: Customer, history: tuple[Version, ...]) -> Customer:
    facts = tuple(replace(fact, version=None) for fact in customer.facts)
    return Customer(f"{customer.name}-rebooked", facts, history)


# Pieces of an archetype


def _around(bound: int) -> tuple[int, int, int]:
    return bound - 1, bound, bound + 1


def _last(
    as_of: date, amount: int, categories: Sequence[int | None] = (DINING,), days: Sequence[int] = (90, 45, 1)
) -> tuple[Fact, ...]:
    """`amount` cents of the last 90 days, spread over its first, a middle and its last day."""
    parts = len(days)
    cut = [amount // parts] * (parts - 1)
    return tuple(
        Fact(as_of - timedelta(days=age), part, categories[n % len(categories)])
        for n, (age, part) in enumerate(zip(days, [*cut, amount - sum(cut)], strict=True))
    )


def _prior(
    as_of: date,
    amount: int,
    categories: Sequence[int | None] = (DINING,),
    days: Sequence[int] = (180, 135, 91),
) -> tuple[Fact, ...]:
    """The same for the 90 days before those."""
    return _last(as_of, amount, categories, days)


def _tenure_days(as_of: date) -> dict[str, date]:
    """First-transaction days around 6 and 7 completed months; the as-of date is a 1st."""
    six, seven = _months_before(as_of, 6), _months_before(as_of, 7)
    return {
        "first-of-6": six,
        "last-before-6": six - timedelta(days=1),
        "second-of-7": seven + timedelta(days=1),
        "first-of-7": seven,
        "last-before-7": seven - timedelta(days=1),
    }


def _months_before(first_of_month: date, months: int) -> date:
    index = first_of_month.year * 12 + first_of_month.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)


def _customer(name: str, as_of: date, facts: tuple[Fact, ...]) -> Customer:
    return Customer(name, facts, histories(as_of)["one-open"])


def _loyal(name: str, as_of: date, facts: tuple[Fact, ...]) -> Customer:
    """A customer whose first transaction is too long ago for New & Growing."""
    return _customer(name, as_of, (Fact(as_of - timedelta(days=800), 10_00, GROCERY), *facts))


def _anchor(as_of: date) -> Customer:
    """Spends on the last day of the month: without such a fact the month counts as not fully loaded."""
    return _customer("anchor", as_of, (Fact(as_of - timedelta(days=1), 100_00),))


# From customers to tables


def build(customers: Iterable[Customer], as_of: date, suppressed: Iterable[str] = ()) -> Portfolio:
    """The five tables. customer_id is the customer's name; keys count up in the order given."""
    dimension: list[tuple[Any, ...]] = []
    facts: list[tuple[Any, ...]] = []
    days = {as_of}
    for number, customer in enumerate(customers):
        first_key = 1001 + len(dimension)
        for key, version in enumerate(customer.versions, first_key):
            email = f"customer{number}@example.com"
            dimension.append(
                (
                    key,
                    customer.name,
                    "Ada",
                    f"Example {number}",
                    email,
                    version.start,
                    version.end,
                    version.end is None,
                )
            )
        days |= {version.start for version in customer.versions}
        for fact in customer.facts:
            key = first_key + _booked_on(customer, fact)
            facts.append((len(facts) + 1, key, fact.category, fact.on, fact.cents, fact.status))
            days.add(fact.on)
    fct_transactions = pd.DataFrame(
        facts,
        columns=[
            "transaction_key",
            "customer_key",
            "merchant_category_key",
            "transaction_date",
            "transaction_amount",
            "transaction_status",
        ],
    )
    fct_transactions["transaction_amount"] = dollars(fct_transactions["transaction_amount"])
    return Portfolio(
        fct_transactions=fct_transactions,
        # Newest key first: a tie between versions must be decided by a rule, not by the order of the rows.
        dim_customer=pd.DataFrame(
            dimension[::-1],
            columns=[
                "customer_key",
                "customer_id",
                "first_name",
                "last_name",
                "email",
                "valid_from",
                "valid_to",
                "is_current",
            ],
        ),
        dim_merchant_category=pd.DataFrame(list(CATEGORY_NAMES.items()), columns=["category_key", "category_name"]),
        dim_date=_calendar(min(days) - timedelta(days=400), max(days) + timedelta(days=400)),
        marketing_suppressions=pd.DataFrame(
            [(name, "opted out", as_of - timedelta(days=30)) for name in suppressed],
            columns=["customer_id", "reason", "suppressed_at"],
        ),
    )


def _booked_on(customer: Customer, fact: Fact) -> int:
    """The version the fact names, else the one valid on its day, else the earliest."""
    if fact.version is not None:
        return fact.version % len(customer.versions)
    for index, version in enumerate(customer.versions):
        if version.start <= fact.on and (version.end is None or fact.on < version.end):
            return index
    return min(range(len(customer.versions)), key=lambda index: customer.versions[index].start)


def _calendar(first: date, last: date) -> pd.DataFrame:
    days = pd.Series(pd.date_range(first, last, freq="D"))
    return pd.DataFrame({"date_key": days.dt.year * 10000 + days.dt.month * 100 + days.dt.day, "full_date": days})
