{#- One pass for all columns of a row that must be filled: a not_null per column reads the table once for each.
    `shows` are the columns that failing rows keep, where not all may be kept: they are stored in a table. -#}
{% test columns_are_not_null(model, columns, shows=none) %}

select {{ (shows or ['*']) | join(', ') }}
from {{ model }}
where {{ columns | join(' is null\n    or ') }} is null

{% endtest %}
