{#- A period is a run of days between two neighbouring window edges: the month starts m, m - 90 and m - 180 days, and
    where else a window begins or ends that a metric is measured over. -#}

{#- How far before an as-of date the windows in use begin and end, in days. -#}
{% macro window_edge_days() %}
    {% set edges = [90, 180] %}
    {% for window in used_windows() %}{% do edges.extend(window_days(window)) %}{% endfor %}
    {{ return(edges | reject('equalto', 0) | unique | sort | list) }}
{% endmacro %}

{#- The newest edge on or before a day (the view calendar_periods has it day by day). Only edges inside the day's own
    month can be newer than the start of that month. A month has 28 to 31 days, so an edge `days` before a month start
    lies there only if that start is days/31 to (days + 30)/28 months on: 3 or 4 for 90 days, 6 or 7 for 180. -#}
{% macro period_start(day) %}
    {%- set edges = [month_start(day)] -%}
    {%- for days in window_edge_days() -%}
        {%- for months_on in range((days + 30) // 31, (days + 30) // 28 + 1) -%}
            {%- set later = dbt.dateadd('month', months_on, month_start(day)) | trim -%}
            {%- set edge = "cast(" ~ later ~ " as date) - " ~ days -%}
            {%- do edges.append("case when " ~ edge ~ " <= " ~ day ~ " then " ~ edge ~ " else " ~ edges[0] ~ " end") -%}
        {%- endfor -%}
    {%- endfor -%}
    greatest({{ edges | join(", ") }})
{%- endmacro %}

{% macro month_start(day) %}cast({{ dbt.date_trunc('month', day) }} as date){% endmacro %}

{#- The dates a run has to roll up, as plain ranges (pruning needs them plain): the asked months, every month
    before them that the rollup lacks, and everything when it is new. A month rolled up under other category
    groups, or before a column was added, counts as lacking, and so do those of the var changed_months, whose facts a
    run has found to be others by now (publication/rollup.py). The var rollup_from (YYYY-MM-01) names an earlier
    month from which on all are rolled up anew: `make restate` gives it where facts changed before the first published
    month. -#}
{% macro in_rollup_months(column, batch=none) %}
    {% set is_of_facts = column == 'transaction_date' %}
    {% set asked = asked_month_list() %}
    {% set from = parse_month(var('rollup_from', none) or asked[0], 'rollup_from') %}
    {% set upper = month_after(asked[-1]) %}
    {% if execute and not batch and existing_in_another_shape() %}
        {% do log(
            this.name ~ " was made by an earlier version, in another shape: all facts before "
            ~ upper ~ " are rolled up anew.", info=true
        ) %}
    {% endif %}
    {% set present = months_in_rollup(upper, batch) if execute and is_incremental() else [] %}
    {% if not present %}
        {{ return(column ~ " < " ~ date_literal(upper) ~ (and_occurred(none, upper) if is_of_facts)) }}
    {% endif %}
    {% set changed = [] %}
    {% for month in var('changed_months', []) %}
        {% do changed.append(parse_month(month, 'changed_months')) %}
    {% endfor %}
    {% set present = present | reject('in', changed) | list %}
    {#- One range from each month that is kept to the next: as many as the rollup has gaps, however far they reach. -#}
    {% set ranges = [] %}
    {% set gap = namespace(start=none) %}
    {% for month in present + [upper] if month < from or month == upper %}
        {% if gap.start != month %}
            {% set begin = column ~ " >= " ~ date_literal(gap.start) ~ " and " if gap.start else "" %}
            {% do ranges.append(
                begin ~ column ~ " < " ~ date_literal(month) ~ (and_occurred(gap.start, month) if is_of_facts)
            ) %}
        {% endif %}
        {% set gap.start = month_after(month) %}
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

{#- Columns of the rollup that an earlier one may have had otherwise, or not at all: whoever adds another adds it here,
    and every rollup made before is made anew, in the very next run. -#}
{% macro rollup_columns() %}
    {{ return(['customer_key', 'amount_squares', 'min_amount', 'max_amount', 'facts_hash']) }}
{% endmacro %}

{#- What a row of the rollup was made under: the same as `rollup` of Rules, with the columns. -#}
{% macro category_groups_hash() %}
    {% set noted = {'category_groups': var('category_groups'), 'columns': rollup_columns()} %}
    {% if window_edge_days() != [90, 180] %}{% do noted.update({'edges': window_edge_days()}) %}{% endif %}
    {% if further_measures() %}{% do noted.update({'measures': further_measures()}) %}{% endif %}
    {% if var('star_schema', none) is not none %}{% do noted.update({'star_schema': var('star_schema')}) %}{% endif %}
    {{ return(local_md5(tojson(noted, sort_keys=true))) }}
{% endmacro %}
