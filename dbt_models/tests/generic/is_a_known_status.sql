{#- One row per status that no rule names. Whether there is one at all is asked by columns_are_not_null. -#}
{% test is_a_known_status(model, column_name) %}
{{ config(meta={'description': 'Every status is one of approved_statuses or other_statuses.'}) }}

    select
        {{ column_name }} as value_field,
        count(*) as n_records
    from {{ model }}
    where
        {{ column_name }} is not null
        and {{ is_unknown_status(column_name) }}
    group by {{ column_name }}
{% endtest %}
