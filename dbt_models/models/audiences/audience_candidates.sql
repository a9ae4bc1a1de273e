{#- A table made before a column was added gets it, empty, until its month is made again. -#}
{{ config(schema='silver', on_schema_change='append_new_columns') }}

-- Each customer of a campaign's segment, and how far they come: the lists, the waterfall and the exclusions all read
-- this, so that they cannot disagree.
with history as (

    select * from {{ ref('customer_segment_history') }}
    where {{ is_asked_month('snapshot_month') }}

),

contacts as (

    select
        customer_id,
        mailbox
    from {{ ref('customer_contacts') }}

),

suppressed as (

    {{ suppressed_customers() }}

),

-- Who unsubscribed is a person at an address: another customer at the same one must not be written to either.
suppressed_mailboxes as (

    select distinct contacts.mailbox
    from suppressed
    inner join contacts on suppressed.customer_id = contacts.customer_id
    where contacts.mailbox is not null

),

published_contacts as (

    {{ published_contacts() }}

),

members as (

    {%- for campaign in var('campaigns') %}
    select
        snapshot_month,
        {{ string_literal(campaign.name) }} as campaign,
        customer_id,
        coalesce({{ criteria_sql(campaign.criteria) }}, false) as meets_criteria,
        row_number() over (partition by snapshot_month order by {{ rank_order(campaign) }}) as rank_in_segment
    from history
    where customer_segment = {{ string_literal(campaign.segment) }}
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

reachable as (

    select
        members.snapshot_month,
        members.campaign,
        members.customer_id,
        members.rank_in_segment,
        contacts.mailbox,
        case
            when not members.meets_criteria then 'misses_criteria'
            when contacts.mailbox is null then 'no_deliverable_email'
            when suppressed.customer_id is not null or suppressed_mailboxes.mailbox is not null then 'suppressed'
        end as reason
    from members
    left join contacts on members.customer_id = contacts.customer_id
    left join suppressed on members.customer_id = suppressed.customer_id
    left join suppressed_mailboxes on contacts.mailbox = suppressed_mailboxes.mailbox

),

-- One batch holds all asked months, unless a cooldown makes each month wait for the one before it.
{% set batches = audience_batches() %}
{% set longest_cooldown = campaigns_with_cooldown() | map(attribute='cooldown_months') | max | default(0, true) %}
{% for months in batches %}
{% set batch = loop.index0 %}
resting_{{ batch }} as (

    {{ resting_in(months[0], range([batch - longest_cooldown, 0] | max, batch)) }}

),

rested_{{ batch }} as (

    select
        reachable.snapshot_month,
        reachable.campaign,
        reachable.customer_id,
        reachable.rank_in_segment,
        reachable.mailbox,
        case
            when reachable.reason is null and resting.customer_id is not null then 'in_cooldown'
            else reachable.reason
        end as reason
    from reachable
    left join resting_{{ batch }} as resting
        on
            reachable.campaign = resting.campaign
            and reachable.customer_id = resting.customer_id
    where
        reachable.snapshot_month >= {{ date_literal(months[0]) }}
        and reachable.snapshot_month <= {{ date_literal(months[-1]) }}

),

deduplicated_{{ batch }} as (

    select
        rested.snapshot_month,
        rested.campaign,
        rested.customer_id,
        rested.rank_in_segment,
        case
            when
                rested.reason is null
                and row_number() over (
                    partition by rested.snapshot_month, rested.campaign, rested.reason, rested.mailbox
                    order by rested.rank_in_segment
                ) > 1
                then 'shares_email'
            else rested.reason
        end as reason
    from rested_{{ batch }} as rested

),

ranked_{{ batch }} as (

    select
        deduplicated.snapshot_month,
        deduplicated.campaign,
        deduplicated.customer_id,
        deduplicated.reason,
        row_number() over (
            partition by deduplicated.snapshot_month, deduplicated.campaign, deduplicated.reason
            order by deduplicated.rank_in_segment
        ) as audience_rank
    from deduplicated_{{ batch }} as deduplicated

),

capped_{{ batch }} as (

    select
        ranked.snapshot_month,
        ranked.campaign,
        ranked.customer_id,
        ranked.audience_rank,
        case
            when ranked.reason is null and ranked.audience_rank > {{ number_of_campaign('cap', 'ranked.campaign') }}
                then 'beyond_cap'
            else ranked.reason
        end as reason
    from ranked_{{ batch }} as ranked

),

grouped_{{ batch }} as (

    select
        snapshot_month,
        campaign,
        customer_id,
        reason,
        case when reason is null then audience_rank end as audience_rank,
        case when reason is null then {{ treatment_group('campaign', 'customer_id') }} end as treatment_group
    from capped_{{ batch }}

),

{% endfor %}
grouped as (

    {%- for _ in batches %}
    select * from grouped_{{ loop.index0 }}
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

versions as (

    {{ newest_versions() }}

)

select
    grouped.snapshot_month,
    cast(grouped.campaign as varchar) as campaign,
    grouped.customer_id,
    cast(
        case grouped.reason
            {%- for step in audience_steps() if step.reason %}
            when '{{ step.reason }}' then {{ loop.index }}
            {%- endfor %}
            else {{ audience_steps() | selectattr('reason') | list | length + 1 }}
        end as bigint
    ) as steps_passed,
    cast(grouped.reason as varchar) as reason,
    cast(grouped.audience_rank as bigint) as audience_rank,
    cast(grouped.treatment_group as varchar) as treatment_group,
    versions.content_hash
from grouped
left join versions on grouped.snapshot_month = versions.snapshot_month
