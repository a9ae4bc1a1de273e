{#- The columns of a table of the source, asked for once in an invocation: a dozen nodes want to know the same. What one
    node leaves for the next lies in `graph`, of which there is one per invocation. -#}
{% macro columns_of_source(relation) %}
    {% set known = graph.setdefault('columns_of_sources', {}) %}
    {% if relation | string not in known %}
        {% do known.update({relation | string: adapter.get_columns_in_relation(relation)}) %}
    {% endif %}
    {{ return(known[relation | string]) }}
{% endmacro %}
