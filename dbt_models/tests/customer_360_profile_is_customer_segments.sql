{{ config(
    meta={
        'dagster': {'ref': {'name': 'customer_360_profile', 'version': 1}},
        'description':
            "Catches customers of the newest published month without a profile or with another segment there, and "
            "profiles of nobody.",
    },
) }}

with customers as (

    select
        customer_id,
        customer_segment,
        segment_assigned_date
    from {{ ref('customer_segments') }}

),

profiles as (

    select
        customer_id,
        customer_segment,
        segment_assigned_date
    from {{ ref('customer_360_profile') }}

)

select
    customers.customer_segment,
    profiles.customer_segment as segment_of_the_profile,
    coalesce(customers.customer_id, profiles.customer_id) as customer_id
from customers
full outer join profiles on customers.customer_id = profiles.customer_id
where
    customers.customer_id is null
    or profiles.customer_id is null
    or customers.customer_segment <> profiles.customer_segment
    or customers.segment_assigned_date <> profiles.segment_assigned_date
