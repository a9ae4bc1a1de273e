with categories as (

    select
        category_key,
        category_name
    from {{ source('star_schema', 'dim_merchant_category') }}

)

select
    category_key,
    category_name,
    case
        when category_name in ({{ quoted_list(var('category_groups').travel) }}) then 'travel'
        when category_name in ({{ quoted_list(var('category_groups').necessities) }}) then 'necessities'
    end as category_group
from categories
