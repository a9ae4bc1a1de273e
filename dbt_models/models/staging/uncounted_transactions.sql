with transactions as (

    select
        transaction_key,
        customer_key,
        transaction_date,
        transaction_amount,
        transaction_status,
        {{ occurred_at() }} as occurred_at
    from {{ star_schema('fct_transactions') }}

),

unknown_members as (

    select customer_key from {{ ref('unknown_members') }}
    where coalesce(left_out, '') <> 'erased'

)

select
    transactions.transaction_key,
    cast(transactions.transaction_date as date) as transaction_date,
    transactions.transaction_amount as amount,
    transactions.occurred_at,
    case
        when {{ is_unknown_status('transactions.transaction_status') }} then 'unknown_status'
        else 'unknown_member'
    end as reason
from transactions
left join unknown_members on transactions.customer_key = unknown_members.customer_key
where
    {{ is_unknown_status('transactions.transaction_status') }}
    or (unknown_members.customer_key is not null and {{ is_approved('transactions.transaction_status') }})
