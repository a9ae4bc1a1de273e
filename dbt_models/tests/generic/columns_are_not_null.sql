{#- One pass for all columns of a row that must be filled: a not_null per column reads the table once for each.
    `shows` are the columns that failing rows keep, where not all may be kept: they are stored in a table. -#}
{% test columns_are_not_null(model, columns, shows=none) %}
{{ config(meta={'description': 'Filled in every row: ' ~ columns | join(', ') ~ '.'}) }}

select {{ (shows or ['*']) | join(', ') }}
from {{ model }}
where {{ columns | join(' is null\n    or ') }} is null

{% endtest %}
