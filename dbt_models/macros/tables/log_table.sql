{#- A table whose rows stay: made where it is not there, a full refresh or not, and given the rows of the model's query,
    of which there are none where another model, or a person, writes them. Its contract is checked when it is made; the
    rows that come later take the table's types. A table of an earlier version lacks a column, and is refused with its
    name. -#}
{% materialization log_table, default %}
    {% set existing = load_cached_relation(this) %}
    {% set table = this.incorporate(type='table') %}
    {{ run_hooks(pre_hooks) }}
    {% if existing and adapter.dispatch('is_whole_without_rows', 'segmentation')(existing) %}
        {% do store_raw_result('main', message='KEPT', code='KEPT', rows_affected=0) %}
    {% else %}
        {% call statement('main') %}
            {% if existing %}
                {% set columns = model.columns | join(', ') %}
                insert into {{ table }} ({{ columns }})
                select {{ columns }} from ({{ compiled_code }}) as new_rows
            {% else %}
                {{ create_table_as(False, table, compiled_code) }}
            {% endif %}
        {% endcall %}
    {% endif %}
    {% do apply_grants(table, config.get('grants'), should_revoke(existing, full_refresh_mode=False)) %}
    {% do persist_docs(table, model) %}
    {{ run_hooks(post_hooks) }}
    {% do adapter.commit() %}
    {{ return({'relations': [table]}) }}
{% endmaterialization %}

{#- Whether nothing has to be sent for a table that is there. -#}
{% macro default__is_whole_without_rows(existing) %}{{ return(false) }}{% endmacro %}

{#- A statement is a round trip there, and an INSERT of no rows tells only whether a column is missing. -#}
{% macro snowflake__is_whole_without_rows(existing) %}
    {% set columns = columns_before(existing) | map(attribute='name') | map('lower') | list %}
    {{ return(
        modules.re.search('where 1 = 0\\s*$', compiled_code) is not none
        and not model.columns | map('lower') | reject('in', columns) | list
    ) }}
{% endmacro %}
