{#- 'a', 'b': a list of strings as SQL literals. -#}
{% macro quoted_list(values) %}
    {%- for value in values %}{{ string_literal(value) }}{{ ", " if not loop.last }}{% endfor %}
{%- endmacro %}

{% macro string_literal(value) %}'{{ value | string | replace("'", "''") }}'{% endmacro %}
