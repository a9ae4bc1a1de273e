{{ config(materialized='table') }}

-- Whom the newest published month holds, whichever month was asked for.
with customers as (

    select * from {{ ref('customer_segments') }}

),

newest as (

    select
        max(snapshot_month) as snapshot_month,
        max(segment_assigned_date) as as_of_date
    from {{ ref('customer_segment_history') }}

),

-- Of the version in customer_key: a later change of name is not the published month's.
versions as (

    select
        customer_key,
        first_name,
        last_name,
        valid_from
    from {{ ref('stg_customers') }}

),

published_months as (

    select
        snapshot_month,
        row_number() over (order by snapshot_month) as month_number
    from {{ ref('customer_segment_history') }}
    group by snapshot_month

),

customer_months as (

    select
        history.customer_id,
        history.snapshot_month,
        history.customer_segment,
        published_months.month_number,
        lag(history.customer_segment) over (
            partition by history.customer_id order by history.snapshot_month
        ) as segment_before,
        lag(published_months.month_number) over (
            partition by history.customer_id order by history.snapshot_month
        ) as month_number_before
    from {{ ref('customer_segment_history') }} as history
    inner join published_months on history.snapshot_month = published_months.snapshot_month

),

-- The present run begins where the segment last changed, or where the customer came back. A month that was never
-- published says nothing about anybody, and ends no run.
present_runs as (

    select
        customer_id,
        snapshot_month as segment_since,
        segment_before as previous_segment
    from customer_months
    where
        segment_before is null
        or segment_before <> customer_segment
        or month_number_before < month_number - 1
    qualify row_number() over (partition by customer_id order by snapshot_month desc) = 1

),

transactions_of_versions as (

    select
        periods.customer_key,
        sum(periods.transaction_count) as transaction_count,
        sum(periods.spend) as spend,
        sum(periods.amount_squares) as amount_squares,
        min(periods.min_amount) as min_amount,
        max(periods.max_amount) as max_amount
    from {{ ref('customer_period_spend') }} as periods
    inner join newest on periods.period_start < newest.as_of_date
    group by periods.customer_key

),

transactions as (

    select
        owners.customer_id,
        cast(sum(versions.transaction_count) as bigint) as total_transactions,
        sum(versions.spend) as spend,
        sum(versions.amount_squares) as amount_squares,
        min(versions.min_amount) as min_amount,
        max(versions.max_amount) as max_amount
    from transactions_of_versions as versions
    inner join {{ ref('stg_customers') }} as owners on versions.customer_key = owners.customer_key
    group by owners.customer_id

),

-- The rollup may have changed since the month was published. Two numbers of one row are never of two computations.
matching_transactions as (

    select
        customers.customer_id,
        {{ deviation_of_sums('transactions.total_transactions', 'transactions.spend',
            'transactions.amount_squares') }} as stddev_transaction_value,
        {{ rounded_sum('transactions.min_amount') }} as min_transaction_value,
        {{ rounded_sum('transactions.max_amount') }} as max_transaction_value
    from customers
    inner join transactions
        on
            customers.customer_id = transactions.customer_id
            and customers.total_transactions = transactions.total_transactions
            and customers.lifetime_value = {{ rounded_sum('transactions.spend') }}

),

members as (

    {%- for campaign in var('campaigns') | sort(attribute='name') %}
    select
        audience.customer_id,
        audience.campaign
    from {{ ref('audience_' ~ campaign.name) }} as audience
    inner join newest on audience.snapshot_month = newest.snapshot_month
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

audience_lists as (

    select
        customer_id,
        {{ dbt.listagg('campaign', "', '", 'order by campaign') }} as audiences
    from members
    group by customer_id

),

published_versions as (

    {{ newest_versions() }}

)

select
    customers.customer_id,
    versions.first_name,
    versions.last_name,
    customers.customer_key,
    versions.valid_from,
    customers.customer_segment,
    present_runs.segment_since,
    present_runs.previous_segment,
    customers.segment_assigned_date,
    customers.total_transactions,
    customers.lifetime_value,
    customers.avg_transaction_value,
    matching_transactions.stddev_transaction_value,
    matching_transactions.min_transaction_value,
    matching_transactions.max_transaction_value,
    customers.first_transaction_date,
    customers.last_transaction_date,
    customers.tenure_months,
    customers.spend_last_90_days,
    customers.spend_prior_90_days,
    customers.spend_change_pct,
    customers.avg_monthly_spend,
    customers.travel_spend_pct,
    customers.necessities_spend_pct,
    customers.lifetime_travel_spend_pct,
    customers.lifetime_necessities_spend_pct,
    customers.is_active,
    {{ recency_status('customers.last_transaction_date', 'customers.segment_assigned_date') }} as recency_status,
    {{ spending_profile('customers') }} as spending_profile,
    {%- for campaign in var('campaigns') %}
    customers.customer_segment = {{ string_literal(campaign.segment) }}
    and coalesce({{ criteria_sql(campaign.criteria) }}, false) as eligible_for_{{ campaign.name }},
    {%- endfor %}
    audience_lists.audiences,
    {%- for name in further_metrics() %}
    customers.{{ name }},
    {%- endfor %}
    published_versions.content_hash
from customers
cross join newest
left join published_versions on newest.snapshot_month = published_versions.snapshot_month
left join versions on customers.customer_key = versions.customer_key
left join present_runs on customers.customer_id = present_runs.customer_id
left join matching_transactions on customers.customer_id = matching_transactions.customer_id
left join audience_lists on customers.customer_id = audience_lists.customer_id
