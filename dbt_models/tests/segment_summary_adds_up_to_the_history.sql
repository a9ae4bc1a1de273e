{{ config(
    meta={
        'dagster': {'ref': {'name': 'segment_summary', 'version': 1}},
        'description':
            "Customers, total value and shares of a month add up to those of the published history.",
    },
) }}

with summary as (

    select
        snapshot_month,
        sum(customers) as customers,
        cast(sum(total_lifetime_value) as decimal(38, 2)) as total_lifetime_value,
        sum(share_pct) as share_pct
    from {{ ref('segment_summary') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month

),

history as (

    select
        snapshot_month,
        count(*) as customers,
        cast(sum(lifetime_value) as decimal(38, 2)) as total_lifetime_value
    from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month

)

select
    history.customers,
    summary.customers as customers_in_summary,
    history.total_lifetime_value,
    summary.total_lifetime_value as total_lifetime_value_in_summary,
    summary.share_pct,
    coalesce(history.snapshot_month, summary.snapshot_month) as snapshot_month
from history
full outer join summary on history.snapshot_month = summary.snapshot_month
where
    -- The summary keeps whoever was erased, the history does not.
    coalesce(history.snapshot_month, summary.snapshot_month) not in ({{ months_of_erasure() }})
    and (
        coalesce(history.customers, -1) <> coalesce(summary.customers, -1)
        or history.total_lifetime_value <> summary.total_lifetime_value
        -- Five shares in double add up to 100 but for their last digits.
        or abs(summary.share_pct - 100) > 0.0000005
    )
