"""Who the synthetic card-holders are: when each joined, the habits they live by, names, addresses, upgrades.

Shares are drawn from low-discrepancy sequences of the customer's number (`_spread`) instead of coins, so that
a portfolio of 1,000 has the same mix as one of 50,000, in every month's joiners alike. What no rule looks
at (names, days, faults) is drawn from hashes.
"""

import duckdb

# New & Growing can only be customers in the 4th to 7th month after their first purchase: earlier there is no
# prior spend to grow from, later the tenure is over. For those four months' joiners to be an eighth of the
# portfolio it must grow by 3.8 % a month: 0.0366 * (1.038^-3 + ... + 1.038^-6) = 12.4 %.
MONTHLY_GROWTH = 1.038

# Card versions a customer can have. customer_key = customer number * 10 + version, so that a key never
# depends on who else exists.
KEYS_PER_CUSTOMER = 10

# Share of joiners by habit. The rest are steady.
TRAVELLER_SHARE = 0.213
BUDGET_SHARE = 0.255
NEVER_ACTIVE_SHARE = 0.015
SLEEPER_SHARE_OF_STEADY = 0.2

# The premium card, and with it the travelling, comes when the first half year is over: a newcomer who spent
# like a traveller at once would be High-Value before ever being New & Growing.
TRAVEL_FROM_AGE = 8

# Comma-separated, split by DuckDB.
_FIRST_NAMES = (
    "Anna,Ben,Carla,Daniel,Elena,Farid,Grace,Hiro,Ines,Jack,Karin,Liam,Mei,Noah,Olga,Priya,Quentin,Rosa,Samir,"
    "Tara,Umar,Vera,Wanda,Xavier,Yara,Zane,José,Zoë,Renée,Søren,Łukasz,Chloé,Jürgen,Ángela,Nuño,Siân,Maja,"
    "Kofi,Amara,Dmitri"
)
_LAST_NAMES = (
    "Smith,Johnson,Müller,García,O'Brien,Nguyen,Kowalski,Rossi,Dubois,Andersson,Silva,Kim,Tanaka,Patel,Haddad,"
    "Okafor,Jensen,Novák,Muñoz,Lefèvre,Brown,Davis,Wilson,Moore,Taylor,Clark,Lewis,Walker,Young,King,Wright,"
    "Scott,Green,Baker,Adams,Nelson,Carter,Mitchell,Turner,Phillips,Öztürk,Håkansson,van Dijk,D'Angelo,"
    "Papadopoulos"
)


def create_cardholders(
    connection: duckdb.DuckDBPyConnection, *, customers: int, sized_at: int, last_month: int
) -> None:
    """Temporary table `cardholders`: one row per customer who joined by `last_month`, with the habits.

    Ages are months since the month of joining. Spend is per month, odds are shares of the purchases.
    """
    total = int(customers * MONTHLY_GROWTH ** (last_month - sized_at))
    connection.execute(f"""
        create or replace temp table cardholders as
        with
        joined as (
            select
                n as customer_number,
                -- The month in which customers * growth ^ (month - sized_at) first reaches n.
                {sized_at} + ceil(ln(n / {customers}) / ln({MONTHLY_GROWTH}::double))::integer
                    as joined_month,
                -- Days 2 to 19, and the first purchase within nine days of it: both in the month of joining,
                -- else the population of a month would change when the next one is added.
                2 + (hash(n, 'opened') % 18)::integer as opened_on_day,
                (hash(n, 'first purchase') % 9)::integer as days_to_first_purchase,
                {_spread("n", 0.6180339887498949)} as habit_draw,
                {_spread("n", 0.7548776662466927)} as level_draw,
                {_spread("n", 0.5698402909980532)} as phase_draw,
                {_spread("n", 0.8191725133961645)} as mix_draw,
                {_spread("n", 0.6710436067037893)} as upgrade_draw,
                {_spread("n", 0.4142135623730951)} as sleep_draw,
            from range(1, {max(total, 1)} + 1) as numbers (n)
        ),
        habits as (
            select
                *,
                case
                    when habit_draw < {TRAVELLER_SHARE} then 'traveller'
                    when habit_draw < {TRAVELLER_SHARE + BUDGET_SHARE} then 'budget'
                    when habit_draw >= {1 - NEVER_ACTIVE_SHARE} then 'never active'
                    else 'steady'
                end as habit,
                make_date(joined_month // 12, joined_month % 12 + 1, opened_on_day) as opened_on,
            from joined
        )
        select
            customer_number,
            joined_month,
            opened_on,
            opened_on + days_to_first_purchase as first_purchase_on,
            habit,
            case habit
                when 'traveller' then 4200 + 2000 * mix_draw
                when 'budget' then 550 + 650 * level_draw
                else 1700 + 2400 * pow(level_draw, 1.3)
            end as everyday_spend,
            -- Well over the 5,000 that makes a High-Value Traveler, so that one cheap month does not matter.
            if(habit = 'traveller', 6800 + 7000 * level_draw * level_draw, null) as travelling_spend,
            case habit when 'traveller' then 26.5 when 'budget' then 18.3 else 22.4 end
                * (0.8 + 0.4 * mix_draw) as purchases_per_month,
            -- A travel purchase costs three times another: 20 % of the purchases are 43 % of the spend.
            case habit
                when 'traveller' then 0.17 + 0.1 * mix_draw
                when 'budget' then 0.01
                else 0.02 + 0.05 * mix_draw
            end as travel_odds,
            case habit
                when 'traveller' then 0.25
                when 'budget' then 0.76 + 0.1 * mix_draw
                else 0.25 + 0.2 * mix_draw
            end as necessities_odds,
            phase_draw,
            -- Sleepers keep the card and stop using it, one to three years after joining.
            case
                when habit = 'steady' and sleep_draw < {SLEEPER_SHARE_OF_STEADY}
                    then 12 + (hash(customer_number, 'asleep') % 24)::integer
            end as asleep_from_age,
            -- Travellers upgrade as they start to travel, a third of the others between month 10 and 40; some
            -- upgrade again.
            (opened_on + to_months(case
                when habit = 'traveller' then {TRAVEL_FROM_AGE}
                when upgrade_draw < 0.33 then 10 + (hash(customer_number, 'upgrade') % 31)::integer
            end))::date as upgraded_on,
            (opened_on + to_months(case
                when upgrade_draw < 0.1 then 45 + (hash(customer_number, 'upgrade again') % 24)::integer
            end))::date as upgraded_again_on,
        from habits
    """)


def create_dimension(connection: duckdb.DuckDBPyConnection, schema: str, *, last_month: int) -> None:
    """`dim_customer`: one row per customer and card version that began by the end of `last_month`."""
    connection.execute(f"""
        create or replace table {schema}.dim_customer as
        with
        people as (
            select
                customer_number,
                {_pick(_FIRST_NAMES, "first name")} as given_name,
                {_pick(_LAST_NAMES, "last name")} as last_name,
                (hash(customer_number, 'fault') % 1000)::integer as fault_draw,
                lower(strip_accents(given_name || '.' || last_name)) as plain_name,
                -- strip_accents leaves a stroke through a letter alone.
                regexp_replace(translate(plain_name, 'øł', 'ol'), '[^a-z.]', '', 'g')
                    || customer_number || '@example.' || {_pick("com,org,net", "domain")} as address,
            from cardholders
        ),
        with_faults as (
            select
                customer_number,
                -- What a spreadsheet would run as a formula: exports have to defuse it.
                if(fault_draw between 100 and 103, substr('=+-@', fault_draw - 99, 1), '') || given_name
                    as first_name,
                last_name,
                case
                    when fault_draw < 20 then null
                    when fault_draw < 23 then replace(address, '@', ' at ')
                    when fault_draw < 25 then split_part(address, '@', 1) || '@'
                    when fault_draw < 35 then upper(address)
                    when fault_draw < 45 then '  ' || address || ' '
                    -- A household with one mailbox.
                    when fault_draw < 55 then coalesce(lag(address) over (order by customer_number), address)
                    else address
                end as email,
            from people
        ),
        versions as (
            select customer_number, 1 as version, opened_on as valid_from from cardholders
            union all
            select customer_number, 2, upgraded_on from cardholders where upgraded_on is not null
            union all
            select customer_number, if(upgraded_on is null, 2, 3), upgraded_again_on
            from cardholders
            where upgraded_again_on is not null
        ),
        known_versions as (
            select
                customer_number,
                version,
                valid_from,
                lead(valid_from) over (partition by customer_number order by version) as valid_to,
            from versions
            where valid_from < {first_day_of(last_month + 1)}
        )
        select
            known_versions.customer_number * {KEYS_PER_CUSTOMER} + version as customer_key,
            'CUST' || lpad(known_versions.customer_number::varchar, 8, '0') as customer_id,
            first_name,
            last_name,
            email,
            valid_from,
            valid_to,
            valid_to is null as is_current,
        from known_versions
        inner join with_faults using (customer_number)
        order by customer_key
    """)


def create_suppressions(connection: duckdb.DuckDBPyConnection, schema: str, *, last_month: int) -> None:
    """`marketing_suppressions`: one row for about 2 % of the customers, known by the end of `last_month`."""
    connection.execute(f"""
        create or replace table {schema}.marketing_suppressions as
        with drawn as (
            select
                customer_number,
                (hash(customer_number, 'reason') % 100)::integer as reason_draw,
                opened_on + 1 + (hash(customer_number, 'suppressed') % 600)::integer as suppressed_at,
            from cardholders
            where hash(customer_number, 'suppression') % 1000 < 28
        )
        select
            'CUST' || lpad(customer_number::varchar, 8, '0') as customer_id,
            case
                when reason_draw < 70 then 'unsubscribed'
                when reason_draw < 85 then 'complaint'
                when reason_draw < 95 then 'deceased'
                else 'legal_hold'
            end as reason,
            suppressed_at,
        from drawn
        where suppressed_at < {first_day_of(last_month + 1)}
        order by customer_id
    """)


def _spread(number: str, step: float) -> str:
    """SQL of a draw from [0, 1) that fills the interval evenly over any run of consecutive numbers."""
    return f"({number} * {step}::double) % 1"


def _pick(options: str, purpose: str) -> str:
    """SQL of one of the comma-separated options, by the customer's number; `purpose` keeps draws apart."""
    quoted = options.replace("'", "''")
    count = options.count(",") + 1
    return f"string_split('{quoted}', ',')[1 + (hash(customer_number, '{purpose}') % {count})::integer]"


def first_day_of(month: int) -> str:
    """SQL of the first day of a month given as months since year 0."""
    return f"date '{month // 12:04d}-{month % 12 + 1:02d}-01'"
