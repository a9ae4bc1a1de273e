{#- dbt's own materialization of a data test, in another order: first the test, then the table of the rows that fail it,
    and only where there are some. dbt makes that table for a test that passes, too, which is most of what one costs.
    A table of an earlier failure goes when the test passes again. -#}
{% materialization test, default %}
    {% set sql_with_limit = get_limit_subquery_sql(sql, config.get('limit')) %}

    {% set shared = result_of_this_test() %}
    {% if shared %}
        {% do store_raw_result('main', message='OK', code='', rows_affected=-1, agate_table=shared) %}
    {% else %}
        {% call statement('main', fetch_result=True) %}
            {{ get_test_sql(
                sql_with_limit, config.get('fail_calc'), config.get('warn_if'), config.get('error_if'), limit=none
            ) }}
        {% endcall %}
    {% endif %}

    {% set relations = [] %}
    {% if should_store_failures() %}
        {% set failures = load_result('main')['data'][0][0] %}
        {% set earlier = adapter.get_relation(database=database, schema=schema, identifier=model['alias']) %}
        {% if earlier and not (failures and adapter.dispatch('replaces_what_is_there', 'segmentation')()) %}
            {% do adapter.drop_relation(earlier) %}
        {% endif %}
        {% if failures %}
            {% set stored = api.Relation.create(
                database=database, schema=schema, identifier=model['alias'], type='table'
            ) %}
            {% call statement(auto_begin=True) %}
                {{ get_create_sql(stored, sql_with_limit) }}
            {% endcall %}
            {% do relations.append(stored) %}
        {% endif %}
        {% if earlier or failures %}{% do adapter.commit() %}{% endif %}
    {% endif %}

    {{ return({'relations': relations}) }}
{% endmaterialization %}

{#- Whether the statement that makes a table replaces one of its name. -#}
{% macro default__replaces_what_is_there() %}{{ return(false) }}{% endmacro %}

{% macro snowflake__replaces_what_is_there() %}{{ return(true) }}{% endmacro %}
