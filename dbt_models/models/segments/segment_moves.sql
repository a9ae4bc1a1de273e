{{ config(materialized='view') }}

-- Each published month against the published one before it, be it the calendar's or not. The first has none: that its
-- customers came in it would be a guess.
with months as (

    select
        snapshot_month,
        lag(snapshot_month) over (order by snapshot_month) as previous_month
    from {{ ref('customer_segment_history') }}
    group by snapshot_month

),

current_customers as (

    select
        months.snapshot_month,
        months.previous_month,
        history.customer_id,
        history.customer_segment
    from months
    inner join {{ ref('customer_segment_history') }} as history on months.snapshot_month = history.snapshot_month
    where months.previous_month is not null

),

previous_customers as (

    select
        months.snapshot_month,
        months.previous_month,
        history.customer_id,
        history.customer_segment
    from months
    inner join {{ ref('customer_segment_history') }} as history on months.previous_month = history.snapshot_month

),

compared as (

    select
        coalesce(current_customers.snapshot_month, previous_customers.snapshot_month) as snapshot_month,
        coalesce(current_customers.customer_id, previous_customers.customer_id) as customer_id,
        coalesce(previous_customers.customer_segment, 'Not a customer before') as from_segment,
        coalesce(current_customers.customer_segment, 'No longer a customer') as to_segment,
        coalesce(current_customers.previous_month, previous_customers.previous_month) as previous_month
    from current_customers
    full outer join previous_customers
        on
            current_customers.snapshot_month = previous_customers.snapshot_month
            and current_customers.customer_id = previous_customers.customer_id

)

select
    snapshot_month,
    customer_id,
    from_segment,
    to_segment,
    previous_month
from compared
where from_segment <> to_segment
