{{ config(
    meta={
        'dagster': {'ref': {'name': 'customer_segment_history', 'version': 1}},
        'description':
            "Makes a run that could not publish what it was asked for a failed run. The gate leaves such a month "
            "out without a sound, so that the other months of a range go on; for the same reason this test waits "
            "until all else is built.",
    },
) }}

-- depends_on: {{ ref('customer_segment_history') }}
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

newest as (

    {{ newest_of_log(ref('segment_publications')) }}

),

gate as (

    {{ gate(is_asked_month('snapshot_month')) }}

),

-- A candidate that nothing, or something else, was asked of is not published either, though an earlier version of its
-- month may be.
unpublished as (

    select
        months.snapshot_month,
        case
            when gate.snapshot_month is null then 'there is no candidate'
            when gate.content_hash <> coalesce(gate.stamped_content_hash, '')
                then 'the candidate was changed after it was computed'
            when not gate.is_audited then 'there are no audits of the present candidate'
            when gate.decision_hash <> '{{ decision_hash() }}'
                then 'the candidate was made and judged by other rules or bounds than this run reads'
            else 'another run replaced the candidate or its audits while this one published'
        end as audit,
        cast(null as varchar) as customer_segment,
        cast(0 as double) as measured,
        cast(1 as double) as lower_bound,
        cast(null as double) as upper_bound,
        cast(1 as bigint) as failed_rows
    from months
    left join gate on months.snapshot_month = gate.snapshot_month
    left join newest on months.snapshot_month = newest.snapshot_month
    where
        not coalesce(gate.is_blocked, false)
        and not coalesce({{ may_be_published('gate') }} and gate.content_hash = newest.content_hash, false)

)

select * from failed_audits
union all
select * from unpublished
