with days as (

    select cast(full_date as date) as full_date
    from {{ star_schema('dim_date') }}

)

select
    full_date,
    {{ period_start('full_date') }} as period_start
from days
