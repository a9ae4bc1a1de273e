{{ config(
    meta={
        'dagster': {'ref': {'name': 'hero_metrics', 'version': 1}},
        'description':
            "The total row is that of the published history, and so is the sum of the segments.",
    },
) }}

with history as (

    select
        snapshot_month,
        count(*) as customers,
        sum(case when is_active then 1 else 0 end) as active_customers,
        cast(sum(lifetime_value) as decimal(38, 2)) as total_lifetime_value,
        cast(sum(spend_last_90_days) as decimal(38, 2)) as spend_last_90_days
    from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month', lookahead_months=3) }}
    group by snapshot_month

),

rows_of_hero_metrics as (

    select
        snapshot_month,
        case when customer_segment = {{ string_literal(all_customers()) }} then 'total' else 'segments' end as kind,
        customers,
        active_customers,
        total_lifetime_value,
        spend_last_90_days
    from {{ ref('hero_metrics') }}
    where {{ is_asked_month('snapshot_month', lookahead_months=3) }}

),

summed as (

    select
        snapshot_month,
        kind,
        sum(customers) as customers,
        sum(active_customers) as active_customers,
        cast(sum(total_lifetime_value) as decimal(38, 2)) as total_lifetime_value,
        cast(sum(spend_last_90_days) as decimal(38, 2)) as spend_last_90_days
    from rows_of_hero_metrics
    group by snapshot_month, kind

),

kinds as (

    select 'total' as kind
    union all
    select 'segments' as kind

),

expected as (

    select
        history.*,
        kinds.kind
    from history
    cross join kinds

)

select
    expected.kind,
    expected.customers,
    summed.customers as customers_in_hero_metrics,
    expected.spend_last_90_days,
    summed.spend_last_90_days as spend_in_hero_metrics,
    coalesce(expected.snapshot_month, summed.snapshot_month) as snapshot_month
from expected
full outer join summed
    on
        expected.snapshot_month = summed.snapshot_month
        and expected.kind = summed.kind
where
    -- The metrics keep whoever was erased, the history does not.
    coalesce(expected.snapshot_month, summed.snapshot_month) not in ({{ months_of_erasure(3) }})
    and (
        expected.kind is null
        or summed.kind is null
        or expected.customers <> summed.customers
        or expected.active_customers <> summed.active_customers
        or expected.total_lifetime_value <> summed.total_lifetime_value
        or expected.spend_last_90_days <> summed.spend_last_90_days
    )
