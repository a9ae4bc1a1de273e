{#- Who may read a table. A model's `meta.granted_to` names a variable of the environment, SNOWFLAKE_READER_ROLE or
    SNOWFLAKE_LISTS_ROLE, whose value is a role; nobody is granted anything where it is not set. A post-hook of every
    model tags the columns with personal data, on which the mask hangs, and then grants: nobody else can read a column
    before it is tagged. dbt's own `grants` would come before the hooks of a view, would take away what a person granted
    by hand, and would be sent to a DuckDB file. A table that stays from run to run keeps its grants and tags, so
    nothing is asked of it; the operation apply_access sets both for tables that were made before. -#}
{% macro set_access_of_model() %}
    {% if not execute or target.type != 'snowflake' or var('schema_prefix', '') %}{{ return('') }}{% endif %}
    {% set kind = config.get('materialized') %}
    {#- What dbt knew to be there before this model was made, and a view that stays as it is. -#}
    {% if model.unique_id in graph.get('kept_views', {}) %}{{ return('') }}{% endif %}
    {% if kind in ['incremental', 'log_table'] and load_cached_relation(this) %}{{ return('') }}{% endif %}
    {% set made = this.incorporate(type='view' if kind == 'view' else 'table') %}
    {% for sql in access_statements(made, model, (config.get('meta') or {}).get('granted_to')) %}
        {% do set_access(sql) %}
    {% endfor %}
    {{ return('') }}
{% endmacro %}

{#- The emulator knows tags and no grants; what it would be sent stands in the log, in its place. -#}
{% macro set_access(sql) %}
    {% do log("Access: " ~ sql) %}
    {% if not (is_emulator() and sql.startswith('grant')) %}{% do run_query(sql) %}{% endif %}
{% endmacro %}

{#- In this order: the tags, then the grants. -#}
{% macro access_statements(relation, node, granted_to) %}
    {% set statements, tagged = [], [] %}
    {% set tag = env_var('SNOWFLAKE_PERSONAL_DATA_TAG', '') %}
    {% for name, kind in personal_columns(node).items() if tag %}
        {% do tagged.append("column " ~ name ~ " set tag " ~ tag ~ " = '" ~ kind ~ "'") %}
    {% endfor %}
    {% if tagged %}
        {% set kind = 'view' if relation.is_view else 'table' %}
        {% do statements.append("alter " ~ kind ~ " " ~ relation ~ " modify " ~ tagged | join(', ')) %}
    {% endif %}
    {% set role = role_of(granted_to) %}
    {% if role %}{% do statements.append("grant select on " ~ relation ~ " to role " ~ role) %}{% endif %}
    {{ return(statements) }}
{% endmacro %}

{#- Column -> what it says of a person, as the model's yml has it. -#}
{% macro personal_columns(node) %}
    {% set found = {} %}
    {% for name, column in node.columns.items() %}
        {% set kind = (column.meta or (column.config or {}).get('meta') or {}).get('personal_data') %}
        {% if kind %}{% do found.update({name: kind}) %}{% endif %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{#- The lists are for nobody while nothing masks them: without the tag, their role stands for no role. -#}
{% macro role_of(variable) %}
    {% if variable == 'SNOWFLAKE_READER_ROLE' %}{{ return(env_var('SNOWFLAKE_READER_ROLE', '')) }}{% endif %}
    {% set is_masked = env_var('SNOWFLAKE_PERSONAL_DATA_TAG', '') %}
    {{ return(env_var('SNOWFLAKE_LISTS_ROLE', '') if variable == 'SNOWFLAKE_LISTS_ROLE' and is_masked else '') }}
{% endmacro %}

{#- `segmentation dbt run-operation apply_access`: tags and grants of every table that is there, as after a variable was
    set or changed. With `--args '{only_show: true}'` it says what it would send, of every model, and sends nothing. -#}
{% macro apply_access(only_show=false) %}
    {% for node in graph.nodes.values()
        if node.resource_type == 'model' and node.package_name == 'segmentation'
        and node.config.materialized != 'ephemeral'
    %}
        {% set type = 'view' if node.config.materialized == 'view' else 'table' %}
        {% set relation = api.Relation.create(
            database=node.database, schema=node.schema, identifier=node.alias, type=type
        ) %}
        {% if only_show or adapter.get_relation(node.database, node.schema, node.alias) %}
            {% for sql in access_statements(relation, node, node.config.meta.granted_to) %}
                {% do log(sql, info=true) %}
                {% if not only_show %}{% do set_access(sql) %}{% endif %}
            {% endfor %}
        {% endif %}
    {% endfor %}
    {% for name in tables_made_by_python() %}
        {% set relation = api.Relation.create(
            database=target.database, schema=generate_schema_name('gold', none), identifier=name, type='table'
        ) %}
        {% if only_show or adapter.get_relation(relation.database, relation.schema, name) %}
            {% for sql in access_statements(relation, {'columns': {}}, 'SNOWFLAKE_READER_ROLE') %}
                {% do log(sql, info=true) %}
                {% if not only_show %}{% do set_access(sql) %}{% endif %}
            {% endfor %}
        {% endif %}
    {% endfor %}
{% endmacro %}
