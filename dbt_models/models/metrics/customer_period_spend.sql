{#- A rollup made before a column was added gets it, empty; its months count as lacking (category_groups_hash). -#}
{{ config(on_schema_change='append_new_columns', meta={'replaces': 'rollup_months'}) }}

with transactions as (

    select
        customer_key,
        category_key,
        transaction_date,
        amount
    from {{ ref('stg_transactions') }}
    where {{ in_rollup_months('transaction_date') }}

),

-- All versions of a customer share one whole number, so that the facts are grouped once and by numbers.
customers as (

    select
        customer_key,
        customer_id,
        min(customer_key) over (partition by customer_id) as first_customer_key
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
        full_date,
        period_start
    from {{ ref('calendar_periods') }}
    where full_date < {{ last_as_of_date() }}

),

rolled_up as (

    select
        customers.first_customer_key,
        calendar.period_start,
        count(*) as transaction_count,
        sum(transactions.amount) as spend,
        sum(case when categories.category_group = 'travel' then transactions.amount else 0 end) as travel_spend,
        sum(
            case when categories.category_group = 'necessities' then transactions.amount else 0 end
        ) as necessities_spend,
        min(transactions.transaction_date) as first_transaction_date,
        max(transactions.transaction_date) as last_transaction_date,
        sum(transactions.amount * transactions.amount) as amount_squares,
        min(transactions.amount) as min_amount,
        max(transactions.amount) as max_amount
    from transactions
    inner join calendar on transactions.transaction_date = calendar.full_date
    inner join customers on transactions.customer_key = customers.customer_key
    left join categories on transactions.category_key = categories.category_key
    group by customers.first_customer_key, calendar.period_start

)

select
    customers.customer_id,
    rolled_up.period_start,
    cast(rolled_up.transaction_count as bigint) as transaction_count,
    cast(rolled_up.spend as decimal(18, 2)) as spend,
    cast(rolled_up.travel_spend as decimal(18, 2)) as travel_spend,
    cast(rolled_up.necessities_spend as decimal(18, 2)) as necessities_spend,
    rolled_up.first_transaction_date,
    rolled_up.last_transaction_date,
    '{{ category_groups_hash() }}' as category_groups_hash,
    cast(rolled_up.amount_squares as decimal(38, 4)) as amount_squares,
    cast(rolled_up.min_amount as decimal(18, 2)) as min_amount,
    cast(rolled_up.max_amount as decimal(18, 2)) as max_amount
from rolled_up
inner join customers on rolled_up.first_customer_key = customers.customer_key
