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

-- A join and no `not exists`: through that, DuckDB pushes no condition on the date, and reads all facts for a month's.
select
    transactions.transaction_key,
    cast(transactions.customer_key as bigint) as customer_key,
    {{ comparable_key(
        'fct_transactions', 'merchant_category_key', 'dim_merchant_category', 'category_key',
        column_sql='transactions.merchant_category_key',
    ) }} as category_key,
    cast(transactions.transaction_date as date) as transaction_date,
    cast(transactions.transaction_amount as {{ money() }}) as amount,
    transactions.occurred_at,
    '{{ staging_rules_hash() }}' as staged_under
from transactions
left join unknown_members on transactions.customer_key = unknown_members.customer_key
where
    {{ is_approved('transactions.transaction_status') }}
    and unknown_members.customer_key is null
