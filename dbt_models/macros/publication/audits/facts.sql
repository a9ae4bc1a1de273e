{#- The facts read once more, apart from the rollup that the audits prove with them. -#}

{#- One row per day from `first_day` on. The categories are looked up afresh, so that a category that changed its group
    since the rollup shows as a difference. -#}
{% macro facts_by_day(first_day) %}
    with transactions as (

        select
            category_key,
            transaction_date,
            amount
        from {{ ref('stg_transactions') }}
        where transaction_date >= {{ first_day }}

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

    )

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
{% endmacro %}

{#- One row per calendar month from `first_day` to before `as_of_date`: how far the rollup is from `facts`, which are
    facts_by_day, in count and in money. -#}
{% macro rollup_differences(facts, first_day, as_of_date) %}
    with facts_by_month as (

        select
            {{ month_start('transaction_date') }} as calendar_month,
            sum(transaction_count) as transaction_count,
            sum(spend) as spend,
            sum(travel_spend) as travel_spend,
            sum(necessities_spend) as necessities_spend
        from {{ facts }}
        where transaction_date < {{ as_of_date }}
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
            period_start >= {{ first_day }}
            and period_start < {{ as_of_date }}
        group by 1

    )

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
{% endmacro %}
