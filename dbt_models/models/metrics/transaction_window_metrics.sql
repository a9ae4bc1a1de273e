{{ config(on_schema_change='append_new_columns') }}

{% set asked = asked_month_list() %}
with months as (

    {{ asked_months() }}

),

periods as (

    select
        customer_key,
        period_start,
        transaction_count,
        spend,
        travel_spend,
        necessities_spend,
        first_transaction_date,
        last_transaction_date
    from {{ ref('customer_period_spend') }}
    where period_start < {{ last_as_of_date() }}

),

versions as (

    select
        customer_id,
        customer_key,
        valid_from,
        valid_to
    from {{ ref('stg_customers') }}
    where valid_from <= {{ last_as_of_date() }}

),

-- Whose version a key is today. The rollup is added up by key, a whole number, before it meets this list.
owners as (

    select
        customer_key,
        customer_id
    from {{ ref('stg_customers') }}

),

population as (

    {{ population('months', 'versions') }}

),

stamps as (

    {{ rollup_stamps('months') }}

),

{% if asked | length == 1 %}
{%- set in_last_90_days = "periods.period_start >= " ~ date_literal(days_before(month_after(asked[0]), 90)) %}
{%- set in_prior_90_days = "periods.period_start >= " ~ first_window_start() ~ " and not " ~ in_last_90_days %}
-- One month alone needs each period once, for the lifetime and for the window it lies in.
measures_of_versions as (

    select
        periods.customer_key,
        sum(periods.transaction_count) as transaction_count,
        sum(periods.spend) as spend,
        sum(periods.travel_spend) as travel_spend,
        sum(periods.necessities_spend) as necessities_spend,
        min(periods.first_transaction_date) as first_transaction_date,
        max(periods.last_transaction_date) as last_transaction_date,
        sum(case when {{ in_last_90_days }} then periods.spend else 0 end) as spend_last_90_days,
        sum(case when {{ in_prior_90_days }} then periods.spend else 0 end) as spend_prior_90_days,
        sum(case when {{ in_last_90_days }} then periods.travel_spend else 0 end) as travel_spend_last_90_days,
        sum(case when {{ in_last_90_days }} then periods.necessities_spend else 0 end) as necessities_spend_last_90_days
    from periods
    group by periods.customer_key

),

measures as (

    select
        {{ date_literal(asked[0]) }} as snapshot_month,
        owners.customer_id,
        sum(versions.transaction_count) as transaction_count,
        sum(versions.spend) as spend,
        sum(versions.travel_spend) as travel_spend,
        sum(versions.necessities_spend) as necessities_spend,
        min(versions.first_transaction_date) as first_transaction_date,
        max(versions.last_transaction_date) as last_transaction_date,
        sum(versions.spend_last_90_days) as spend_last_90_days,
        sum(versions.spend_prior_90_days) as spend_prior_90_days,
        sum(versions.travel_spend_last_90_days) as travel_spend_last_90_days,
        sum(versions.necessities_spend_last_90_days) as necessities_spend_last_90_days
    from measures_of_versions as versions
    inner join owners on versions.customer_key = owners.customer_key
    group by owners.customer_id

)
{%- else %}
-- Which periods make up each month's windows. The list is tiny, so that the periods meet it in a hash join.
window_periods as (

    select
        months.snapshot_month,
        period_starts.period_start,
        period_starts.period_start >= months.last_90_days_start as is_last_90_days
    from (select distinct period_start from periods) as period_starts
    inner join months
        on
            period_starts.period_start >= months.prior_90_days_start
            and period_starts.period_start < months.as_of_date

),

windows_of_versions as (

    select
        periods.customer_key,
        window_periods.snapshot_month,
        sum(case when window_periods.is_last_90_days then periods.spend else 0 end) as spend_last_90_days,
        sum(case when window_periods.is_last_90_days then 0 else periods.spend end) as spend_prior_90_days,
        sum(case when window_periods.is_last_90_days then periods.travel_spend else 0 end) as travel_spend_last_90_days,
        sum(
            case when window_periods.is_last_90_days then periods.necessities_spend else 0 end
        ) as necessities_spend_last_90_days
    from periods
    inner join window_periods on periods.period_start = window_periods.period_start
    group by periods.customer_key, window_periods.snapshot_month

),

windows as (

    select
        owners.customer_id,
        versions.snapshot_month,
        sum(versions.spend_last_90_days) as spend_last_90_days,
        sum(versions.spend_prior_90_days) as spend_prior_90_days,
        sum(versions.travel_spend_last_90_days) as travel_spend_last_90_days,
        sum(versions.necessities_spend_last_90_days) as necessities_spend_last_90_days
    from windows_of_versions as versions
    inner join owners on versions.customer_key = owners.customer_key
    group by owners.customer_id, versions.snapshot_month

),

-- What each month adds to a lifetime: a period enters with the first asked month that has seen it.
lifetime_steps_of_versions as (

    select
        customer_key,
        greatest({{ month_start('period_start') }}, {{ date_literal(asked[0]) }}) as snapshot_month,
        sum(transaction_count) as transaction_count,
        sum(spend) as spend,
        sum(travel_spend) as travel_spend,
        sum(necessities_spend) as necessities_spend,
        min(first_transaction_date) as first_transaction_date,
        max(last_transaction_date) as last_transaction_date
    from periods
    group by 1, 2

),

lifetime_steps as (

    select
        owners.customer_id,
        versions.snapshot_month,
        sum(versions.transaction_count) as transaction_count,
        sum(versions.spend) as spend,
        sum(versions.travel_spend) as travel_spend,
        sum(versions.necessities_spend) as necessities_spend,
        min(versions.first_transaction_date) as first_transaction_date,
        max(versions.last_transaction_date) as last_transaction_date
    from lifetime_steps_of_versions as versions
    inner join owners on versions.customer_key = owners.customer_key
    group by owners.customer_id, versions.snapshot_month

),

-- Every customer in every asked month, in the population yet or not: facts may be older than the first version.
customer_months as (

    select
        months.snapshot_month,
        customers.customer_id
    from months
    cross join (select distinct customer_id from versions) as customers

),

{% set running = "over (partition by customer_months.customer_id order by customer_months.snapshot_month"
    ~ " rows between unbounded preceding and current row)" %}
running_totals as (

    select
        customer_months.snapshot_month,
        customer_months.customer_id,
        sum(lifetime_steps.transaction_count) {{ running }} as transaction_count,
        sum(lifetime_steps.spend) {{ running }} as spend,
        sum(lifetime_steps.travel_spend) {{ running }} as travel_spend,
        sum(lifetime_steps.necessities_spend) {{ running }} as necessities_spend,
        min(lifetime_steps.first_transaction_date) {{ running }} as first_transaction_date,
        max(lifetime_steps.last_transaction_date) {{ running }} as last_transaction_date
    from customer_months
    left join lifetime_steps
        on
            customer_months.customer_id = lifetime_steps.customer_id
            and customer_months.snapshot_month = lifetime_steps.snapshot_month

),

measures as (

    select
        running_totals.snapshot_month,
        running_totals.customer_id,
        running_totals.transaction_count,
        running_totals.spend,
        running_totals.travel_spend,
        running_totals.necessities_spend,
        running_totals.first_transaction_date,
        running_totals.last_transaction_date,
        windows.spend_last_90_days,
        windows.spend_prior_90_days,
        windows.travel_spend_last_90_days,
        windows.necessities_spend_last_90_days
    from running_totals
    left join windows
        on
            running_totals.snapshot_month = windows.snapshot_month
            and running_totals.customer_id = windows.customer_id

)
{%- endif %}

select
    population.snapshot_month,
    population.as_of_date,
    population.customer_id,
    population.customer_key,
    cast(coalesce(measures.transaction_count, 0) as bigint) as total_transactions,
    {{ rounded_sum('coalesce(measures.spend, 0)') }} as lifetime_value,
    measures.first_transaction_date,
    measures.last_transaction_date,
    {{ rounded_sum('coalesce(measures.spend_last_90_days, 0)') }} as spend_last_90_days,
    {{ rounded_sum('coalesce(measures.spend_prior_90_days, 0)') }} as spend_prior_90_days,
    {{ rounded_sum('coalesce(measures.travel_spend_last_90_days, 0)') }} as travel_spend_last_90_days,
    {{ rounded_sum('coalesce(measures.necessities_spend_last_90_days, 0)') }} as necessities_spend_last_90_days,
    {{ rounded_sum('coalesce(measures.travel_spend, 0)') }} as lifetime_travel_spend,
    {{ rounded_sum('coalesce(measures.necessities_spend, 0)') }} as lifetime_necessities_spend,
    cast(stamps.rollup_hash as varchar) as rollup_hash
from population
left join stamps on population.snapshot_month = stamps.snapshot_month
left join measures
    on
        population.customer_id = measures.customer_id
        and population.snapshot_month = measures.snapshot_month
