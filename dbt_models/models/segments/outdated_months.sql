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

measures_of_versions as (

    select
        months.snapshot_month,
        rolled_up.customer_key,
        sum(rolled_up.transaction_count) as transaction_count,
        sum(rolled_up.spend) as spend,
        sum(rolled_up.travel_spend) as travel_spend,
        sum(rolled_up.necessities_spend) as necessities_spend,
        min(rolled_up.first_transaction_date) as first_transaction_date,
        max(rolled_up.last_transaction_date) as last_transaction_date,
        {%- for column in ['spend', 'travel_spend', 'necessities_spend'] %}
        sum(
            case when rolled_up.period_start >= months.as_of_date - 90 then rolled_up.{{ column }} else 0 end
        ) as {{ column }}_last_90_days,
        {%- endfor %}
        sum(
            case
                when
                    rolled_up.period_start < months.as_of_date - 90
                    and rolled_up.period_start >= months.as_of_date - 180
                    then rolled_up.spend
                else 0
            end
        ) as spend_prior_90_days
    from months
    inner join {{ ref('customer_period_spend') }} as rolled_up on months.as_of_date > rolled_up.period_start
    group by months.snapshot_month, rolled_up.customer_key

),

measures as (

    select
        measured.snapshot_month,
        versions.customer_id,
        sum(measured.transaction_count) as transaction_count,
        {%- for column in [
            'spend', 'travel_spend', 'necessities_spend', 'spend_last_90_days', 'travel_spend_last_90_days',
            'necessities_spend_last_90_days', 'spend_prior_90_days',
        ] %}
        {{ rounded_sum('sum(measured.' ~ column ~ ')') }} as {{ column }},
        {%- endfor %}
        min(measured.first_transaction_date) as first_transaction_date,
        max(measured.last_transaction_date) as last_transaction_date
    from measures_of_versions as measured
    inner join versions on measured.customer_key = versions.customer_key
    group by measured.snapshot_month, versions.customer_id

),

both_sides as (

    select
        history.snapshot_month,
        history.customer_id,
        history.customer_key,
        history.total_transactions as transaction_count,
        history.lifetime_value as spend,
        history.spend_last_90_days,
        history.spend_prior_90_days,
        {%- for share in published_shares_of_spend() %}
        case when months.is_of_these_rules then history.{{ share.column }} end as {{ share.column }},
        {%- endfor %}
        history.first_transaction_date,
        history.last_transaction_date
    from history
    inner join months on history.snapshot_month = months.snapshot_month
    union all
    select
        population.snapshot_month,
        population.customer_id,
        population.customer_key,
        -coalesce(measures.transaction_count, 0) as transaction_count,
        -coalesce(measures.spend, 0) as spend,
        -coalesce(measures.spend_last_90_days, 0) as spend_last_90_days,
        -coalesce(measures.spend_prior_90_days, 0) as spend_prior_90_days,
        {%- for share in published_shares_of_spend() %}
        case
            when months.is_of_these_rules then {{ share_pct('measures.' ~ share.part, 'measures.' ~ share.whole) }}
        end as {{ share.column }},
        {%- endfor %}
        measures.first_transaction_date,
        measures.last_transaction_date
    from population
    inner join months on population.snapshot_month = months.snapshot_month
    left join measures
        on
            population.snapshot_month = measures.snapshot_month
            and population.customer_id = measures.customer_id

),

-- Money to the cent: where sums come back as doubles, they differ by the order they were added up in.
differing_customers as (

    select
        snapshot_month,
        customer_id,
        sum(transaction_count) as transaction_count,
        cast(sum(spend) as decimal(38, 2)) as spend,
        cast(sum(spend_last_90_days) as decimal(38, 2)) as spend_last_90_days,
        cast(sum(spend_prior_90_days) as decimal(38, 2)) as spend_prior_90_days
    from both_sides
    group by snapshot_month, customer_id
    having
        count(*) <> 2
        or sum(transaction_count) <> 0
        or cast(sum(spend) as decimal(38, 2)) <> 0
        or cast(sum(spend_last_90_days) as decimal(38, 2)) <> 0
        or cast(sum(spend_prior_90_days) as decimal(38, 2)) <> 0
        {%- for column in ['customer_key', 'first_transaction_date', 'last_transaction_date']
            + published_shares_of_spend() | map(attribute='column') | list %}
        or count({{ column }}) = 1
        or min({{ column }}) <> max({{ column }})
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
