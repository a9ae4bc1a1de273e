{#- Of a `with` that is read more than once: it is computed for each reader, so that the reader's conditions reach it.
    DuckDB computes it once and whole otherwise; Snowflake decides for itself and has no word for it. -#}
{% macro not_materialized() %}{{ return(adapter.dispatch('not_materialized', 'segmentation')()) }}{% endmacro %}

{% macro default__not_materialized() %}{{ return('') }}{% endmacro %}

{% macro duckdb__not_materialized() %}{{ return('not materialized') }}{% endmacro %}
