with versions as (

    {{ customer_versions() }}

)

select
    cast(customer_key as bigint) as customer_key,
    customer_id,
    first_name,
    last_name,
    email,
    valid_from,
    valid_to,
    is_current
from versions
where left_out is null
