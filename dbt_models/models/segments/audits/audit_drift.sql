{{ config(materialized='ephemeral') }}

-- Each asked month against the mean of the published months before it. A month of this very run counts as published
-- when it passes its blocking audits: it will be, a moment later. A month that failed never enters the baseline, unless
-- an earlier version of it is still the published one.
with candidates as (

    select * from {{ ref('candidate_shares') }}

),

blocked as (

    {{ blocked_months(ref('audits_of_the_candidate')) }}

),

published as (

    {{ published_shares() }}

),

known as (

    select
        candidates.snapshot_month,
        candidates.customer_segment,
        candidates.share_pct
    from candidates
    left join blocked on candidates.snapshot_month = blocked.snapshot_month
    where blocked.snapshot_month is null
    union all
    select
        published.snapshot_month,
        published.customer_segment,
        published.share_pct
    from published
    left join (
        select distinct candidates.snapshot_month
        from candidates
        left join blocked on candidates.snapshot_month = blocked.snapshot_month
        where blocked.snapshot_month is null
    ) as replaced on published.snapshot_month = replaced.snapshot_month
    where replaced.snapshot_month is null

),

baseline_months as (

    select
        asked.snapshot_month,
        known_months.snapshot_month as baseline_month
    from (select distinct snapshot_month from candidates) as asked
    inner join (select distinct snapshot_month from known) as known_months
        on asked.snapshot_month > known_months.snapshot_month
    qualify
        row_number() over (partition by asked.snapshot_month order by known_months.snapshot_month desc)
        <= {{ var('audits').drift_baseline_months }}

),

baseline as (

    select
        months.snapshot_month,
        candidates.customer_segment,
        sum(coalesce(known.share_pct, 0)) / nullif(cast(max(months.baseline_months) as double), 0) as share_pct
    from (
        select
            snapshot_month,
            baseline_month,
            count(*) over (partition by snapshot_month) as baseline_months
        from baseline_months
    ) as months
    inner join candidates on months.snapshot_month = candidates.snapshot_month
    left join known
        on
            months.baseline_month = known.snapshot_month
            and candidates.customer_segment = known.customer_segment
    group by months.snapshot_month, candidates.customer_segment

),

-- An empty bin counts as a hundredth of a percent, so that its logarithm exists; both sides alike, so that the
-- same shares always give 0.
compared as (

    select
        candidates.snapshot_month,
        candidates.share_pct - baseline.share_pct as change_points,
        case when candidates.share_pct < 0.01 then 0.01 else candidates.share_pct end / 100 as share,
        case when baseline.share_pct < 0.01 then 0.01 else baseline.share_pct end / 100 as baseline_share
    from candidates
    left join baseline
        on
            candidates.snapshot_month = baseline.snapshot_month
            and candidates.customer_segment = baseline.customer_segment

),

-- Rounded: the last bit of a sum of doubles depends on the order it was added up in, and the same month has to give the
-- same row.
drift as (

    select
        snapshot_month,
        round(sum((share - baseline_share) * ln(share / baseline_share)), 12) as psi,
        round(max(abs(change_points)), 9) as largest_change_points
    from compared
    group by snapshot_month

)

select
    snapshot_month,
    'segment_mix_is_stable' as audit,
    cast(null as varchar) as customer_segment,
    psi as measured,
    cast(null as double) as lower_bound,
    cast({{ var('audits').drift_max_psi }} as double) as upper_bound,
    case when psi > {{ var('audits').drift_max_psi }} then 1 else 0 end as failed_rows,
    'warn' as severity
from drift
union all
select
    snapshot_month,
    'no_segment_moved_far' as audit,
    cast(null as varchar) as customer_segment,
    largest_change_points as measured,
    cast(null as double) as lower_bound,
    cast({{ var('audits').drift_max_change_points }} as double) as upper_bound,
    case when largest_change_points > {{ var('audits').drift_max_change_points }} then 1 else 0 end as failed_rows,
    'warn' as severity
from drift
