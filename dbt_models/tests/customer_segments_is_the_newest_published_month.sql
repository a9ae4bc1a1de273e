{{ config(meta={'dagster': {'ref': {'name': 'customer_segments'}}}) }}

-- Customers of the newest month that are missing from customer_segments or differ there, and rows of an older month left in it.
with newest as (

    select
        customer_id,
        customer_segment,
        segment_assigned_date
    from {{ ref('customer_segment_history') }}
    where snapshot_month = (select max(snapshot_month) from {{ ref('customer_segment_history') }})

),

current_segments as (

    select
        customer_id,
        customer_segment,
        segment_assigned_date
    from {{ ref('customer_segments') }}

)

select
    coalesce(newest.customer_id, current_segments.customer_id) as customer_id,
    newest.customer_segment as published_segment,
    newest.segment_assigned_date as published_date,
    current_segments.customer_segment,
    current_segments.segment_assigned_date
from newest
full outer join current_segments
    on
        newest.customer_id = current_segments.customer_id
        and newest.customer_segment = current_segments.customer_segment
        and newest.segment_assigned_date = current_segments.segment_assigned_date
where
    newest.customer_id is null
    or current_segments.customer_id is null
