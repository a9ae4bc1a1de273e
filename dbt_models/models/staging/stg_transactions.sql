with transactions as (

    select
        transaction_key,
        customer_key,
        merchant_category_key,
        transaction_date,
        transaction_amount,
        transaction_status,
        {{ occurred_at() }} as occurred_at
    from {{ star_schema('fct_transactions') }}

),

unknown_members as (

    select customer_key from {{ ref('unknown_members') }}

)

select
    transaction_key,
    cast(customer_key as bigint) as customer_key,
    {{ comparable_key(
        'fct_transactions', 'merchant_category_key', 'dim_merchant_category', 'category_key',
    ) }} as category_key,
    cast(transaction_date as date) as transaction_date,
    cast(transaction_amount as {{ money() }}) as amount,
    occurred_at,
    '{{ staging_rules_hash() }}' as staged_under
from transactions
where
    {{ is_approved('transaction_status') }}
    and not exists (
        select 1 from unknown_members
        where unknown_members.customer_key = transactions.customer_key
    )
