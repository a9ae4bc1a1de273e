{{ config(materialized='view') }}

-- Published months are numbered, so that neighbours are neighbours in what was published: a month that nobody published
-- interrupts no stay, for nobody knows where anybody was in it.
with history as (

    select
        snapshot_month,
        customer_id,
        customer_segment
    from {{ ref('customer_segment_history') }}

),

months as (

    select
        snapshot_month,
        row_number() over (order by snapshot_month) as month_number
    from history
    group by snapshot_month

),

-- Within a stay the months and the rows of the segment go up together: their difference names the stay.
numbered as (

    select
        history.snapshot_month,
        history.customer_id,
        history.customer_segment,
        months.month_number,
        months.month_number - row_number() over (
            partition by history.customer_id, history.customer_segment
            order by months.month_number
        ) as stay
    from history
    inner join months on history.snapshot_month = months.snapshot_month

),

stays as (

    select
        customer_id,
        customer_segment,
        min(snapshot_month) as entered_month,
        min(month_number) as first_number,
        max(month_number) as last_number,
        count(*) as months
    from numbered
    group by customer_id, customer_segment, stay

),

neighbours as (

    select
        customer_id,
        customer_segment,
        entered_month,
        first_number,
        last_number,
        months,
        lag(customer_segment) over (partition by customer_id order by first_number) as segment_before,
        lag(last_number) over (partition by customer_id order by first_number) as last_number_before,
        lead(customer_segment) over (partition by customer_id order by first_number) as segment_after,
        lead(first_number) over (partition by customer_id order by first_number) as first_number_after
    from stays

)

select
    neighbours.customer_id,
    neighbours.customer_segment,
    neighbours.entered_month,
    next_months.snapshot_month as left_month,
    neighbours.months,
    case
        when neighbours.last_number_before = neighbours.first_number - 1 then neighbours.segment_before
        when neighbours.first_number > 1 then 'Not a customer before'
    end as came_from,
    case
        when neighbours.first_number_after = neighbours.last_number + 1 then neighbours.segment_after
        when next_months.snapshot_month is not null then 'No longer a customer'
    end as went_to
from neighbours
left join months as next_months on next_months.month_number = neighbours.last_number + 1
