{#- Data tests asked together: the first of them that runs asks for all that can be asked just then, in one statement
    that returns a row per test, and the others find theirs in it. Each stays a test of its own to dbt and to Dagster,
    with its name, severity and stored rows. A test in a file of its own is asked alone, as only dbt knows its text.

    In a run of the pipeline these are the tests of the source, whose columns were looked at before, and of all models
    that have been made so far; in plain dbt those that read the same tables, as one that cannot be computed takes all
    that are asked with it along.

    What one node leaves for the next lies in `graph`, of which there is one per invocation. -#}
{% macro result_of_this_test() %}
    {#- Without months a test that needs them is refused, and only that one. -#}
    {% if not var('first_month', none) or not can_be_asked_with_others(model) %}{{ return(none) }}{% endif %}
    {% set asked = graph.setdefault('results_of_tests', {}) %}
    {% set turns = graph.get('turns_of_tests') %}
    {% if turns %}{% do turns.take(model.unique_id) %}{% endif %}
    {% if model.unique_id not in asked %}
        {% set tests = tests_to_ask_now() %}
        {% if tests | length > 1 %}{% do ask_for(tests, asked) %}{% endif %}
    {% endif %}
    {% if turns %}{% do turns.give_back(model.unique_id) %}{% endif %}
    {{ return(asked.get(model.unique_id)) }}
{% endmacro %}

{#- This one and what can be asked with it. Where nothing lets a node wait for another, as
    segmentation_assets/dbt/runner.py does, a test that another node asks for just now is asked for alone. -#}
{% macro tests_to_ask_now() %}
    {% set claimed = graph.setdefault('claimed_tests', {}) %}
    {% if model.unique_id in claimed %}{{ return([model]) }}{% endif %}
    {% set together = [] %}
    {% for unique_id in selected_resources | sort if unique_id.startswith('test.') and unique_id not in claimed %}
        {% set test = graph.nodes.get(unique_id, {}) %}
        {% if can_be_asked_with_others(test) and (tables_of_test(test) == tables_of_test(model)
            or (graph.get('turns_of_tests') and is_of_made_models(test) and is_of_made_models(model)))
        %}
            {% do claimed.update({unique_id: true}) %}
            {% do together.append(test) %}
        {% endif %}
    {% endfor %}
    {{ return(together) }}
{% endmacro %}

{#- Test -> one row, as dbt reads it: failures, should_warn, should_error. -#}
{% macro ask_for(tests, asked) %}
    {% set queries = [] %}
    {% for test in tests %}
        {% do queries.append(
            'select ' ~ loop.index0 ~ ' as place, failures, should_warn, should_error from ('
            ~ result_of_test_sql(test) ~ ') as test_' ~ loop.index0
        ) %}
    {% endfor %}
    {% set rows = run_query(queries | join('\nunion all\n') ~ '\norder by place') %}
    {% for test in tests %}
        {% do asked.update({
            test.unique_id: rows.limit(loop.index0, loop.index).exclude([rows.column_names[0]])
        }) %}
    {% endfor %}
{% endmacro %}

{% macro can_be_asked_with_others(test) %}
    {% if not test.get('test_metadata') or test.config.limit %}{{ return(false) }}{% endif %}
    {% for name, value in test.test_metadata.kwargs.items() if name != 'model' %}
        {#- Jinja that dbt renders for the test itself, but for the name of a table. -#}
        {% if '{' in value | string or (modules.re.search('ref[(]|source[(]', value | string) and name != 'to') %}
            {{ return(false) }}
        {% endif %}
    {% endfor %}
    {{ return(true) }}
{% endmacro %}

{#- The tables that a test reads, as one text. -#}
{% macro tables_of_test(test) %}{{ return(test.depends_on.nodes | sort | join(' ')) }}{% endmacro %}

{#- Whether every model that it reads is one that this invocation has made, or did not have to make. -#}
{% macro is_of_made_models(test) %}
    {% for unique_id in test.depends_on.nodes %}
        {% if unique_id in selected_resources and unique_id not in graph.get('made_models', {}) %}
            {{ return(false) }}
        {% endif %}
    {% endfor %}
    {{ return(true) }}
{% endmacro %}

{#- A test is rendered by the node that asks for it, which dbt lets read the tables of its own test alone: when tests
    run, a further table is known by its name. While dbt parses, `ref` says what a test depends on. -#}
{% macro other_model(name) %}
    {% if execute %}
        {% for node in graph.nodes.values() if node.resource_type == 'model' and node.name == name %}
            {% if node.package_name == 'segmentation' %}{{ return(node.relation_name) }}{% endif %}
        {% endfor %}
    {% endif %}
    {{ return(ref(name)) }}
{% endmacro %}

{% macro result_of_test_sql(test) %}
    {% set tested = tested_by(test) %}
    {% set kwargs = {} %}
    {% do kwargs.update(test.test_metadata.kwargs) %}
    {% do kwargs.update({'model': rows_to_test(relation_name_of(tested), test.config.where)}) %}
    {% if 'to' in kwargs %}
        {#- The table of a test of relationships: the other one that it reads. -#}
        {% set others = test.depends_on.nodes | reject('equalto', tested) | list %}
        {% do kwargs.update({'to': relation_name_of(others[0] if others else tested)}) %}
    {% endif %}
    {% set query = context['test_' ~ test.test_metadata.name](**kwargs) %}
    {{ return(get_test_sql(query, test.config.fail_calc, test.config.warn_if, test.config.error_if, none)) }}
{% endmacro %}

{#- The model or source table that a test is about; it may read others. -#}
{% macro tested_by(test) %}
    {% if test.attached_node %}{{ return(test.attached_node) }}{% endif %}
    {% set name = (modules.re.findall("'([^']+)'[)]", test.test_metadata.kwargs.model) or ['']) | first %}
    {% for unique_id in test.depends_on.nodes if unique_id.endswith('.' ~ name) %}{{ return(unique_id) }}{% endfor %}
    {{ return(test.depends_on.nodes[0]) }}
{% endmacro %}

{% macro relation_name_of(unique_id) %}
    {{ return((graph.nodes.get(unique_id) or graph.sources[unique_id]).relation_name) }}
{% endmacro %}
