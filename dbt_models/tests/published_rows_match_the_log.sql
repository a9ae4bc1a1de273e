{{ config(
    meta={
        'dagster': {'ref': {'name': 'customer_segment_history', 'version': 1}},
        'description':
            "The published rows are those that segment_publications tells, by number and hash. The log is written "
            "beside the rows it describes; a month without a log row, or with other rows, was written past it.",
    },
) }}

with published as (

    select
        snapshot_month,
        count(*) as customers,
        cast({{ history_hash(further_columns_of_history() | map(attribute='name') | list) }} as varchar) as content_hash
    from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month

),

logged as (

    select
        snapshot_month,
        customers,
        content_hash
    from {{ ref('segment_publications') }}
    where {{ is_asked_month('snapshot_month') }}
    qualify row_number() over (partition by snapshot_month order by version desc) = 1

)

select
    published.customers as published_customers,
    logged.customers as logged_customers,
    coalesce(published.snapshot_month, logged.snapshot_month) as snapshot_month
from published
full outer join logged on published.snapshot_month = logged.snapshot_month
where
    coalesce(published.customers, -1) <> coalesce(logged.customers, -1)
    or coalesce(published.content_hash, '') <> coalesce(logged.content_hash, '')
