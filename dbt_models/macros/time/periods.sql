{#- A period is a run of days between two neighbouring window edges: the month starts m, m - 90 and m - 180 days.
    Of the edges that fall inside a day's own month only four can be the newest on or before it: the month's
    start, the edges 90 days before the month starts three and four months on (89-92 and 120-123 days away),
    and the edge 180 days before the one six months on (181-184 days away). -#}
{% macro period_start(day) %}
    greatest(
        {{ month_start(day) }},
        {{ edge_on_or_before(day, 3, 90) }},
        {{ edge_on_or_before(day, 4, 90) }},
        {{ edge_on_or_before(day, 6, 180) }}
    )
{%- endmacro %}

{% macro month_start(day) %}cast({{ dbt.date_trunc('month', day) }} as date){% endmacro %}

{% macro edge_on_or_before(day, months_on, days) -%}
    {%- set edge = "cast(" ~ dbt.dateadd('month', months_on, month_start(day)) ~ " as date) - " ~ days -%}
    case when {{ edge }} <= {{ day }} then {{ edge }} else {{ month_start(day) }} end
{%- endmacro %}

{#- The dates a run has to roll up, as plain ranges (pruning needs them plain): the asked months, every month
    before them that the rollup lacks, and everything when it is new. A month rolled up under other category
    groups, or before a column was added, counts as lacking. The var rollup_from (YYYY-MM-01) names an earlier month
    from which on all are rolled up anew: `make restate` gives it where facts changed before the first published
    month. -#}
{% macro in_rollup_months(column, batch=none) %}
    {% set asked = asked_month_list() %}
    {% set from = parse_month(var('rollup_from', none) or asked[0], 'rollup_from') %}
    {% set upper = month_after(asked[-1]) %}
    {% set present = months_in_rollup(upper, batch) if execute and is_incremental() else [] %}
    {% if not present %}
        {{ return(column ~ " < " ~ date_literal(upper)) }}
    {% endif %}
    {% set ranges = [column ~ " < " ~ date_literal(present[0])] %}
    {% set month = namespace(start=present[0]) %}
    {% for _ in range(1200) if month.start < upper %}
        {% if month.start >= from or month.start not in present %}
            {% set end = date_literal(month_after(month.start)) %}
            {% do ranges.append(column ~ " >= " ~ date_literal(month.start) ~ " and " ~ column ~ " < " ~ end) %}
        {% endif %}
        {% set month.start = month_after(month.start) %}
    {% endfor %}
    {{ return("(" ~ ranges | join(" or ") ~ ")") }}
{% endmacro %}

{#- Months that the rollup has, without those of `batch`. -#}
{% macro months_in_rollup(upper, batch=none) %}
    {% set rows = run_query(
        "select distinct " ~ month_start('period_start') ~ " as month_start from ("
        ~ "select distinct period_start from " ~ this ~ " where period_start < " ~ date_literal(upper)
        ~ " and category_groups_hash = '" ~ category_groups_hash() ~ "') as periods"
        ~ (" except select " ~ month_start('period_start') ~ " from " ~ batch if batch else "")
        ~ " order by 1"
    ) %}
    {% set months = [] %}
    {% for row in rows %}
        {% do months.append(parse_month((row[0] | string)[:10], 'a month of the rollup')) %}
    {% endfor %}
    {{ return(months) }}
{% endmacro %}

{#- What a row of the rollup was made under. `columns` names those added since the first rollup: whoever adds another
    adds it here, and every rollup made before is made anew, in the very next run. -#}
{% macro category_groups_hash() %}
    {{ return(local_md5(tojson(
        {'category_groups': var('category_groups'), 'columns': ['amount_squares', 'min_amount', 'max_amount']},
        sort_keys=true
    ))) }}
{% endmacro %}
