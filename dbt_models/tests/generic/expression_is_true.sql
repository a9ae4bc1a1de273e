{#- Fails with every row for which the expression is false, or NULL: what may be NULL has to say so.
    `shows` are the columns that failing rows keep, where not all may be kept: they are stored in a table. -#}
{% test expression_is_true(model, expression, shows=none) %}
{{ config(meta={'description': 'True of every row: `' ~ expression ~ '`'}) }}

select {{ (shows or ['*']) | join(', ') }}
from {{ model }}
where not coalesce({{ expression }}, false)

{% endtest %}
