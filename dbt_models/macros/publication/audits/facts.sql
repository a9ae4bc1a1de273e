{#- Do the facts and the rollup agree? The facts are read once more, apart from the rollup that is proved with them: the
    audit asks it of the window of the months that are computed, the view rollup_differences of all history. -#}

{#- One number for whose a fact is, of which category, of which day and of what amount. Its sum over a month is another
    as soon as one of these is, where count and amount of the month stay as they were; grouped by customer instead, the
    facts of a window take thirty times as long to compare. Both sides are hashed by the same engine. -#}
{% macro fact_hash(relation) %}{{ return(adapter.dispatch('fact_hash', 'segmentation')(relation)) }}{% endmacro %}

{% macro default__fact_hash(relation) -%}
    hash(
        {{ relation }}.customer_key,
        {{ relation }}.category_key,
        {{ relation }}.transaction_date,
        {{ relation }}.amount
    )
{%- endmacro %}

{#- Of 31 bits: sums of numbers are doubles in the emulator, which hold those of its facts exactly. -#}
{% macro snowflake__fact_hash(relation) -%}
    mod({{ default__fact_hash(relation) }}, 2147483647)
{%- endmacro %}

{#- One row per day with approved facts. They are read apart from the rollup, and the categories are looked up afresh,
    so that a category that changed its group since the rollup shows as a difference. `first_day`, a date, limits the
    bare date column, which is what prunes the facts. -#}
{% macro facts_by_day(first_day=none) %}
    select
        by_day_and_category.transaction_date,
        sum(by_day_and_category.transaction_count) as transaction_count,
        sum(by_day_and_category.spend) as spend,
        {%- for group in category_group_names() %}
        sum(
            case when categories.category_group = '{{ group }}' then by_day_and_category.spend else 0 end
        ) as {{ group }}_spend,
        {%- endfor %}
        sum(
            case when categories.category_key is null then by_day_and_category.spend else 0 end
        ) as unknown_category_spend,
        sum(by_day_and_category.facts_hash) as facts_hash
    from (
        select
            facts.transaction_date,
            facts.category_key,
            count(*) as transaction_count,
            sum(facts.amount) as spend,
            sum({{ fact_hash('facts') }}) as facts_hash
        from {{ ref('stg_transactions') }} as facts
        {%- if first_day %}
        where facts.transaction_date >= {{ date_literal(first_day) }}{{ and_occurred(first_day, none) }}
        {%- endif %}
        group by facts.transaction_date, facts.category_key
    ) as by_day_and_category
    left join {{ ref('stg_merchant_categories') }} as categories
        on by_day_and_category.category_key = categories.category_key
    group by by_day_and_category.transaction_date
{% endmacro %}

{#- One row per calendar month in which `facts` (facts_by_day) and `rollup` (customer_period_spend) differ: what the
    facts hold beyond the rollup, negative where they hold less. One side is taken from the other in a union rather than
    in a join: a condition on calendar_month then reaches both tables. Decimals to the end: where sums of money come
    back as doubles, they differ by the order they were added up in. Every column with its table: where an alias has the
    name of a column, HAVING means the alias on Snowflake: a sum of a sum. -#}
{% macro rollup_differences(facts, rollup) %}
    {%- set sums = ['spend'] + group_spends() %}
    select
        both_sides.calendar_month,
        sum(both_sides.transaction_count) as transaction_count,
        {%- for column in sums %}
        cast(sum(both_sides.{{ column }}) as decimal(38, 4)) as {{ column }},
        {%- endfor %}
        cast(sum(both_sides.facts_hash) as decimal(38, 0))
        <> cast(sum(both_sides.rollup_hash) as decimal(38, 0)) as has_other_facts,
        cast(sum(both_sides.facts_hash) as decimal(38, 0))
        - cast(sum(both_sides.rollup_hash) as decimal(38, 0)) as facts_hash
    from (
        select
            {{ month_start('transaction_date') }} as calendar_month,
            transaction_count,
            {%- for column in sums %}
            {{ column }},
            {%- endfor %}
            cast(facts_hash as decimal(38, 0)) as facts_hash,
            cast(0 as decimal(38, 0)) as rollup_hash
        from {{ facts }}
        union all
        select
            {{ month_start('period_start') }} as calendar_month,
            -transaction_count as transaction_count,
            {%- for column in sums %}
            -{{ column }} as {{ column }},
            {%- endfor %}
            cast(0 as decimal(38, 0)) as facts_hash,
            facts_hash as rollup_hash
        from {{ rollup }}
    ) as both_sides
    group by both_sides.calendar_month
    having
        sum(both_sides.transaction_count) <> 0
        {%- for column in sums %}
        or cast(sum(both_sides.{{ column }}) as decimal(38, 4)) <> 0
        {%- endfor %}
        or cast(sum(both_sides.facts_hash) as decimal(38, 0)) <> cast(sum(both_sides.rollup_hash) as decimal(38, 0))
{% endmacro %}

{#- One row per day with spend that counts for nobody (uncounted_transactions). Amounts without their sign, as refunds
    of the one would hide purchases of the other. -#}
{% macro uncounted_facts_by_day(first_day) %}
    select
        transaction_date,
        count(*) as transaction_count,
        sum(case when reason = 'unknown_status' then abs(amount) else 0 end) as unknown_status_spend,
        sum(case when reason = 'unknown_member' then abs(amount) else 0 end) as unknown_member_spend
    from {{ ref('uncounted_transactions') }}
    where
        transaction_date >= {{ date_literal(first_day) }}
        and transaction_date < {{ last_as_of_date() }}{{ and_occurred(first_day, month_after(asked_month_list()[-1])) }}
    group by transaction_date
{% endmacro %}

{#- One row per month of `months`: what tells the rollup before its as-of date from another one. Who made something of
    the rollup keeps it, so that what is found of the rollup later is known to be of the same one. -#}
{% macro rollup_stamps(months) %}
    select
        months.snapshot_month,
        coalesce(
            cast(cast(sum(rolled_up.facts_hash) as decimal(38, 0)) as varchar)
            || '/' || min(rolled_up.first_groups) || '/' || max(rolled_up.last_groups),
            'no facts'
        ) as rollup_hash,
        coalesce(
            min(rolled_up.first_groups) = '{{ category_groups_hash() }}'
            and max(rolled_up.last_groups) = '{{ category_groups_hash() }}',
            true
        ) as is_of_these_rules
    from {{ months }} as months
    left join (
        select
            period_start,
            sum(facts_hash) as facts_hash,
            min(category_groups_hash) as first_groups,
            max(category_groups_hash) as last_groups
        from {{ ref('customer_period_spend') }}
        where period_start < {{ last_as_of_date() }}
        group by period_start
    ) as rolled_up on months.as_of_date > rolled_up.period_start
    group by months.snapshot_month
{% endmacro %}
