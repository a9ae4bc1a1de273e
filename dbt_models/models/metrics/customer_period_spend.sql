{#- Keyed on what the facts carry: whose version a key is, stg_customers says whenever windows are computed. -#}
{{ config(meta={'replaces': 'rollup_months', 'is_made_anew_in_another_shape': true}) }}

with transactions as (

    select
        customer_key,
        category_key,
        transaction_date,
        amount
    from {{ ref('stg_transactions') }}
    where {{ in_rollup_months('transaction_date') }}

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
        transactions.customer_key,
        calendar.period_start,
        count(*) as transaction_count,
        sum(transactions.amount) as spend,
        sum(case when categories.category_group = 'travel' then transactions.amount else 0 end) as travel_spend,
        sum(
            case when categories.category_group = 'necessities' then transactions.amount else 0 end
        ) as necessities_spend,
        min(transactions.transaction_date) as first_transaction_date,
        max(transactions.transaction_date) as last_transaction_date,
        sum({{ squared('transactions.amount') }}) as amount_squares,
        min(transactions.amount) as min_amount,
        max(transactions.amount) as max_amount,
        sum({{ fact_hash('transactions') }}) as facts_hash
    from transactions
    inner join calendar on transactions.transaction_date = calendar.full_date
    left join categories on transactions.category_key = categories.category_key
    group by transactions.customer_key, calendar.period_start

)

select
    customer_key,
    period_start,
    cast(transaction_count as bigint) as transaction_count,
    cast(spend as {{ money() }}) as spend,
    cast(travel_spend as {{ money() }}) as travel_spend,
    cast(necessities_spend as {{ money() }}) as necessities_spend,
    first_transaction_date,
    last_transaction_date,
    '{{ category_groups_hash() }}' as category_groups_hash,
    cast(amount_squares as decimal(38, 8)) as amount_squares,
    min_amount,
    max_amount,
    cast(facts_hash as decimal(38, 0)) as facts_hash
from rolled_up
