with candidates as (

    select
        candidates.snapshot_month,
        candidates.campaign,
        candidates.treatment_group,
        {{ steps_passed('candidates.reason') }} as steps_passed,
        case when candidates.reason = 'over_contact_policy' then candidates.detail end as taken_by,
        count(*) as customers,
        coalesce(sum(cast(history.spend_last_90_days as decimal(18, 2))), 0) as spend,
        coalesce(sum({{ multiplied('history.spend_last_90_days', 'history.spend_last_90_days') }}), 0) as squared_spend
    from {{ ref('audience_candidates') }} as candidates
    left join {{ ref('customer_segment_history') }} as history
        on
            candidates.snapshot_month = history.snapshot_month
            and candidates.customer_id = history.customer_id
    where {{ is_asked_month('candidates.snapshot_month') }}
    group by
        candidates.snapshot_month,
        candidates.campaign,
        candidates.treatment_group,
        candidates.reason,
        case when candidates.reason = 'over_contact_policy' then candidates.detail end

),

-- Of the one step that somebody else's gain is the loss of.
takers as (

    select
        snapshot_month,
        campaign,
        {{ dbt.listagg(
            "taken_by || ' ' || cast(customers as varchar)", "', '", "order by customers desc, taken_by"
        ) }} as left_out_by
    from candidates
    where taken_by is not null
    group by snapshot_month, campaign

),

versions as (

    {{ newest_versions() }}

),

-- Of the version that the candidates were made from. A month without any was refused lists (audience_audits), which is
-- not the same as lists of nobody.
candidate_versions as (

    select
        snapshot_month,
        max(content_hash) as content_hash
    from {{ ref('audience_candidates') }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month

),

-- Every step, so that one nobody reached shows as 0.
months as (

    select
        candidate_versions.snapshot_month,
        candidate_versions.content_hash
    from candidate_versions
    inner join versions on candidate_versions.snapshot_month = versions.snapshot_month

),

campaigns as (

    {%- for campaign in var('campaigns') %}
    select {{ string_literal(campaign.name) }} as campaign
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

steps as (

    {%- for step in audience_steps() %}
    select
        {{ loop.index }} as step_number,
        '{{ step.step }}' as step,
        {{ string_literal(step.treatment_group) if step.treatment_group else 'null' }} as treatment_group
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

totals as (

    select
        months.snapshot_month,
        months.content_hash,
        campaigns.campaign,
        steps.step_number,
        steps.step,
        coalesce(sum(candidates.customers), 0) as customers,
        coalesce(sum(candidates.spend), 0) as spend,
        coalesce(sum(candidates.squared_spend), 0) as squared_spend
    from months
    cross join campaigns
    cross join steps
    left join candidates
        on
            months.snapshot_month = candidates.snapshot_month
            and campaigns.campaign = candidates.campaign
            and (
                steps.treatment_group = candidates.treatment_group
                or (steps.treatment_group is null and steps.step_number <= candidates.steps_passed)
            )
    group by months.snapshot_month, months.content_hash, campaigns.campaign, steps.step_number, steps.step

)

select
    totals.snapshot_month,
    cast(totals.campaign as varchar) as campaign,
    cast(totals.step_number as bigint) as step_number,
    cast(totals.step as varchar) as step,
    cast(totals.customers as bigint) as customers,
    totals.content_hash,
    cast(case when totals.step = 'within_contact_policy' then takers.left_out_by end as varchar) as left_out_by,
    case
        when totals.customers > 0 then cast(totals.spend as double) / cast(totals.customers as double)
    end as mean_spend,
    {{ deviation_of_cents('totals.customers', 'totals.spend', 'totals.squared_spend') }} as stddev_spend
from totals
left join takers
    on
        totals.snapshot_month = takers.snapshot_month
        and totals.campaign = takers.campaign
