{#- A key that is looked up in another table, as text where only one of the two is text: the source contract lets both
    kinds in, and DuckDB compares no number with a text. The same macro stands on both sides. -#}
{% macro comparable_key(table, column, other_table, other_column) -%}
    {%- if execute and source_column_is_text(table, column) != source_column_is_text(other_table, other_column) -%}
        cast({{ column }} as varchar)
    {%- else -%}
        {{ column }}
    {%- endif -%}
{%- endmacro %}

{% macro source_column_is_text(table, column) %}
    {% for found in adapter.get_columns_in_relation(source('star_schema', table)) if found.name | lower == column %}
        {{ return(found.data_type | lower | truncate(4, true, '') in ['varc', 'text', 'stri', 'char']) }}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}
