with customers as (

    select
        customer_key,
        customer_id,
        first_name,
        last_name,
        email,
        valid_from,
        valid_to,
        is_current
    from {{ source('star_schema', 'dim_customer') }}

)

select
    cast(customer_key as bigint) as customer_key,
    customer_id,
    first_name,
    last_name,
    email,
    cast(valid_from as date) as valid_from,
    cast(valid_to as date) as valid_to,
    is_current
from customers
