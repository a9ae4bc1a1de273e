{#- Asked when a dbt run starts: is every table and view that it would write to this pipeline's own? The rules are those
    of segmentation_assets/publication/ownership.py; tests/warehouse/test_ownership.py holds the two together. -#}

{#- At the end of the comment of every table and view that is made. -#}
{% macro ownership_mark() %}{{ return("Made by customer-segmentation.") }}{% endmacro %}

{#- Columns that a table of anybody's about customers has. -#}
{% macro columns_of_anybodys() %}
    {{ return(['snapshot_month', 'customer_id', 'customer_key', 'email', 'first_name', 'last_name']) }}
{% endmacro %}

{% macro refuse_foreign_relations() %}
    {% if not execute or var('schema_prefix', '') or flags.WHICH not in ['run', 'build'] %}{{ return('') }}{% endif %}
    {% set declared = {} %}
    {% for node in graph.nodes.values()
        if node.resource_type == 'model' and node.package_name == 'segmentation'
        and node.config.materialized != 'ephemeral'
    %}
        {% do declared.update({
            (node.schema | lower, node.alias | lower): node.columns.keys() | map('lower') | list
        }) %}
    {% endfor %}
    {% set present = {} %}
    {% for row in columns_of_schemas(declared.keys() | map('first') | unique | list) %}
        {% set relation = (row[0] | lower, row[1] | lower) %}
        {% if relation in declared %}
            {% if relation not in present %}{% do present.update({relation: [row[2] or '', []]}) %}{% endif %}
            {% do present[relation][1].append(row[3] | lower) %}
        {% endif %}
    {% endfor %}
    {% set logs = [] %}
    {% for relation, (comment, columns) in present.items() if relation[1] == 'segment_publications' %}
        {% if not ['snapshot_month', 'version', 'rules_hash', 'published_at'] | reject('in', columns) | list %}
            {% do logs.append(relation) %}
        {% endif %}
    {% endfor %}
    {% set foreign = [] %}
    {% for relation, (comment, columns) in present.items() if ownership_mark() not in comment %}
        {% set missing = declared[relation] | reject('in', columns) | list %}
        {% set shared = columns | select('in', declared[relation]) | list %}
        {% set is_earlier = shared | length >= 2 and (
            shared | length == columns | length or shared | reject('in', columns_of_anybodys()) | list | length >= 2
        ) %}
        {% if missing and not (logs and is_earlier) %}
            {% do foreign.append(relation | join('.')) %}
        {% endif %}
    {% endfor %}
    {% if foreign %}
        {% do exceptions.raise_compiler_error(
            foreign | sort | join(', ') ~ ": this pipeline did not make " ~ ("it" if foreign | length == 1 else "them")
            ~ ", and would write there. Nothing was touched. Name schemas for its tables that are free"
            ~ " (SEGMENTATION_GOLD_SCHEMA, SEGMENTATION_SILVER_SCHEMA), or rename what is in the way."
        ) %}
    {% endif %}
    {{ return('') }}
{% endmacro %}

{#- One row per column of every table and view: schema, name, comment, column. -#}
{% macro columns_of_schemas(schemas) %}
    {{ return(adapter.dispatch('columns_of_schemas', 'segmentation')(schemas)) }}
{% endmacro %}

{% macro default__columns_of_schemas(schemas) %}
    {{ return(run_query(
        "select columns.schema_name, columns.table_name, coalesce(tables.comment, views.comment), columns.column_name"
        ~ " from duckdb_columns() as columns"
        ~ " left join duckdb_tables() as tables"
        ~ " on columns.database_name = tables.database_name and columns.schema_name = tables.schema_name"
        ~ " and columns.table_name = tables.table_name"
        ~ " left join duckdb_views() as views"
        ~ " on columns.database_name = views.database_name and columns.schema_name = views.schema_name"
        ~ " and columns.table_name = views.view_name"
        ~ " where columns.database_name = current_database()"
        ~ " and lower(columns.schema_name) in ('" ~ schemas | join("', '") ~ "')"
    )) }}
{% endmacro %}

{% macro snowflake__columns_of_schemas(schemas) %}
    {% set rows = [] %}
    {% for schema in schemas %}
        {% for name, relation in relations_in(schema).items() %}
            {% for column in relation.columns %}
                {% do rows.append([schema, name, relation.comment, column]) %}
            {% endfor %}
        {% endfor %}
    {% endfor %}
    {{ return(rows) }}
{% endmacro %}
