-- A view: it holds nothing that the window metrics do not.
{{ config(materialized='view') }}

with window_metrics as (

    select * from {{ ref('transaction_window_metrics') }}

)

select
    snapshot_month,
    customer_id,
    {{ share_pct('travel_spend_last_90_days', 'spend_last_90_days') }} as travel_spend_pct,
    {{ share_pct('necessities_spend_last_90_days', 'spend_last_90_days') }} as necessities_spend_pct,
    {{ share_pct('lifetime_travel_spend', 'lifetime_value') }} as lifetime_travel_spend_pct,
    {{ share_pct('lifetime_necessities_spend', 'lifetime_value') }} as lifetime_necessities_spend_pct
from window_metrics
