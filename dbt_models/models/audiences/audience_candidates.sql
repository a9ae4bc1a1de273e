{#- A table made before a column was added gets it, empty, until its month is made again. -#}
{{ config(
    schema='silver',
    on_schema_change='append_new_columns',
    meta={'replaces': 'months_in_batch'},
    post_hook=[
        "{{ log_audiences_sql() }}",
        "{{ keep_objections_sql() }}",
        "{{ forget_earlier_objections_sql() }}",
    ],
) }}

{{- refuse_other_campaigns() }}
-- depends_on: {{ ref('audience_log') }}
-- depends_on: {{ ref('objections_at_last_lists') }}
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

    {% if campaigns_with_trigger() -%}
    select
        moves.customer_id is not null as has_entered,
        history.*
    from {{ ref('customer_segment_history') }} as history
    left join {{ ref('segment_moves') }} as moves
        on
            history.snapshot_month = moves.snapshot_month
            and history.customer_id = moves.customer_id
            and history.customer_segment = moves.to_segment
    left join blocked on history.snapshot_month = blocked.snapshot_month
    where {{ is_asked_month('history.snapshot_month') }} and blocked.snapshot_month is null
    {%- else -%}
    select
        true as has_entered,
        history.*
    from {{ ref('customer_segment_history') }} as history
    left join blocked on history.snapshot_month = blocked.snapshot_month
    where {{ is_asked_month('history.snapshot_month') }} and blocked.snapshot_month is null
    {%- endif %}

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

    {{ suppressed_customers('months') }}

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

    select distinct
        suppressed.snapshot_month,
        suppressed.campaign,
        known_mailboxes.mailbox
    from suppressed
    inner join known_mailboxes on suppressed.customer_id = known_mailboxes.customer_id

),

universal_holdout as (

    {{ kept_out_of_every_campaign() }}

),

ineligible as (

    {{ ineligible_customers() }}

),

members as (

    {%- for campaign in var('campaigns') %}
    select
        snapshot_month,
        {{ string_literal(campaign.name) }} as campaign,
        customer_id,
        {{ 'has_entered' if campaign.get('trigger') == 'entered' else 'true' }} as meets_trigger,
        coalesce({{ criteria_sql(campaign.criteria) }}, false) as meets_criteria,
        {{ criterion_missed(campaign.get('eligibility')) }} as eligibility_missed,
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
            when not members.meets_trigger then 'stayed_in_segment'
            when not members.meets_criteria then 'misses_criteria'
            when members.eligibility_missed is not null then 'misses_eligibility'
            when ineligible.customer_id is not null then 'not_eligible'
            when customers_now.customer_id is null then 'no_customer_now'
            when contacts.mailbox is null and {{ is_by_address('members.campaign') }} then 'no_deliverable_email'
            when suppressed.customer_id is not null or suppressed_mailboxes.mailbox is not null then 'suppressed'
            when universal_holdout.customer_id is not null then 'universal_holdout'
        end as reason,
        coalesce(members.eligibility_missed, ineligible.reason) as detail
    from members
    left join ineligible
        on
            members.campaign = ineligible.campaign
            and members.customer_id = ineligible.customer_id
    left join customers_now
        on
            members.snapshot_month = customers_now.snapshot_month
            and members.customer_id = customers_now.customer_id
    left join contacts on members.customer_id = contacts.customer_id
    left join suppressed
        on
            members.snapshot_month = suppressed.snapshot_month
            and members.campaign = suppressed.campaign
            and members.customer_id = suppressed.customer_id
    left join suppressed_mailboxes
        on
            members.snapshot_month = suppressed_mailboxes.snapshot_month
            and members.campaign = suppressed_mailboxes.campaign
            and contacts.mailbox = suppressed_mailboxes.mailbox
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

-- Only a contact policy counts them.
contacts_of_others as (  -- noqa: ST03

    {{ contacts_of_others('contacts', 'known_mailboxes') }}

),

-- Everybody who passes each step up to the cooldown, and the side of the holdout that is theirs.
placed as (

    select
        reachable.snapshot_month,
        reachable.campaign,
        reachable.customer_id,
        reachable.rank_in_segment,
        reachable.contact_unit,
        case when {{ is_by_address('reachable.campaign') }} then reachable.contact_unit end as mailbox,
        reachable.reason,
        reachable.detail,
        units.holdout_unit,
        epochs.holdout_epoch
    from reachable
    left join epochs
        on
            reachable.snapshot_month = epochs.snapshot_month
            and reachable.campaign = epochs.campaign
    left join units
        on
            reachable.campaign = units.campaign
            and reachable.contact_unit = units.contact_unit

),

{% set batches = audience_batches() %}
{% for batch in batches %}
{% if looks_back() %}
contacts_{{ batch.index }} as (

    {{ contacts_before(batch, batches, 'listed', 'blocked', 'contacts_of_others') }}

),

{% endif %}
grouped_{{ batch.index }} as (

    {{ chosen_in(batch, 'placed') }}

),

{% endfor %}grouped as (

    {%- for batch in batches %}
    select * from grouped_{{ batch.index }}
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
    cast(
        case
            when grouped.reason in ('misses_eligibility', 'not_eligible', 'over_contact_policy') then grouped.detail
        end as varchar
    ) as detail,
    cast(grouped.holdout_epoch as varchar) as holdout_epoch
from grouped
left join versions on grouped.snapshot_month = versions.snapshot_month
