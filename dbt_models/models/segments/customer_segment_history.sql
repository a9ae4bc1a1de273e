{{ config(
    meta={'replaces': 'months_in_batch', 'logs_publication': true},
    post_hook="{{ log_unlogged_publications_sql() }}",
) }}

-- The gate: only months go on whose audits are all there, are of this very candidate and of the rules that this run
-- reads, and hold no failed blocking one, unless a person accepted it.
-- A month that may not be published is absent here and so keeps its last published version, whole.
-- depends_on: {{ ref('segment_publications') }}
-- depends_on: {{ ref('segment_restatements') }}
-- depends_on: {{ ref('segment_rules') }}
-- depends_on: {{ ref('segment_decisions') }}
with assignments as (

    select * from {{ ref('segment_assignments') }}
    where {{ is_asked_month('snapshot_month') }}

),

gate as (

    {{ gate(is_asked_month('snapshot_month')) }}

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
    {%- for name in further_metrics() %}
    assignments.{{ name }},
    {%- endfor %}
    assignments.is_active
from assignments
inner join gate on assignments.snapshot_month = gate.snapshot_month
where {{ may_be_published('gate') }}
