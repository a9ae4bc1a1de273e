with versions as (

    {{ customer_versions() }}

)

select
    customer_key,
    customer_id,
    left_out
from versions
where left_out is not null
