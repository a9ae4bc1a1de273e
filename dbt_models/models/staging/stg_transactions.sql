with transactions as (

    select
        transaction_key,
        customer_key,
        merchant_category_key,
        transaction_date,
        transaction_amount,
        transaction_status
    from {{ source('star_schema', 'fct_transactions') }}

)

select
    transaction_key,
    cast(customer_key as bigint) as customer_key,
    {{ comparable_key(
        'fct_transactions', 'merchant_category_key', 'dim_merchant_category', 'category_key',
    ) }} as category_key,
    cast(transaction_date as date) as transaction_date,
    cast(transaction_amount as {{ money() }}) as amount
from transactions
where transaction_status in ({{ quoted_list(var('approved_statuses')) }})
