{{ config(meta={'replaces': 'months_in_batch', 'keeps_sums_after_erasure': 0}) }}

-- Straight from the facts, not from the rollup that every metric uses: as-of + 90 is in general no edge of its periods
-- (those are month starts, and month starts less 90 or 180 days), so no sum of periods equals this window.
-- An asked month brings up the audiences whose window its facts touch: at most four months back, as 90 days with
-- February among them reach into a fourth. A window not yet covered by a published month waits.
-- Who was on a list of an asked month enters no later month of the same epoch: those are brought up to date too, which
-- are none where the newest month is asked for.
{%- set asked = asked_month_list() %}
{%- set first = months_before(asked[0], 4) %}
{%- set newest = newest_published_month() %}
{%- set newest = parse_month(newest, 'newest month') if newest else asked[-1] %}
{%- set end = month_after([asked[-1], newest] | max) %}
with lists as (

    {%- for campaign in var('campaigns') %}
    select
        snapshot_month,
        campaign,
        customer_id,
        treatment_group,
        coalesce(holdout_epoch, 'never') as holdout_epoch
    from {{ ref('audience_' ~ campaign.name) }}
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

appearances as (

    select
        campaign,
        holdout_epoch,
        customer_id,
        min(snapshot_month) as entry_month
    from lists
    group by campaign, holdout_epoch, customer_id

),

epochs as (

    select
        campaign,
        snapshot_month,
        max(holdout_epoch) as holdout_epoch
    from lists
    group by campaign, snapshot_month

),

epochs_of_asked_months as (

    select distinct
        campaign,
        holdout_epoch
    from epochs
    where
        snapshot_month >= {{ date_literal(asked[0]) }}
        and snapshot_month <= {{ date_literal(asked[-1]) }}

),

months_in_reach as (

    select distinct epochs.snapshot_month
    from epochs
    inner join epochs_of_asked_months
        on
            epochs.campaign = epochs_of_asked_months.campaign
            and epochs.holdout_epoch = epochs_of_asked_months.holdout_epoch
    where epochs.snapshot_month > {{ date_literal(asked[-1]) }}

),

-- The version of the month that the lists were made from; a group without members has it too.
list_versions as (

    select
        snapshot_month,
        campaign,
        max(content_hash) as content_hash
    from {{ ref('audience_waterfall') }}
    where snapshot_month >= {{ date_literal(first) }}
    group by snapshot_month, campaign

),

published as (

    select
        snapshot_month,
        segment_assigned_date as as_of_date,
        {{ dbt.dateadd('day', 90, 'segment_assigned_date') }} as window_end,
        max(segment_assigned_date) over () as newest_as_of_date
    from {{ ref('customer_segment_history') }}
    group by snapshot_month, segment_assigned_date

),

months as (

    select
        snapshot_month,
        as_of_date,
        cast(window_end as date) as window_end
    from published
    where
        snapshot_month >= {{ date_literal(first) }}
        and (
            snapshot_month <= {{ date_literal(asked[-1]) }}
            or snapshot_month in (select snapshot_month from months_in_reach)
        )
        and window_end <= newest_as_of_date
        -- A month that was refused lists (audience_audits) has no outcome, rather than one of nobody.
        and snapshot_month in (select snapshot_month from list_versions)

),

campaign_groups as (

    {%- for campaign in var('campaigns') %}
    select
        cast({{ string_literal(campaign.name) }} as varchar) as campaign,
        cast('target' as varchar) as treatment_group
    union all
    select
        cast({{ string_literal(campaign.name) }} as varchar) as campaign,
        cast('holdout' as varchar) as treatment_group
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

customers as (

    select
        customer_key,
        customer_id
    from {{ ref('stg_customers') }}

),

transactions as (

    select
        customer_key,
        transaction_date,
        amount
    from {{ ref('stg_transactions') }}
    where {{ facts_of_days(month_after(first), end) }}

),

-- Once per customer and month, however many campaigns they are in. Facts are summed before their customers are looked
-- up, which takes a quarter of the time.
spend_of_versions as (

    select
        months.snapshot_month,
        transactions.customer_key,
        sum(transactions.amount) as spend
    from transactions
    inner join months
        on
            transactions.transaction_date >= months.as_of_date
            and transactions.transaction_date < months.window_end
    group by months.snapshot_month, transactions.customer_key

),

spend as (

    select
        spend_of_versions.snapshot_month,
        customers.customer_id,
        sum(spend_of_versions.spend) as spend
    from spend_of_versions
    inner join customers on spend_of_versions.customer_key = customers.customer_key
    group by spend_of_versions.snapshot_month, customers.customer_id

),

measured as (

    select
        lists.snapshot_month,
        lists.campaign,
        lists.treatment_group,
        lists.customer_id,
        lists.holdout_epoch,
        cast(coalesce(spend.spend, 0) as decimal(18, 2)) as spend
    from lists
    inner join months on lists.snapshot_month = months.snapshot_month
    left join spend
        on
            lists.snapshot_month = spend.snapshot_month
            and lists.customer_id = spend.customer_id

),

-- By the first appearance on the campaign's lists of the epoch, and with the spend before it: any later one would hold
-- what the campaign has done already.
entrants as (

    select
        measured.snapshot_month,
        measured.campaign,
        measured.treatment_group,
        measured.customer_id,
        measured.spend as spend_after,
        cast(coalesce(history.spend_last_90_days, 0) as decimal(18, 2)) as spend_before
    from measured
    inner join appearances
        on
            measured.campaign = appearances.campaign
            and measured.holdout_epoch = appearances.holdout_epoch
            and measured.customer_id = appearances.customer_id
            and measured.snapshot_month = appearances.entry_month
    left join {{ ref('customer_segment_history') }} as history
        on
            measured.snapshot_month = history.snapshot_month
            and measured.customer_id = history.customer_id

),

entrants_winsorised as (

    {{ with_winsorised_spend('entrants', 'snapshot_month, campaign') }}

),

entrant_sums as (

    select
        entrants_winsorised.snapshot_month,
        entrants_winsorised.campaign,
        entrants_winsorised.treatment_group,
        {{- outcome_sums('entrants_winsorised') }}
    from entrants_winsorised
    group by
        entrants_winsorised.snapshot_month,
        entrants_winsorised.campaign,
        entrants_winsorised.treatment_group

),

-- What was sent to those who entered, by any list of the campaign that begins inside their window.
contacts as (

    select
        entrants.snapshot_month,
        entrants.campaign,
        entrants.treatment_group,
        count(*) as entered_contacts
    from entrants
    inner join months on entrants.snapshot_month = months.snapshot_month
    inner join lists
        on
            entrants.campaign = lists.campaign
            and entrants.customer_id = lists.customer_id
            and entrants.snapshot_month <= lists.snapshot_month
            and months.window_end > {{ dbt.dateadd('month', 1, 'lists.snapshot_month') }}
            and lists.treatment_group = 'target'
    group by entrants.snapshot_month, entrants.campaign, entrants.treatment_group

),

totals as (

    select
        months.snapshot_month,
        campaign_groups.campaign,
        campaign_groups.treatment_group,
        months.as_of_date,
        months.window_end,
        list_versions.content_hash,
        count(measured.customer_id) as customers,
        coalesce(sum(measured.spend), 0) as spend,
        coalesce(sum({{ squared('measured.spend') }}), 0) as squared_spend
    from months
    cross join campaign_groups
    left join measured
        on
            months.snapshot_month = measured.snapshot_month
            and campaign_groups.campaign = measured.campaign
            and campaign_groups.treatment_group = measured.treatment_group
    left join list_versions
        on
            months.snapshot_month = list_versions.snapshot_month
            and campaign_groups.campaign = list_versions.campaign
    group by
        months.snapshot_month,
        campaign_groups.campaign,
        campaign_groups.treatment_group,
        months.as_of_date,
        months.window_end,
        list_versions.content_hash

)

select
    totals.snapshot_month,
    totals.campaign,
    totals.treatment_group,
    totals.as_of_date as window_start,
    totals.window_end,
    totals.content_hash,
    totals.customers,
    cast(totals.spend as decimal(38, 2)) as total_spend,
    case
        when totals.customers > 0 then cast(totals.spend as double) / cast(totals.customers as double)
    end as mean_spend,
    {{ deviation_of_sums('totals.customers', 'totals.spend', 'totals.squared_spend') }} as stddev_spend,
    cast(epochs.holdout_epoch as varchar) as holdout_epoch,
    cast(coalesce(contacts.entered_contacts, 0) as bigint) as entered_contacts,
    {{- published_outcome_sums('entrant_sums') }}
from totals
left join epochs
    on
        totals.snapshot_month = epochs.snapshot_month
        and totals.campaign = epochs.campaign
left join entrant_sums
    on
        totals.snapshot_month = entrant_sums.snapshot_month
        and totals.campaign = entrant_sums.campaign
        and totals.treatment_group = entrant_sums.treatment_group
left join contacts
    on
        totals.snapshot_month = contacts.snapshot_month
        and totals.campaign = contacts.campaign
        and totals.treatment_group = contacts.treatment_group
