{#- A table on DuckDB, replaced in one transaction: a reader sees the old one or the new one. dbt-duckdb's way (a new
    table, two renames, then a drop in a transaction of its own, which a kill can prevent) took twice as long. -#}
{% materialization table, adapter='duckdb' %}
    {% set existing = load_cached_relation(this) %}
    {% set table = this.incorporate(type='table') %}
    {{ run_hooks(pre_hooks) }}
    {% call statement('main') %}
        {% if existing %}drop {{ existing.type }} if exists {{ existing }};{% endif %}
        {{ create_table_as(False, table, compiled_code) }}
    {% endcall %}
    {% do apply_grants(table, config.get('grants'), should_revoke=should_revoke(existing, full_refresh_mode=True)) %}
    {% do persist_docs(table, model) %}
    {{ run_hooks(post_hooks) }}
    {% do adapter.commit() %}
    {{ return({'relations': [table]}) }}
{% endmaterialization %}
