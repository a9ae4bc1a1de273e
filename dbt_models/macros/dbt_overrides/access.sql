{#- Who may read a table: dbt's own grants, less what it would take away, and with the tags that a mask hangs on first.

    A model's `grants` name variables of the environment, SNOWFLAKE_READER_ROLE or SNOWFLAKE_LISTS_ROLE, whose values
    are roles; nobody is granted anything where one is not set. Every materialization grants right after the statement
    that makes its table, so here a column is tagged before anybody else can read it. dbt would look up and revoke what
    it does not know of: who was let read by hand may go on doing so. A table that stays from run to run keeps its
    grants and tags: nothing is asked of it, and the operation apply_access sets both for tables that were made
    before. -#}
{% macro snowflake__apply_grants(relation, grant_config, should_revoke=True) %}
    {% set stays = should_revoke and config.get('materialized') in ['incremental', 'log_table'] %}
    {% if var('schema_prefix', '') or stays %}{{ return('') }}{% endif %}
    {% for sql in access_statements(relation, model, grant_config) %}{% do set_access(sql) %}{% endfor %}
{% endmacro %}

{#- The emulator knows tags and no grants; what it would be sent stands in the log, in its place. -#}
{% macro set_access(sql) %}
    {% do log("Access: " ~ sql) %}
    {% if not (is_emulator() and sql.startswith('grant')) %}{% do run_query(sql) %}{% endif %}
{% endmacro %}

{#- A DuckDB file has no roles. -#}
{% macro duckdb__apply_grants(relation, grant_config, should_revoke=True) %}{% endmacro %}

{#- In this order: the tags, then the grants. -#}
{% macro access_statements(relation, node, grant_config) %}
    {% set statements, tagged = [], [] %}
    {% set tag = env_var('SNOWFLAKE_PERSONAL_DATA_TAG', '') %}
    {% for name, kind in personal_columns(node).items() if tag %}
        {% do tagged.append("column " ~ name ~ " set tag " ~ tag ~ " = '" ~ kind ~ "'") %}
    {% endfor %}
    {% if tagged %}
        {% set kind = 'view' if relation.is_view else 'table' %}
        {% do statements.append("alter " ~ kind ~ " " ~ relation ~ " modify " ~ tagged | join(', ')) %}
    {% endif %}
    {% for privilege, grantees in (grant_config or {}).items() %}
        {% for role in roles(grantees) %}
            {% do statements.append(get_grant_sql(relation, privilege, ['role ' ~ role])) %}
        {% endfor %}
    {% endfor %}
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

{#- The lists are for nobody while nothing masks them: without the tag, the role of the lists stands for no role. -#}
{% macro roles(grantees) %}
    {% set masked = env_var('SNOWFLAKE_PERSONAL_DATA_TAG', '') %}
    {% set variables = {
        'SNOWFLAKE_READER_ROLE': env_var('SNOWFLAKE_READER_ROLE', ''),
        'SNOWFLAKE_LISTS_ROLE': env_var('SNOWFLAKE_LISTS_ROLE', '') if masked else '',
    } %}
    {% set found = [] %}
    {% for grantee in ([grantees] if grantees is string else grantees) %}
        {% set role = variables.get(grantee, grantee) %}
        {% if role %}{% do found.append(role) %}{% endif %}
    {% endfor %}
    {{ return(found) }}
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
            {% for sql in access_statements(relation, node, node.config.grants) %}
                {% do log(sql, info=true) %}
                {% if not only_show %}{% do set_access(sql) %}{% endif %}
            {% endfor %}
        {% endif %}
    {% endfor %}
    {#- Made by Python, of counts and sums. -#}
    {% for name in ['campaign_outcomes', 'program_outcomes'] %}
        {% set relation = api.Relation.create(
            database=target.database, schema=generate_schema_name('gold', none), identifier=name, type='table'
        ) %}
        {% if only_show or adapter.get_relation(relation.database, relation.schema, name) %}
            {% for sql in access_statements(relation, {'columns': {}}, {'select': ['SNOWFLAKE_READER_ROLE']}) %}
                {% do log(sql, info=true) %}
                {% if not only_show %}{% do set_access(sql) %}{% endif %}
            {% endfor %}
        {% endif %}
    {% endfor %}
{% endmacro %}
