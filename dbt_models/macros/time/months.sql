{#- Which months a run is about, and their edges, as plain date literals: no model reads a clock.
    The vars first_month and last_month (YYYY-MM-01) name the first and the last of them. -#}

{% macro asked_month_list() %}
    {#- At parse time, and for docs, no month has been asked for: any one will do to render the SQL. -#}
    {% set first = var('first_month', none) or newest_published_month_to_test() %}
    {% if first is none %}
        {% if execute and flags.WHICH in ('build', 'run', 'test', 'show') %}
            {% do exceptions.raise_compiler_error(
                "Say which months: --vars '{first_month: 2025-11-01}' (and last_month for a range)."
                ~ (" Nothing is published whose newest month could be tested." if flags.WHICH == 'test' else "")
            ) %}
        {% endif %}
        {% set first = '2000-01-01' %}
    {% endif %}
    {% set first = parse_month(first, 'first_month') %}
    {% set last = parse_month(var('last_month', none) or first, 'last_month') %}
    {% if last < first %}
        {% do exceptions.raise_compiler_error("last_month " ~ last ~ " lies before first_month " ~ first ~ ".") %}
    {% endif %}
    {% set months = [] %}
    {% for later in range((last.year - first.year) * 12 + last.month - first.month + 1) %}
        {% do months.append(months_before(first, -later)) %}
    {% endfor %}
    {{ return(months) }}
{% endmacro %}

{#- What `dbt test` without months looks at, where a month matters: the newest that is published. -#}
{% macro newest_published_month_to_test() %}
    {{ return(newest_published_month() if flags.WHICH == 'test' else none) }}
{% endmacro %}

{#- As text, when models run; none where nothing is published. -#}
{% macro newest_published_month() %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% set log = existing_relation_of('segment_publications') %}
    {% if not log %}{{ return(none) }}{% endif %}
    {% set newest = run_query("select max(snapshot_month) as month from " ~ log).rows[0][0] %}
    {{ return((newest | string)[:10] if newest is not none else none) }}
{% endmacro %}

{% macro say_which_months_are_tested() %}
    {% set newest = newest_published_month_to_test() if not var('first_month', none) else none %}
    {% if newest %}
        {% do log(
            "No months were given: tests of months look at the newest published one, " ~ newest ~ ".", info=true
        ) %}
    {% endif %}
    {{ return('') }}
{% endmacro %}

{% macro parse_month(value, name) %}
    {% set text = value | string %}
    {% if not modules.re.match('^[0-9]{4}-(0[1-9]|1[0-2])-01$', text) %}
        {% set expected = " must be the first day of a month, as 2025-11-01; found " %}
        {% do exceptions.raise_compiler_error(name ~ expected ~ text ~ ".") %}
    {% endif %}
    {{ return(modules.datetime.date(text[:4] | int, text[5:7] | int, 1)) }}
{% endmacro %}

{% macro months_before(month, count) %}
    {% set number = month.year * 12 + month.month - 1 - count %}
    {{ return(modules.datetime.date(number // 12, number % 12 + 1, 1)) }}
{% endmacro %}

{% macro month_after(month) %}{{ return(months_before(month, -1)) }}{% endmacro %}

{% macro days_before(date, days) %}
    {{ return(date - modules.datetime.timedelta(days=days)) }}
{% endmacro %}

{% macro date_literal(date) %}cast('{{ date }}' as date){% endmacro %}

{#- One row per asked month: its as-of date and the starts of its two windows of 90 days. -#}
{% macro asked_months() %}
    {%- for month in asked_month_list() %}
    {%- set as_of = month_after(month) %}
    select
        {{ date_literal(month) }} as snapshot_month,
        {{ date_literal(as_of) }} as as_of_date,
        {{ date_literal(days_before(as_of, 90)) }} as last_90_days_start,
        {{ date_literal(days_before(as_of, 180)) }} as prior_90_days_start
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{% endmacro %}

{#- As-of date of the newest asked month: nothing on or after it counts in any of them. -#}
{% macro last_as_of_date() %}{{ date_literal(month_after(asked_month_list()[-1])) }}{% endmacro %}

{#- Start of the earliest asked month's prior window. -#}
{% macro first_window_start() %}{{ date_literal(days_before(month_after(asked_month_list()[0]), 180)) }}{% endmacro %}

{#- The asked months, and as many after them as look back on them (`lookahead_months`). -#}
{% macro is_asked_month(column, lookahead_months=0) %}
    {%- set months = asked_month_list() -%}
    {%- set end = months_before(months[-1], -1 - lookahead_months) -%}
    {{ column }} >= {{ date_literal(months[0]) }} and {{ column }} < {{ date_literal(end) }}
{%- endmacro %}

{#- Completed months from one date to a later one: 31 January to 1 August is 6. -#}
{% macro completed_months(start, end) %}
    (extract(year from {{ end }}) - extract(year from {{ start }})) * 12
    + extract(month from {{ end }}) - extract(month from {{ start }})
    - case when extract(day from {{ start }}) > extract(day from {{ end }}) then 1 else 0 end
{%- endmacro %}

{#- First day of the calendar month in which the earliest asked month's prior window starts. -#}
{% macro first_reconciled_day() %}
    {{ return(days_before(month_after(asked_month_list()[0]), 180).replace(day=1)) }}
{% endmacro %}
