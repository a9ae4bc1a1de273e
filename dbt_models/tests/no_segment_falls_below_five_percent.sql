{{ config(
    severity='warn',
    enabled=var('uses_shipped_segments', true) | as_bool,
    meta={
        'dagster': {'ref': {'name': 'customer_segment_history', 'version': 1}},
        'description':
            "Every one of the five segments holds at least 5 % of a published month's customers, an absent one 0 %. "
            "The audit of the same rule takes its segments and its bound from the vars; here both are written out. It "
            "is asked of months that are published already, and so warns.",
    },
) }}

-- depends_on: {{ ref('segment_publications') }}
with history as (

    select
        snapshot_month,
        customer_segment
    from {{ ref('customer_segment_history') }}
    where {{ months_that_passed_sql() }}

),

segments as (

    select 'High-Value Travelers' as customer_segment
    union all
    select 'Declining' as customer_segment
    union all
    select 'New & Growing' as customer_segment
    union all
    select 'Budget-Conscious' as customer_segment
    union all
    select 'Stable Mid-Spenders' as customer_segment

),

totals as (

    select
        snapshot_month,
        count(*) as customers
    from history
    group by snapshot_month

),

counts as (

    select
        snapshot_month,
        customer_segment,
        count(*) as customers
    from history
    group by snapshot_month, customer_segment

)

select
    totals.snapshot_month,
    segments.customer_segment,
    totals.customers as all_customers,
    coalesce(counts.customers, 0) as customers,
    cast(coalesce(counts.customers, 0) * 100 as double) / cast(totals.customers as double) as share_pct
from totals
cross join segments
left join counts
    on
        totals.snapshot_month = counts.snapshot_month
        and segments.customer_segment = counts.customer_segment
where coalesce(counts.customers, 0) * 20 < totals.customers
