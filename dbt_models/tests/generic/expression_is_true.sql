{#- Fails with every row for which the expression is false, or NULL: what may be NULL has to say so. -#}
{% test expression_is_true(model, expression) %}

select *
from {{ model }}
where not coalesce({{ expression }}, false)

{% endtest %}
