{#- A table made before a column was added gets it, empty, until its month is made again. -#}
{{ config(
    schema='silver',
    on_schema_change='append_new_columns',
    meta={'replaces': 'months_in_batch'},
    post_hook="{{ log_audiences_sql() }}",
) }}

{{- refuse_other_campaigns() }}
-- depends_on: {{ ref('audience_log') }}
-- depends_on: {{ ref('audience_audits') }}
-- depends_on: {{ ref('universal_holdout') }}
-- The gate of the lists: a month whose audits fail now, unaccepted, is absent here and so keeps the lists it has. They
-- are measured here once more, for the table of them may be of another day. Each customer of a campaign's segment, and
-- how far they come: the lists, the waterfall and the exclusions all read this, so that they cannot disagree.
with audits as (

    {{ audience_audits() }}

),

blocked as (

    {{ blocked_months('audits') }}

),

history as (

    select history.*
    from {{ ref('customer_segment_history') }} as history
    left join blocked on history.snapshot_month = blocked.snapshot_month
    where {{ is_asked_month('history.snapshot_month') }} and blocked.snapshot_month is null

),

months as (

    {{ asked_months() }}

),

-- With a version valid at the as-of date, and on the day the list is made where that is later.
customers_now as (

    select distinct
        months.snapshot_month,
        versions.customer_id
    from months
    inner join {{ ref('stg_customers') }} as versions
        on
            months.as_of_date >= versions.valid_from
            and (versions.valid_to is null or months.as_of_date < versions.valid_to)
    {%- if var('run_date', none) %}
    where
        months.as_of_date > cast({{ string_literal(var('run_date')) }} as date)
        or versions.customer_id in (
            select customer_id
            from {{ ref('stg_customers') }}
            where
                valid_from <= cast({{ string_literal(var('run_date')) }} as date)
                and (valid_to is null or valid_to > cast({{ string_literal(var('run_date')) }} as date))
        )
    {%- endif %}

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

listed as (

    {{ listed_mailboxes() }}

),

known_mailboxes as (

    select
        customer_id,
        mailbox
    from {{ ref('customer_mailboxes') }}
    union
    select
        customer_id,
        mailbox
    from listed
    where mailbox is not null

),

-- Who unsubscribed is a person at an address: another customer at it must not be written to either, nor they at one
-- that they had before.
suppressed_mailboxes as (

    select distinct known_mailboxes.mailbox
    from suppressed
    inner join known_mailboxes on suppressed.customer_id = known_mailboxes.customer_id

),

universal_holdout as (

    {{ kept_out_of_every_campaign() }}

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
        {{ contact_unit('members.campaign', 'contacts.mailbox', 'members.customer_id') }} as contact_unit,
        case
            when not members.meets_criteria then 'misses_criteria'
            when customers_now.customer_id is null then 'no_customer_now'
            when contacts.mailbox is null and {{ is_by_address('members.campaign') }} then 'no_deliverable_email'
            when suppressed.customer_id is not null or suppressed_mailboxes.mailbox is not null then 'suppressed'
            when universal_holdout.customer_id is not null then 'universal_holdout'
        end as reason
    from members
    left join customers_now
        on
            members.snapshot_month = customers_now.snapshot_month
            and members.customer_id = customers_now.customer_id
    left join contacts on members.customer_id = contacts.customer_id
    left join suppressed on members.customer_id = suppressed.customer_id
    left join suppressed_mailboxes
        on
            contacts.mailbox = suppressed_mailboxes.mailbox
            and {{ is_by_address('members.campaign') }}
    left join universal_holdout
        on
            members.snapshot_month = universal_holdout.snapshot_month
            and members.customer_id = universal_holdout.customer_id

),

reached_mailboxes as (

    select
        campaign,
        contact_unit as mailbox
    from reachable
    where {{ is_by_address('campaign') }}

),

units as (

    select
        campaign,
        mailbox as contact_unit,
        holdout_unit
    from ({{ holdout_units('reached_mailboxes', 'contacts', 'known_mailboxes', 'listed') }}) as units_of_mailboxes
    {%- if campaigns_without_address() %}
    union all
    {{ holdout_units_of_customers('reachable', 'listed') }}
    {%- endif %}

),

epochs as (

    {{ holdout_epochs('listed') }}

),

-- One batch holds all asked months, unless a cooldown makes each month wait for the one before it.
{% set batches = audience_batches() %}
{% set longest_cooldown = campaigns_with_cooldown() | map(attribute='cooldown_months') | max | default(0, true) %}
{% for months in batches %}
{% set batch = loop.index0 %}
resting_{{ batch }} as (

    {{ resting_in(months[0], range([batch - longest_cooldown, 0] | max, batch), 'listed') }}

),

rested_{{ batch }} as (

    select
        reachable.snapshot_month,
        reachable.campaign,
        reachable.customer_id,
        reachable.rank_in_segment,
        reachable.contact_unit,
        case
            when
                reachable.reason is null
                and (resting_customers.customer_id is not null or resting_units.contact_unit is not null)
                then 'in_cooldown'
            else reachable.reason
        end as reason
    from reachable
    left join (
        select distinct
            campaign,
            customer_id
        from resting_{{ batch }}
    ) as resting_customers
        on
            reachable.campaign = resting_customers.campaign
            and reachable.customer_id = resting_customers.customer_id
    left join (
        select distinct
            campaign,
            contact_unit
        from resting_{{ batch }}
    ) as resting_units
        on
            reachable.campaign = resting_units.campaign
            and reachable.contact_unit = resting_units.contact_unit
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
        rested.contact_unit,
        case
            when
                rested.reason is null
                and row_number() over (
                    partition by rested.snapshot_month, rested.campaign, rested.reason, rested.contact_unit
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
        deduplicated.contact_unit,
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
        ranked.contact_unit,
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
        capped.snapshot_month,
        capped.campaign,
        capped.customer_id,
        capped.contact_unit,
        capped.reason,
        case when capped.reason is null then capped.audience_rank end as audience_rank,
        case
            when capped.reason is null
                then {{ treatment_group('capped.campaign', 'units.holdout_unit', 'epochs.holdout_epoch') }}
        end as treatment_group,
        case when capped.reason is null then units.holdout_unit end as holdout_unit,
        case when capped.reason is null then epochs.holdout_epoch end as holdout_epoch
    from capped_{{ batch }} as capped
    left join epochs
        on
            capped.snapshot_month = epochs.snapshot_month
            and capped.campaign = epochs.campaign
    left join units
        on
            capped.campaign = units.campaign
            and capped.contact_unit = units.contact_unit

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
    cast({{ steps_passed('grouped.reason') }} as bigint) as steps_passed,
    cast(grouped.reason as varchar) as reason,
    cast(grouped.audience_rank as bigint) as audience_rank,
    cast(grouped.treatment_group as varchar) as treatment_group,
    versions.content_hash,
    cast(grouped.holdout_unit as varchar) as holdout_unit,
    cast({{ publishing_run() }} as varchar) as run_id,
    cast(grouped.holdout_epoch as varchar) as holdout_epoch
from grouped
left join versions on grouped.snapshot_month = versions.snapshot_month
