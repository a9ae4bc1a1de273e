{{ config(materialized='view', group='segments_candidate', schema='silver') }}

with facts as (

    select
        transaction_date,
        count(*) as transaction_count
    from {{ ref('stg_transactions') }}
    group by transaction_date

),

months as (

    select distinct
        {{ month_start('transaction_date') }} as snapshot_month,
        cast({{ dbt.dateadd('month', 1, month_start('transaction_date')) }} as date) as as_of_date
    from facts

),

days as (

    {{ fact_days('months', 'facts') }}

)

select * from days
