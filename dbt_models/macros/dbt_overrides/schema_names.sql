{#- `gold` is gold for everybody: users' SQL names it, so dbt's prefix with the target schema would break it. Only a
    what-if, which must touch no table that anybody reads, puts its own name in front (the var schema_prefix). -#}
{% macro generate_schema_name(custom_schema_name, node) %}
    {{- var('schema_prefix', '') ~ ((custom_schema_name or target.schema) | trim) -}}
{% endmacro %}
