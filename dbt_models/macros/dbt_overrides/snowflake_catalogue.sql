{#- What an account says of our tables and views, asked for once in an invocation and schema. SHOW needs no warehouse,
    and INFORMATION_SCHEMA answers a question about one table by looking at all. -#}

{#- Name -> {comment, columns: {column: comment}} of every table and view that is in a schema when it is first asked
    about, names in lower case. It lies in `graph`, of which there is one per invocation. -#}
{% macro relations_in(schema) %}
    {% set known = graph.setdefault('relations_of_schemas', {}) %}
    {% if schema not in known %}
        {% set found = {} %}
        {% if schema | lower in schemas_there() %}
            {% set place = api.Relation.create(database=target.database, schema=schema).include(identifier=false) %}
            {% set comments = comments_at_the_emulator(schema) if is_emulator() else {} %}
            {% for row in run_query('show objects in schema ' ~ place) %}
                {% set comment = comments.get(row['name'] | lower) or row['comment'] or '' %}
                {% do found.update({row['name'] | lower: {'comment': comment, 'columns': {}}}) %}
            {% endfor %}
            {% for row in run_query('show columns in schema ' ~ place) if row['table_name'] | lower in found %}
                {% do found[row['table_name'] | lower].columns.update({row['column_name'] | lower: row['comment'] or ''}) %}
            {% endfor %}
        {% endif %}
        {% do known.update({schema: found}) %}
    {% endif %}
    {{ return(known[schema]) }}
{% endmacro %}

{#- Whose SHOW tells none. -#}
{% macro comments_at_the_emulator(schema) %}
    {% set known = graph.setdefault('comments_at_the_emulator', {}) %}
    {% if not known %}
        {% for row in run_query('select table_schema, table_name, comment from information_schema.tables') %}
            {% do known.setdefault(row[0] | lower, {}).update({row[1] | lower: row[2] or ''}) %}
        {% endfor %}
    {% endif %}
    {{ return(known.get(schema | lower, {})) }}
{% endmacro %}

{% macro schemas_there() %}
    {% set known = graph.setdefault('schemas_there', []) %}
    {% if not known %}
        {% for row in run_query('show terse schemas in database ' ~ target.database) %}
            {% do known.append(row['name'] | lower) %}
        {% endfor %}
    {% endif %}
    {{ return(known) }}
{% endmacro %}

{#- dbt comments on every table and each of its columns again; here only on a table whose comments differ. What was made
    anew just now has none. -#}
{% macro snowflake__persist_docs(relation, model, for_relation, for_columns) %}
    {% if model.config.materialized in ('incremental', 'log_table') and not should_full_refresh() %}
        {% set found = relations_in(relation.schema | lower).get(relation.identifier | lower) %}
        {% if found and found.comment == comment_of_table(model.description) and (
            is_emulator() or not columns_without_comment(model, found.columns)
        ) %}
            {{ return('') }}
        {% endif %}
    {% endif %}
    {{ dbt.default__persist_docs(relation, model, for_relation, for_columns) }}
{% endmacro %}

{% macro columns_without_comment(model, comments) %}
    {% set names = [] %}
    {% for name, column in model.columns.items() if name | lower in comments and column.description %}
        {% if comments[name | lower] != column.description | replace('$', '[$]') %}{% do names.append(name) %}{% endif %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}

{#- Does a query give the columns of its model's contract? As on DuckDB (columns.sql) the contract says its own types,
    which Snowflake tells by their family: only where they differ is the database asked for both sides, by dbt. -#}
{% macro snowflake__get_assert_columns_equivalent(sql) %}
    {% set families = {
        'bigint': 'FIXED', 'integer': 'FIXED', 'decimal': 'FIXED', 'varchar': 'TEXT', 'double': 'REAL',
        'boolean': 'BOOLEAN', 'date': 'DATE', 'timestamp': 'TIMESTAMP_NTZ',
    } %}
    {% set given, wanted = {}, {} %}
    {% for column in get_column_schema_from_query(sql, config.get('sql_header', none)) %}
        {% do given.update({column.name | lower: column.dtype}) %}
    {% endfor %}
    {% for name, column in model.columns.items() %}
        {% do wanted.update({name | lower: families.get((column.data_type or '').split('(')[0] | trim | lower)}) %}
    {% endfor %}
    {% if given != wanted %}{{ dbt.assert_columns_equivalent(sql) }}{% endif %}
{% endmacro %}

{#- A run's working table is described once: nobody else knows it, and it does not change. -#}
{% macro snowflake__get_columns_in_relation(relation) %}
    {% if '__dbt_tmp' not in relation.identifier | lower %}
        {{ return(dbt.snowflake__get_columns_in_relation(relation)) }}
    {% endif %}
    {% set known = graph.setdefault('columns_of_working_tables', {}) %}
    {% if relation | string not in known %}
        {% do known.update({relation | string: dbt.snowflake__get_columns_in_relation(relation)}) %}
    {% endif %}
    {{ return(known[relation | string]) }}
{% endmacro %}
