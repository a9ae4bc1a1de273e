{#- `gold` is gold for everybody: users' SQL names it, so dbt's prefix with the target schema would break it. -#}
{% macro generate_schema_name(custom_schema_name, node) %}
    {{- (custom_schema_name or target.schema) | trim -}}
{% endmacro %}
