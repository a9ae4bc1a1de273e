{{ config(
    meta={
        'dagster': {'ref': {'name': 'customer_segments', 'version': 1}},
        'description':
            "Catches customers of the newest month that are missing from customer_segments or differ there, and "
            "rows of an older month left in it.",
    },
) }}

with newest as (

    select
        history.customer_id,
        history.customer_segment,
        history.segment_assigned_date
    from {{ ref('customer_segment_history') }} as history
    where
        history.snapshot_month = (
            select max(published.snapshot_month) from {{ ref('customer_segment_history') }} as published
        )

),

current_segments as (

    select
        customer_id,
        customer_segment,
        segment_assigned_date
    from {{ ref('customer_segments') }}

)

select
    newest.customer_segment as published_segment,
    newest.segment_assigned_date as published_date,
    current_segments.customer_segment,
    current_segments.segment_assigned_date,
    coalesce(newest.customer_id, current_segments.customer_id) as customer_id
from newest
full outer join current_segments
    on
        newest.customer_id = current_segments.customer_id
        and newest.customer_segment = current_segments.customer_segment
        and newest.segment_assigned_date = current_segments.segment_assigned_date
where
    newest.customer_id is null
    or current_segments.customer_id is null
