{#- The columns of a table as they were when an invocation first asked: a dozen nodes want to know the same of a table of
    the source, of the rollup or of the lists so far. What one node leaves for the next lies in `graph`, of which there
    is one per invocation. -#}
{% macro columns_before(relation) %}
    {% set known = graph.setdefault('columns_before', {}) %}
    {% if relation | string not in known %}
        {% do known.update({relation | string: adapter.get_columns_in_relation(relation)}) %}
    {% endif %}
    {{ return(known[relation | string]) }}
{% endmacro %}
