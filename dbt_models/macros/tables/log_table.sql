{#- A table whose rows stay: made where it is not there, a full refresh or not, and given the rows of the model's query,
    of which there are none where another model, or a person, writes them. Its contract is checked when it is made; the
    rows that come later take the table's types. A table of an earlier version lacks a column, and is refused with its
    name. -#}
{% materialization log_table, default %}
    {% set existing = load_cached_relation(this) %}
    {% set table = this.incorporate(type='table') %}
    {{ run_hooks(pre_hooks) }}
    {% call statement('main') %}
        {% if existing %}
            {% set columns = model.columns | join(', ') %}
            insert into {{ table }} ({{ columns }})
            select {{ columns }} from ({{ compiled_code }}) as new_rows
        {% else %}
            {{ create_table_as(False, table, compiled_code) }}
        {% endif %}
    {% endcall %}
    {% do apply_grants(table, config.get('grants'), should_revoke(existing, full_refresh_mode=False)) %}
    {% do persist_docs(table, model) %}
    {{ run_hooks(post_hooks) }}
    {% do adapter.commit() %}
    {{ return({'relations': [table]}) }}
{% endmaterialization %}
