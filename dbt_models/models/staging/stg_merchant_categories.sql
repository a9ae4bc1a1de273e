with categories as (

    select
        category_key,
        category_name
    from {{ star_schema('dim_merchant_category') }}

)

select
    {{ comparable_key(
        'dim_merchant_category', 'category_key', 'fct_transactions', 'merchant_category_key',
    ) }} as category_key,
    category_name,
    case
        when {{ code('category_name') }} in ({{ codes_of(var('category_groups').travel) }}) then 'travel'
        when {{ code('category_name') }} in ({{ codes_of(var('category_groups').necessities) }}) then 'necessities'
    end as category_group,
    '{{ staging_rules_hash() }}' as staged_under
from categories
