{#- A table that another model, or a person, writes into: made empty where it is not there, and then left alone, by a
    full refresh as well. A table of an earlier version lacks a column, and is refused with its name. -#}
{% materialization log_table, default %}
    {% set table = this.incorporate(type='table') %}
    {% set exists = load_cached_relation(this) is not none %}
    {% call statement('main') %}
        {% if exists %}
            select {{ model.columns | join(', ') }} from {{ table }} where 1 = 0
        {% else %}
            {{ create_table_as(False, table, compiled_code) }}
        {% endif %}
    {% endcall %}
    {% do persist_docs(table, model) %}
    {% do adapter.commit() %}
    {{ return({'relations': [table]}) }}
{% endmaterialization %}
