{#- Fails with every value that is no segment of the rules this run computes with. -#}
{% test names_a_configured_segment(model, column_name) %}
{{ config(meta={'description': 'Names a segment of the rules that the run computes with.'}) }}

select *
from {{ model }}
where
    {{ column_name }} is null
    or {{ column_name }} not in ({{ quoted_list(var('segments') | map(attribute='name')) }})

{% endtest %}
