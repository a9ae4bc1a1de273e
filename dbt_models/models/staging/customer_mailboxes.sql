with addresses as (

    select
        customer_id,
        {{ trimmed('email') }} as email
    from {{ ref('stg_customers') }}

)

select distinct
    customer_id,
    {{ normalised_email('email') }} as mailbox
from addresses
where {{ is_deliverable('email') }}
