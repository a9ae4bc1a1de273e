{#- Fails with every combination that occurs more than once; NULLs count as equal. -#}
{% test unique_combination_of_columns(model, combination_of_columns) %}
{{ config(meta={'description': 'One row per ' ~ combination_of_columns | join(', ') ~ '.'}) }}

select
    {{ combination_of_columns | join(',\n    ') }},
    count(*) as occurrences
from {{ model }}
group by {{ combination_of_columns | join(', ') }}
having count(*) > 1

{% endtest %}
