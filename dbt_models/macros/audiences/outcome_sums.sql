{#- Exact sums of a group that a regression of the spend after on the spend before takes (outcomes/effects.py), with the
    same digits on both engines. -#}

{#- The largest hundredth of the amounts count as the 99 % quantile: spend has a heavy tail. -#}
{% macro winsorised_at_pct() %}{{ return(99) }}{% endmacro %}

{#- One row per row of `measured`, with the quantiles of its month (and campaign, both groups together): the smallest
    amount that so many percent do not exceed, which is an amount that somebody spent. -#}
{% macro with_winsorised_spend(measured, partition) %}
    select
        ranked.*,
        least(ranked.spend_before, ranked.most_before) as winsorised_before,
        least(ranked.spend_after, ranked.most_after) as winsorised_after
    from (
        select
            placed.*,
            {%- for side in ['before', 'after'] %}
            max(case when placed.place_{{ side }} * 100 < {{ winsorised_at_pct() }} * placed.members + 100
                then placed.spend_{{ side }} end) over (partition by {{ partition }}) as most_{{ side }}
            {{- "," if not loop.last }}
            {%- endfor %}
        from (
            select
                {{ measured }}.*,
                count(*) over (partition by {{ partition }}) as members,
                row_number() over (partition by {{ partition }} order by spend_before, customer_id) as place_before,
                row_number() over (partition by {{ partition }} order by spend_after, customer_id) as place_after
            from {{ measured }}
        ) as placed
    ) as ranked
{% endmacro %}

{#- Of `members`, one row per customer, to be grouped. -#}
{% macro outcome_sums(members) %}
        count({{ members }}.customer_id) as entered_customers,
        count(case when {{ members }}.spend_after > 0 then 1 end) as entered_active_customers
        {%- for prefix, column in [('', 'spend'), ('winsorised_', 'winsorised')] %}
        {%- set before, after = members ~ '.' ~ column ~ '_before', members ~ '.' ~ column ~ '_after' %},
        coalesce(sum(cast({{ before }} as decimal(18, 2))), 0) as {{ prefix }}spend_before,
        coalesce(sum(cast({{ after }} as decimal(18, 2))), 0) as {{ prefix }}spend_after,
        coalesce(sum({{ multiplied(before, before) }}), 0) as {{ prefix }}spend_before_squared,
        coalesce(sum({{ multiplied(before, after) }}), 0) as {{ prefix }}spend_before_by_after,
        coalesce(sum({{ multiplied(after, after) }}), 0) as {{ prefix }}spend_after_squared
        {%- endfor %}
{%- endmacro %}

{#- The columns of outcome_sums as they are published: nothing where nobody entered. -#}
{% macro published_outcome_sums(sums) %}
    cast(coalesce({{ sums }}.entered_customers, 0) as bigint) as entered_customers,
    cast(coalesce({{ sums }}.entered_active_customers, 0) as bigint) as entered_active_customers
    {%- for prefix in ['', 'winsorised_'] %},
    cast(coalesce({{ sums }}.{{ prefix }}spend_before, 0) as decimal(38, 2)) as {{ prefix }}spend_before,
    cast(coalesce({{ sums }}.{{ prefix }}spend_after, 0) as decimal(38, 2)) as {{ prefix }}spend_after
        {%- for name in ['spend_before_squared', 'spend_before_by_after', 'spend_after_squared'] %},
    cast(coalesce({{ sums }}.{{ prefix }}{{ name }}, 0) as decimal(38, 4)) as {{ prefix }}{{ name }}
        {%- endfor %}
    {%- endfor %},
    cast({{ winsorised_at_pct() }} as bigint) as winsorised_at_pct
{%- endmacro %}
