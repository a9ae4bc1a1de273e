{#- Catches a list made before a suppression arrived: make its month again before it is used. -#}
{% test audience_holds_nobody_suppressed(model) %}
{{ config(where='__asked_months__') }}
select
    snapshot_month,
    customer_id
from {{ model }}
where customer_id in (
    {{ suppressed_customers() }}
)
{% endtest %}
