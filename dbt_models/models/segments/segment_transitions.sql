{%- set lookahead_months = 1 %}
{{ config(meta={'lookahead_months': lookahead_months, 'keeps_sums_after_erasure': lookahead_months}) }}

-- A month's rows depend on the month before it, so a backfilled month also makes its successor's anew.
with asked as (

    select distinct snapshot_month
    from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month', lookahead_months) }}

),

-- A month whose predecessor was never published has no rows: "not a customer before" would be a guess.
month_pairs as (

    select
        asked.snapshot_month,
        previous.snapshot_month as previous_month
    from asked
    inner join (select distinct snapshot_month from {{ ref('customer_segment_history') }}) as previous
        on asked.snapshot_month = cast({{ dbt.dateadd('month', 1, 'previous.snapshot_month') }} as date)

),

current_customers as (

    select
        month_pairs.snapshot_month,
        history.customer_id,
        history.customer_segment,
        history.spend_last_90_days
    from month_pairs
    inner join {{ ref('customer_segment_history') }} as history on month_pairs.snapshot_month = history.snapshot_month

),

previous_customers as (

    select
        month_pairs.snapshot_month,
        history.customer_id,
        history.customer_segment,
        history.spend_last_90_days
    from month_pairs
    inner join {{ ref('customer_segment_history') }} as history on month_pairs.previous_month = history.snapshot_month

),

moves as (

    select
        coalesce(current_customers.snapshot_month, previous_customers.snapshot_month) as snapshot_month,
        coalesce(previous_customers.customer_segment, 'Not a customer before') as from_segment,
        coalesce(current_customers.customer_segment, 'No longer a customer') as to_segment,
        current_customers.spend_last_90_days,
        previous_customers.spend_last_90_days as previous_spend_last_90_days
    from current_customers
    full outer join previous_customers
        on
            current_customers.snapshot_month = previous_customers.snapshot_month
            and current_customers.customer_id = previous_customers.customer_id

),

counted as (

    select
        snapshot_month,
        from_segment,
        to_segment,
        cast(count(*) as bigint) as customers,
        cast(coalesce(sum(spend_last_90_days), 0) as decimal(38, 2)) as spend_last_90_days,
        cast(coalesce(sum(previous_spend_last_90_days), 0) as decimal(38, 2)) as previous_spend_last_90_days
    from moves
    group by snapshot_month, from_segment, to_segment

),

versions as (

    {{ newest_versions() }}

)

select
    counted.snapshot_month,
    counted.from_segment,
    counted.to_segment,
    counted.customers,
    counted.spend_last_90_days,
    counted.previous_spend_last_90_days,
    versions.content_hash,
    previous_versions.content_hash as previous_content_hash
from counted
inner join month_pairs on counted.snapshot_month = month_pairs.snapshot_month
left join versions on month_pairs.snapshot_month = versions.snapshot_month
left join versions as previous_versions on month_pairs.previous_month = previous_versions.snapshot_month
