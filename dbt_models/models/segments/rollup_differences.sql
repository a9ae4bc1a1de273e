{{ config(materialized='view', group='segments_candidate', schema='silver') }}

with facts as (

    {{ facts_by_day() }}

),

rollup as (

    select * from {{ ref('customer_period_spend') }}

)

{{ rollup_differences('facts', 'rollup') }}
