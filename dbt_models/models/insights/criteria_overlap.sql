{{ config(materialized='view') }}

-- Whose criteria a customer meets, whatever segment comes first and whatever list they came on. Segments by the rules
-- the month was published under, campaigns by the criteria of their segment and their own of today. Who takes the rest
-- has no criteria to meet.
with satisfied as (

    select
        snapshot_month,
        customer_id,
        segment,
        criterion_number
    from {{ ref('segment_explanations') }}
    where is_satisfied and criterion_number <= 1

),

history as (

    select * from {{ ref('customer_segment_history') }}

),

-- Whoever asks for one month has only that one computed.
met as {{ not_materialized() }} (

    select
        snapshot_month,
        customer_id,
        'segment' as kind,
        segment as name  -- noqa: RF04
    from satisfied
    where criterion_number = 1
    {%- for campaign in var('campaigns') %}
    union all
    select
        history.snapshot_month,
        history.customer_id,
        'campaign' as kind,
        {{ string_literal(campaign.name) }} as name  -- noqa: RF04
    from history
    inner join satisfied
        on
            history.snapshot_month = satisfied.snapshot_month
            and history.customer_id = satisfied.customer_id
            and satisfied.segment = {{ string_literal(campaign.segment) }}
    where {{ criteria_sql(campaign.criteria) }}
    {%- endfor %}

),

totals as (

    select
        snapshot_month,
        kind,
        name,
        count(*) as customers
    from met
    group by snapshot_month, kind, name

),

pairs as (

    select
        one.snapshot_month,
        one.kind,
        one.name,
        other.kind as other_kind,
        other.name as other_name,
        count(*) as customers
    from met as one
    inner join met as other
        on
            one.snapshot_month = other.snapshot_month
            and one.customer_id = other.customer_id
            and (one.kind <> other.kind or one.name <> other.name)
    group by one.snapshot_month, one.kind, one.name, other.kind, other.name

)

select
    totals.snapshot_month,
    cast(totals.kind as varchar) as kind,
    cast(totals.name as varchar) as name,  -- noqa: RF04
    cast(others.kind as varchar) as other_kind,
    cast(others.name as varchar) as other_name,
    cast(totals.customers as bigint) as customers,
    cast(coalesce(pairs.customers, 0) as bigint) as customers_of_both,
    {{ share_pct('coalesce(pairs.customers, 0)', 'totals.customers') }} as overlap_pct
from totals
inner join totals as others
    on
        totals.snapshot_month = others.snapshot_month
        and (totals.kind <> others.kind or totals.name <> others.name)
left join pairs
    on
        totals.snapshot_month = pairs.snapshot_month
        and totals.kind = pairs.kind
        and totals.name = pairs.name
        and others.kind = pairs.other_kind
        and others.name = pairs.other_name
