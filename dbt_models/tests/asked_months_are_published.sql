{{ config(
    meta={
        'dagster': {'ref': {'name': 'customer_segment_history'}},
        'description':
            "Makes a run that could not publish what it was asked for a failed run. The gate leaves such a month "
            "out without a sound, so that the other months of a range go on; for the same reason this test waits "
            "until all else is built.",
    },
) }}

-- depends_on: {{ ref('customer_segments') }}
-- depends_on: {{ ref('segment_summary') }}
-- depends_on: {{ ref('segment_transitions') }}
-- depends_on: {{ ref('segment_explanations') }}
-- depends_on: {{ ref('segment_audit_overrides') }}
with months as (

    {{ asked_months() }}

),

blocked as (

    {{ blocked_months(ref('segment_audits')) }}

),

-- All failed blocking audits of the month, the accepted ones too: with one of them open, none of them lets it pass.
failed_audits as (

    select
        audits.snapshot_month,
        audits.audit,
        audits.customer_segment,
        audits.measured,
        audits.lower_bound,
        audits.upper_bound,
        audits.failed_rows
    from {{ ref('segment_audits') }} as audits
    inner join blocked on audits.snapshot_month = blocked.snapshot_month
    where
        {{ is_asked_month('audits.snapshot_month') }}
        and audits.severity = 'error'
        and audits.failed_rows > 0

),

published as (

    select distinct snapshot_month
    from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') }}

),

audited as (

    select distinct snapshot_month
    from {{ ref('segment_audits') }}
    where {{ is_asked_month('snapshot_month') }}

),

-- A candidate without audits is not published either, though an earlier version of its month may be.
unpublished as (

    select
        months.snapshot_month,
        case
            when audited.snapshot_month is null then 'there are no audits of the present candidate'
            else 'the month has no rows in customer_segment_history'
        end as audit,
        cast(null as varchar) as customer_segment,
        cast(0 as double) as measured,
        cast(1 as double) as lower_bound,
        cast(null as double) as upper_bound,
        cast(1 as bigint) as failed_rows
    from months
    left join audited on months.snapshot_month = audited.snapshot_month
    left join published on months.snapshot_month = published.snapshot_month
    left join blocked on months.snapshot_month = blocked.snapshot_month
    where
        (audited.snapshot_month is null or published.snapshot_month is null)
        and blocked.snapshot_month is null

)

select * from failed_audits
union all
select * from unpublished
