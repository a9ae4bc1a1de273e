{{ config(group='segments_candidate', schema='silver', meta={'invalidates': 'segment_audits'}) }}

with window_metrics as (

    select * from {{ ref('transaction_window_metrics') }}
    where {{ is_asked_month('snapshot_month') }}

),

category_shares as (

    select * from {{ ref('category_shares') }}
    where {{ is_asked_month('snapshot_month') }}

),

measured as (

    select
        window_metrics.snapshot_month,
        window_metrics.customer_id,
        window_metrics.customer_key,
        window_metrics.as_of_date as segment_assigned_date,
        window_metrics.total_transactions,
        window_metrics.lifetime_value,
        case
            when window_metrics.total_transactions > 0
                then {{ ratio('window_metrics.lifetime_value', 'window_metrics.total_transactions') }}
        end as avg_transaction_value,
        window_metrics.first_transaction_date,
        window_metrics.last_transaction_date,
        {{ completed_months('window_metrics.first_transaction_date', 'window_metrics.as_of_date') }} as tenure_months,
        window_metrics.spend_last_90_days,
        window_metrics.spend_prior_90_days,
        {{ share_pct(
            '(window_metrics.spend_last_90_days - window_metrics.spend_prior_90_days)',
            'window_metrics.spend_prior_90_days',
        ) }} as spend_change_pct,
        {{ ratio('window_metrics.spend_last_90_days', 3) }} as avg_monthly_spend,
        category_shares.travel_spend_pct,
        category_shares.necessities_spend_pct,
        category_shares.lifetime_travel_spend_pct,
        category_shares.lifetime_necessities_spend_pct,
        window_metrics.spend_last_90_days > 0 as is_active
    from window_metrics
    inner join category_shares
        on
            window_metrics.snapshot_month = category_shares.snapshot_month
            and window_metrics.customer_id = category_shares.customer_id

)

select
    snapshot_month,
    customer_id,
    customer_key,
    case
        {% for segment in var('segments') if segment.criteria %}
        when {{ criteria_sql(segment.criteria) }} then {{ string_literal(segment.name) }}
        {% endfor %}
        else {{ string_literal(var('segments')[-1].name) }}
    end as customer_segment,
    segment_assigned_date,
    total_transactions,
    lifetime_value,
    avg_transaction_value,
    first_transaction_date,
    last_transaction_date,
    tenure_months,
    spend_last_90_days,
    spend_prior_90_days,
    spend_change_pct,
    avg_monthly_spend,
    travel_spend_pct,
    necessities_spend_pct,
    lifetime_travel_spend_pct,
    lifetime_necessities_spend_pct,
    is_active
from measured
