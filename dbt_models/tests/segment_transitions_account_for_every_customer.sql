{{ config(
    meta={
        'dagster': {'ref': {'name': 'segment_transitions', 'version': 1}},
        'description':
            "Whoever is published in a month came from somewhere, and whoever was published the month before went "
            "somewhere.",
    },
) }}

with history as (

    select
        snapshot_month,
        count(*) as customers
    from {{ ref('customer_segment_history') }}
    group by snapshot_month

),

pairs as (

    select
        history.snapshot_month,
        history.customers,
        previous.customers as previous_customers
    from history
    inner join history as previous
        on history.snapshot_month = cast({{ dbt.dateadd('month', 1, 'previous.snapshot_month') }} as date)
    where {{ is_asked_month('history.snapshot_month', lookahead_months=1) }}

),

transitions as (

    select
        snapshot_month,
        sum(case when to_segment <> 'No longer a customer' then customers else 0 end) as customers,
        sum(case when from_segment <> 'Not a customer before' then customers else 0 end) as previous_customers
    from {{ ref('segment_transitions') }}
    where {{ is_asked_month('snapshot_month', lookahead_months=1) }}
    group by snapshot_month

)

select
    pairs.customers,
    transitions.customers as arrived,
    pairs.previous_customers,
    transitions.previous_customers as departed,
    coalesce(pairs.snapshot_month, transitions.snapshot_month) as snapshot_month
from pairs
full outer join transitions on pairs.snapshot_month = transitions.snapshot_month
where
    -- Transitions keep whoever was erased, the history does not.
    coalesce(pairs.snapshot_month, transitions.snapshot_month) not in ({{ months_of_erasure(1) }})
    and (
        coalesce(pairs.customers, -1) <> coalesce(transitions.customers, -1)
        or coalesce(pairs.previous_customers, -1) <> coalesce(transitions.previous_customers, -1)
    )
