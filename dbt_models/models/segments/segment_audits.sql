{{ config(group='segments_candidate', schema='silver', on_schema_change='append_new_columns') }}

-- An audit is a bound above and a finding below. One query, although it is long: each ephemeral model it was made of
-- cost dbt as much as a table does, 0.02 s, and DuckDB computes what two audits share once.
with months as (

    {{ asked_months() }}

),

segments as (

    {{ segment_list() }}

),

bounds as (

    {{ bounds_as_rows(audit_list()) }}
    union all
    select
        'share_is_within_the_expected_band' as audit,
        'warn' as severity,
        customer_segment,
        expected_lower_pct as lower_bound,
        expected_upper_pct as upper_bound
    from segments

),

-- Counted from the customers themselves, not from the metrics that assigned them.
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

assigned as (

    select
        coalesce(population.snapshot_month, assignments.snapshot_month) as snapshot_month,
        case when population.customer_id is not null and assignments.assignments = 1 then 0 else 1 end as is_wrong
    from population
    full outer join assignments
        on
            population.snapshot_month = assignments.snapshot_month
            and population.customer_id = assignments.customer_id

),

wrongly_assigned as (

    select
        months.snapshot_month,
        coalesce(sum(assigned.is_wrong), 0) as customers
    from months
    left join assigned on months.snapshot_month = assigned.snapshot_month
    group by months.snapshot_month

),

-- Misplaced is who misses the criteria of their segment, or meets those of one before it.
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

totals as (

    select
        snapshot_month,
        sum(customers) as customers
    from members
    group by snapshot_month

),

-- An absent segment has 0.
shares as (

    select
        months.snapshot_month,
        segments.customer_segment,
        segments.expected_lower_pct,
        coalesce({{ share_pct('members.customers', 'totals.customers') }}, 0) as share_pct
    from months
    cross join segments
    left join totals on months.snapshot_month = totals.snapshot_month
    left join members
        on
            months.snapshot_month = members.snapshot_month
            and segments.customer_segment = members.customer_segment

),

facts as (

    {{ facts_by_day(first_reconciled_day()) }}

),

past_facts as (

    select * from facts
    where transaction_date < {{ last_as_of_date() }}

),

rollup as (

    select * from {{ ref('customer_period_spend') }}
    where
        period_start >= {{ date_literal(first_reconciled_day()) }}
        and period_start < {{ last_as_of_date() }}

),

differences as (

    {{ rollup_differences('past_facts', 'rollup') }}

),

reconciled as (

    select
        months.snapshot_month,
        count(differences.calendar_month) as months_that_differ,
        sum(coalesce(abs(differences.transaction_count), 0)) as transaction_count,
        sum(
            greatest(
                abs(differences.spend)
                {%- for column in group_spends() %}, abs(differences.{{ column }}){% endfor %}
            )
        ) as spend,
        sum(differences.facts_hash) as facts_hash
    from months
    left join differences
        on
            differences.calendar_month >= {{ month_start('months.prior_90_days_start') }}
            and differences.calendar_month < months.as_of_date
    group by months.snapshot_month

),

-- Of all history, as lifetimes are: nobody's sums hold the facts of a key that is no customer's version.
facts_of_nobody as (

    select
        rolled_up.period_start,
        sum(rolled_up.transaction_count) as transaction_count,
        sum(rolled_up.spend) as spend,
        sum(rolled_up.facts_hash) as facts_hash
    from {{ ref('customer_period_spend') }} as rolled_up
    left join {{ ref('stg_customers') }} as customers on rolled_up.customer_key = customers.customer_key
    where
        rolled_up.period_start < {{ last_as_of_date() }}
        and customers.customer_key is null
    group by rolled_up.period_start

),

unowned as (

    select
        months.snapshot_month,
        coalesce(sum(facts_of_nobody.transaction_count), 0) as transaction_count,
        sum(facts_of_nobody.spend) as spend,
        sum(facts_of_nobody.facts_hash) as facts_hash
    from months
    left join facts_of_nobody on months.as_of_date > facts_of_nobody.period_start
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

uncounted_facts as (

    {{ uncounted_facts_by_day(days_before(month_after(asked_month_list()[0]), 180)) }}

),

-- Beside the spend that counts, of the last 90 days.
uncounted as (

    select
        months.snapshot_month,
        coalesce(sum(uncounted_facts.transaction_count), 0) as transaction_count,
        coalesce(sum(uncounted_facts.unknown_status_spend), 0) as unknown_status_spend,
        coalesce(sum(uncounted_facts.unknown_member_spend), 0) as unknown_member_spend
    from months
    left join uncounted_facts
        on
            uncounted_facts.transaction_date >= months.last_90_days_start
            and uncounted_facts.transaction_date < months.as_of_date
    group by months.snapshot_month

),

unmatched_names as (

    select count(*) as names
    from (
        select cast(null as varchar) as name_code
        {%- for name in var('category_groups').values() | sum(start=[]) %}
        union
        select {{ code(string_literal(name)) }} as name_code
        {%- endfor %}
    ) as group_names
    where
        name_code not in (
            select {{ code('category_name') }}
            from {{ ref('stg_merchant_categories') }}
            where category_name is not null
        )

),

unknown_members as (

    select count(distinct coalesce(nullif(customer_id, ''), cast(customer_key as varchar))) as customers
    from {{ ref('unknown_members') }}
    where coalesce(left_out, '') <> 'erased'

),

future as (

    select coalesce(sum(transaction_count), 0) as transaction_count
    from facts
    where transaction_date >= {{ future_facts_start() }}

),

fact_days as (

    {{ fact_days('months', 'facts') }}

),

completeness as (

    select
        months.snapshot_month,
        coalesce(sum(case when fact_days.is_absent then 1 else 0 end), 0) as absent_days,
        coalesce(sum(case when fact_days.is_thin then 1 else 0 end), 0) as thin_days
    from months
    left join fact_days on months.snapshot_month = fact_days.snapshot_month
    group by months.snapshot_month

),

loosened as (

    {{ loosened_bounds() }}

),

-- What was measured, and how many customers, facts or findings it is about where it breaks its bound.
findings as (

    select
        snapshot_month,
        'every_customer_is_assigned_once' as audit,
        cast(null as varchar) as customer_segment,
        customers as measured,
        customers as affected_rows
    from wrongly_assigned
    union all
    select
        segment_months.snapshot_month,
        'members_meet_their_criteria' as audit,
        segment_months.customer_segment,
        coalesce(members.misplaced, 0) as measured,
        coalesce(members.misplaced, 0) as affected_rows
    from segment_months
    left join members
        on
            segment_months.snapshot_month = members.snapshot_month
            and segment_months.customer_segment = members.customer_segment
    union all
    select
        snapshot_month,
        'every_segment_holds_the_minimum_share' as audit,
        customer_segment,
        share_pct as measured,
        1 as affected_rows
    from shares
    union all
    select
        snapshot_month,
        'share_is_within_the_expected_band' as audit,
        customer_segment,
        share_pct as measured,
        1 as affected_rows
    from shares
    where expected_lower_pct is not null
    union all
    select
        snapshot_month,
        'rollup_equals_the_facts' as audit,
        cast(null as varchar) as customer_segment,
        months_that_differ as measured,
        greatest(transaction_count, 1) as affected_rows
    from reconciled
    union all
    select
        snapshot_month,
        'every_fact_belongs_to_a_customer' as audit,
        cast(null as varchar) as customer_segment,
        transaction_count as measured,
        transaction_count as affected_rows
    from unowned
    union all
    select
        snapshot_month,
        'facts_reach_the_end_of_the_month' as audit,
        cast(null as varchar) as customer_segment,
        coalesce(missing_days, 180) as measured,
        1 as affected_rows
    from arrived
    union all
    select
        snapshot_month,
        'no_usual_day_is_without_facts' as audit,
        cast(null as varchar) as customer_segment,
        absent_days as measured,
        absent_days as affected_rows
    from completeness
    union all
    select
        snapshot_month,
        'days_are_as_full_as_before' as audit,
        cast(null as varchar) as customer_segment,
        thin_days as measured,
        thin_days as affected_rows
    from completeness
    union all
    select
        months.snapshot_month,
        'no_blocking_bound_was_loosened' as audit,
        cast(null as varchar) as customer_segment,
        loosened.bounds as measured,
        loosened.bounds as affected_rows
    from months
    cross join loosened
    union all
    select
        snapshot_month,
        'unknown_categories_are_few' as audit,
        cast(null as varchar) as customer_segment,
        coalesce({{ share_pct('unknown_category_spend', 'spend') }}, 0) as measured,
        1 as affected_rows
    from arrived
    union all
    select
        arrived.snapshot_month,
        'unknown_statuses_are_few' as audit,
        cast(null as varchar) as customer_segment,
        coalesce(
            {{ share_pct(
                'uncounted.unknown_status_spend', '(uncounted.unknown_status_spend + coalesce(arrived.spend, 0))',
            ) }},
            0
        ) as measured,
        uncounted.transaction_count as affected_rows
    from arrived
    inner join uncounted on arrived.snapshot_month = uncounted.snapshot_month
    union all
    select
        arrived.snapshot_month,
        'spend_of_unknown_members_is_small' as audit,
        cast(null as varchar) as customer_segment,
        coalesce(
            {{ share_pct(
                'uncounted.unknown_member_spend', '(uncounted.unknown_member_spend + coalesce(arrived.spend, 0))',
            ) }},
            0
        ) as measured,
        uncounted.transaction_count as affected_rows
    from arrived
    inner join uncounted on arrived.snapshot_month = uncounted.snapshot_month
    union all
    select
        months.snapshot_month,
        'category_groups_name_known_categories' as audit,
        cast(null as varchar) as customer_segment,
        unmatched_names.names as measured,
        unmatched_names.names as affected_rows
    from months
    cross join unmatched_names
    union all
    select
        months.snapshot_month,
        'unknown_members_are_few' as audit,
        cast(null as varchar) as customer_segment,
        unknown_members.customers as measured,
        unknown_members.customers as affected_rows
    from months
    cross join unknown_members
    union all
    select
        arrived.snapshot_month,
        'future_dated_facts_are_few' as audit,
        cast(null as varchar) as customer_segment,
        coalesce({{ share_pct('future.transaction_count', 'arrived.transaction_count') }}, 0) as measured,
        future.transaction_count as affected_rows
    from arrived
    cross join future

),

-- The money a finding is about, and a number for the very facts: two findings of equal counts are not the same finding.
concerned as (

    select
        snapshot_month,
        'rollup_equals_the_facts' as audit,
        spend,
        facts_hash
    from reconciled
    union all
    select
        snapshot_month,
        'every_fact_belongs_to_a_customer' as audit,
        spend,
        facts_hash
    from unowned
    union all
    select
        snapshot_month,
        'unknown_categories_are_few' as audit,
        unknown_category_spend as spend,
        null as facts_hash
    from arrived

),

stamps as (

    {{ rollup_stamps('months') }}

),

-- By the rows themselves, not by what is written on them. Where the rollup was made anew since the candidate was, what
-- is found here of the rollup and the facts is not about the candidate's own: it is left without audits. So is one
-- whose rollup is of other rules.
candidates as (

    select
        assigned_rows.snapshot_month,
        case
            when
                count(assigned_rows.rollup_hash) = count(*)
                and min(assigned_rows.rollup_hash) = max(stamps.rollup_hash)
                and max(assigned_rows.rollup_hash) = max(stamps.rollup_hash)
                and count(case when stamps.is_of_these_rules then 1 end) = count(*)
                then {{ history_hash(further_metrics()) }}
        end as content_hash,
        '{{ decision_hash() }}' as decision_hash
    from {{ ref('segment_assignments') }} as assigned_rows
    left join stamps on assigned_rows.snapshot_month = stamps.snapshot_month
    where {{ is_asked_month('assigned_rows.snapshot_month') }}
    group by assigned_rows.snapshot_month

),

found as (

    {{ judged('findings') }}

),

verdicts as (

    {{ bound_to_candidates('found') }}

),

-- The mix of a month that is blocked is no baseline for the next: these findings wait for the verdicts above.
blocked as (

    {{ blocked_months('verdicts') }}

),

drift as (

    {{ drift_of('shares', 'blocked') }}

),

drift_findings as (

    select
        snapshot_month,
        'segment_mix_is_stable' as audit,
        cast(null as varchar) as customer_segment,
        psi as measured,
        1 as affected_rows
    from drift
    union all
    select
        snapshot_month,
        'no_segment_moved_far' as audit,
        cast(null as varchar) as customer_segment,
        largest_change_points as measured,
        1 as affected_rows
    from drift

),

found_drift as (

    {{ judged('drift_findings') }}

),

audits as (

    select * from verdicts
    union all
    {{ bound_to_candidates('found_drift') }}

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
    failed_rows = 0 as passed,
    cast(content_hash as varchar) as content_hash,
    cast(decision_hash as varchar) as decision_hash,
    cast(affected_spend as decimal(38, 2)) as affected_spend,
    cast(facts_hash as varchar) as facts_hash
from audits
