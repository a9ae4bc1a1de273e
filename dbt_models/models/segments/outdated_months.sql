{{ config(materialized='view', schema='silver') }}

-- The published sums of each month less those of the rollup; a condition on snapshot_month reaches both sides.
with history as (

    select
        snapshot_month,
        customer_id,
        segment_assigned_date,
        total_transactions,
        lifetime_value,
        spend_last_90_days,
        spend_prior_90_days
    from {{ ref('customer_segment_history') }}

),

periods as (

    select
        history.snapshot_month,
        rollup.transaction_count,
        rollup.spend,
        case
            when rollup.period_start >= history.segment_assigned_date - 90 then rollup.spend
            else 0
        end as spend_last_90_days,
        case
            when
                rollup.period_start < history.segment_assigned_date - 90
                and rollup.period_start >= history.segment_assigned_date - 180
                then rollup.spend
            else 0
        end as spend_prior_90_days
    from history
    inner join {{ ref('customer_period_spend') }} as rollup
        on
            history.customer_id = rollup.customer_id
            and rollup.period_start < history.segment_assigned_date

),

both_sides as (

    select
        snapshot_month,
        total_transactions as transaction_count,
        lifetime_value as spend,
        spend_last_90_days,
        spend_prior_90_days
    from history
    union all
    select
        snapshot_month,
        -transaction_count as transaction_count,
        -spend as spend,
        -spend_last_90_days as spend_last_90_days,
        -spend_prior_90_days as spend_prior_90_days
    from periods

),

-- Whole cents: where sums of money come back as doubles, they differ by the order they were added up in.
differences as (

    select
        snapshot_month,
        sum(transaction_count) as transaction_count,
        cast(sum(spend) as decimal(38, 2)) as spend,
        cast(sum(spend_last_90_days) as decimal(38, 2)) as spend_last_90_days,
        cast(sum(spend_prior_90_days) as decimal(38, 2)) as spend_prior_90_days
    from both_sides
    group by snapshot_month

)

select
    snapshot_month,
    transaction_count,
    spend,
    spend_last_90_days,
    spend_prior_90_days
from differences
where
    transaction_count <> 0
    or spend <> 0
    or spend_last_90_days <> 0
    or spend_prior_90_days <> 0
