{#- Do the facts and the rollup agree? The facts are read once more, apart from the rollup that is proved with them: the
    audit asks it of the window of the months that are computed, the view rollup_differences of all history. -#}

{#- One row per day with approved facts. They are read apart from the rollup, and the categories are looked up afresh, so
    that a category that changed its group since the rollup shows as a difference. `first_day` limits the bare date
    column, which is what prunes the facts. -#}
{% macro facts_by_day(first_day=none) %}
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
    from (
        select
            transaction_date,
            category_key,
            count(*) as transaction_count,
            sum(amount) as spend
        from {{ ref('stg_transactions') }}
        {%- if first_day %}
        where transaction_date >= {{ first_day }}
        {%- endif %}
        group by transaction_date, category_key
    ) as by_day_and_category
    left join {{ ref('stg_merchant_categories') }} as categories
        on by_day_and_category.category_key = categories.category_key
    group by by_day_and_category.transaction_date
{% endmacro %}

{#- One row per calendar month in which `facts` (facts_by_day) and `rollup` (customer_period_spend) differ: what the facts
    hold beyond the rollup, negative where they hold less. One side is taken from the other in a union rather than in a
    join: a condition on calendar_month then reaches both tables. Whole cents: where sums of money come back as doubles,
    they differ by the order they were added up in. -#}
{% macro rollup_differences(facts, rollup) %}
    select
        calendar_month,
        sum(transaction_count) as transaction_count,
        cast(sum(spend) as decimal(38, 2)) as spend,
        cast(sum(travel_spend) as decimal(38, 2)) as travel_spend,
        cast(sum(necessities_spend) as decimal(38, 2)) as necessities_spend
    from (
        select
            {{ month_start('transaction_date') }} as calendar_month,
            transaction_count,
            spend,
            travel_spend,
            necessities_spend
        from {{ facts }}
        union all
        select
            {{ month_start('period_start') }} as calendar_month,
            -transaction_count as transaction_count,
            -spend as spend,
            -travel_spend as travel_spend,
            -necessities_spend as necessities_spend
        from {{ rollup }}
    ) as both_sides
    group by calendar_month
    having
        sum(transaction_count) <> 0
        or cast(sum(spend) as decimal(38, 2)) <> 0
        or cast(sum(travel_spend) as decimal(38, 2)) <> 0
        or cast(sum(necessities_spend) as decimal(38, 2)) <> 0
{% endmacro %}

{#- One row per day with spend that counts for nobody (uncounted_transactions). Amounts without their sign, as refunds of
    the one would hide purchases of the other. -#}
{% macro uncounted_facts_by_day(first_day) %}
    select
        transaction_date,
        count(*) as transaction_count,
        sum(case when reason = 'unknown_status' then abs(amount) else 0 end) as unknown_status_spend,
        sum(case when reason = 'unknown_member' then abs(amount) else 0 end) as unknown_member_spend
    from {{ ref('uncounted_transactions') }}
    where
        transaction_date >= {{ first_day }}
        and transaction_date < {{ last_as_of_date() }}
    group by transaction_date
{% endmacro %}
