{#- A view on DuckDB in one statement, as dbt-core offers it and dbt-snowflake does it. dbt-duckdb's way (a new view,
    two renames, a drop) took longer for the three staging views than rolling up a month's facts. -#}
{% materialization view, adapter='duckdb' %}
    {% set relations = create_or_replace_view() %}
    {% do persist_docs(this.incorporate(type='view'), model) %}
    {% do adapter.commit() %}
    {{ return(relations) }}
{% endmaterialization %}

{% macro duckdb__create_view_as(relation, sql) %}
    {% if config.get('contract').enforced %}{{ get_assert_columns_equivalent(sql) }}{% endif %}
    create or replace view {{ relation }} as (
        {{ sql }}
    )
{% endmacro %}
