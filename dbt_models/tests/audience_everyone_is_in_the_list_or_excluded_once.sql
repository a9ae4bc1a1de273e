{{ config(
    meta={
        'dagster': {'ref': {'name': 'audience_exclusions'}},
        'description':
            "Catches a member of a campaign's segment who is neither in its list nor among the excluded, or is "
            "both: sums can be right while the people are not.",
    },
) }}

with members as (

    {%- for campaign in var('campaigns') %}
    select
        snapshot_month,
        {{ string_literal(campaign.name) }} as campaign,
        customer_id
    from {{ ref('customer_segment_history') }}
    where
        customer_segment = {{ string_literal(campaign.segment) }}
        and {{ is_asked_month('snapshot_month') }}
        -- A month that was refused lists has none; asked_audiences_are_made says so.
        and snapshot_month in (select snapshot_month from {{ ref('audience_waterfall') }})
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

placed as (

    select
        snapshot_month,
        campaign,
        customer_id
    from {{ ref('audience_exclusions') }}
    where {{ is_asked_month('snapshot_month') }}
    {%- for campaign in var('campaigns') %}
    union all
    select
        snapshot_month,
        campaign,
        customer_id
    from {{ ref('audience_' ~ campaign.name) }}
    where {{ is_asked_month('snapshot_month') }}
    {%- endfor %}

),

counted as (

    select
        coalesce(members.snapshot_month, placed.snapshot_month) as snapshot_month,
        coalesce(members.campaign, placed.campaign) as campaign,
        coalesce(members.customer_id, placed.customer_id) as customer_id,
        count(members.customer_id) as memberships,
        count(placed.customer_id) as placements
    from members
    full outer join placed
        on
            members.snapshot_month = placed.snapshot_month
            and members.campaign = placed.campaign
            and members.customer_id = placed.customer_id
    group by 1, 2, 3

)

select
    snapshot_month,
    campaign,
    customer_id,
    placements
from counted
where placements <> 1 or memberships <> 1
