{{ config(materialized='ephemeral') }}

-- Whether the facts are all there, and all in the rollup: they are read once more, apart from it. The categories are
-- looked up afresh, so that a category that changed its group since the rollup shows as a difference.
with months as (

    {{ asked_months() }}

),

transactions as (

    select
        category_key,
        transaction_date,
        amount
    from {{ ref('stg_transactions') }}
    where transaction_date >= {{ first_reconciled_day() }}

),

by_day_and_category as (

    select
        transaction_date,
        category_key,
        count(*) as transaction_count,
        sum(amount) as spend
    from transactions
    group by transaction_date, category_key

),

categories as (

    select
        category_key,
        category_group
    from {{ ref('stg_merchant_categories') }}

),

facts as (

    select
        by_day_and_category.transaction_date,
        sum(by_day_and_category.transaction_count) as transaction_count,
        sum(by_day_and_category.spend) as spend,
        sum(
            case when categories.category_group = 'travel' then by_day_and_category.spend else 0 end
        ) as travel_spend,
        sum(
            case when categories.category_group = 'necessities' then by_day_and_category.spend else 0 end
        ) as necessities_spend,
        sum(
            case when categories.category_key is null then by_day_and_category.spend else 0 end
        ) as unknown_category_spend
    from by_day_and_category
    left join categories on by_day_and_category.category_key = categories.category_key
    group by by_day_and_category.transaction_date

),

facts_by_month as (

    select
        {{ month_start('transaction_date') }} as calendar_month,
        sum(transaction_count) as transaction_count,
        sum(spend) as spend,
        sum(travel_spend) as travel_spend,
        sum(necessities_spend) as necessities_spend
    from facts
    where transaction_date < {{ last_as_of_date() }}
    group by 1

),

rollup_by_month as (

    select
        {{ month_start('period_start') }} as calendar_month,
        sum(transaction_count) as transaction_count,
        sum(spend) as spend,
        sum(travel_spend) as travel_spend,
        sum(necessities_spend) as necessities_spend
    from {{ ref('customer_period_spend') }}
    where
        period_start >= {{ first_reconciled_day() }}
        and period_start < {{ last_as_of_date() }}
    group by 1

),

differences as (

    select
        coalesce(facts_by_month.calendar_month, rollup_by_month.calendar_month) as calendar_month,
        abs(
            coalesce(facts_by_month.transaction_count, 0) - coalesce(rollup_by_month.transaction_count, 0)
        ) as transaction_count,
        -- Whole cents: where sums of money come back as doubles, they differ by the order they were added up in.
        cast(
            abs(coalesce(facts_by_month.spend, 0) - coalesce(rollup_by_month.spend, 0))
            + abs(coalesce(facts_by_month.travel_spend, 0) - coalesce(rollup_by_month.travel_spend, 0))
            + abs(coalesce(facts_by_month.necessities_spend, 0) - coalesce(rollup_by_month.necessities_spend, 0))
            as decimal(38, 2)
        ) as spend
    from facts_by_month
    full outer join rollup_by_month on facts_by_month.calendar_month = rollup_by_month.calendar_month

),

reconciled as (

    select
        months.snapshot_month,
        sum(
            case when differences.transaction_count <> 0 or differences.spend <> 0 then 1 else 0 end
        ) as months_that_differ,
        sum(coalesce(differences.transaction_count, 0)) as transaction_count
    from months
    left join differences
        on
            differences.calendar_month >= {{ month_start('months.prior_90_days_start') }}
            and differences.calendar_month < months.as_of_date
    group by months.snapshot_month

),

-- Days of the window's end without any approved fact; a source that stops early leaves a run of them.
arrived as (

    select
        months.snapshot_month,
        min({{ dbt.datediff('facts.transaction_date', 'months.as_of_date', 'day') }} - 1) as missing_days,
        sum(
            case when facts.transaction_date >= months.last_90_days_start then facts.unknown_category_spend end
        ) as unknown_category_spend,
        sum(case when facts.transaction_date >= months.last_90_days_start then facts.spend end) as spend,
        sum(
            case when facts.transaction_date >= months.last_90_days_start then facts.transaction_count end
        ) as transaction_count
    from months
    left join facts
        on
            facts.transaction_date >= months.prior_90_days_start
            and facts.transaction_date < months.as_of_date
    group by months.snapshot_month

),

future as (

    select coalesce(sum(transaction_count), 0) as transaction_count
    from facts
    where transaction_date >= {{ future_facts_start() }}

)

select
    snapshot_month,
    'rollup_equals_the_facts' as audit,
    cast(null as varchar) as customer_segment,
    cast(months_that_differ as double) as measured,
    cast(null as double) as lower_bound,
    cast(0 as double) as upper_bound,
    case when months_that_differ > 0 then greatest(transaction_count, 1) else 0 end as failed_rows,
    'error' as severity
from reconciled
union all
select
    snapshot_month,
    'facts_reach_the_end_of_the_month' as audit,
    cast(null as varchar) as customer_segment,
    cast(coalesce(missing_days, 180) as double) as measured,
    cast(null as double) as lower_bound,
    cast({{ var('audits').facts_may_end_days_early }} as double) as upper_bound,
    case
        when coalesce(missing_days, 180) > {{ var('audits').facts_may_end_days_early }} then 1
        else 0
    end as failed_rows,
    'error' as severity
from arrived
union all
select
    snapshot_month,
    'unknown_categories_are_few' as audit,
    cast(null as varchar) as customer_segment,
    coalesce({{ share_pct('unknown_category_spend', 'spend') }}, 0) as measured,
    cast(null as double) as lower_bound,
    cast({{ var('audits').unknown_category_max_share_pct }} as double) as upper_bound,
    case
        when
            {{ share_pct('unknown_category_spend', 'spend') }}
            > {{ var('audits').unknown_category_max_share_pct }}
            then 1
        else 0
    end as failed_rows,
    'warn' as severity
from arrived
union all
select
    arrived.snapshot_month,
    'future_dated_facts_are_few' as audit,
    cast(null as varchar) as customer_segment,
    coalesce({{ share_pct('future.transaction_count', 'arrived.transaction_count') }}, 0) as measured,
    cast(null as double) as lower_bound,
    cast({{ var('audits').future_dated_max_share_pct }} as double) as upper_bound,
    case
        when
            {{ share_pct('future.transaction_count', 'arrived.transaction_count') }}
            > {{ var('audits').future_dated_max_share_pct }}
            then future.transaction_count
        else 0
    end as failed_rows,
    'warn' as severity
from arrived
cross join future
