{{ config(meta={'replaces': 'rollup_months'}) }}

with transactions as (

    select
        customer_key,
        category_key,
        transaction_date,
        amount
    from {{ ref('stg_transactions') }}
    where {{ in_rollup_months('transaction_date') }}

),

customers as (

    select
        customer_key,
        customer_id
    from {{ ref('stg_customers') }}

),

categories as (

    select
        category_key,
        category_group
    from {{ ref('stg_merchant_categories') }}

),

calendar as (

    select
        cast(full_date as date) as full_date,
        {{ period_start('cast(full_date as date)') }} as period_start
    from {{ source('star_schema', 'dim_date') }}
    where full_date < {{ last_as_of_date() }}

),

-- By key and category first: integers are cheaper to group than names, and the rows left are a hundredth.
spend_by_key as (

    select
        transactions.customer_key,
        transactions.category_key,
        calendar.period_start,
        count(*) as transaction_count,
        sum(transactions.amount) as spend,
        min(transactions.transaction_date) as first_transaction_date,
        max(transactions.transaction_date) as last_transaction_date
    from transactions
    inner join calendar on transactions.transaction_date = calendar.full_date
    group by transactions.customer_key, transactions.category_key, calendar.period_start

)

select
    customers.customer_id,
    spend_by_key.period_start,
    cast(sum(spend_by_key.transaction_count) as bigint) as transaction_count,
    cast(sum(spend_by_key.spend) as decimal(18, 2)) as spend,
    cast(
        sum(case when categories.category_group = 'travel' then spend_by_key.spend else 0 end) as decimal(18, 2)
    ) as travel_spend,
    cast(
        sum(case when categories.category_group = 'necessities' then spend_by_key.spend else 0 end) as decimal(18, 2)
    ) as necessities_spend,
    min(spend_by_key.first_transaction_date) as first_transaction_date,
    max(spend_by_key.last_transaction_date) as last_transaction_date,
    '{{ category_groups_hash() }}' as category_groups_hash
from spend_by_key
inner join customers on spend_by_key.customer_key = customers.customer_key
left join categories on spend_by_key.category_key = categories.category_key
group by customers.customer_id, spend_by_key.period_start
