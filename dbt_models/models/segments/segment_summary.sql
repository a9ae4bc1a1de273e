{{ config(meta={'holds_every_published_month': true, 'keeps_sums_after_erasure': 0}) }}

with history as (

    select * from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') }}

),

summed as (

    select
        snapshot_month,
        customer_segment,
        count(*) as customers,
        sum(lifetime_value) as total_lifetime_value
    from history
    group by snapshot_month, customer_segment

),

totals as (

    select
        snapshot_month,
        sum(customers) as customers
    from summed
    group by snapshot_month

),

versions as (

    {{ newest_versions() }}

)

select
    summed.snapshot_month,
    summed.customer_segment,
    cast(summed.customers as bigint) as customers,
    {{ share_pct('summed.customers', 'totals.customers') }} as share_pct,
    {{ ratio('summed.total_lifetime_value', 'summed.customers') }} as avg_lifetime_value,
    cast(summed.total_lifetime_value as decimal(38, 2)) as total_lifetime_value,
    versions.content_hash
from summed
inner join totals on summed.snapshot_month = totals.snapshot_month
left join versions on summed.snapshot_month = versions.snapshot_month
