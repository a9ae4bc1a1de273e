{#- Data tests of one table, asked together: the first of them that runs asks for all that were selected, in one
    statement that returns a row per test, and the others find theirs in it. Each stays a test of its own to dbt and to
    Dagster, with its name, severity and stored rows. Together are those that read the same tables, for dbt lets a node
    read no other; a test in a file of its own is asked alone, as only dbt knows its text.

    What one node leaves for the next lies in `graph`, of which there is one per invocation. -#}
{% macro result_of_this_test() %}
    {#- Without months a test that needs them is refused, and only that one. -#}
    {% set key = tables_of_test(model) if var('first_month', none) else none %}
    {% if not key %}{{ return(none) }}{% endif %}
    {% set asked = graph.setdefault('tests_of_a_table', {}) %}
    {% if is_first_test_of(key) %}
        {% set tests = [] %}
        {% for unique_id in selected_resources | sort %}
            {% set test = graph.nodes.get(unique_id, {}) %}
            {% if tables_of_test(test) == key %}{% do tests.append(test) %}{% endif %}
        {% endfor %}
        {% if tests | length > 1 %}
            {% set queries, places = [], {} %}
            {% for test in tests %}
                {% do places.update({test.unique_id: loop.index0}) %}
                {% do queries.append(
                    'select ' ~ loop.index0 ~ ' as place, failures, should_warn, should_error from ('
                    ~ result_of_test_sql(test) ~ ') as test_' ~ loop.index0
                ) %}
            {% endfor %}
            {% set rows = run_query(queries | join('\nunion all\n') ~ '\norder by place') %}
            {% do asked.update({key: {'rows': rows, 'places': places}}) %}
        {% endif %}
    {% endif %}
    {% set found = asked.get(key) %}
    {% if not found or model.unique_id not in found.places %}{{ return(none) }}{% endif %}
    {% set place = found.places[model.unique_id] %}
    {{ return(found.rows.limit(place, place + 1).exclude([found.rows.column_names[0]])) }}
{% endmacro %}

{#- Nobody else asks for the tests of these tables. Where another node does just now, it is waited for if something lets
    a node wait (segmentation_assets/dbt/runner.py); plain dbt's go on, and ask alone. -#}
{% macro is_first_test_of(key) %}
    {% set turns = graph.get('turns_of_tests') %}
    {% if turns %}{{ return(turns.is_first(key, model.unique_id)) }}{% endif %}
    {{ return(graph.setdefault('first_tests', {}).setdefault(key, model.unique_id) == model.unique_id) }}
{% endmacro %}

{#- The tables that a test reads, as one text; nothing where it is asked alone. -#}
{% macro tables_of_test(test) %}
    {% if not test.get('test_metadata') or test.config.limit %}{{ return(none) }}{% endif %}
    {% for name, value in test.test_metadata.kwargs.items() if name != 'model' %}
        {#- Jinja that dbt renders for the test itself. -#}
        {% if modules.re.search('[{]|ref[(]|source[(]', value | string) %}{{ return(none) }}{% endif %}
    {% endfor %}
    {{ return(test.depends_on.nodes | sort | join(' ')) }}
{% endmacro %}

{#- One row, as dbt reads it of any test: failures, should_warn, should_error. -#}
{% macro result_of_test_sql(test) %}
    {% set tested = test.attached_node or test.depends_on.nodes[0] %}
    {% set table = graph.nodes.get(tested) or graph.sources[tested] %}
    {% set kwargs = {} %}
    {% do kwargs.update(test.test_metadata.kwargs) %}
    {% do kwargs.update({'model': rows_to_test(table.relation_name, test.config.where)}) %}
    {% set query = context['test_' ~ test.test_metadata.name](**kwargs) %}
    {{ return(get_test_sql(query, test.config.fail_calc, test.config.warn_if, test.config.error_if, none)) }}
{% endmacro %}
