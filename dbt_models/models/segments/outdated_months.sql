{{ config(materialized='view', schema='silver') }}

-- Each published month as it would be computed now, compared customer by customer, so that what moved between customers
-- shows; a condition on snapshot_month reaches both sides.
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
measures_of_versions as (

    select
        {%- for one in sums %}
        {%- set inside = is_in_window(one.window, 'rolled_up.period_start', 'months.as_of_date') if one.window %}
        {{ measured(one, 'rolled_up.' ~ rollup_column(one.measure, one.group), inside) }} as {{ one.column }},
        {%- endfor %}
        months.snapshot_month,
        rolled_up.customer_key
    from months
    inner join {{ ref('customer_period_spend') }} as rolled_up on months.as_of_date > rolled_up.period_start
    group by months.snapshot_month, rolled_up.customer_key

),

measures as (

    select
        {%- for one in sums %}
        {{ rounded_measure(one, measured(one, 'measured.' ~ one.column)) }} as {{ one.column }},
        {%- endfor %}
        measured.snapshot_month,
        versions.customer_id
    from measures_of_versions as measured
    inner join versions on measured.customer_key = versions.customer_key
    group by measured.snapshot_month, versions.customer_id

),

{% if counts_of_months -%}
rollup as (

    select * from {{ ref('customer_period_spend') }}

),

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
