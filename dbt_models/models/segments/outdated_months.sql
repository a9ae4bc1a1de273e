{{ config(materialized='view', schema='silver') }}

-- Each published month as it would be computed now, compared customer by customer, so that what moved between customers
-- shows. No period is joined with all the months after it, of which there are ever more: each belongs to the windows
-- of a few, and lifetimes are added up from one published month to the next.
with history as (

    select * from {{ ref('customer_segment_history') }}

),

newest_versions as (

    {{ newest_versions() }}

),

-- The shares of a month that was published under other rules may differ by them alone.
months as (

    select
        history.snapshot_month,
        history.segment_assigned_date as as_of_date,
        coalesce(newest_versions.rules_hash = '{{ rules_hash() }}', false) as is_of_these_rules
    from (
        select distinct
            snapshot_month,
            segment_assigned_date
        from history
    ) as history
    left join newest_versions on history.snapshot_month = newest_versions.snapshot_month

),

versions as (

    select
        customer_key,
        customer_id,
        valid_from,
        valid_to
    from {{ ref('stg_customers') }}

),

population as (

    {{ population('months', 'versions') }}

),

{% set definitions = metric_definitions() -%}
{%- set sums = measures() | rejectattr('measure', 'equalto', 'active_months') | list -%}
{%- set counts_of_months = measures() | selectattr('measure', 'equalto', 'active_months') | list -%}
-- Metrics that are built on others differ only where these do.
{% set compared = metric_levels(definitions)[0] | reject('in', [
    'total_transactions', 'lifetime_value', 'avg_transaction_value', 'tenure_months', 'spend_last_90_days',
    'spend_prior_90_days', 'first_transaction_date', 'last_transaction_date',
]) | list -%}
rollup as (

    select * from {{ ref('customer_period_spend') }}

),

periods as (

    select distinct period_start from rollup

),

{% set windowed = sums | selectattr('window') | list -%}
{%- set lifetime = sums | rejectattr('window') | list -%}
-- Which periods lie in which windows of a month: as many rows as windows are long, for each month.
periods_of_windows as (

    select
        {%- for window in windowed | map(attribute='window') | unique %}
        {{ is_in_window(window, 'periods.period_start', 'months.as_of_date') }} as is_in_{{ window }},
        {%- endfor %}
        months.snapshot_month,
        periods.period_start
    from months
    inner join periods
        on
            months.as_of_date > periods.period_start
            and months.as_of_date - {{ longest_window_days() }} <= periods.period_start

),

windows as (

    select
        {%- for one in windowed %}
        {{ measured(one, 'rollup.' ~ rollup_column(one.measure, one.group), 'places.is_in_' ~ one.window) }}
            as {{ one.column }},
        {%- endfor %}
        places.snapshot_month,
        versions.customer_id
    from rollup
    inner join periods_of_windows as places on rollup.period_start = places.period_start
    inner join versions on rollup.customer_key = versions.customer_key
    group by places.snapshot_month, versions.customer_id

),

-- The first published month that a period is behind.
periods_of_months as (

    select
        periods.period_start,
        min(months.snapshot_month) as snapshot_month
    from months
    inner join periods on months.as_of_date > periods.period_start
    group by periods.period_start

),

additions as (

    select
        {%- for one in lifetime %}
        {{ measured(one, 'rollup.' ~ rollup_column(one.measure, one.group)) }} as {{ one.column }},
        {%- endfor %}
        places.snapshot_month,
        versions.customer_id
    from rollup
    inner join periods_of_months as places on rollup.period_start = places.period_start
    inner join versions on rollup.customer_key = versions.customer_key
    group by places.snapshot_month, versions.customer_id

),

beginnings as (

    select
        customer_id,
        min(snapshot_month) as snapshot_month
    from additions
    group by customer_id

),

lifetimes as (

    select
        {%- for one in lifetime %}
        {{ measured(one, 'additions.' ~ one.column) }} over (
            partition by beginnings.customer_id order by months.snapshot_month
            rows between unbounded preceding and current row
        ) as {{ one.column }},
        {%- endfor %}
        months.snapshot_month,
        beginnings.customer_id
    from beginnings
    inner join months on beginnings.snapshot_month <= months.snapshot_month
    left join additions
        on
            beginnings.customer_id = additions.customer_id
            and months.snapshot_month = additions.snapshot_month

),

measures as (

    select
        {%- for one in lifetime %}
        lifetimes.{{ one.column }},
        {%- endfor %}
        {%- for one in windowed %}
        windows.{{ one.column }},
        {%- endfor %}
        lifetimes.snapshot_month,
        lifetimes.customer_id
    from lifetimes
    left join windows
        on
            lifetimes.snapshot_month = windows.snapshot_month
            and lifetimes.customer_id = windows.customer_id

),

{% if counts_of_months -%}
active_months as (

    {{ active_months('months', 'rollup', 'versions') }}

),

{% endif -%}
-- As transaction_window_metrics has them: of every customer of the population, with transactions or without.
window_metrics as (

    select
        {%- for one in counts_of_months %}
        {{ rounded_measure(one, 'active_months.' ~ one.column) }} as {{ one.column }},
        {%- endfor %}
        {%- for one in sums %}
        {{ rounded_measure(one, 'measures.' ~ one.column) }} as {{ one.column }},
        {%- endfor %}
        population.snapshot_month,
        population.customer_id,
        population.customer_key,
        months.as_of_date,
        months.is_of_these_rules
    from population
    inner join months on population.snapshot_month = months.snapshot_month
    left join measures
        on
            population.snapshot_month = measures.snapshot_month
            and population.customer_id = measures.customer_id
    {%- if counts_of_months %}
    left join active_months
        on
            population.snapshot_month = active_months.snapshot_month
            and population.customer_id = active_months.customer_id
    {%- endif %}

),

both_sides as (

    select
        {%- for name in compared %}
        case when months.is_of_these_rules then history.{{ name }} end as {{ name }},
        {%- endfor %}
        history.snapshot_month,
        history.customer_id,
        history.customer_key,
        history.total_transactions as transaction_count,
        history.lifetime_value as spend,
        history.spend_last_90_days,
        history.spend_prior_90_days,
        history.first_transaction_date,
        history.last_transaction_date
    from history
    inner join months on history.snapshot_month = months.snapshot_month
    union all
    select
        {%- for name in compared %}
        case when is_of_these_rules then {{ metric_sql(definitions[name], definitions) }} end as {{ name }},
        {%- endfor %}
        snapshot_month,
        customer_id,
        customer_key,
        -total_transactions as transaction_count,
        -lifetime_value as spend,
        -spend_last_90_days as spend_last_90_days,
        -spend_prior_90_days as spend_prior_90_days,
        first_transaction_date,
        last_transaction_date
    from window_metrics

),

-- Money to the cent: where sums come back as doubles, they differ by the order they were added up in. Every column with
-- its table: where an alias has the name of a column, HAVING means the alias on Snowflake: a sum of a sum.
differing_customers as (

    select
        both_sides.snapshot_month,
        both_sides.customer_id,
        sum(both_sides.transaction_count) as transaction_count,
        cast(sum(both_sides.spend) as decimal(38, 2)) as spend,
        cast(sum(both_sides.spend_last_90_days) as decimal(38, 2)) as spend_last_90_days,
        cast(sum(both_sides.spend_prior_90_days) as decimal(38, 2)) as spend_prior_90_days
    from both_sides
    group by both_sides.snapshot_month, both_sides.customer_id
    having
        count(*) <> 2
        or sum(both_sides.transaction_count) <> 0
        or cast(sum(both_sides.spend) as decimal(38, 2)) <> 0
        or cast(sum(both_sides.spend_last_90_days) as decimal(38, 2)) <> 0
        or cast(sum(both_sides.spend_prior_90_days) as decimal(38, 2)) <> 0
        {%- for column in ['customer_key', 'first_transaction_date', 'last_transaction_date'] + compared %}
        or count(both_sides.{{ column }}) = 1
        or min(both_sides.{{ column }}) <> max(both_sides.{{ column }})
        {%- endfor %}

)

select
    snapshot_month,
    count(*) as customers,
    sum(transaction_count) as transaction_count,
    sum(spend) as spend,
    sum(spend_last_90_days) as spend_last_90_days,
    sum(spend_prior_90_days) as spend_prior_90_days
from differing_customers
group by snapshot_month
