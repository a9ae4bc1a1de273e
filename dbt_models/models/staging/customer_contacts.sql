-- A view, as the three before it: an address is computed from the source whenever somebody asks, and copied nowhere.
with customers as (

    select
        customer_id,
        first_name,
        last_name,
        {{ trimmed('email') }} as email
    from {{ ref('stg_customers') }}
    qualify
        row_number() over (
            partition by customer_id
            order by case when is_current then 0 else 1 end, valid_from desc nulls last, customer_key desc
        ) = 1

)

select
    customer_id,
    first_name,
    last_name,
    email,
    case when {{ is_deliverable('email') }} then {{ normalised_email('email') }} end as mailbox
from customers
