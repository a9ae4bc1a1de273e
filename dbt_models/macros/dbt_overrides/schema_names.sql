{#- `gold` is gold for everybody: users' SQL names it, so dbt's prefix with the target schema would break it. Only a
    what-if, which must touch no table that anybody reads, puts its own name in front (the var schema_prefix). -#}
{% macro generate_schema_name(custom_schema_name, node) %}
    {#- Where gold or silver is somebody else's already, ours have the names that the settings give them. -#}
    {%- set silver = env_var('SEGMENTATION_SILVER_SCHEMA', '') or 'silver' -%}
    {%- set named = {
        'gold': env_var('SEGMENTATION_GOLD_SCHEMA', '') or 'gold',
        'silver': silver,
        'test_failures': 'test_failures' if silver == 'silver' else silver ~ '_test_failures',
    } -%}
    {%- set asked = (custom_schema_name or target.schema) | trim -%}
    {{- var('schema_prefix', '') ~ named.get(asked, asked) -}}
{% endmacro %}
