-- A view: it holds nothing that the window metrics do not.
{{ config(materialized='view') }}

with window_metrics as (

    select * from {{ ref('transaction_window_metrics') }}

)

select
    {%- for name, share in group_shares().items() %}
    {{ metric_sql(share, {}) }} as {{ name }},
    {%- endfor %}
    window_metrics.snapshot_month,
    window_metrics.customer_id
from window_metrics
