with candidates as (

    select
        snapshot_month,
        campaign,
        steps_passed,
        treatment_group,
        case when reason = 'over_contact_policy' then detail end as taken_by,
        count(*) as customers
    from {{ ref('audience_candidates') }}
    where {{ is_asked_month('snapshot_month') }}
    group by
        snapshot_month,
        campaign,
        steps_passed,
        treatment_group,
        case when reason = 'over_contact_policy' then detail end

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

)

select
    months.snapshot_month,
    cast(campaigns.campaign as varchar) as campaign,
    cast(steps.step_number as bigint) as step_number,
    cast(steps.step as varchar) as step,
    cast(coalesce(sum(candidates.customers), 0) as bigint) as customers,
    months.content_hash,
    cast(
        case when steps.step = 'within_contact_policy' then max(takers.left_out_by) end as varchar
    ) as left_out_by
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
left join takers
    on
        months.snapshot_month = takers.snapshot_month
        and campaigns.campaign = takers.campaign
group by months.snapshot_month, months.content_hash, campaigns.campaign, steps.step_number, steps.step
