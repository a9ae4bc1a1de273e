{#- What dbt-snowflake leaves to the project: names of working tables, and the comments the emulator cannot take. -#}

{#- dbt names every run's working table alike. Two runs at once, which nothing outside the account keeps apart, would
    replace each other's between making it and reading it; a name of its own per invocation keeps them apart. One that
    will be made with the columns of a contract has those (snowflake_catalogue.sql), and is asked for none. -#}
{% macro snowflake__resolve_incremental_tmp_relation(tmp_relation) %}
    {% set relation = tmp_relation.incorporate(path={
        'schema': target.schema,
        'identifier': tmp_relation.identifier ~ '_' ~ invocation_id[:8],
    }) %}
    {% set columns = columns_of_contract() %}
    {% if columns %}
        {% do graph.setdefault('columns_of_working_tables', {}).update({relation | string: columns}) %}
    {% endif %}
    {{ return(relation) }}
{% endmacro %}

{#- The block that replaces the months drops the working table, too (macros/tables/replace_months.sql). -#}
{% macro snowflake__drop_relation(relation) %}
    {% if relation | string not in graph.get('dropped_in_a_block', {}) %}
        {% do dbt.default__drop_relation(relation) %}
    {% endif %}
{% endmacro %}

{#- What the emulator cannot do is left out there, and only there: it is reached over plain http, which no account
    speaks. It parses no list of column comments, and answers an apostrophe in a table's comment with a server error,
    which the connector repeats for ever. -#}
{% macro is_emulator() %}{{ return(target.protocol == 'http') }}{% endmacro %}

{% macro snowflake__alter_column_comment(relation, column_dict) %}
    {% if is_emulator() %}{{ return('') }}{% endif %}
    {{ return(dbt.snowflake__alter_column_comment(relation, column_dict)) }}
{% endmacro %}

{% macro snowflake__alter_relation_comment(relation, relation_comment) %}
    {% set comment = comment_of_view(relation_comment) if relation.is_view else comment_of_table(relation_comment) %}
    {{ return(dbt.snowflake__alter_relation_comment(relation, comment)) }}
{% endmacro %}

{% macro comment_of_table(description) %}
    {% set words = description ~ '\n\n' ~ ownership_mark() %}
    {{ return(words | replace("'", '') if is_emulator() else words) }}
{% endmacro %}
