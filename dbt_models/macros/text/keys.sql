{#- A key that is looked up in another table, as text where only one of the two is text: the source contract lets both
    kinds in, and DuckDB compares no number with a text. The same macro stands on both sides. -#}
{% macro comparable_key(table, column, other_table, other_column, column_sql=none) -%}
    {%- if execute and source_column_is_text(table, column) != source_column_is_text(other_table, other_column) -%}
        cast({{ column_sql or column }} as varchar)
    {%- else -%}
        {{ column_sql or column }}
    {%- endif -%}
{%- endmacro %}

{% macro source_column_is_text(table, column) %}
    {% if star_table(table) == 'none' %}
        {{ return(true) }}
    {% elif star_table(table) == 'in_facts' %}
        {{ return(source_column_is_text('fct_transactions', 'merchant_category_key')) }}
    {% elif star_table(table) is not none %}
        {{ return(is_text_type(star_types(table).get(column, 'varchar'))) }}
    {% endif %}
    {% for found in columns_before(source('star_schema', table)) if found.name | lower == column %}
        {{ return(found.data_type | lower | truncate(4, true, '') in ['varc', 'text', 'stri', 'char']) }}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}
