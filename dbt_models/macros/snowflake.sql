{#- What dbt-snowflake leaves to the project: the place of working tables, and the one thing the emulator cannot do. -#}

{#- dbt names every run's working table alike. Two runs at once, which nothing outside the account keeps apart, would
    replace each other's between making it and reading it; a name of its own per invocation keeps them apart. -#}
{% macro snowflake__resolve_incremental_tmp_relation(tmp_relation) %}
    {{ return(tmp_relation.incorporate(path={
        'schema': target.schema,
        'identifier': tmp_relation.identifier ~ '_' ~ invocation_id[:8],
    })) }}
{% endmacro %}

{#- The emulator parses no list of column comments. It is reached over plain http, which no account speaks; there the
    comments are left out, on an account nothing changes. -#}
{% macro snowflake__alter_column_comment(relation, column_dict) %}
    {% if target.protocol == 'http' %}{{ return('') }}{% endif %}
    {{ return(dbt.snowflake__alter_column_comment(relation, column_dict)) }}
{% endmacro %}
