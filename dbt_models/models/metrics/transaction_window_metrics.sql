with customer_windows as (

    select * from {{ ref('customer_windows') }}

)

select
    snapshot_month,
    as_of_date,
    customer_id,
    customer_key,
    total_transactions,
    lifetime_value,
    first_transaction_date,
    last_transaction_date,
    spend_last_90_days,
    spend_prior_90_days,
    travel_spend_last_90_days,
    necessities_spend_last_90_days,
    lifetime_travel_spend,
    lifetime_necessities_spend
from customer_windows
