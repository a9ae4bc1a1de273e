{#- Comments as dbt-duckdb writes them, but only those that differ from what is there: a monthly run changes none, and
    looking each table's columns up to comment on them all again took longer than filling the small tables. -#}
{% macro duckdb__persist_docs(relation, model, for_relation, for_columns) %}
    {% set wanted = {} %}
    {% if for_relation and config.persist_relation_docs() and model.description %}
        {% do wanted.update({'': model.description ~ '\n\n' ~ ownership_mark()}) %}
    {% endif %}
    {% if for_columns and config.persist_column_docs() %}
        {% for name, column in model.columns.items() if column.description %}
            {% do wanted.update({name: column.description}) %}
        {% endfor %}
    {% endif %}
    {% set changed = [] %}
    {% for row in (run_query(comments_of(relation)) if wanted else []) %}
        {% set comment = wanted.get(row[0]) %}
        {% if comment and comment != row[1] %}
            {% set column = "column " ~ relation ~ "." ~ adapter.quote(row[0]) %}
            {% set place = column if row[0] else relation.type ~ " " ~ relation %}
            {% do changed.append("comment on " ~ place ~ " is " ~ duckdb_escape_comment(comment)) %}
        {% endif %}
    {% endfor %}
    {% if changed %}{% call statement(auto_begin=false) %}{{ changed | join(';\n') }}{% endcall %}{% endif %}
{% endmacro %}

{#- The relation's own comment under an empty name, then each column's. -#}
{% macro comments_of(relation) %}
    {% set here = "database_name = '" ~ relation.database ~ "' and schema_name = '" ~ relation.schema ~ "'" %}
    {% set kind = 'view' if relation.is_view else 'table' %}
    select '' as name, comment from duckdb_{{ kind }}s()
    where {{ here }} and {{ kind }}_name = '{{ relation.identifier }}'
    union all
    select column_name, comment from duckdb_columns()
    where {{ here }} and table_name = '{{ relation.identifier }}'
{% endmacro %}
