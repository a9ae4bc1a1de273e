{{ config(
    meta={
        'dagster': {'ref': {'name': 'campaign_outcome_groups'}},
        'description':
            "Catches an outcome that was computed of an earlier version of its list: its groups then have other "
            "sizes.",
    },
) }}

with sizes as (

    {%- for campaign in var('campaigns') %}
    select
        snapshot_month,
        campaign,
        treatment_group,
        count(*) as customers
    from {{ ref('audience_' ~ campaign.name) }}
    where {{ is_asked_month('snapshot_month') }}
    group by snapshot_month, campaign, treatment_group
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

)

select
    outcomes.snapshot_month,
    outcomes.campaign,
    outcomes.treatment_group,
    outcomes.customers,
    sizes.customers as customers_in_the_list
from {{ ref('campaign_outcome_groups') }} as outcomes
left join sizes
    on
        outcomes.snapshot_month = sizes.snapshot_month
        and outcomes.campaign = sizes.campaign
        and outcomes.treatment_group = sizes.treatment_group
where
    {{ is_asked_month('outcomes.snapshot_month') }}
    and outcomes.customers <> coalesce(sizes.customers, 0)
    -- Outcomes keep whoever was erased in their sums, lists do not.
    and outcomes.snapshot_month not in ({{ months_of_erasure() }})
