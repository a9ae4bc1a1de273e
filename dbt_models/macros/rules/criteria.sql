{#- The rules of dbt_project.yml as SQL. A NULL metric satisfies nothing, as a CASE treats it. -#}

{% macro operator_sql(operator) %}
    {{ return({'at_least': '>=', 'at_most': '<=', 'above': '>', 'below': '<', 'is': '='}[operator]) }}
{% endmacro %}

{#- A criterion is {metric: name, operator: bound}: the operator is the key that is not `metric`. -#}
{% macro operator_of(criterion) %}
    {% for key in criterion if key != 'metric' %}{{ return(key) }}{% endfor %}
{% endmacro %}

{% macro criterion_sql(criterion, prefix='') %}
    {% set operator = operator_of(criterion) %}
    {{ return(prefix ~ criterion.metric ~ " " ~ operator_sql(operator) ~ " " ~ criterion[operator] | string | lower) }}
{% endmacro %}

{% macro criteria_sql(criteria, prefix='') %}
    {% set terms = [] %}
    {% for criterion in criteria %}{% do terms.append(criterion_sql(criterion, prefix)) %}{% endfor %}
    {{ return(terms | join(' and ') or 'true') }}
{% endmacro %}

{#- Bounds are stored as numbers; true is 1 and false is 0. -#}
{% macro bound_as_number(value) %}{{ return((1 if value else 0) if value is boolean else value) }}{% endmacro %}

{#- What decides a customer's segment, in one word: the same as Rules.segments_hash in
    segmentation_assets/rules/load.py. -#}
{% macro rules_hash() %}
    {% set rules = {'category_groups': var('category_groups'), 'segments': var('segments')} %}
    {% do rules.update(further_definitions()) %}
    {{ return(local_md5(tojson(rules, sort_keys=true))) }}
{% endmacro %}

{#- The published columns of the history, in which the rows of a month are hashed. -#}
{% macro history_columns() %}
    {{ return(
        ['customer_id', 'customer_key', 'customer_segment', 'segment_assigned_date', 'first_transaction_date',
         'last_transaction_date', 'is_active'] + published_numeric_metrics()
    ) }}
{% endmacro %}

{#- One row per segment, with its expected band. -#}
{% macro segment_list() %}
    {%- for segment in var('segments') %}
    {%- set band = segment.expected_share_pct or [none, none] %}
    select
        {{ string_literal(segment.name) }} as customer_segment,
        cast({{ band[0] if band[0] is not none else 'null' }} as double) as expected_lower_pct,
        cast({{ band[1] if band[1] is not none else 'null' }} as double) as expected_upper_pct
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{% endmacro %}

{#- Where the facts of the future begin: the day after the run date the caller passes (`run_date`), or after the as-of
    date where it passes none. Nothing here reads a clock. -#}
{% macro future_facts_start() %}
    {%- set run_date = var('run_date', none) -%}
    {%- set day = modules.datetime.datetime.strptime(run_date | string, '%Y-%m-%d').date() if run_date
        else month_after(asked_month_list()[-1]) -%}
    {{ date_literal(days_before(day, -1)) }}
{%- endmacro %}
