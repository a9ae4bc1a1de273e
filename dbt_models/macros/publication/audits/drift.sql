{#- Has the mix moved? One row per month of `shares`, against the mean of the published months before it. A month of
    this very run counts as published when it is not `blocked`: it will be, a moment later. A month that failed never
    enters the baseline, unless an earlier version of it is still the published one. -#}
{% macro drift_of(shares, blocked) %}
    with published as (

        {{ published_shares() }}

    ),

    passing as (

        select
            shares.snapshot_month,
            shares.customer_segment,
            shares.share_pct
        from {{ shares }} as shares
        left join {{ blocked }} as blocked on shares.snapshot_month = blocked.snapshot_month
        where blocked.snapshot_month is null

    ),

    known as (

        select * from passing
        union all
        select
            published.snapshot_month,
            published.customer_segment,
            published.share_pct
        from published
        left join (select distinct snapshot_month from passing) as replaced
            on published.snapshot_month = replaced.snapshot_month
        where replaced.snapshot_month is null

    ),

    baseline_months as (

        select
            asked.snapshot_month,
            known_months.snapshot_month as baseline_month
        from (select distinct snapshot_month from {{ shares }}) as asked
        inner join (select distinct snapshot_month from known) as known_months
            on asked.snapshot_month > known_months.snapshot_month
        qualify
            row_number() over (partition by asked.snapshot_month order by known_months.snapshot_month desc)
            <= {{ var('audits').drift_baseline_months }}

    ),

    baseline as (

        select
            compared_with.snapshot_month,
            shares.customer_segment,
            sum(coalesce(known.share_pct, 0))
            / nullif(cast(max(compared_with.months_before) as double), 0) as share_pct
        from (
            select
                snapshot_month,
                baseline_month,
                count(*) over (partition by snapshot_month) as months_before
            from baseline_months
        ) as compared_with
        inner join {{ shares }} as shares on compared_with.snapshot_month = shares.snapshot_month
        left join known
            on
                compared_with.baseline_month = known.snapshot_month
                and shares.customer_segment = known.customer_segment
        group by compared_with.snapshot_month, shares.customer_segment

    ),

    -- An empty bin counts as a hundredth of a percent, so that its logarithm exists; both sides alike, so that the
    -- same shares always give 0.
    compared as (

        select
            shares.snapshot_month,
            shares.share_pct - baseline.share_pct as change_points,
            case when shares.share_pct < 0.01 then 0.01 else shares.share_pct end / 100 as share,
            case when baseline.share_pct < 0.01 then 0.01 else baseline.share_pct end / 100 as baseline_share
        from {{ shares }} as shares
        left join baseline
            on
                shares.snapshot_month = baseline.snapshot_month
                and shares.customer_segment = baseline.customer_segment

    )

    -- Rounded: the last bit of a sum of doubles depends on the order it was added up in, and the same month has to give
    -- the same row.
    select
        snapshot_month,
        round(sum((share - baseline_share) * ln(share / baseline_share)), 12) as psi,
        round(max(abs(change_points)), 9) as largest_change_points
    from compared
    group by snapshot_month
{% endmacro %}
