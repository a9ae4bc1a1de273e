{#- Has every day of a month arrived, or only its last? One row per month of `months` and day up to the last that has
    facts (beyond it the audit facts_reach_the_end_of_the_month judges): its facts in `facts`, and the median of the
    same weekday in the eight weeks before, which says what is usual for this portfolio and this weekday. NULL where the
    facts begin less than four weeks before: nobody knows yet. A portfolio whose cards rest on some days has medians
    below the bound, and nothing is expected of it. The median, as two or three lost weeks do not move it. -#}
{% macro fact_days(months, facts) %}
    {%- set limits = var('audits') %}
    {%- set usual = limits.get('usual_day_min_facts', 20) %}
    with days as (

        select
            months.snapshot_month,
            cast(months.snapshot_month + numbers.number as date) as fact_day
        from {{ months }} as months
        cross join (
            {%- for number in range(31) %}
            select {{ number }} as number
            {%- if not loop.last %}
            union all
            {%- endif %}
            {%- endfor %}
        ) as numbers
        where months.snapshot_month + numbers.number < months.as_of_date

    ),

    counted as (

        select
            days.snapshot_month,
            days.fact_day,
            coalesce(facts.transaction_count, 0) as transaction_count
        from days
        left join {{ facts }} as facts on days.fact_day = facts.transaction_date
        qualify
            days.fact_day <= max(case when facts.transaction_count > 0 then days.fact_day end)
                over (partition by days.snapshot_month)

    ),

    usual as (

        select
            earlier.snapshot_month,
            earlier.fact_day,
            median(coalesce(facts.transaction_count, 0)) as transaction_count
        from (
            select
                counted.snapshot_month,
                counted.fact_day,
                cast(counted.fact_day - 7 * weeks.number as date) as earlier_day
            from counted
            cross join (
                {%- for number in range(1, 9) %}
                select {{ number }} as number
                {%- if not loop.last %}
                union all
                {%- endif %}
                {%- endfor %}
            ) as weeks
        ) as earlier
        inner join (select min(transaction_date) as first_day from {{ facts }}) as known
            on earlier.earlier_day >= known.first_day
        left join {{ facts }} as facts on earlier.earlier_day = facts.transaction_date
        group by earlier.snapshot_month, earlier.fact_day
        having count(*) >= 4

    )

    select
        counted.snapshot_month,
        counted.fact_day,
        counted.transaction_count,
        usual.transaction_count as usual_count,
        coalesce(usual.transaction_count >= {{ usual }} and counted.transaction_count = 0, false) as is_absent,
        coalesce(
            usual.transaction_count >= {{ usual }}
            and counted.transaction_count > 0
            and counted.transaction_count * 100 < usual.transaction_count * {{ limits.get('thin_day_below_pct', 50) }},
            false
        ) as is_thin
    from counted
    left join usual on counted.snapshot_month = usual.snapshot_month and counted.fact_day = usual.fact_day
{% endmacro %}
