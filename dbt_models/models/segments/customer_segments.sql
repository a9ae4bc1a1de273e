{{ config(materialized='table') }}

-- The newest month ever published, whichever month was asked for. The history is read as it is (render): no flag of dbt
-- that cuts what a ref returns may take the published month away.
with newest as (

    select * from {{ ref('customer_segment_history').render() }}
    where snapshot_month = (select max(snapshot_month) from {{ ref('customer_segment_history').render() }})

)

select
    customer_id,
    customer_key,
    customer_segment,
    segment_assigned_date,
    total_transactions,
    lifetime_value,
    avg_transaction_value,
    first_transaction_date,
    last_transaction_date,
    tenure_months,
    spend_last_90_days,
    spend_prior_90_days,
    spend_change_pct,
    avg_monthly_spend,
    travel_spend_pct,
    necessities_spend_pct,
    lifetime_travel_spend_pct,
    lifetime_necessities_spend_pct,
    {%- for name in further_metrics() %}
    {{ name }},
    {%- endfor %}
    is_active
from newest
