{{ config(materialized='ephemeral') }}

-- One row per asked month and segment, an absent segment with 0.
with months as (

    {{ asked_months() }}

),

segments as (

    {{ segment_list() }}

),

counts as (

    select
        snapshot_month,
        customer_segment,
        count(*) as customers
    from {{ ref('segment_assignments') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month, customer_segment

),

totals as (

    select
        snapshot_month,
        sum(customers) as customers
    from counts
    group by snapshot_month

)

select
    months.snapshot_month,
    segments.customer_segment,
    segments.expected_lower_pct,
    segments.expected_upper_pct,
    coalesce(counts.customers, 0) as customers,
    coalesce({{ share_pct('counts.customers', 'totals.customers') }}, 0) as share_pct
from months
cross join segments
left join totals on months.snapshot_month = totals.snapshot_month
left join counts
    on
        months.snapshot_month = counts.snapshot_month
        and segments.customer_segment = counts.customer_segment
