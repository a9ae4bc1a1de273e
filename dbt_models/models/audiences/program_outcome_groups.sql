{{ config(meta={'replaces': 'months_in_batch', 'keeps_sums_after_erasure': 11}) }}

-- Of the customers of an epoch's first month with a universal holdout: by the side that they had then, and with the
-- spend before it, whatever the months after drew. From the history alone, which has both windows. With a month that is
-- asked for again, all months of its epoch after it are compared anew.
{%- set asked = asked_month_list() %}
with holdout as (

    select
        snapshot_month,
        customer_id,
        holdout_epoch
    from {{ ref('universal_holdout') }}
    where
        snapshot_month >= {{ date_literal(asked[0].replace(month=1)) }}
        and snapshot_month <= {{ date_literal(asked[-1].replace(month=12)) }}

),

epochs as (

    select
        holdout_epoch,
        min(snapshot_month) as entry_month
    from holdout
    group by holdout_epoch

),

months as (

    select
        history.snapshot_month,
        epochs.holdout_epoch,
        epochs.entry_month
    from (
        select distinct
            snapshot_month,
            segment_assigned_date
        from {{ ref('customer_segment_history') }}
        where
            snapshot_month >= {{ date_literal(asked[0].replace(month=1)) }}
            and snapshot_month <= {{ date_literal(asked[-1].replace(month=12)) }}
    ) as history
    inner join epochs
        on
            -- The window of 90 days begins on or after the day on which somebody was first left out.
            {{ dbt.dateadd('day', -90, 'history.segment_assigned_date') }}
            >= {{ dbt.dateadd('month', 1, 'epochs.entry_month') }}
            and epochs.holdout_epoch = {{ calendar_epoch('year', 'history.snapshot_month') }}
    where history.snapshot_month >= {{ date_literal(asked[0]) }}

),

entrants as (

    select
        months.snapshot_month,
        months.holdout_epoch,
        months.entry_month,
        case when holdout.customer_id is null then 'target' else 'holdout' end as treatment_group,
        before_it.customer_id,
        cast(before_it.spend_last_90_days as decimal(18, 2)) as spend_before,
        cast(coalesce(after_it.spend_last_90_days, 0) as decimal(18, 2)) as spend_after
    from months
    inner join {{ ref('customer_segment_history') }} as before_it on months.entry_month = before_it.snapshot_month
    left join {{ ref('customer_segment_history') }} as after_it
        on
            months.snapshot_month = after_it.snapshot_month
            and before_it.customer_id = after_it.customer_id
    left join holdout
        on
            months.entry_month = holdout.snapshot_month
            and before_it.customer_id = holdout.customer_id

),

entrants_winsorised as (

    {{ with_winsorised_spend('entrants', 'snapshot_month') }}

),

entrant_sums as (

    select
        entrants_winsorised.snapshot_month,
        entrants_winsorised.treatment_group,
        entrants_winsorised.holdout_epoch,
        entrants_winsorised.entry_month,
        {{- outcome_sums('entrants_winsorised') }}
    from entrants_winsorised
    group by
        entrants_winsorised.snapshot_month,
        entrants_winsorised.treatment_group,
        entrants_winsorised.holdout_epoch,
        entrants_winsorised.entry_month

)

select
    entrant_sums.snapshot_month,
    cast(entrant_sums.treatment_group as varchar) as treatment_group,
    cast(entrant_sums.holdout_epoch as varchar) as holdout_epoch,
    entrant_sums.entry_month,
    {{- published_outcome_sums('entrant_sums') }}
from entrant_sums
