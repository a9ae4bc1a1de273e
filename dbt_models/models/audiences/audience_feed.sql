{{ config(materialized='log_table') }}

-- What differs between the newest lists, as they may be used today, and what the feed has said so far. A run of any
-- month makes these rows, so that an objection is followed by the next run, whichever month that is about. What was
-- said stays: a reader takes the rows after the newest stamp it has seen, and misses none.
-- depends_on: {{ ref('audience_log') }}
-- depends_on: {{ ref('stg_customers') }}
{%- set feed = load_cached_relation(this) if execute else none %}
{%- set started = "cast('" ~ run_started_at.strftime("%Y-%m-%d %H:%M:%S") ~ "' as " ~ naive_timestamp() ~ ")" %}
with audits as (

    {{ audience_audits() }}

),

-- Objections that cannot be believed: a list that went missing would put everybody back who has objected.
blocked as (

    select count(*) as months
    from ({{ blocked_months('audits') }}) as blocked_months

),

-- Of all campaigns together: a month whose list of a campaign has nobody on it is the newest all the same.
newest as (

    select max(snapshot_month) as snapshot_month
    from {{ ref('audience_waterfall') }}

),

-- Only an objection that expires looks at the day.
newest_month as (  -- noqa: ST03

    select
        snapshot_month,
        cast({{ dbt.dateadd('month', 1, 'snapshot_month') }} as date) as as_of_date
    from newest

),

suppressed as (

    {{ suppressed_customers('newest_month') }}

),

suppressed_mailboxes as (

    select
        suppressed.campaign,
        known.mailbox
    from (
        select
            customer_id,
            mailbox
        from {{ ref('customer_mailboxes') }}
        union
        select
            customer_id,
            mailbox
        from ({{ listed_mailboxes() }}) as listed
        where mailbox is not null
    ) as known
    inner join suppressed on known.customer_id = suppressed.customer_id
    group by suppressed.campaign, known.mailbox

),

{%- for campaign in var('campaigns') %}

{{ campaign.name }}_targets as (

    select
        audience.snapshot_month,
        audience.campaign,
        {{ audience_code(campaign) }} as audience_code,
        audience.customer_id,
        lower(audience.email) as mailbox,
        {{ listed_payload(campaign, 'audience') }} as payload
    from {{ ref('audience_' ~ campaign.name) }} as audience
    inner join newest on audience.snapshot_month = newest.snapshot_month
    where audience.treatment_group = 'target'

),
{%- endfor %}

targets as (

    {%- for campaign in var('campaigns') %}
    select * from {{ campaign.name }}_targets
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

-- As an export of today would have them: the list is of the day it was made.
listed as (

    select
        targets.campaign,
        targets.audience_code,
        targets.customer_id as external_id,
        targets.payload
    from targets
    left join suppressed
        on
            targets.campaign = suppressed.campaign
            and targets.customer_id = suppressed.customer_id
    left join suppressed_mailboxes
        on
            targets.campaign = suppressed_mailboxes.campaign
            and targets.mailbox = suppressed_mailboxes.mailbox
            and {{ is_by_address('targets.campaign') }}
    where
        suppressed.customer_id is null
        and suppressed_mailboxes.mailbox is null
    {%- if var('run_date', none) %}
        and targets.customer_id in (
            select customer_id
            from {{ ref('stg_customers') }}
            where
                valid_from <= cast({{ string_literal(var('run_date')) }} as date)
                and (valid_to is null or valid_to > cast({{ string_literal(var('run_date')) }} as date))
        )
    {%- endif %}

),

said as (

    {%- if feed %}
    {{ newest_of_feed(this) }}
    {%- else %}
    select
        campaign,
        audience_code,
        external_id,
        payload,
        true as is_listed
    from listed
    where 1 = 0
    {%- endif %}

),

-- After every stamp there is: a clock that was set back would hide a row from whoever has read further.
stamp as (

    {%- if feed %}
    select
        case
            when max(updated_at) >= {{ started }} then {{ dbt.dateadd('second', 1, 'max(updated_at)') }}
            else {{ started }}
        end as updated_at
    from {{ this }}
    {%- else %}
    select {{ started }} as updated_at
    {%- endif %}

),

changes as (

    select
        coalesce(listed.campaign, said.campaign) as campaign,
        coalesce(listed.external_id, said.external_id) as external_id,
        coalesce(listed.audience_code, said.audience_code) as audience_code,
        listed.external_id is not null as is_listed,
        coalesce(listed.payload, {{ left_payload('said.campaign', 'said.audience_code') }}) as payload
    from listed
    full outer join said
        on
            listed.campaign = said.campaign
            and listed.external_id = said.external_id
    cross join blocked
    where
        (listed.external_id is null and said.is_listed)
        or (
            listed.external_id is not null
            and (said.external_id is null or said.payload <> listed.payload)
            and blocked.months = 0
        )

)

select
    cast(stamp.updated_at as {{ naive_timestamp() }}) as updated_at,
    cast(changes.campaign as varchar) as campaign,
    cast(changes.external_id as varchar) as external_id,
    cast(changes.payload as varchar) as payload,
    cast(changes.is_listed as boolean) as is_listed,
    cast(changes.audience_code as varchar) as audience_code,
    newest.snapshot_month,
    cast({{ publishing_run() }} as varchar) as run_id
from changes
cross join stamp
cross join newest
