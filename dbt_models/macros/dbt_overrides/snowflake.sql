{#- What dbt-snowflake leaves to the project: names of working tables, and the comments the emulator cannot take. -#}

{#- dbt names every run's working table alike. Two runs at once, which nothing outside the account keeps apart, would
    replace each other's between making it and reading it; a name of its own per invocation keeps them apart. -#}
{% macro snowflake__resolve_incremental_tmp_relation(tmp_relation) %}
    {{ return(tmp_relation.incorporate(path={
        'schema': target.schema,
        'identifier': tmp_relation.identifier ~ '_' ~ invocation_id[:8],
    })) }}
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
    {{ return(dbt.snowflake__alter_relation_comment(relation, comment_of_table(relation_comment))) }}
{% endmacro %}

{% macro comment_of_table(description) %}
    {% set words = description ~ '\n\n' ~ ownership_mark() %}
    {{ return(words | replace("'", '') if is_emulator() else words) }}
{% endmacro %}
