{{ config(materialized='ephemeral') }}

-- The facts once more, apart from the rollup: per calendar month, what the windows should hold. The categories are
-- looked up afresh, so that a category that changed its group since the rollup shows as a difference.
with transactions as (

    select
        category_key,
        transaction_date,
        amount
    from {{ ref('stg_transactions') }}
    where transaction_date >= {{ first_reconciled_day() }}

),

by_day as (

    select
        transaction_date,
        category_key,
        count(*) as transaction_count,
        sum(amount) as spend
    from transactions
    group by transaction_date, category_key

),

categories as (

    select
        category_key,
        category_group
    from {{ ref('stg_merchant_categories') }}

)

select
    by_day.transaction_date,
    sum(by_day.transaction_count) as transaction_count,
    sum(by_day.spend) as spend,
    sum(case when categories.category_group = 'travel' then by_day.spend else 0 end) as travel_spend,
    sum(case when categories.category_group = 'necessities' then by_day.spend else 0 end) as necessities_spend,
    sum(case when categories.category_key is null then by_day.spend else 0 end) as unknown_category_spend
from by_day
left join categories on by_day.category_key = categories.category_key
group by by_day.transaction_date
