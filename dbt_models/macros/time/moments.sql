{#- Days as text and moments without a zone, whatever the session's parameters say. -#}

{#- 2025-11-01. Snowflake's cast follows DATE_OUTPUT_FORMAT, which an account, a user or a session may set: a hash of it
    would be another one. -#}
{% macro date_text(day) %}{{ return(adapter.dispatch('date_text', 'segmentation')(day)) }}{% endmacro %}

{% macro default__date_text(day) %}{{ return('cast(' ~ day ~ ' as varchar)') }}{% endmacro %}

{% macro snowflake__date_text(day) %}{{ return("to_char(" ~ day ~ ", 'YYYY-MM-DD')") }}{% endmacro %}

{#- What `timestamp` is on Snowflake, TIMESTAMP_TYPE_MAPPING says. -#}
{% macro naive_timestamp() %}{{ return('timestamp_ntz' if target.type == 'snowflake' else 'timestamp') }}{% endmacro %}
