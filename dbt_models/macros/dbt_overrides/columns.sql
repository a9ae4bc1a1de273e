{#- Has an incremental model's working table the columns of the table it goes into? Asked in one statement for both.
    Only where it has not, dbt-core looks at one table after the other, as it would every time, and says which column
    it is. -#}
{% macro duckdb__check_for_schema_changes(source_relation, target_relation) %}
    {% set columns = run_query(
        "select source.column_name, source.column_type, source.column_type = target.column_type"
        ~ " from (describe " ~ source_relation ~ ") as source"
        ~ " full outer join (describe " ~ target_relation ~ ") as target on source.column_name = target.column_name"
    ) %}
    {% set source_columns = [] %}
    {% for name, type, is_same in columns %}
        {% if not is_same %}
            {{ return(dbt.default__check_for_schema_changes(source_relation, target_relation)) }}
        {% endif %}
        {% do source_columns.append(api.Column.create(name, type)) %}
    {% endfor %}
    {{ return({'schema_changed': false, 'source_columns': source_columns}) }}
{% endmacro %}

{#- What a monthly table lacks or has in another type is refused, with `on_schema_change: fail`, in dbt's words. One
    that only the table has is somebody's own column, and stays: rows that come later hold its default there, which is
    mostly NULL. dbt-core refuses that, too. -#}
{% macro default__process_schema_changes(on_schema_change, source_relation, target_relation) %}
    {% if on_schema_change == 'fail' %}
        {% set found = check_for_schema_changes(source_relation, target_relation) %}
        {% if not found.source_not_in_target and not found.new_target_types %}
            {{ return(found.source_columns) }}
        {% endif %}
    {% endif %}
    {{ return(dbt.default__process_schema_changes(on_schema_change, source_relation, target_relation)) }}
{% endmacro %}

{#- Does a query give the columns of its model's contract? dbt-core asks the database for both sides; the contract says
    its types itself. dbt-core compares only where the two lists differ, be it in how a type is spelt. -#}
{% macro duckdb__get_assert_columns_equivalent(sql) %}
    {% set given = {} %}
    {% for column in get_column_schema_from_query(sql, config.get('sql_header', none)) %}
        {% do given.update({column.name: column.dtype | lower}) %}
    {% endfor %}
    {% set wanted = {} %}
    {% for name, column in model.columns.items() %}
        {% do wanted.update({name: (column.data_type or '') | lower | replace(' ', '')}) %}
    {% endfor %}
    {% if given != wanted %}{{ dbt.assert_columns_equivalent(sql) }}{% endif %}
{% endmacro %}
