{{ config(
    meta={
        'dagster': {'ref': {'name': 'audience_waterfall'}},
        'description':
            "Catches a customer who is counted twice or not at all between the segment and the list: each step's "
            "loss is the number of its exclusions, the first step is the published segment, and the last two are "
            "the published list.",
    },
) }}

with steps as (

    select
        snapshot_month,
        campaign,
        step_number,
        step,
        customers,
        lag(customers) over (partition by snapshot_month, campaign order by step_number) as customers_before
    from {{ ref('audience_waterfall') }}
    where {{ is_asked_month('snapshot_month') }}

),

reasons as (

    {%- for step in audience_steps() if step.reason %}
    select
        '{{ step.step }}' as step,
        '{{ step.reason }}' as reason
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

exclusions as (

    select
        exclusions.snapshot_month,
        exclusions.campaign,
        reasons.step,
        count(*) as customers
    from {{ ref('audience_exclusions') }} as exclusions
    left join reasons on exclusions.reason = reasons.reason
    where {{ is_asked_month('exclusions.snapshot_month') }}
    group by exclusions.snapshot_month, exclusions.campaign, reasons.step

),

segments as (

    {%- for campaign in var('campaigns') %}
    select
        snapshot_month,
        {{ string_literal(campaign.name) }} as campaign,
        count(case when customer_segment = {{ string_literal(campaign.segment) }} then 1 end) as customers
    from {{ ref('customer_segment_history') }}
    where
        {{ is_asked_month('snapshot_month') }}
        and snapshot_month in (select snapshot_month from steps)
    group by snapshot_month
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

lists as (

    {%- for campaign in var('campaigns') %}
    select
        snapshot_month,
        campaign,
        case when treatment_group = 'target' then 'sent' else treatment_group end as step,
        count(*) as customers
    from {{ ref('audience_' ~ campaign.name) }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month, campaign, treatment_group
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

expected as (

    select
        snapshot_month,
        campaign,
        'in_segment' as step,
        customers
    from segments
    union all
    select
        steps.snapshot_month,
        steps.campaign,
        steps.step,
        steps.customers_before - coalesce(exclusions.customers, 0) as customers
    from steps
    inner join reasons on steps.step = reasons.step
    left join exclusions
        on
            steps.snapshot_month = exclusions.snapshot_month
            and steps.campaign = exclusions.campaign
            and steps.step = exclusions.step
    union all
    select
        steps.snapshot_month,
        steps.campaign,
        steps.step,
        coalesce(lists.customers, 0) as customers
    from steps
    left join lists
        on
            steps.snapshot_month = lists.snapshot_month
            and steps.campaign = lists.campaign
            and steps.step = lists.step
    where steps.step in ('holdout', 'sent')
    union all
    select
        snapshot_month,
        campaign,
        'within_cap' as step,
        sum(customers) as customers
    from steps
    where step in ('holdout', 'sent')
    group by snapshot_month, campaign

)

select
    expected.snapshot_month,
    expected.campaign,
    expected.step,
    expected.customers as expected_customers,
    steps.customers
from expected
left join steps
    on
        expected.snapshot_month = steps.snapshot_month
        and expected.campaign = steps.campaign
        and expected.step = steps.step
where coalesce(steps.customers, -1) <> expected.customers
union all
-- A reason no step knows would be missing from every sum above.
select
    snapshot_month,
    campaign,
    'unknown reason' as step,
    customers as expected_customers,
    0 as customers
from exclusions
where step is null
