{#- dbt's own rule, and one more: an internal table that says so in its meta is made anew where an earlier version left
    it in another shape. dbt would add the columns, empty, and keep the types. -#}
{% macro should_full_refresh() %}
    {% set configured = config.get('full_refresh') %}
    {{ return((flags.FULL_REFRESH if configured is none else configured) or existing_in_another_shape()) }}
{% endmacro %}

{#- Whether the model's table is there and lacks a column that its yml describes, or has one more. -#}
{% macro existing_in_another_shape() %}
    {% if not execute or not (config.get('meta') or {}).get('is_made_anew_in_another_shape') %}
        {{ return(false) }}
    {% endif %}
    {% set existing = adapter.get_relation(this.database, this.schema, this.table) %}
    {% if not existing %}{{ return(false) }}{% endif %}
    {% set found = adapter.get_columns_in_relation(existing) | map(attribute='name') | map('lower') | list %}
    {#- The rollup has the columns of whatever groups and measures the rules have; its yml tells those of any rules. -#}
    {% set wanted = model.columns | map('lower') | list + group_spends() + further_measures() %}
    {% set kept = columns_of_other_rules() | map(attribute='name') | list %}
    {{ return((found | sort | list) != ((wanted + kept) | unique | sort | list)) }}
{% endmacro %}
