{{ config(materialized='ephemeral') }}

-- Counted from the customers themselves, not from the metrics the assignment was made of.
with months as (

    {{ asked_months() }}

),

population as (

    select
        months.snapshot_month,
        customers.customer_id
    from months
    inner join (
        select
            customer_id,
            min(valid_from) as first_valid_from
        from {{ ref('stg_customers') }}
        group by customer_id
    ) as customers on months.as_of_date > customers.first_valid_from

),

assignments as (

    select
        snapshot_month,
        customer_id,
        count(customer_segment) as assignments
    from {{ ref('segment_assignments') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month, customer_id

),

counted as (

    select
        coalesce(population.snapshot_month, assignments.snapshot_month) as snapshot_month,
        case
            when population.customer_id is null then 0
            when coalesce(assignments.assignments, 0) <> 1 then 0
            else 1
        end as is_assigned_once
    from population
    full outer join assignments
        on
            population.snapshot_month = assignments.snapshot_month
            and population.customer_id = assignments.customer_id

)

select
    months.snapshot_month,
    'every_customer_is_assigned_once' as audit,
    cast(null as varchar) as customer_segment,
    cast(count(counted.snapshot_month) - coalesce(sum(counted.is_assigned_once), 0) as double) as measured,
    cast(null as double) as lower_bound,
    cast(0 as double) as upper_bound,
    count(counted.snapshot_month) - coalesce(sum(counted.is_assigned_once), 0) as failed_rows,
    'error' as severity
from months
left join counted on months.snapshot_month = counted.snapshot_month
group by months.snapshot_month
