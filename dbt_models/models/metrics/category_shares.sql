-- A view: it holds nothing that the window metrics do not.
{{ config(materialized='view') }}

with window_metrics as (

    select * from {{ ref('transaction_window_metrics') }}

)

select
    window_metrics.snapshot_month,
    window_metrics.customer_id,
    {%- for name, share in group_shares().items() %}
    {{ metric_sql(share, {}) }} as {{ name }}{{ "," if not loop.last }}
    {%- endfor %}
from window_metrics
