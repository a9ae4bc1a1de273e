{#- What an account says of our tables and views, asked for once in an invocation and schema. SHOW needs no warehouse,
    and INFORMATION_SCHEMA answers a question about one table by looking at all. What is remembered lies in `graph`, of
    which there is one per invocation. -#}

{#- Name -> {kind, comment, columns: {column: comment}, described: columns as dbt describes them} of every table and
    view that is in a schema when it is first asked about, names in lower case. -#}
{% macro relations_in(schema) %}
    {% set known = graph.setdefault('relations_of_schemas', {}) %}
    {% if schema not in known %}
        {% set found = {} %}
        {% if schema | lower in schemas_there() %}
            {% set place = api.Relation.create(database=target.database, schema=schema).include(identifier=false) %}
            {% set comments = comments_at_the_emulator(schema) if is_emulator() else {} %}
            {% for row in snowflake__list_relations_without_caching(place) %}
                {% set comment = comments.get(row['name'] | lower) or row['comment'] or '' %}
                {% do found.update({row['name'] | lower: {
                    'kind': row['kind'] | lower, 'comment': comment, 'columns': {}, 'described': [],
                }}) %}
            {% endfor %}
            {% set shown = shown_schema(place | string | lower) %}
            {% set rows = shown.columns if shown else run_query('show columns in schema ' ~ place) %}
            {% for row in rows if row['table_name'] | lower in found %}
                {% set relation = found[row['table_name'] | lower] %}
                {% do relation.columns.update({row['column_name'] | lower: row['comment'] or ''}) %}
                {% do relation.described.append(
                    api.Column.from_description(row['column_name'], described_type(fromjson(row['data_type'])))
                ) %}
            {% endfor %}
            {#- SHOW tells so many rows and no more: then each table is described. -#}
            {% if rows | length >= 10000 %}
                {% for relation in found.values() %}{% do relation.update({'described': []}) %}{% endfor %}
            {% endif %}
        {% endif %}
        {% do known.update({schema: found}) %}
    {% endif %}
    {{ return(known[schema]) }}
{% endmacro %}

{#- What DESCRIBE calls a type that SHOW COLUMNS tells as JSON. -#}
{% macro described_type(told) %}
    {% if told.type == 'FIXED' %}{{ return('NUMBER(' ~ told.precision ~ ',' ~ told.scale ~ ')') }}{% endif %}
    {% if told.type == 'TEXT' %}{{ return('VARCHAR(' ~ told.length ~ ')') }}{% endif %}
    {% if told.type == 'REAL' %}{{ return('FLOAT') }}{% endif %}
    {% if told.type.startswith('TIME') %}{{ return(told.type ~ '(' ~ told.scale ~ ')') }}{% endif %}
    {{ return(told.type) }}
{% endmacro %}

{#- Whose SHOW tells none: where it keeps them, of views too. -#}
{% macro comments_at_the_emulator(schema) %}
    {% set known = graph.setdefault('comments_at_the_emulator', {}) %}
    {% if not known %}
        {% for row in run_query(
            'select ext_table_schema, ext_table_name, comment from _fs_global._fs_information_schema._fs_tables_ext'
        ) %}
            {% do known.setdefault(row[0] | lower, {}).update({row[1] | lower: row[2] or ''}) %}
        {% endfor %}
    {% endif %}
    {{ return(known.get(schema | lower, {})) }}
{% endmacro %}

{% macro schemas_there() %}
    {% set known = graph.setdefault('schemas_there', []) %}
    {% if not known %}
        {% for row in snowflake__list_schemas(target.database) %}{% do known.append(row['name'] | lower) %}{% endfor %}
    {% endif %}
    {{ return(known) }}
{% endmacro %}

{#- dbt lists the schemas twice and more when an invocation begins. Those that it makes then are empty. -#}
{% macro snowflake__list_schemas(database) %}
    {% set known = graph.setdefault('schemas_of_databases', {}) %}
    {% set name = database | replace('"', '') | lower %}
    {% if name not in known %}{% do known.update({name: dbt.snowflake__list_schemas(database)}) %}{% endif %}
    {{ return(known[name]) }}
{% endmacro %}

{#- What dbt lists when an invocation begins is what relations_in tells. -#}
{% macro snowflake__list_relations_without_caching(schema_relation, max_iter=10000, max_results_per_iter=10000) %}
    {% set known = graph.setdefault('objects_of_schemas', {}) %}
    {% set name = schema_relation | string | replace('"', '') | lower %}
    {% if name not in known %}
        {% set shown = shown_schema(name) %}
        {% do known.update({
            name: adapter.normalize_show_objects_result(shown.objects) if shown
            else dbt.snowflake__list_relations_without_caching(schema_relation, max_iter, max_results_per_iter)
        }) %}
    {% endif %}
    {{ return(known[name]) }}
{% endmacro %}

{#- What the pipeline was shown of a schema, `database.schema`, right before (segmentation_assets/dbt/runner.py). -#}
{% macro shown_schema(name) %}
    {% set database, schema = (['', ''] + name.split('.'))[-2:] %}
    {{ return((graph.get('shown_schemas') or {}).get(schema) if database == target.database | lower) }}
{% endmacro %}

{#- dbt lists the functions of each schema as well, and this project has none. -#}
{% macro snowflake__list_function_relations_without_caching(schema_relation) %}
    {% if graph.get('functions') %}
        {{ return(dbt.snowflake__list_function_relations_without_caching(schema_relation)) }}
    {% endif %}
    {% set names = ['catalog_name', 'schema_name', 'name', 'is_builtin'] %}
    {% set objects = snowflake__list_relations_without_caching(schema_relation) %}
    {{ return(objects.select(objects.column_names[:4]).limit(0).rename(column_names=names)) }}
{% endmacro %}

{#- Whether a table or view stands as it stood when the invocation began. -#}
{% macro has_been_remade(relation) %}
    {{ return((relation.schema ~ '.' ~ relation.identifier) | lower in graph.get('remade', {})) }}
{% endmacro %}

{#- What dbt asks about one table after the other, and several times about each: a schema's columns are asked for once.
    A run's working table is described once, as nobody else knows it and it does not change; and never where it is made
    with the columns of a contract (columns_of_contract). -#}
{% macro snowflake__get_columns_in_relation(relation) %}
    {% if '__dbt_tmp' in relation.identifier | lower %}
        {% set known = graph.setdefault('columns_of_working_tables', {}) %}
        {% if relation | string not in known %}
            {% do known.update({relation | string: dbt.snowflake__get_columns_in_relation(relation)}) %}
        {% endif %}
        {{ return(known[relation | string]) }}
    {% endif %}
    {% set ours = [generate_schema_name('gold', none) | lower, generate_schema_name('silver', none) | lower] %}
    {% if relation.database | lower == target.database | lower and relation.schema | lower in ours
        and not has_been_remade(relation)
    %}
        {% set found = relations_in(relation.schema | lower).get(relation.identifier | lower) %}
        {% if found and found.described %}{{ return(found.described) }}{% endif %}
    {% endif %}
    {#- A table that was made anew is made so once. -#}
    {% set remade = graph.setdefault('columns_of_remade', {}) %}
    {% if relation | string not in remade %}
        {% set columns = dbt.snowflake__get_columns_in_relation(relation) %}
        {% if not has_been_remade(relation) %}{{ return(columns) }}{% endif %}
        {% do remade.update({relation | string: columns}) %}
    {% endif %}
    {{ return(remade[relation | string]) }}
{% endmacro %}

{#- Of a monthly table that is there and is what its contract says: these columns of it, of which its working table is
    made. Nothing for any other. -#}
{% macro columns_of_contract() %}
    {% if not config.get('contract').enforced or config.get('materialized') != 'incremental'
        or should_full_refresh() or has_been_remade(this)
    %}
        {{ return([]) }}
    {% endif %}
    {% set found = relations_in(this.schema | lower).get(this.identifier | lower) %}
    {% set columns, families = {}, {} %}
    {% for column in (found.described if found else []) %}
        {% do columns.update({column.name | lower: column}) %}
        {% do families.update({column.name | lower: family_of(column.dtype)}) %}
    {% endfor %}
    {% set named = [] %}
    {% for name, column in model.columns.items() %}
        {% if families.get(name | lower) != family_of(column.data_type) %}{{ return([]) }}{% endif %}
        {% do named.append(columns[name | lower]) %}
    {% endfor %}
    {{ return(named) }}
{% endmacro %}

{#- Snowflake's word for the family of a type that a contract names, or that DESCRIBE or a query tells. -#}
{% macro family_of(data_type) %}
    {% set families = {
        'bigint': 'FIXED', 'integer': 'FIXED', 'decimal': 'FIXED', 'number': 'FIXED', 'varchar': 'TEXT',
        'double': 'REAL', 'float': 'REAL', 'timestamp': 'TIMESTAMP_NTZ',
    } %}
    {% set word = (data_type or '').split('(')[0] | trim %}
    {{ return(families.get(word | lower, word | upper)) }}
{% endmacro %}

{#- dbt comments on every table and each of its columns again; here only on one whose comments differ. What was made
    anew just now has none, and is not what SHOW told any more. -#}
{% macro snowflake__persist_docs(relation, model, for_relation, for_columns) %}
    {% if model.config.materialized in ('incremental', 'log_table') and not should_full_refresh() %}
        {% set found = relations_in(relation.schema | lower).get(relation.identifier | lower) %}
        {% if found and found.comment == comment_of_table(model.description) | replace('$', '[$]') and (
            is_emulator() or not columns_without_comment(model, found.columns)
        ) %}
            {{ return('') }}
        {% endif %}
    {% endif %}
    {% do graph.setdefault('remade', {}).update({(relation.schema ~ '.' ~ relation.identifier) | lower: true}) %}
    {{ dbt.default__persist_docs(relation, model, for_relation, for_columns) }}
{% endmacro %}

{% macro columns_without_comment(model, comments) %}
    {% set names = [] %}
    {% for name, column in model.columns.items() if name | lower in comments and column.description %}
        {% set written = column.description | replace('$', '[$]') %}
        {% if comments[name | lower] != written %}{% do names.append(name) %}{% endif %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}

{#- Does a query give the columns of its model's contract? As on DuckDB (columns.sql) the contract says its own types,
    which Snowflake tells by their family: only where they differ is the database asked for both sides, by dbt. A
    working table is made of the contract's columns by name, into a table that has them: it is not asked. -#}
{% macro snowflake__get_assert_columns_equivalent(sql) %}
    {% if columns_of_contract() %}{{ return('') }}{% endif %}
    {% set given, wanted = {}, {} %}
    {% for column in get_column_schema_from_query(sql, config.get('sql_header', none)) %}
        {% do given.update({column.name | lower: column.dtype}) %}
    {% endfor %}
    {% for name, column in model.columns.items() %}
        {% do wanted.update({name | lower: family_of(column.data_type)}) %}
    {% endfor %}
    {% if given != wanted %}{{ dbt.assert_columns_equivalent(sql) }}{% endif %}
{% endmacro %}
