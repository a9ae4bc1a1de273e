"""What the synthetic card-holders buy: how often, how much and in which category, month by month.

Every draw is a slice of a hash of customer, month and position, so a purchase is the same whatever else is
generated, in whatever order, on however many threads.
"""

import duckdb

from segmentation_assets.sources.synthetic_customers import KEYS_PER_CUSTOMER, TRAVEL_FROM_AGE, first_day_of

# Keys count from 1: first the three of travel, then the three necessities, then the rest.
CATEGORIES = (
    "Travel",
    "Airlines",
    "Hotels",
    "Grocery",
    "Gas",
    "Utilities",
    "Dining",
    "Entertainment",
    "Clothing",
    "Electronics",
    "Healthcare",
    "Home & Garden",
    "Education",
    "Online Services",
)
# A mapping that has not arrived yet: facts carry this key, the dimension has no such row.
UNMAPPED_CATEGORY_KEY = 99

# Spend rises evenly over the first eight months: each of the 4th to 7th is then at least twice what the
# three months before it were, far over the 50 % of New & Growing.
RAMP_MONTHS = 8
# A customer who is not on a budget goes quiet for five months out of 28 and then recovers. The last 90 days
# stay 30 % under the 90 before for about four of them.
QUIET_EVERY_MONTHS = 28
QUIET_MONTHS = 5
# Purchases by calendar month. Small enough that January after December alone makes nobody Declining.
SEASON = (0.95, 0.96, 1.0, 0.99, 1.0, 1.01, 1.02, 1.0, 0.98, 1.0, 1.03, 1.08)

# transaction_key = (month number * 2^24 + customer number) * 2^8 + position: unique without a sort, the same
# whatever else is generated, and rising with the months. Positions from 254 are the post-dated ones.
MAX_PURCHASES = 250


def create_categories(connection: duckdb.DuckDBPyConnection, schema: str) -> None:
    """`dim_merchant_category`: one row per category."""
    connection.execute(
        f"create or replace table {schema}.dim_merchant_category (category_key integer, category_name varchar)"
    )
    connection.executemany(
        f"insert into {schema}.dim_merchant_category values (?, ?)", list(enumerate(CATEGORIES, start=1))
    )


def create_facts(connection: duckdb.DuckDBPyConnection, schema: str, *, first_month: int, last_month: int) -> None:
    """`fct_transactions`: one row per purchase or refund, in the order of transaction_date.

    One insert per month keeps the sort, and with it the memory, at the size of a month.
    """
    connection.execute(f"""
        create or replace table {schema}.fct_transactions (
            transaction_key bigint,
            customer_key bigint,
            merchant_category_key integer,
            transaction_date date,
            transaction_amount decimal(12, 2),
            transaction_status varchar
        )
    """)
    connection.execute(f"create or replace temp table postdated as {_postdated(first_month, last_month)}")
    for month in range(first_month, last_month + 1):
        connection.execute(f"""
            insert into {schema}.fct_transactions
            select * from ({_purchases(month)})
            union all
            select * from postdated where {_month_of("transaction_date")} = {month}
            order by transaction_date, transaction_key
        """)
    connection.execute(f"""
        insert into {schema}.fct_transactions
        select * from postdated where {_month_of("transaction_date")} > {last_month}
        order by transaction_date, transaction_key
    """)
    connection.execute("drop table temp.postdated")


def _purchases(month: int) -> str:
    """SQL of one month's facts, as the columns of fct_transactions."""
    travels = f"travelling_spend is not null and age >= {TRAVEL_FROM_AGE}"
    return f"""
        with
        ages as (
            select
                *,
                {month} - joined_month as age,
                (age + floor({QUIET_EVERY_MONTHS} * phase_draw)::integer) % {QUIET_EVERY_MONTHS}
                    as cycle_month,
                hash(customer_number, {month}) as month_hash,
            from cardholders
            where joined_month <= {month} and habit <> 'never active'
        ),
        activity as (
            select
                *,
                case
                    when age < {RAMP_MONTHS} then (age + 1) / {RAMP_MONTHS}::double
                    when age >= asleep_from_age then greatest(0, 0.5 - 0.3 * (age - asleep_from_age))
                    -- A quiet spell that would have begun during the ramp is left out as a whole.
                    when habit = 'budget' or age - cycle_month < {RAMP_MONTHS} then 1
                    when cycle_month < {QUIET_MONTHS} then 0.2
                    when cycle_month = {QUIET_MONTHS} then 0.6
                    else 1
                end as activity,
                if({travels}, travel_odds, least(travel_odds, 0.04)) as month_travel_odds,
                if({travels}, travelling_spend, everyday_spend)
                    / (purchases_per_month * (1 + 2 * month_travel_odds)) as ticket,
            from ages
        ),
        counts as (
            select
                * exclude (activity),
                -- Rounded by chance, so that a seldom buyer buys seldom instead of never.
                least({MAX_PURCHASES}, greatest(
                    if(age = 0, 1, 0),
                    floor(
                        purchases_per_month * activity * {SEASON[month % 12]}
                        * (0.92 + 0.16 * {_draw("month_hash", 0, 10)}) + {_draw("month_hash", 10, 16)}
                    )::integer
                )) as purchases,
                if(age = 0, first_purchase_on, {first_day_of(month)}) as starts_on,
                {first_day_of(month + 1)} - starts_on as days,
            from activity
        ),
        positions as (
            select *, unnest(range(purchases)) as position from counts where purchases > 0
        ),
        hashed as (
            select
                *,
                hash(month_hash, position) as draws,
                hash(month_hash, position, 'amount') as amount_draws,
            from positions
        ),
        drawn as (
            select
                customer_number,
                upgraded_on,
                upgraded_again_on,
                position,
                ticket,
                month_travel_odds,
                necessities_odds,
                -- A customer's first purchase is approved and no refund: tenure counts from it.
                age = 0 and position = 0 as is_first,
                starts_on + if(is_first, 0, floor(days * {_draw("draws", 0, 16)})::integer)
                    as transaction_date,
                {_draw("draws", 16, 16)} as category_draw,
                {_draw("draws", 32, 10)} as member_draw,
                {_draw("draws", 42, 10)} as status_draw,
                {_draw("draws", 52, 12)} as unknown_draw,
                -- Two even draws make a bell and its exponential a price, mostly small, a few dear. Mean 1.
                exp(1.2 * ({_draw("amount_draws", 0, 16)} + {_draw("amount_draws", 16, 16)} - 1)) / 1.1255
                    as price,
                {_draw("amount_draws", 32, 10)} as refund_draw,
            from hashed
        )
        select
            ({month}::bigint * 16777216 + customer_number) * 256 + position as transaction_key,
            {_key_on("transaction_date")} as customer_key,
            case
                when unknown_draw < 0.003 then {UNMAPPED_CATEGORY_KEY}
                when unknown_draw < 0.005 then null
                when category_draw < month_travel_odds then 1 + floor(3 * member_draw)
                when category_draw < month_travel_odds + necessities_odds then 4 + floor(3 * member_draw)
                else 7 + floor({len(CATEGORIES) - 6} * member_draw)
            end::integer as merchant_category_key,
            transaction_date,
            (
                ticket * price
                * if(category_draw < month_travel_odds, 3, 1)
                * if(refund_draw < 0.01 and not is_first, -1, 1)
            )::decimal(12, 2) as transaction_amount,
            -- A refund is never declined.
            if(status_draw < 0.03 and refund_draw >= 0.01 and not is_first, 'declined', 'approved')
                as transaction_status,
        from drawn
    """


def _postdated(first_month: int, last_month: int) -> str:
    """SQL of two purchases a month that are dated 2 to 13 months later, under the key of the month itself."""
    return f"""
        with
        -- Those who joined a year before, so that nobody's first purchase is a post-dated one.
        veterans as (
            select month, count(*) as veterans
            from range({first_month}, {last_month} + 1) as months (month)
            inner join cardholders on joined_month <= month - 12
            group by month
        ),
        drawn as (
            select
                month,
                slot,
                hash(month, slot, 'postdated') as draws,
                1 + (draws % veterans)::bigint as customer_number,
                month + 2 + (hash(draws, 'months') % 12)::integer as dated_month,
                make_date(dated_month // 12, dated_month % 12 + 1, 1 + (hash(draws, 'day') % 28)::integer)
                    as transaction_date,
            from veterans, range(2) as slots (slot)
        )
        select
            (month * 16777216 + customer_number) * 256 + 254 + slot as transaction_key,
            {_key_on("make_date(month // 12, month % 12 + 1, 28)")} as customer_key,
            (7 + draws % {len(CATEGORIES) - 6})::integer as merchant_category_key,
            transaction_date,
            (everyday_spend / purchases_per_month)::decimal(12, 2) as transaction_amount,
            'approved' as transaction_status,
        from drawn
        inner join cardholders using (customer_number)
        where habit <> 'never active'
    """


def _draw(hashed: str, offset: int, bits: int) -> str:
    """SQL of an even draw from [0, 1) made of `bits` bits of a hash, from bit `offset` on."""
    return f"((({hashed} >> {offset}) & {2**bits - 1}) / {2**bits}::double)"


def _key_on(day: str) -> str:
    """SQL of the customer_key whose version is valid on a day."""
    return (
        f"customer_number * {KEYS_PER_CUSTOMER} + 1"
        f" + coalesce({day} >= upgraded_on, false)::integer"
        f" + coalesce({day} >= upgraded_again_on, false)::integer"
    )


def _month_of(day: str) -> str:
    return f"(year({day}) * 12 + month({day}) - 1)"
