{#- One row per status that no rule names. -#}
{% test is_a_known_status(model, column_name) %}
    select
        {{ column_name }} as value_field,
        count(*) as n_records
    from {{ model }}
    where {{ is_unknown_status(column_name) }}
    group by {{ column_name }}
{% endtest %}
