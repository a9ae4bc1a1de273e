{{ config(
    meta={'replaces': 'months_in_batch', 'logs_publication': true},
    post_hook="{{ log_unlogged_publications_sql() }}",
) }}

-- The gate: only months whose newest audits hold no failed blocking one, unless a person accepted it, go on.
-- A month that may not be published is absent here and so keeps its last published version, whole.
-- depends_on: {{ ref('segment_publications') }}
-- depends_on: {{ ref('segment_restatements') }}
-- depends_on: {{ ref('segment_rules') }}
with assignments as (

    select * from {{ ref('segment_assignments') }}
    where {{ is_asked_month('snapshot_month') }}

),

audited as (

    select distinct snapshot_month
    from {{ ref('segment_audits') }}
    where {{ is_asked_month('snapshot_month') }}

),

blocked as (

    {{ blocked_months(ref('segment_audits')) }}

)

select
    assignments.snapshot_month,
    cast(assignments.customer_id as varchar) as customer_id,
    cast(assignments.customer_key as bigint) as customer_key,
    assignments.customer_segment,
    assignments.segment_assigned_date,
    assignments.total_transactions,
    assignments.lifetime_value,
    assignments.avg_transaction_value,
    assignments.first_transaction_date,
    assignments.last_transaction_date,
    cast(assignments.tenure_months as bigint) as tenure_months,
    assignments.spend_last_90_days,
    assignments.spend_prior_90_days,
    assignments.spend_change_pct,
    assignments.avg_monthly_spend,
    assignments.travel_spend_pct,
    assignments.necessities_spend_pct,
    assignments.lifetime_travel_spend_pct,
    assignments.lifetime_necessities_spend_pct,
    assignments.is_active
from assignments
inner join audited on assignments.snapshot_month = audited.snapshot_month
left join blocked on assignments.snapshot_month = blocked.snapshot_month
where blocked.snapshot_month is null
