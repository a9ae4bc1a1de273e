{{ config(group='segments_candidate', schema='silver') }}

-- One query, although it is long: each ephemeral model it was made of cost dbt as much as a table does, 0.02 s, and
-- DuckDB computes what two audits share once.
with months as (

    {{ asked_months() }}

),

segments as (

    {{ segment_list() }}

),

-- 1. Is everybody assigned once? Counted from the customers themselves, not from the metrics that assigned them.
population as (

    select
        months.snapshot_month,
        customers.customer_id
    from months
    inner join (
        select
            customer_id,
            min(valid_from) as first_valid_from
        from {{ ref('stg_customers') }}
        group by customer_id
    ) as customers on months.as_of_date > customers.first_valid_from

),

assignments as (

    select
        snapshot_month,
        customer_id,
        count(customer_segment) as assignments
    from {{ ref('segment_assignments') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month, customer_id

),

counted as (

    select
        coalesce(population.snapshot_month, assignments.snapshot_month) as snapshot_month,
        case
            when population.customer_id is null then 0
            when coalesce(assignments.assignments, 0) <> 1 then 0
            else 1
        end as is_assigned_once
    from population
    full outer join assignments
        on
            population.snapshot_month = assignments.snapshot_month
            and population.customer_id = assignments.customer_id

),

assignment_audits as (

    select
        months.snapshot_month,
        'every_customer_is_assigned_once' as audit,
        cast(null as varchar) as customer_segment,
        cast(count(counted.snapshot_month) - coalesce(sum(counted.is_assigned_once), 0) as double) as measured,
        cast(null as double) as lower_bound,
        cast(0 as double) as upper_bound,
        count(counted.snapshot_month) - coalesce(sum(counted.is_assigned_once), 0) as failed_rows,
        'error' as severity
    from months
    left join counted on months.snapshot_month = counted.snapshot_month
    group by months.snapshot_month

),

-- 2. Do members meet their criteria, and those of no segment before theirs?
members as (

    select
        snapshot_month,
        customer_segment,
        count(*) as customers,
        sum(
            case
                {%- for segment in var('segments') %}
                when customer_segment = {{ string_literal(segment.name) }}
                    then
                        case
                            {%- for earlier in var('segments')[:loop.index0] %}
                            when {{ criteria_sql(earlier.criteria) }} then 1
                            {%- endfor %}
                            when {{ criteria_sql(segment.criteria) }} then 0
                            else 1
                        end
                {%- endfor %}
                else 1
            end
        ) as misplaced
    from {{ ref('segment_assignments') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month, customer_segment

),

-- A name that is no segment's would vanish in a join from the list of segments.
segment_months as (

    select
        months.snapshot_month,
        segments.customer_segment
    from months
    cross join segments
    union
    select
        snapshot_month,
        customer_segment
    from members
    where customer_segment is not null

),

criteria_audits as (

    select
        segment_months.snapshot_month,
        'members_meet_their_criteria' as audit,
        segment_months.customer_segment,
        cast(coalesce(members.misplaced, 0) as double) as measured,
        cast(null as double) as lower_bound,
        cast(0 as double) as upper_bound,
        coalesce(members.misplaced, 0) as failed_rows,
        'error' as severity
    from segment_months
    left join members
        on
            segment_months.snapshot_month = members.snapshot_month
            and segment_months.customer_segment = members.customer_segment

),

-- 3. Is each segment as large as it should be? An absent one has 0.
totals as (

    select
        snapshot_month,
        sum(customers) as customers
    from members
    group by snapshot_month

),

candidates as (

    select
        months.snapshot_month,
        segments.customer_segment,
        segments.expected_lower_pct,
        segments.expected_upper_pct,
        coalesce({{ share_pct('members.customers', 'totals.customers') }}, 0) as share_pct
    from months
    cross join segments
    left join totals on months.snapshot_month = totals.snapshot_month
    left join members
        on
            months.snapshot_month = members.snapshot_month
            and segments.customer_segment = members.customer_segment

),

share_audits as (

    select
        snapshot_month,
        'every_segment_holds_the_minimum_share' as audit,
        customer_segment,
        share_pct as measured,
        cast({{ var('audits').minimum_segment_share_pct }} as double) as lower_bound,
        cast(null as double) as upper_bound,
        case when share_pct >= {{ var('audits').minimum_segment_share_pct }} then 0 else 1 end as failed_rows,
        'error' as severity
    from candidates
    union all
    select
        snapshot_month,
        'share_is_within_the_expected_band' as audit,
        customer_segment,
        share_pct as measured,
        expected_lower_pct as lower_bound,
        expected_upper_pct as upper_bound,
        case when share_pct between expected_lower_pct and expected_upper_pct then 0 else 1 end as failed_rows,
        'warn' as severity
    from candidates
    where expected_lower_pct is not null

),

-- 4. Are the facts all there, and all in the rollup? They are read once more, apart from it. The categories are looked
-- up afresh, so that a category that changed its group since the rollup shows as a difference.
transactions as (

    select
        category_key,
        transaction_date,
        amount
    from {{ ref('stg_transactions') }}
    where transaction_date >= {{ first_reconciled_day() }}

),

by_day_and_category as (

    select
        transaction_date,
        category_key,
        count(*) as transaction_count,
        sum(amount) as spend
    from transactions
    group by transaction_date, category_key

),

categories as (

    select
        category_key,
        category_group
    from {{ ref('stg_merchant_categories') }}

),

facts as (

    select
        by_day_and_category.transaction_date,
        sum(by_day_and_category.transaction_count) as transaction_count,
        sum(by_day_and_category.spend) as spend,
        sum(
            case when categories.category_group = 'travel' then by_day_and_category.spend else 0 end
        ) as travel_spend,
        sum(
            case when categories.category_group = 'necessities' then by_day_and_category.spend else 0 end
        ) as necessities_spend,
        sum(
            case when categories.category_key is null then by_day_and_category.spend else 0 end
        ) as unknown_category_spend
    from by_day_and_category
    left join categories on by_day_and_category.category_key = categories.category_key
    group by by_day_and_category.transaction_date

),

facts_by_month as (

    select
        {{ month_start('transaction_date') }} as calendar_month,
        sum(transaction_count) as transaction_count,
        sum(spend) as spend,
        sum(travel_spend) as travel_spend,
        sum(necessities_spend) as necessities_spend
    from facts
    where transaction_date < {{ last_as_of_date() }}
    group by 1

),

rollup_by_month as (

    select
        {{ month_start('period_start') }} as calendar_month,
        sum(transaction_count) as transaction_count,
        sum(spend) as spend,
        sum(travel_spend) as travel_spend,
        sum(necessities_spend) as necessities_spend
    from {{ ref('customer_period_spend') }}
    where
        period_start >= {{ first_reconciled_day() }}
        and period_start < {{ last_as_of_date() }}
    group by 1

),

differences as (

    select
        coalesce(facts_by_month.calendar_month, rollup_by_month.calendar_month) as calendar_month,
        abs(
            coalesce(facts_by_month.transaction_count, 0) - coalesce(rollup_by_month.transaction_count, 0)
        ) as transaction_count,
        -- Whole cents: where sums of money come back as doubles, they differ by the order they were added up in.
        cast(
            abs(coalesce(facts_by_month.spend, 0) - coalesce(rollup_by_month.spend, 0))
            + abs(coalesce(facts_by_month.travel_spend, 0) - coalesce(rollup_by_month.travel_spend, 0))
            + abs(coalesce(facts_by_month.necessities_spend, 0) - coalesce(rollup_by_month.necessities_spend, 0))
            as decimal(38, 2)
        ) as spend
    from facts_by_month
    full outer join rollup_by_month on facts_by_month.calendar_month = rollup_by_month.calendar_month

),

reconciled as (

    select
        months.snapshot_month,
        sum(
            case when differences.transaction_count <> 0 or differences.spend <> 0 then 1 else 0 end
        ) as months_that_differ,
        sum(coalesce(differences.transaction_count, 0)) as transaction_count
    from months
    left join differences
        on
            differences.calendar_month >= {{ month_start('months.prior_90_days_start') }}
            and differences.calendar_month < months.as_of_date
    group by months.snapshot_month

),

-- Days of the window's end without any approved fact; a source that stops early leaves a run of them.
arrived as (

    select
        months.snapshot_month,
        min({{ dbt.datediff('facts.transaction_date', 'months.as_of_date', 'day') }} - 1) as missing_days,
        sum(
            case when facts.transaction_date >= months.last_90_days_start then facts.unknown_category_spend end
        ) as unknown_category_spend,
        sum(case when facts.transaction_date >= months.last_90_days_start then facts.spend end) as spend,
        sum(
            case when facts.transaction_date >= months.last_90_days_start then facts.transaction_count end
        ) as transaction_count
    from months
    left join facts
        on
            facts.transaction_date >= months.prior_90_days_start
            and facts.transaction_date < months.as_of_date
    group by months.snapshot_month

),

future as (

    select coalesce(sum(transaction_count), 0) as transaction_count
    from facts
    where transaction_date >= {{ future_facts_start() }}

),

fact_audits as (

    select
        snapshot_month,
        'rollup_equals_the_facts' as audit,
        cast(null as varchar) as customer_segment,
        cast(months_that_differ as double) as measured,
        cast(null as double) as lower_bound,
        cast(0 as double) as upper_bound,
        case when months_that_differ > 0 then greatest(transaction_count, 1) else 0 end as failed_rows,
        'error' as severity
    from reconciled
    union all
    select
        snapshot_month,
        'facts_reach_the_end_of_the_month' as audit,
        cast(null as varchar) as customer_segment,
        cast(coalesce(missing_days, 180) as double) as measured,
        cast(null as double) as lower_bound,
        cast({{ var('audits').facts_may_end_days_early }} as double) as upper_bound,
        case
            when coalesce(missing_days, 180) > {{ var('audits').facts_may_end_days_early }} then 1
            else 0
        end as failed_rows,
        'error' as severity
    from arrived
    union all
    select
        snapshot_month,
        'unknown_categories_are_few' as audit,
        cast(null as varchar) as customer_segment,
        coalesce({{ share_pct('unknown_category_spend', 'spend') }}, 0) as measured,
        cast(null as double) as lower_bound,
        cast({{ var('audits').unknown_category_max_share_pct }} as double) as upper_bound,
        case
            when
                {{ share_pct('unknown_category_spend', 'spend') }}
                > {{ var('audits').unknown_category_max_share_pct }}
                then 1
            else 0
        end as failed_rows,
        'warn' as severity
    from arrived
    union all
    select
        arrived.snapshot_month,
        'future_dated_facts_are_few' as audit,
        cast(null as varchar) as customer_segment,
        coalesce({{ share_pct('future.transaction_count', 'arrived.transaction_count') }}, 0) as measured,
        cast(null as double) as lower_bound,
        cast({{ var('audits').future_dated_max_share_pct }} as double) as upper_bound,
        case
            when
                {{ share_pct('future.transaction_count', 'arrived.transaction_count') }}
                > {{ var('audits').future_dated_max_share_pct }}
                then future.transaction_count
            else 0
        end as failed_rows,
        'warn' as severity
    from arrived
    cross join future

),

candidate_audits as (

    select * from assignment_audits
    union all
    select * from criteria_audits
    union all
    select * from share_audits
    union all
    select * from fact_audits

),

-- 5. Has the mix moved? Each asked month against the mean of the published months before it. A month of this very run
-- counts as published when it passes its blocking audits: it will be, a moment later. A month that failed never enters
-- the baseline, unless an earlier version of it is still the published one.
blocked as (

    {{ blocked_months('candidate_audits') }}

),

published as (

    {{ published_shares() }}

),

passing as (

    select
        candidates.snapshot_month,
        candidates.customer_segment,
        candidates.share_pct
    from candidates
    left join blocked on candidates.snapshot_month = blocked.snapshot_month
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
    from (select distinct snapshot_month from candidates) as asked
    inner join (select distinct snapshot_month from known) as known_months
        on asked.snapshot_month > known_months.snapshot_month
    qualify
        row_number() over (partition by asked.snapshot_month order by known_months.snapshot_month desc)
        <= {{ var('audits').drift_baseline_months }}

),

baseline as (

    select
        compared_with.snapshot_month,
        candidates.customer_segment,
        sum(coalesce(known.share_pct, 0)) / nullif(cast(max(compared_with.months_before) as double), 0) as share_pct
    from (
        select
            snapshot_month,
            baseline_month,
            count(*) over (partition by snapshot_month) as months_before
        from baseline_months
    ) as compared_with
    inner join candidates on compared_with.snapshot_month = candidates.snapshot_month
    left join known
        on
            compared_with.baseline_month = known.snapshot_month
            and candidates.customer_segment = known.customer_segment
    group by compared_with.snapshot_month, candidates.customer_segment

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

),

drift_audits as (

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

),

audits as (

    select * from candidate_audits
    union all
    select * from drift_audits

)

select
    snapshot_month,
    cast(audit as varchar) as audit,
    cast(customer_segment as varchar) as customer_segment,
    measured,
    lower_bound,
    upper_bound,
    cast(failed_rows as bigint) as failed_rows,
    cast(severity as varchar) as severity,
    failed_rows = 0 as passed
from audits
