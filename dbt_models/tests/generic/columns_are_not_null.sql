{#- One pass for all columns of a row that must be filled: a not_null per column reads the table once for each. -#}
{% test columns_are_not_null(model, columns) %}

select *
from {{ model }}
where {{ columns | join(' is null\n    or ') }} is null

{% endtest %}
