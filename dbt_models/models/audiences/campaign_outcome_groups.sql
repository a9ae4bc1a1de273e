{{ config(meta={'replaces': 'months_in_batch'}) }}

-- Straight from the facts, not from the rollup that every metric uses: as-of + 90 is in general no edge of its periods
-- (those are month starts, and month starts less 90 or 180 days), so no sum of periods equals this window.
-- An asked month brings up the audiences whose window its facts touch: at most four months back, as 90 days with
-- February among them reach into a fourth. A window not yet covered by a published month waits.
{%- set asked = asked_month_list() %}
{%- set first = months_before(asked[0], 4) %}
{%- set last = days_before(month_after(asked[-1]), -90) %}
with audiences as (

    {%- for campaign in var('campaigns') %}
    select
        snapshot_month,
        campaign,
        customer_id,
        treatment_group
    from {{ ref('audience_' ~ campaign.name) }}
    where
        snapshot_month >= {{ date_literal(first) }}
        and snapshot_month <= {{ date_literal(asked[-1]) }}
    {{- "\n    union all" if not loop.last }}
    {%- endfor %}

),

-- The version of the month that the lists were made from; a group without members has it too.
list_versions as (

    select
        snapshot_month,
        campaign,
        max(content_hash) as content_hash
    from {{ ref('audience_waterfall') }}
    where
        snapshot_month >= {{ date_literal(first) }}
        and snapshot_month <= {{ date_literal(asked[-1]) }}
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
        and snapshot_month <= {{ date_literal(asked[-1]) }}
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
    where {{ facts_of_days(month_after(first), last) }}

),

-- Once per customer and month, however many campaigns they are in.
spend as (

    select
        months.snapshot_month,
        customers.customer_id,
        sum(transactions.amount) as spend
    from transactions
    inner join customers on transactions.customer_key = customers.customer_key
    inner join months
        on
            transactions.transaction_date >= months.as_of_date
            and transactions.transaction_date < months.window_end
    group by months.snapshot_month, customers.customer_id

),

measured as (

    select
        audiences.snapshot_month,
        audiences.campaign,
        audiences.treatment_group,
        audiences.customer_id,
        cast(coalesce(spend.spend, 0) as decimal(18, 2)) as spend
    from audiences
    left join spend
        on
            audiences.snapshot_month = spend.snapshot_month
            and audiences.customer_id = spend.customer_id

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
    snapshot_month,
    campaign,
    treatment_group,
    as_of_date as window_start,
    window_end,
    content_hash,
    customers,
    cast(spend as decimal(38, 2)) as total_spend,
    case when customers > 0 then cast(spend as double) / cast(customers as double) end as mean_spend,
    {{ deviation_of_sums('customers', 'spend', 'squared_spend') }} as stddev_spend
from totals
