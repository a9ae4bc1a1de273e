{{ config(
    meta={
        'dagster': {'ref': {'name': 'segment_restatements', 'version': 1}},
        'description':
            "The customers of a restated version are those that the log counted when it was published. A version "
            "without any row is one that was published before this table was there.",
    },
) }}

with restated as (

    select
        snapshot_month,
        version,
        sum(case when to_segment in ('Not in this version', 'Erased') then 0 else customers end) as customers
    from {{ ref('segment_restatements') }}
    group by snapshot_month, version

)

select
    restated.snapshot_month,
    restated.version,
    restated.customers as restated_customers,
    publications.customers as published_customers
from restated
left join {{ ref('segment_publications') }} as publications
    on
        restated.snapshot_month = publications.snapshot_month
        and restated.version = publications.version
where coalesce(publications.customers, -1) <> restated.customers
