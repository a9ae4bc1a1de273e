{#- Fails with every value that is no segment of the rules this run computes with. -#}
{% test names_a_configured_segment(model, column_name) %}

select *
from {{ model }}
where
    {{ column_name }} is null
    or {{ column_name }} not in ({{ quoted_list(var('segments') | map(attribute='name')) }})

{% endtest %}
