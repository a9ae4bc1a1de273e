{%- set lookahead_months = 3 %}
{{ config(meta={
    'lookahead_months': lookahead_months,
    'holds_every_published_month': true,
    'keeps_sums_after_erasure': lookahead_months,
}) }}

-- A month looks back one month and three, so a backfilled month also makes its three successors anew.
with history as (

    select
        snapshot_month,
        customer_id,
        customer_segment,
        total_transactions,
        lifetime_value,
        spend_last_90_days,
        is_active
    from {{ ref('customer_segment_history') }}
    where
        snapshot_month >= {{ date_literal(months_before(asked_month_list()[0], lookahead_months)) }}
        and snapshot_month <= {{ date_literal(months_before(asked_month_list()[-1], -lookahead_months)) }}

),

published as (

    select distinct snapshot_month from history

),

-- Compared with the month before and the one three months before, where those were published.
months as (

    select
        published.snapshot_month,
        previous.snapshot_month as previous_month,
        base.snapshot_month as base_month
    from published
    left join published as previous
        on published.snapshot_month = cast({{ dbt.dateadd('month', 1, 'previous.snapshot_month') }} as date)
    left join published as base
        on published.snapshot_month = cast({{ dbt.dateadd('month', 3, 'base.snapshot_month') }} as date)
    where {{ is_asked_month('published.snapshot_month', lookahead_months) }}

),

-- Who is there, by the present segment.
present as (

    select
        months.snapshot_month,
        history.customer_segment,
        count(*) as customers,
        sum(case when history.is_active then 1 else 0 end) as active_customers,
        sum(history.lifetime_value) as total_lifetime_value,
        sum(history.total_transactions) as total_transactions,
        sum(history.spend_last_90_days) as spend_last_90_days,
        0 as previous_spend,
        0 as base_active_customers,
        0 as retained_customers,
        0 as churned_customers,
        sum(
            case when history.is_active and not previous.is_active and previous.total_transactions > 0 then 1 else 0 end
        ) as reactivated_customers,
        sum(case when previous.customer_id is null then 1 else 0 end) as new_customers
    from months
    inner join history on months.snapshot_month = history.snapshot_month
    left join history as previous
        on
            months.previous_month = previous.snapshot_month
            and history.customer_id = previous.customer_id
    group by months.snapshot_month, history.customer_segment

),

-- Who was there the month before, by the segment of that month.
one_month_before as (

    select
        months.snapshot_month,
        previous.customer_segment,
        0 as customers,
        0 as active_customers,
        0 as total_lifetime_value,
        0 as total_transactions,
        0 as spend_last_90_days,
        sum(previous.spend_last_90_days) as previous_spend,
        0 as base_active_customers,
        0 as retained_customers,
        sum(
            case when previous.is_active and not coalesce(history.is_active, false) then 1 else 0 end
        ) as churned_customers,
        0 as reactivated_customers,
        0 as new_customers
    from months
    inner join history as previous on months.previous_month = previous.snapshot_month
    left join history
        on
            months.snapshot_month = history.snapshot_month
            and previous.customer_id = history.customer_id
    group by months.snapshot_month, previous.customer_segment

),

-- Who was active three months before, by the segment of that month.
three_months_before as (

    select
        months.snapshot_month,
        base.customer_segment,
        0 as customers,
        0 as active_customers,
        0 as total_lifetime_value,
        0 as total_transactions,
        0 as spend_last_90_days,
        0 as previous_spend,
        count(*) as base_active_customers,
        sum(case when history.is_active then 1 else 0 end) as retained_customers,
        0 as churned_customers,
        0 as reactivated_customers,
        0 as new_customers
    from months
    inner join history as base on months.base_month = base.snapshot_month
    left join history
        on
            months.snapshot_month = history.snapshot_month
            and base.customer_id = history.customer_id
    where base.is_active
    group by months.snapshot_month, base.customer_segment

),

parts as (

    select * from present
    union all
    select * from one_month_before
    union all
    select * from three_months_before

),

-- Every part once in its segment and once in the total.
labelled as (

    select * from parts
    union all
    select
        snapshot_month,
        {{ string_literal(all_customers()) }} as customer_segment,
        customers,
        active_customers,
        total_lifetime_value,
        total_transactions,
        spend_last_90_days,
        previous_spend,
        base_active_customers,
        retained_customers,
        churned_customers,
        reactivated_customers,
        new_customers
    from parts

),

summed as (

    select
        snapshot_month,
        customer_segment,
        sum(customers) as customers,
        sum(active_customers) as active_customers,
        sum(total_lifetime_value) as total_lifetime_value,
        sum(total_transactions) as total_transactions,
        sum(spend_last_90_days) as spend_last_90_days,
        sum(previous_spend) as previous_spend,
        sum(base_active_customers) as base_active_customers,
        sum(retained_customers) as retained_customers,
        sum(churned_customers) as churned_customers,
        sum(reactivated_customers) as reactivated_customers,
        sum(new_customers) as new_customers
    from labelled
    group by snapshot_month, customer_segment

),

versions as (

    {{ newest_versions() }}

)

select
    summed.snapshot_month,
    cast(summed.customer_segment as varchar) as customer_segment,
    cast(summed.customers as bigint) as customers,
    cast(summed.active_customers as bigint) as active_customers,
    cast(summed.total_lifetime_value as decimal(38, 2)) as total_lifetime_value,
    case
        when summed.customers > 0 then {{ ratio('summed.total_lifetime_value', 'summed.customers') }}
    end as avg_lifetime_value,
    case
        when summed.total_transactions > 0
            then {{ ratio('summed.total_lifetime_value', 'summed.total_transactions') }}
    end as avg_transaction_value,
    cast(summed.spend_last_90_days as decimal(38, 2)) as spend_last_90_days,
    case
        when summed.customers > 0
            then {{ ratio('summed.spend_last_90_days', 'summed.customers', whole_factor=3) }}
    end as avg_monthly_spend,
    case
        when months.previous_month is not null
            then {{ share_pct('(summed.spend_last_90_days - summed.previous_spend)', 'summed.previous_spend') }}
    end as spend_month_over_month_pct,
    case
        when months.base_month is not null
            then {{ share_pct('summed.retained_customers', 'summed.base_active_customers') }}
    end as retention_pct,
    case
        when months.previous_month is not null then cast(summed.churned_customers as bigint)
    end as churned_customers,
    case
        when months.previous_month is not null then cast(summed.reactivated_customers as bigint)
    end as reactivated_customers,
    case
        when months.previous_month is not null then cast(summed.new_customers as bigint)
    end as new_customers,
    versions.content_hash,
    previous_versions.content_hash as previous_content_hash,
    base_versions.content_hash as base_content_hash
from summed
inner join months on summed.snapshot_month = months.snapshot_month
left join versions on months.snapshot_month = versions.snapshot_month
left join versions as previous_versions on months.previous_month = previous_versions.snapshot_month
left join versions as base_versions on months.base_month = base_versions.snapshot_month
