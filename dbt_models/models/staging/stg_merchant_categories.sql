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
        {%- for group, names in var('category_groups').items() if names %}
        when {{ code('category_name') }} in ({{ codes_of(names) }}) then '{{ group }}'
        {%- endfor %}
        {%- if not var('category_groups').values() | select | list %}
        when false then ''
        {%- endif %}
    end as category_group,
    '{{ staging_rules_hash() }}' as staged_under
from categories
